"""A broker with SCRAM and PLAIN over TLS, mutual TLS and ACLs: what is let in, and what the refused are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from autoscaler.configuration.settings import StreamSecurity
from autoscaler.errors import ConfigurationError, StreamError
from autoscaler.ports.stream import Topic
from tests.adapters.stream_process import numbered
from tests.conftest import lacking
from tests.contract.stream_kinds import KafkaStream, Recorder, collect, everything, own_all
from tests.parts import PartMissing, kafka

pytestmark = pytest.mark.kafka

PASSWORD = "admin-pw"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Kafka]:
    """A secured broker on which the holder of the client certificate has all rights."""
    users = "User:admin;User:ANONYMOUS;User:client"
    try:
        started = kafka.start(tmp_path_factory.mktemp("secured-kafka"), secured=True, super_users=users)
    except PartMissing as error:
        raise lacking("kafka", error) from error
    with started:
        yield started


@pytest.fixture
def security(broker: kafka.Kafka, tmp_path: Path) -> StreamSecurity:
    """SCRAM over TLS, as it should be."""
    assert broker.tls is not None
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    return StreamSecurity(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username="admin",
        password_file=password,
        ca_file=broker.tls.ca,
    )


@pytest.fixture
def mutual(broker: kafka.Kafka) -> StreamSecurity:
    """Mutual TLS, as it should be."""
    assert broker.tls is not None
    tls = broker.tls
    return StreamSecurity(protocol="SSL", ca_file=tls.ca, cert_file=tls.client_certificate, key_file=tls.client_key)


@pytest.fixture(params=["scram", "plain", "mutual"])
async def stream(
    request: pytest.FixtureRequest, broker: kafka.Kafka, security: StreamSecurity, mutual: StreamSecurity
) -> AsyncIterator[KafkaStream]:
    """Each way to be let in."""
    chosen, bootstrap = security, broker.bootstrap
    if request.param == "plain":
        chosen = replace(security, mechanism="PLAIN")
    elif request.param == "mutual":
        chosen, bootstrap = mutual, broker.mtls_bootstrap or ""
    opened = KafkaStream(bootstrap, security=chosen)
    await opened.set_up()
    yield opened
    await opened.close()


async def test_who_has_the_right_credentials_reads_and_writes(stream: KafkaStream) -> None:
    member, client = stream.member(), stream.client()
    await own_all(member)
    await client.open()

    await client.publish(Topic.CONTROL, b"web", b"v")
    await member.append(numbered(0, 1))

    assert await collect(member, 1)
    assert len(await everything(client, Topic.AUDIT)) == 1


async def refusal(bootstrap: str, security: StreamSecurity) -> str:
    """What a member, a client and an admin are told: the same."""
    stream = KafkaStream(bootstrap, security=security)
    told = set()
    for opening in (stream.member().open(Recorder()), stream.client().open(), stream.admin().create_topics()):
        with pytest.raises(StreamError) as raised:
            await opening
        assert raised.value.outcome == "unavailable"
        told.add(str(raised.value))
    await stream.close()
    # A broker holds a refused connection for 100 ms, and TLS is only closed once both sides have said so.
    await asyncio.sleep(0.5)
    (text,) = told
    return text


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_wrong_password_is_told_as_such_and_not_repeated(
    broker: kafka.Kafka, security: StreamSecurity, tmp_path: Path, mechanism: Literal["SCRAM-SHA-512", "PLAIN"]
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guessed-wrong")

    told = await refusal(broker.bootstrap, replace(security, password_file=wrong, mechanism=mechanism))

    assert told == (
        "connect to Kafka: login refused (SaslAuthenticationFailed). Check username, password_file and "
        "mechanism of security"
    )


async def test_the_reason_is_told_although_the_client_library_is_silenced(
    broker: kafka.Kafka, security: StreamSecurity, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="aiokafka")

    told = await refusal(broker.bootstrap, replace(security, username="nobody"))

    assert "login refused" in told
    assert not [record for record in caplog.records if record.name.startswith("aiokafka")]


async def test_a_mechanism_that_is_not_offered_is_told(broker: kafka.Kafka, security: StreamSecurity) -> None:
    told = await refusal(broker.bootstrap, replace(security, mechanism="SCRAM-SHA-256"))

    assert "Check security.mechanism" in told


async def test_an_untrusted_certificate_is_told(broker: kafka.Kafka, security: StreamSecurity) -> None:
    told = await refusal(broker.bootstrap, replace(security, ca_file=None))

    assert "certificate is not trusted" in told
    assert "ca_file" in told


async def test_a_missing_client_certificate_is_told(broker: kafka.Kafka, mutual: StreamSecurity) -> None:
    told = await refusal(broker.mtls_bootstrap or "", replace(mutual, cert_file=None, key_file=None))

    assert "cert_file and key_file" in told


async def test_plaintext_to_a_tls_port_is_told_as_a_question_of_the_protocol(broker: kafka.Kafka) -> None:
    told = await refusal(broker.bootstrap, StreamSecurity())

    assert "Check protocol" in told


async def test_a_user_without_rights_sees_no_topics(
    broker: kafka.Kafka, security: StreamSecurity, tmp_path: Path
) -> None:
    rightful = KafkaStream(broker.bootstrap, security=security)
    await rightful.set_up()
    password = tmp_path / "alice"
    password.write_text("alice-pw")
    poor = KafkaStream(broker.bootstrap, security=replace(security, username="alice", password_file=password))
    object.__setattr__(poor.settings, "prefix", rightful.settings.prefix)

    elsewhere = KafkaStream(broker.bootstrap, security=poor.settings.security)

    with pytest.raises(ConfigurationError, match="this user may not see it"):
        await poor.member().open(Recorder())
    with pytest.raises(StreamError, match=r"create topic|Authorization|authori[sz]ed"):
        await elsewhere.admin().create_topics()
    await elsewhere.close()
    await poor.close()
    await rightful.close()


async def test_files_that_cannot_be_read_are_errors_of_the_configuration(
    broker: kafka.Kafka, security: StreamSecurity, tmp_path: Path
) -> None:
    absent, rubbish = tmp_path / "absent", tmp_path / "rubbish"
    rubbish.write_text("no certificate")
    cases = [
        (replace(security, password_file=absent), r"stream\.security\.password_file: .*absent cannot be read"),
        (replace(security, password_file=None), r"stream\.security\.password_file: is missing for SASL_SSL"),
        (replace(security, ca_file=absent), r"stream\.security\.ca_file: .*absent cannot be read"),
        (replace(security, ca_file=rubbish), r"stream\.security: the TLS files cannot be used"),
    ]
    for changed, told in cases:
        with pytest.raises(ConfigurationError, match=told):
            await KafkaStream(broker.bootstrap, security=changed).member().open(Recorder())
