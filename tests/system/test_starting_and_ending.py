"""How `run` begins and ends as a process: exit codes, all problems at once, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable

from tests.system.installation import Installation
from tests.system.trail import at_rest, judge


async def test_every_problem_of_a_configuration_is_told_at_once_and_nothing_starts(
    local: Callable[..., Installation],
) -> None:
    installation = local()
    installation.services = {
        "web": installation.service(replicas=-1),
        "shop": installation.service(target="nowhere", update={"soak": "sometimes"}),
    }
    installation.extra = {"surprise": 1}
    installation.write()
    code, out, said = await installation.call("run")
    assert (code, out) == (2, "")
    for path in (
        "surprise",
        "services.web.replicas.initial",
        "services.shop.target",
        "services.shop.update.soak",
    ):
        assert path in said, f"{path} is missing in:\n{said}"
    assert not (installation.directory / "stream.db").exists()


async def test_missing_plugin_is_told_with_its_place(local: Callable[..., Installation]) -> None:
    installation = local()
    installation.services = {"web": installation.service()}
    installation.extra = {"plugins": ["./absent.py"]}
    installation.write()
    code, _, said = await installation.call("run")
    assert code == 2
    assert "plugins[0]: the file does not exist" in said


async def test_unknown_policy_is_told_with_the_nearest_known(local: Callable[..., Installation]) -> None:
    installation = local()
    installation.services = {"web": installation.service(policies=[{"use": "target_valu", "with": {}}])}
    installation.write()
    code, _, said = await installation.call("run")
    assert code == 2
    assert "services.web.policies" in said
    assert "target_value" in said


async def test_request_to_end_is_met_and_the_replicas_go_on(local: Callable[..., Installation]) -> None:
    installation = local()
    installation.services = {"web": installation.service(replicas=2)}
    await installation.open()
    first = installation.start()
    await at_rest(installation, "web")
    before = installation.ground.standing()
    assert await first.terminated(within_s=10.0) == 0
    assert installation.ground.standing() == before
    installation.start()
    event = await installation.command("web", "scale", "c-1", replicas=3)
    await installation.wanted("web", 3, revision=1)
    await at_rest(installation, "web")
    await judge(installation, event)


async def test_unknown_failpoint_is_no_silent_success(local: Callable[..., Installation]) -> None:
    installation = local()
    installation.services = {"web": installation.service()}
    await installation.open()
    member = installation.start("after_lunch")
    assert await member.ended(within_s=20.0) != 0
    assert member.said("AUTOSCALER_FAILPOINT", "after_lunch")
