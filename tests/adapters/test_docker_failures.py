"""What foreign errors mean, when a circuit opens, and how engines' times are read: tables, no engine."""

from __future__ import annotations

import pytest
import requests
import urllib3
from docker.errors import APIError

from autoscaler.adapters.docker.circuit import Circuit
from autoscaler.adapters.docker.client import version_parts
from autoscaler.adapters.docker.containers import moment
from autoscaler.adapters.docker.failures import CallFailed, Failure, Verb, pull_failure, read_failure
from autoscaler.adapters.docker.feed import WAITING_MAX, Feed
from autoscaler.adapters.docker.images import Image, choose_pin, pull_rule
from autoscaler.core.revision import RevisionSpec
from autoscaler.errors import TargetError
from autoscaler.ports.target import HostChange

REFUSED_CONNECTION = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionRefusedError(111, "Connection refused"))
)
NO_SOCKET = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", FileNotFoundError(2, "No such file"))
)
HUNG_UP = requests.exceptions.ConnectionError(
    urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset by peer"))
)


def answered(status: int, text: str = "words of the engine") -> APIError:
    response = requests.Response()
    response.status_code = status
    return APIError("", response=response, explanation=text)


@pytest.mark.parametrize(
    ("error", "verb", "result", "blame"),
    [
        pytest.param(answered(404), "stop", "done", "", id="stop-of-gone"),
        pytest.param(answered(404), "remove", "done", "", id="remove-of-gone"),
        pytest.param(answered(404), "start", "refused", "", id="start-of-gone"),
        pytest.param(answered(404, "No such image: x"), "create", "refused", "", id="create-without-image"),
        pytest.param(answered(404, "network n not found"), "start", "refused", "host", id="no-such-network"),
        pytest.param(answered(409), "create", "conflict", "", id="name-taken"),
        pytest.param(answered(400), "create", "refused", "revision", id="bad-option"),
        pytest.param(answered(400, "exec format error"), "start", "refused", "revision", id="other-machine"),
        pytest.param(
            answered(500, "Bind for 0.0.0.0:80 failed: port is already allocated"),
            "start",
            "refused",
            "host",
            id="port",
        ),
        pytest.param(answered(500, "write /x: no space left on device"), "create", "refused", "host", id="disk-full"),
        pytest.param(answered(500), "create", "refused", "host", id="engine-error-at-create"),
        pytest.param(answered(500), "stop", "unavailable", "host", id="engine-error-at-stop"),
        pytest.param(answered(500, "transport is closing"), "start", "unavailable", "host", id="shutting-down"),
        pytest.param(answered(503), "create", "unavailable", "host", id="not-ready"),
        pytest.param(REFUSED_CONNECTION, "create", "unavailable", "host", id="connection-refused"),
        pytest.param(NO_SOCKET, "stop", "unavailable", "host", id="no-socket"),
        pytest.param(requests.exceptions.ConnectTimeout(), "create", "unavailable", "host", id="connect-timeout"),
        pytest.param(requests.exceptions.ReadTimeout(), "create", "unknown", "host", id="no-answer"),
        pytest.param(HUNG_UP, "start", "unknown", "host", id="hung-up"),
        pytest.param(requests.exceptions.ReadTimeout(), "list", "unavailable", "host", id="no-listing"),
    ],
)
def test_an_error_means_what_the_table_says(error: Exception, verb: Verb, result: str, blame: str) -> None:
    failure = read_failure(error, verb)
    assert (failure.result, failure.blame) == (result, blame)
    assert failure.text


@pytest.mark.parametrize(
    ("text", "result", "blame"),
    [
        ("manifest for x:1 not found: manifest unknown", "refused", "revision"),
        ("pull access denied for x, repository does not exist", "refused", "revision"),
        ("Head https://r/v2/x: no basic auth credentials", "refused", "revision"),
        ("open /var/lib/docker/tmp/x: permission denied", "unavailable", ""),
        ("dial tcp: lookup r.example: no such host", "unavailable", ""),
        ("toomanyrequests: rate limit", "unavailable", ""),
        ("write /var/lib/docker/x: no space left on device", "refused", "host"),
    ],
)
def test_a_failed_pull_is_the_registrys_no_or_a_matter_of_time(text: str, result: str, blame: str) -> None:
    failure = pull_failure(text)
    assert (failure.result, failure.blame) == (result, blame)


