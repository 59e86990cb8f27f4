"""The properties of a test broker: small, quick to start, quick to notice a failure, quick in transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

JAAS = "org.apache.kafka.common.security"


def node_settings(home: Path, node: int, clients: Sequence[int], controllers: Sequence[int]) -> dict[str, str]:
    """One node of an open cluster on loopback."""
    brokers = len(clients)
    voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, start=1))
    client, controller = clients[node - 1], controllers[node - 1]
    replicas, in_sync = str(min(brokers, 3)), str(min(brokers, 2))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{client}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": f"{home}/data",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "auto.create.topics.enable": "false",
        # A group forms at once, and a member that died is missed within seconds.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A transaction that meets the previous one's markers tries again at once; an abandoned one is aborted soon.
        "add.partitions.to.txn.retry.backoff.ms": "2",
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
        # A broker that stops is noticed within three seconds.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "controller.quorum.election.timeout.ms": "500",
        "controller.quorum.fetch.timeout.ms": "1000",
        "replica.lag.time.max.ms": "3000",
    }


def secured_settings(tls: Path, client: int, mtls: int, controller: int, users: Mapping[str, str]) -> dict[str, str]:
    """What differs on a broker with SCRAM-SHA-512 and PLAIN over TLS, a second listener with mTLS, and ACLs.

    ``User:ANONYMOUS`` serves the controller's own plaintext listener; there is no plaintext listener for clients.
    """
    plain = " ".join(f'user_{user}="{password}"' for user, password in users.items())
    login = f'username="admin" password="{users["admin"]}"'
    return {
        "listeners": f"CLIENT://127.0.0.1:{client},MTLS://127.0.0.1:{mtls},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"CLIENT://127.0.0.1:{client},MTLS://127.0.0.1:{mtls}",
        "inter.broker.listener.name": "CLIENT",
        "listener.security.protocol.map": "CLIENT:SASL_SSL,MTLS:SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "listener.name.client.scram-sha-512.sasl.jaas.config": f"{JAAS}.scram.ScramLoginModule required {login};",
        "listener.name.client.plain.sasl.jaas.config": f"{JAAS}.plain.PlainLoginModule required {login} {plain};",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": f"{tls}/server.pem",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": f"{tls}/ca.pem",
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.mtls.ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
        "allow.everyone.if.no.acl.found": "false",
    }
