"""Whatever a file holds, a load gives a configuration or a ConfigurationError."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autoscaler.configuration import load
from autoscaler.configuration.models import FileModel, ServiceEntry
from autoscaler.configuration.vocabulary import keys_of
from autoscaler.errors import ConfigurationError

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["local", "process", "docker", "kafka", "5m", "25%", "256Mi", "auto", "*", "a:1", "[0-9]", "web"]),
)
KEYS = st.one_of(st.sampled_from([*keys_of(FileModel), *keys_of(ServiceEntry), "web", "local", "kind", "names", "use"]))
TREES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=5), max_leaves=25
)
FILES = st.fixed_dictionaries(
    {
        "cluster": st.just("shop"),
        "services": st.dictionaries(KEYS, st.dictionaries(KEYS, TREES, max_size=4), max_size=3),
    },
    optional={name: TREES for name in keys_of(FileModel) if name not in ("cluster", "services")},
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(directory: Path, content: bytes) -> None:
    path = directory / "autoscaler.yaml"
    path.write_bytes(content)
    with contextlib.suppress(ConfigurationError):
        load(path, {})


@QUICK
@given(content=st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes, tmp_path: Path) -> None:
    outcome(tmp_path, content)


@QUICK
@given(text=st.text(alphabet=":-[]{}&*!|>'\"%@`?,# \n\tab01.~<=", max_size=80))
def test_no_yaml_punctuation_raises_anything_else(text: str, tmp_path: Path) -> None:
    outcome(tmp_path, ("cluster: a\nservices:\n  " + text).encode())


@QUICK
@given(tree=FILES | TREES)
def test_no_tree_raises_anything_else(tree: object, tmp_path: Path) -> None:
    outcome(tmp_path, yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@QUICK
@given(
    value=st.text(max_size=60), name=st.sampled_from(["STREAM__BROKERS", "SERVICES", "SERVICES__WEB__REPLICAS", "HTTP"])
)
def test_no_variable_raises_anything_else(value: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "autoscaler.yaml"
    path.write_text("cluster: shop\n")
    with contextlib.suppress(ConfigurationError):
        load(path, {f"AUTOSCALER_{name}": value})


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"\xef\xbb\xbfcluster: a", b"\x00", b"a: \x01", b'a: "\\ud800"', b"\t", b"%YAML 9.9"]
)
def test_odd_bytes_raise_nothing_else(content: bytes, tmp_path: Path) -> None:
    outcome(tmp_path, content)
