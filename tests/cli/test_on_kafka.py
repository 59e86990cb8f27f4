"""The commands that look and send do so on a real broker as on the embedded stream."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from tests.cli.instance import Project, eventually
from tests.conftest import KafkaBroker


def test_commands_work_on_a_broker(project: Project, kafka_broker: KafkaBroker) -> None:
    file = Path(project.file)
    name = f"cli-{secrets.token_hex(4)}"
    stream = f'stream: {{kind: kafka, brokers: ["{kafka_broker}"], prefix: {name}, partitions: 3'
    text = file.read_text().replace("stream: {kind: embedded, path: ./stream.db, partitions: 3", stream)
    file.write_text(text.replace("cluster: cli", f"cluster: {name}"))

    missing = project.call("status", "--json")
    assert missing.exit_code == 2
    assert "autoscaler topics create" in json.loads(missing.stderr)["remedy"]
    assert project.json("topics", "create")["topics"][0].startswith(f"{name}.metrics")

    waited = project.call("scale", "shop", "2", "--timeout", "1s")
    assert (waited.exit_code, "no instance has answered" in waited.stderr) == (1, True)
    project.start()
    try:
        eventually(lambda: project.settled("shop"), 60)
        assert project.call("emit", "metric", "shop", "requests_per_second=140").exit_code == 0
        assert project.call("scale", "shop", "3").exit_code == 0
        assert project.json("status", "shop")["desired"] == 3
        assert project.call("scale", "shop", "9").exit_code == 3
        verified = project.call("audit", "--verify")
        assert verified.exit_code == 0, verified.stdout
        assert project.json("explain", "shop")["decision"]["reason"]["code"] == "bounds"
        lines = project.call("audit", "shop").stdout.splitlines()
        assert [int(line.split()[2]) for line in lines] == list(range(1, len(lines) + 1))
    finally:
        project.stop()
