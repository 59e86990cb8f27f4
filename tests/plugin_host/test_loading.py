"""What is loaded, what is refused, and what the refusal says."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autoscaler import Scale, hookspecs
from autoscaler.configuration.service_build import frozen_options
from autoscaler.core.settings import PolicyUse
from autoscaler.plugin_host import PluginHost
from autoscaler.plugin_host.binding import OFFERED
from tests.plugin_host import bad
from tests.plugin_host.conftest import Loader, a_request

GOOD = bad.source(bad.BODIES["good"])
HEAD = "import autoscaler\n@autoscaler.hookimpl\n"
MISTAKES = {
    "argument": ("def propose(servce): ...", "propose has no argument servce. Did you mean service?"),
    "strange_argument": ("def propose(zzz): ...", "propose has no argument zzz. On offer are service, signals, now"),
    "keyword_argument": (
        "def propose(service, *, sgnals): ...",
        "propose has no argument sgnals. Did you mean signals?",
    ),
    "hook": ("def propse(service): ...", "there is no hook propse. Did you mean propose?"),
    "catch_all": ("def propose(**everything): ...", "propose takes *everything; name the arguments that it wants"),
    "async": ("async def propose(service): ...", "propose is async; hooks are plain functions. Drop async"),
    "generator": ("def propose(service): yield 1", "propose is a generator; return a value instead of yielding it"),
}


NESTED = """
import autoscaler
from pydantic import BaseModel, ConfigDict, Field
class Limit(BaseModel):
    model_config = ConfigDict(strict=True)
    above: float
class Options(BaseModel):
    model_config = ConfigDict(strict=True)
    limits: list[Limit]
@autoscaler.hookimpl
def propose(options):
    return autoscaler.Scale(int(options.limits[0].above), reason="as the limit says")
"""


@pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])
async def test_options_inside_of_options_are_taken_as_a_file_has_them(load: Loader, *, trusted: bool) -> None:
    """The configuration holds them read-only, which a strict model takes for no dictionary and no list."""
    host = load(mine=NESTED, trusted=trusted)
    given = frozen_options({"limits": [{"above": 3.0}]})
    plain, problems = host.validate_options("mine", given)
    assert (plain, problems) == ({"limits": [{"above": 3.0}]}, ())
    request = replace(a_request("mine"), uses=(PolicyUse("mine", given),))
    ((vote,),) = [host.votes(request)] if trusted else await host.foreign_votes([request])
    assert vote.unknown == ""
    assert isinstance(vote.proposal, Scale)
    assert vote.proposal.to == 3


@pytest.mark.parametrize("trusted", [True, False], ids=["in_process", "in_the_worker"])
@pytest.mark.parametrize(("code", "error"), MISTAKES.values(), ids=MISTAKES)
def test_a_hook_that_could_never_be_called_rightly_is_refused(
    load: Loader, *, trusted: bool, code: str, error: str
) -> None:
    host = load(mine=f"import autoscaler\n@autoscaler.hookimpl\n{code}\n", trusted=trusted)
    assert host.plugins[0].error.startswith(error)
    assert host.problems[0].path == "plugins.mine"


def test_a_wrapper_is_refused(load: Loader) -> None:
    host = load(mine="import autoscaler\n@autoscaler.hookimpl(wrapper=True)\ndef propose():\n    return (yield)\n")
    assert "is a wrapper" in host.plugins[0].error


def test_a_module_without_hooks_is_refused(load: Loader) -> None:
    assert "implements no hook" in load(mine="x = 1").plugins[0].error


def test_keyword_only_arguments_are_handed_over(load: Loader) -> None:
    text = f"{HEAD}def propose(*, now, service):\n    return autoscaler.Scale(service.demand)\n"
    (vote,) = load(mine=text, trusted=True).votes(a_request("mine"))
    assert vote.unknown == ""


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    host = PluginHost.load(uses=["target_valu"])
    assert host.plugins[0].error == "no plugin named target_valu is installed. Did you mean target_value?"


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    host = PluginHost.load(("./mine.py",), tmp_path)
    assert [str(problem) for problem in host.problems] == [
        "plugins.mine: no such file: ./mine.py. Write the path relative to the configuration file."
    ]


def test_what_ships_with_the_product_runs_in_the_process() -> None:
    host = PluginHost.load(uses=["target_value", "step", "error_rate"])
    assert [(p.name, p.in_process, p.error) for p in host.plugins] == [
        ("error_rate", True, ""), ("step", True, ""), ("target_value", True, ""),
    ]  # fmt: skip
    assert host.worker_pid is None


def test_a_file_named_in_plugins_is_used_by_its_stem(load: Loader) -> None:
    host = load(mine=GOOD)
    assert [(p.name, p.distribution, p.in_process) for p in host.plugins] == [("mine", "./mine.py", False)]


@pytest.mark.parametrize(
    ("environ", "off"),
    [
        ({"AUTOSCALER_DISABLE_PLUGINS": "step"}, {"step"}),
        ({"AUTOSCALER_LOAD_PLUGINS": "step"}, {"target_value"}),
        ({"AUTOSCALER_LOAD_PLUGINS": ""}, {"step", "target_value"}),
        ({}, set()),
    ],
)
def test_the_environment_switches_plugins_off(environ: dict[str, str], off: set[str]) -> None:
    host = PluginHost.load(uses=["target_value", "step"], environ=environ)
    assert {p.name for p in host.plugins if p.error} == off


def test_options_are_checked_by_the_plugins_model() -> None:
    host = PluginHost.load(uses=["target_value"])
    plain, problems = host.validate_options("target_value", {"metric": "rps", "per_replica": 50, "tolerance": "20%"})
    assert (plain, problems) == ({"metric": "rps", "per_replica": 50.0, "tolerance": 0.2}, ())
    _, problems = host.validate_options("target_value", {"metrc": "rps", "per_replica": -1})
    assert [(p.path, p.what) for p in problems] == [
        ("metric", "Field required"),
        ("per_replica", "Input should be greater than 0"),
        ("metrc", "no such option. Did you mean metric?"),
    ]


OPTIONS = """
import autoscaler, pydantic
class Options(pydantic.BaseModel):
    limit: int = 3
