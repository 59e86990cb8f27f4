"""Rules of the repository that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"autoscaler": ROOT / "autoscaler", "autoscaler_plugins": ROOT / "plugins" / "autoscaler_plugins"}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
PUBLIC_INIT_LINES_MAX = 60
HOOK_SPECIFICATION_LINES_MAX = 100

TOP_LEVEL = frozenset(
    "README.md LICENSE Makefile Dockerfile compose.yaml pyproject.toml constraints.txt .gitignore .dockerignore"
    " .ci autoscaler plugins events tests helm bench docs examples".split()
)
VAGUE_NAMES = frozenset("util utils helper helpers manager managers common misc base shared_code".split())
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\(when )")
MACHINE_PATH = re.compile(r"(?<![\w.$}~-])/(?:root|home|work|Users|farm)/\w")


def tracked() -> list[Path]:
    """The files of the repository that exist."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, timeout=30)
    if listed.returncode != 0:
        pytest.skip("git: the tree is not a checkout, so what belongs to it is not known")
    names = listed.stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def module_name(package: str, path: Path) -> str:
    inside = path.relative_to(PACKAGES[package])
    return ".".join((package, *inside.parent.parts, inside.stem)).removesuffix(".__init__")


def mentioned_modules(path: Path) -> set[str]:
    """What a file imports, at its top or inside a function, and each dotted name that it writes as a string."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("autoscaler"):
            found.add(node.value.partition(":")[0])
    return found


@pytest.mark.parametrize("folder", ["autoscaler", "plugins", "tests", "bench"])
def test_modules_are_short(folder: str) -> None:
    lines = {shown(path): len(path.read_text().splitlines()) for path in sources(folder)}
    assert {name: count for name, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    long = {
        f"{shown(path)}:{node.lineno} {node.name}": length(node)
        for path in sources("autoscaler", "plugins", "tests", "bench", "examples")
        for node in functions(path)
        if length(node) > FUNCTION_LINES_MAX
    }
    assert long == {}


def test_package_faces_are_short() -> None:
    faces = [path for path in sources("autoscaler", "plugins") if path.name == "__init__.py"]
    lines = {shown(path): len(path.read_text().splitlines()) for path in faces}
    assert {name: count for name, count in lines.items() if count > PUBLIC_INIT_LINES_MAX} == {}


def test_plugin_contract_fits_a_page() -> None:
    lines = (ROOT / "autoscaler" / "hookspecs.py").read_text().splitlines()
    assert len(lines) <= HOOK_SPECIFICATION_LINES_MAX


def test_every_hook_is_documented_and_tested() -> None:
    hooks = [node for node in functions(ROOT / "autoscaler" / "hookspecs.py") if node.decorator_list]
    tests = "\n".join(path.read_text() for path in sources("tests"))
    assert hooks
    assert [hook.name for hook in hooks if not ast.get_docstring(hook)] == []
    assert [hook.name for hook in hooks if not re.search(rf"\b{hook.name}\b", tests)] == []


def test_nothing_stands_at_the_top_that_the_design_does_not_list() -> None:
    assert sorted({path.relative_to(ROOT).parts[0] for path in tracked()} - TOP_LEVEL) == []


def test_modules_have_telling_names() -> None:
    vague = [
        shown(path) for path in tracked() if VAGUE_NAMES.intersection(path.with_suffix("").relative_to(ROOT).parts)
    ]
    assert vague == []


def test_nothing_is_left_for_later_without_saying_when() -> None:
    assert lines_with(UNFINISHED) == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    assert lines_with(MACHINE_PATH) == []


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tracked():
        if path == Path(__file__) or path.suffix in {".db", ".gz", ".png", ".svg"}:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{shown(path)}:{number}: {line.strip()[:100]}")
    return found


def test_every_module_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    entries = [*project["scripts"].values(), *(e for group in project["entry-points"].values() for e in group.values())]
    used = {entry.partition(":")[0] for entry in entries}
    for path in sources("autoscaler", "plugins", "tests", "bench", "examples"):
        used |= mentioned_modules(path) - {own(path)}
    modules = {module_name(name, path) for name, folder in PACKAGES.items() for path in folder.rglob("*.py")}
    packages = {module_name(name, path) for name, folder in PACKAGES.items() for path in folder.rglob("__init__.py")}
    dead = [module for module in modules - used - packages if not module.endswith(".__main__")]
    assert sorted(dead) == []


def own(path: Path) -> str:
    """The name under which a product's file is imported; a file that imports itself is no user of it."""
    for package, folder in PACKAGES.items():
        if path.is_relative_to(folder):
            return module_name(package, path)
    return ""
