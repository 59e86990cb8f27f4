"""YAML without its surprises."""

from __future__ import annotations

import pytest

from autoscaler.configuration.block import Block, locate
from autoscaler.configuration.document import read_document

SCALARS = {
    "17:00": "17:00",
    "no": "no",
    "yes": "yes",
    "off": "off",
    "0123": "0123",
    "0x1F": "0x1F",
    "1_000": "1_000",
    "2024-01-01": "2024-01-01",
    ".nan": ".nan",
    "1e999": "1e999",
    "9999999999999999999999": "9999999999999999999999",
    "12": 12,
    "-3": -3,
    "0.5": 0.5,
    ".5": 0.5,
    "1e3": 1000.0,
    "true": True,
    "False": False,
    "~": None,
    "'12'": "12",
    "!!str 12": "12",
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_scalar_means_what_it_looks_like(text: str) -> None:
    root, problems = read_document(f"a: {text}\n", "f")
    assert problems == []
    assert root["a"] == SCALARS[text]
    assert type(root["a"]) is type(SCALARS[text])


def whats(text: str) -> list[str]:
    return [problem.what for problem in read_document(text, "f")[1]]


def test_a_second_document_is_refused() -> None:
    assert whats("a: 1\n---\nb: 2\n") == ["more than one document"]


def test_an_unknown_tag_is_refused_without_being_repeated() -> None:
    assert whats("a: !hunter2 x\n") == ["a YAML tag that has no meaning here"]
    assert whats("a: !!python/object/apply:os.system [x]\n") == ["a YAML tag that has no meaning here"]


def test_an_alias_without_an_anchor_is_refused_without_being_repeated() -> None:
    assert whats("a: *hunter2\n") == ["an alias without an anchor before it"]


def test_a_collection_that_holds_itself_is_refused() -> None:
    assert whats("a: &a [*a]\n") == ["an alias without an anchor before it"]


def test_a_billion_laughs_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert whats("\n".join(lines)) == ["aliases that stand for more than 200000 entries"]


def test_deep_nesting_is_refused() -> None:
    assert whats("a: " + "[" * 40) == ["nested deeper than 32 levels"]
    assert whats("a: " + "[" * 100_000) != []


def test_a_merge_key_merges_and_what_is_written_beside_it_wins() -> None:
    root, problems = read_document("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n", "f")
    assert problems == []
    assert root["b"] == {"x": 1, "y": 3}


def test_every_entry_knows_its_line() -> None:
    root, _ = read_document("a:\n  b:\n    - x\n    - y\n  c: {d: 1}\n", "f")
    assert isinstance(root, Block)
    assert [locate(root, steps).line for steps in (("a",), ("a", "b", 1), ("a", "c", "d"))] == [1, 4, 5]


def test_problems_stop_after_some_hundred() -> None:
    assert len(whats("\n".join(["a: 1"] * 1000))) == 200
