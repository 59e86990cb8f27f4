"""A secret, wherever it stands in the file or the environment, comes out in no message and no display."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoscaler.configuration.explain import show
from autoscaler.errors import ConfigurationError
from tests.configuration.builders import SMALL, a_service, loaded, problems

CANARY = "canary-7f3a9"

WRONG = {
    "a password key": f"{SMALL}stream: {{brokers: ['a:1'], security: {{password: {CANARY}}}}}\n",
    "a password for a file name": f"{SMALL}registries: [{{host: r, username: u, password_file: {CANARY}}}]\n",
    "a password for a number": f"{SMALL}stream: {{partitions: {CANARY}}}\n",
    "a password for a word of a list": f"{SMALL}stream: {{kind: {CANARY}}}\n",
    "a password for a mapping": f"{SMALL}stream: {CANARY}\n",
    "a password as a tag": f"{SMALL}stream: !{CANARY} x\n",
    "a password as an alias": f"{SMALL}stream: *{CANARY}\n",
    "a password after a percent": f"{SMALL}stream: %{CANARY}\n",
    "a password in broken YAML": f"{SMALL}stream: {{password: '{CANARY}\n",
    "a password as a broker": f"{SMALL}stream: {{brokers: ['{CANARY}']}}\n",
    "a password in an engine's url": (
        f"cluster: a\ntargets: {{e: {{kind: docker, hosts: [{{name: h, url: 'ssh://me:{CANARY}@h'}}]}}}}\n"
    ),
    "a password in a metrics url": (
        f"{SMALL}metrics: {{prometheus: [{{url: 'http://me:{CANARY}@p:9090', every: 5s, queries: {{}}}}]}}\n"
    ),
    "a password in env with a wrong key beside it": a_service(
        f"revision: {{command: [x], env: {{PASSWORD: {CANARY}, N: 5}}}}"
    ),
    "a password in env as a list": a_service(f"revision: {{command: [x], env: [{CANARY}]}}"),
    "a password as an image": a_service(f"revision: {{image: 'Not An {CANARY} Image'}}"),
    "a password as a duration": a_service(f"scaling: {{idle: {CANARY}}}"),
    "a password as a freeze window": a_service(f"guards: {{freeze: ['{CANARY}']}}"),
    "a password as a target": a_service(f"template: {CANARY}"),
}


@pytest.mark.parametrize("case", WRONG)
def test_no_message_repeats_a_value(case: str, tmp_path: Path) -> None:
    found = problems(tmp_path, WRONG[case])
    assert found
    assert not [problem for problem in found if CANARY in problem]


@pytest.mark.parametrize("name", ["STREAM__KIND", "STREAM__SECURITY__PASSWORD", "STREAM__PARTITIONS", "SERVICES", "X"])
def test_no_message_repeats_a_variable_s_value(name: str, tmp_path: Path) -> None:
    found = problems(tmp_path, SMALL, {f"AUTOSCALER_{name}": f"[{CANARY}"})
    assert found
    assert not [problem for problem in found if CANARY in problem]


def test_no_traceback_holds_a_value(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, WRONG["a password for a number"])
    chain: BaseException | None = caught.value
    while chain is not None:
        assert CANARY not in str(chain)
        chain = chain.__cause__ or chain.__context__


def test_the_effective_configuration_and_the_digest_hold_no_secret(tmp_path: Path) -> None:
    text = a_service(
        "policies: [{use: p, with: {api_token: %s, nested: {password: %s}, n: 3}}],"
        " revision: {command: [x, 'redis://u:%s@h/0'], env: {DB_PASSWORD: %s, URL: 'http://u:%s@h', MODE: prod}}"
    )
    first = loaded(tmp_path, text.replace("%s", CANARY))
    second = loaded(tmp_path, text.replace("%s", "other"))
    shown = json.dumps(show(first))
    assert CANARY not in shown
    assert "***" in shown
    assert "prod" in shown
    assert first.configuration.digest == second.configuration.digest