def test_long_error_texts_are_cut_and_made_one_line() -> None:
    assert len(read_failure(answered(500, "x\n" * 5000), "create").text) < 600
    assert "\n" not in read_failure(answered(500, "one\ntwo"), "create").text


def test_a_failed_call_is_an_error_of_the_programs_tree() -> None:
    error = CallFailed(Failure("conflict", "taken"))
    assert isinstance(error, TargetError)
    assert (error.outcome, error.retriable) == ("refused", False)
    assert CallFailed(Failure("unknown", "no answer")).retriable


def test_a_circuit_opens_after_three_silent_calls_in_a_row() -> None:
    circuit = Circuit()
    assert [circuit.fail(1.0, "silent"), circuit.fail(2.0, "silent")] == [False, False]
    circuit.succeed(3.0)
    assert [circuit.fail(float(at), "silent") for at in (4, 5, 6)] == [False, False, True]
    assert (circuit.is_open, circuit.since) == (True, 6.0)


def test_a_failed_listing_opens_the_circuit_at_once_and_any_answer_closes_it() -> None:
    circuit = Circuit()
    assert circuit.trip(1.0, "no listing")
    assert not circuit.trip(2.0, "still none")
    assert circuit.since == 1.0
    assert circuit.succeed(3.0)
    assert (circuit.is_open, circuit.since) == (False, 3.0)


def test_probes_of_an_open_circuit_back_off_to_a_minute() -> None:
    circuit = Circuit()
    assert [circuit.back_off() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    circuit.succeed(1.0)
    assert circuit.back_off() == 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-02T03:04:05.123456789Z", 1767323045.123456789),
        ("2026-01-02T03:04:05Z", 1767323045.0),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_an_engines_time_is_seconds_since_the_epoch(text: str, seconds: float | None) -> None:
    assert moment(text) == (seconds if seconds is None else pytest.approx(seconds, abs=1e-6))


def test_versions_compare_as_numbers() -> None:
    assert version_parts("1.9") < version_parts("1.41") < version_parts("1.100")


@pytest.mark.parametrize(
    ("image", "pull", "rule"),
    [
        ("shop/web:2", "", "missing"),
        ("shop/web", "", "always"),
        ("shop/web:latest", "", "always"),
        ("r.example:5000/web", "", "always"),
        ("shop/web@sha256:" + "a" * 64, "", "missing"),
        ("sha256:" + "a" * 64, "", "never"),
        ("shop/web", "missing", "missing"),
        ("shop/web:2", "always", "always"),
    ],
)
def test_names_that_move_are_always_pulled_unless_told_otherwise(image: str, pull: str, rule: str) -> None:
    assert pull_rule(RevisionSpec(image=image, pull=pull)) == rule  # type: ignore[arg-type]


def test_a_digest_that_all_hosts_have_is_preferred_to_the_id() -> None:
    digest = "shop/web@sha256:" + "d" * 64
    have = Image("sha256:1", frozenset({digest, "mirror/web@sha256:" + "e" * 64}))
    assert choose_pin("shop/web:2", {"h1": have, "h2": have}) == digest
    assert choose_pin("shop/web:2", {"h1": have, "h2": Image("sha256:1")}) == "sha256:1"
    assert choose_pin("shop/web:2", {"h1": have, "h2": Image("sha256:2", have.digests)}) == digest
    assert choose_pin("shop/web:2", {"h1": Image("sha256:1"), "h2": Image("sha256:2")}) == ""


async def test_a_listener_that_is_too_slow_is_told_to_look_at_the_whole_host() -> None:
    feed = Feed()
    listener = feed.subscribe()
    for number in range(WAITING_MAX + 1):
        feed.publish(HostChange("h1", removed=str(number)))
    feed.close()
    assert [change async for change in listener] == [HostChange("h1"), HostChange("h1", removed=str(WAITING_MAX))]