@autoscaler.hookimpl
def propose(options):
    return autoscaler.Scale(options.limit)
"""


async def test_a_foreign_plugins_options_are_checked_in_the_worker(load: Loader) -> None:
    host = load(mine=OPTIONS)
    assert host.validate_options("mine", {}) == ({"limit": 3}, ())
    _, problems = host.validate_options("mine", {"limit": "many"})
    assert problems[0].path == "limit"


def test_a_plugin_that_takes_no_options_gets_none(load: Loader) -> None:
    _, problems = load(mine=GOOD, trusted=True).validate_options("mine", {"limit": 3})
    assert [(p.path, p.what) for p in problems] == [("limit", "the plugin takes no options")]


def test_a_use_without_the_hook_is_told(load: Loader) -> None:
    _, problems = load(mine=GOOD, trusted=True).validate_options("mine", {}, "guard")
    assert problems[0].what == "the plugin mine has no guard; it has propose"


def test_a_foreign_plugin_may_not_register_an_adapter(load: Loader) -> None:
    text = "import autoscaler\n@autoscaler.hookimpl\ndef register_target(config):\n    return config\n"
    assert "set trusted: true" in load(mine=text).plugins[0].error
    trusted = load(mine=text, trusted=True)
    assert trusted.adapter("register_target", "made") == "made"
    assert trusted.adapter("register_router", "made") is None


def test_the_offered_arguments_are_those_of_the_specification() -> None:
    specified = {
        name: tuple(inspect.signature(function).parameters)
        for name, function in vars(hookspecs).items()
        if hasattr(function, f"{hookspecs.PROJECT}_spec")
    }
    assert specified == OFFERED
    assert all(inspect.getdoc(getattr(hookspecs, name)) for name in specified)


def test_importing_the_surface_loads_neither_pydantic_nor_plugins() -> None:
    code = (
        "import sys, autoscaler; print([m for m in ('pydantic', 'autoscaler_plugins', 'asyncio') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_loading_plugins_imports_only_those_named() -> None:
    code = (
        "import sys; from autoscaler.plugin_host import PluginHost; PluginHost.load(uses=['step']);"
        "print([m for m in sys.modules if m.startswith('autoscaler_plugins.') and '.rules' not in m])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "['autoscaler_plugins.step']"
