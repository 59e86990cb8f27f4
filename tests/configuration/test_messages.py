"""What a user reads: exact texts of problems, each with its place and its remedy."""

# ruff: noqa: S608 - the word "update" and a formatted text are no SQL

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.configuration import load
from autoscaler.errors import ConfigurationError
from tests.configuration.builders import SMALL, a_service, problems

AT = "autoscaler.yaml:5 services.web"

SERVICE_CASES = {
    "max below min": (
        "replicas: {min: 3, max: 2}",
        f"{AT}.replicas.max: 2 is below min 3. Raise max or lower min.",
    ),
    "initial out of bounds": (
        "replicas: {min: 1, max: 4, initial: 9}",
        f"{AT}.replicas.initial: 9 is not within min 1 and max 4. Change initial or a bound.",
    ),
    "a wrong key of what stands in": (
        "signals: {rps: {on_unknown: {flor: 3}}}",
        f'{AT}.signals.rps.on_unknown.flor: there is no such key. Did you mean "floor"?',
    ),
    "a form that a toleration has not": (
        "placement: {tolerations: [[a]]}",
        f"{AT}.placement.tolerations[0]: must be text or a mapping. Write text, or `key: value` lines below it.",
    ),
    "a form that a label's values have not": (
        "placement: {labels: {zone: {a: b}}}",
        f"{AT}.placement.labels.zone: must be text or a list. Write text, or [a, b].",
    ),
    "nothing may run": ("replicas: {max: 0}", f"{AT}.replicas.max: is 0, so nothing could ever run. Raise max."),
    "unknown key": ("replica: {min: 3}", f'{AT}.replica: there is no such key. Did you mean "replicas"?'),
    "unknown nested key": (
        "scaling: {down_windw: 5m}",
        f'{AT}.scaling.down_windw: there is no such key. Did you mean "down_window"?',
    ),
    "unknown key far from all": (
        "route: {listen: '127.0.0.1:80', zzz: 1}",
        f"{AT}.route.zzz: there is no such key. Known here: listen, port, router, backend, hold, hold_for.",
    ),
    "duration without unit": (
        "scaling: {idle: 30}",
        f"{AT}.scaling.idle: a duration needs a unit. Write 30s.",
    ),
    "duration of nonsense": (
        "scaling: {idle: soon}",
        f"{AT}.scaling.idle: not a duration. Write it as 30s, 5m, 1h30m or 250ms.",
    ),
    "text for a number": (
        "replicas: {max: '4'}",
        f"{AT}.replicas.max: must be a whole number. Write it as 3: no quotes, no point, no zero in front.",
    ),
    "octal": (
        "replicas: {max: 010}",
        f"{AT}.replicas.max: must be a whole number. Write it as 3: no quotes, no point, no zero in front.",
    ),
    "bool for a number": (
        "replicas: {max: true}",
        f"{AT}.replicas.max: must be a whole number. Write it as 3: no quotes, no point, no zero in front.",
    ),
    "fraction for a number": (
        "replicas: {max: 1.5}",
        f"{AT}.replicas.max: must be a whole number. Write it as 3: no quotes, no point, no zero in front.",
    ),
    "no for a boolean": (
        "update: {rollback: no}",
        f"{AT}.update.rollback: must be true or false. Write it without quotes.",
    ),
    "below the bound": (
        "replicas: {min: -1}",
        f"{AT}.replicas.min: is below the least value allowed, 0. Raise it.",
    ),
    "a word of a list": (
        "scaling: {combine: maxx}",
        f'{AT}.scaling.combine: must be one of max, min, priority, quorum. Did you mean "max"?',
    ),
    "a quorum of more than there are": (
        "policies: [{use: target_value}], scaling: {combine: quorum, quorum: 2}",
        f"{AT}.scaling.quorum: 2 of 1 policies can never agree. Lower it or add policies.",
    ),
    "a quorum that counts on shadows": (
        "policies: [{use: a}, {use: b, shadow: true}], scaling: {combine: quorum, quorum: 2}",
        f"{AT}.scaling.quorum: 2 of 1 policies can never agree. Lower it or add policies.",
    ),
    "a shadow of the same name": (
        "policies: [{use: a}, {use: a, shadow: true}]",
        f"{AT}.policies[1]: has the same label as policies[0], a. Give one of them a name: of its own.",
    ),
    "too many shadows": (
        "policies: [" + ", ".join(f"{{use: p{n}, shadow: true}}" for n in range(9)) + "]",
        f"{AT}.policies[8].shadow: is shadow 9 of a service, and 8 are allowed. Remove one.",
    ),
    "two things for an unknown signal": (
        "signals: {rps: {on_unknown: {floor: 3, value: 2.5}}}",
        (
            f"{AT}.signals.rps.on_unknown: has floor and value, and one thing stands in for a signal."
            " Keep one of decay, floor, value, or write hold."
        ),
    ),
    "nothing for an unknown signal": (
        "signals: {rps: {on_unknown: {}}}",
        (
            f"{AT}.signals.rps.on_unknown: has nothing, and one thing stands in for a signal."
            " Keep one of decay, floor, value, or write hold."
        ),
    ),
    "a floor out of reach": (
        "replicas: {max: 4}, signals: {rps: {on_unknown: {floor: 6}}}",
        f"{AT}.signals.rps.on_unknown.floor: 6 is above replicas.max 4. Lower it or raise max.",
    ),
    "an unknown stand-in": (
        "signals: {rps: {on_unknown: keep}}",
        (
            f"{AT}.signals.rps.on_unknown: neither hold nor a mapping."
            " Write hold, {decay: 5m}, {floor: 3} or {value: 100}."
        ),
    ),
    "a quorum that nobody asks for": (
        "policies: [{use: a}, {use: b}], scaling: {quorum: 2}",
        f"{AT}.scaling.quorum: has no meaning with combine: max. Write combine: quorum or remove it.",
    ),
    "an unknown strategy": (
        "update: {strategy: blue_geen}",
        f'{AT}.update.strategy: must be one of rolling, canary, blue_green. Did you mean "blue_green"?',
    ),
    "a canary without steps": (
        "update: {strategy: canary}",
        (
            f"{AT}.update.steps: is empty, and a canary goes by steps."
            " List some, such as [{weight: 5%, pause: 2m}, {weight: 50%, pause: until promote}]."
        ),
    ),
    "steps of a rolling update": (
        "update: {steps: [{weight: 5%}]}",
        (f"{AT}.update.steps: has no meaning for the strategy rolling. Set strategy: canary, or remove the steps."),
    ),
    "a step of nothing": (
        "update: {strategy: canary, steps: [{weight: 5%}, {pause: 1m}]}",
        f"{AT}.update.steps[1]: has neither weight nor count. Give it exactly one of them.",
    ),
    "two previews": (
        "update: {strategy: blue_green, steps: [{count: 1}, {count: 2}]}",
        f"{AT}.update.steps: has more than one step, and blue_green has one preview. Keep one, or use canary.",
    ),
    "both zero": (
        "update: {max_surge: 0, max_unavailable: 0%}",
        (
            f"{AT}.update.max_surge: is 0 while max_unavailable is 0 too, so no update could begin."
            " Set one of them, for example max_unavailable: 1."
        ),
    ),
    "deadlines out of order": (
        "update: {startup_deadline: 5m, deadline: 2m}",
        f"{AT}.update.startup_deadline: 5m is not below deadline 2m. Lower startup_deadline or raise deadline.",
    ),
    "min_healthy too long": (
        "update: {min_healthy: 3m, deadline: 2m}",
        f"{AT}.update.min_healthy: 3m is not below deadline 2m. Lower min_healthy or raise deadline.",
    ),
    "soak below monitor": (
        "update: {soak: 10s, monitor: 1m}",
        f"{AT}.update.soak: 10s is below monitor 1m. Raise soak or lower monitor.",
    ),
    "rollback said twice": (
        "update: {rollback: true, on_failure: hold}",
        f"{AT}.update.rollback: is true while on_failure is hold. Keep one of the two.",
    ),
    "freeze of an unknown zone": (
        "guards: {freeze: ['Fri 17:00-Mon 07:00 Europe/Berlni']}",
        f"{AT}.guards.freeze[0]: the time zone is not known. Write its IANA name, such as Europe/Berlin or UTC.",
    ),
    "freeze without a day": (
        "guards: {freeze: ['17:00-18:00 UTC']}",
        f"{AT}.guards.freeze[0]: not a freeze window. Write it as Fri 17:00-Mon 07:00 Europe/Berlin.",
    ),
    "step of zero": (
        "guards: {max_step_up: {by: 0, per: 1m}}",
        f"{AT}.guards.max_step_up.by: is 0, so no step could be made. Raise it, or use freeze or replicas.",
    ),
    "two policies of one label": (
        "policies: [{use: a}, {use: a}]",
        f"{AT}.policies[1]: has the same label as policies[0], a. Give one of them a name: of its own.",
    ),
    "a policy without use": ("policies: [{with: {}}]", f"{AT}.policies[0].use: is missing. Add `use:`."),
    "an image for processes": (
        "revision: {image: 'shop/web:1', command: [x]}",
        f"{AT}.revision.image: has no meaning on the process target. Remove it.",
    ),
    "a command pattern of half a quote": (
        'commands: ["serve \'x"]',
        f"{AT}.commands[0]: not a command line. Write it as a shell would, such as serve *.",
    ),
    "an unknown template": ("template: wob", f"{AT}.template: names no template. Remove it."),
}


@pytest.mark.parametrize("case", SERVICE_CASES)
def test_a_problem_of_a_service_names_its_place_and_its_remedy(case: str, tmp_path: Path) -> None:
    body, expected = SERVICE_CASES[case]
    assert problems(tmp_path, a_service(body)) == [expected]


FILE_CASES = {
    "no cluster": ("services: {}\n", "autoscaler.yaml:1 cluster: is missing. Add `cluster:`."),
    "a cluster's name": (
        "cluster: My_Shop\n",
        "autoscaler.yaml:1 cluster: not a usable name. Use at most 63 of a-z, 0-9 and -, not at the start or end.",
    ),
    "a service's name": (
        SMALL.replace("web:", "Web:"),
        (
            "autoscaler.yaml:5 services.Web: not a usable name for a service."
            " Use at most 63 of a-z, 0-9 and -, not at the start or end."
        ),
    ),
    "an unknown target": (
        SMALL.replace("target: local", "target: lokal"),
        'autoscaler.yaml:6 services.web.target: names no target of this file. Did you mean "local"?',
    ),
    "no target": (
        SMALL.replace("    target: local\n", ""),
        "autoscaler.yaml:6 services.web.target: is missing. Name one of the targets: local.",
    ),
    "a later kind of target": (
        SMALL.replace("kind: process", "kind: swarm"),
        "autoscaler.yaml:3 targets.local.kind: swarm comes in a later version. Use docker or process.",
    ),
    "a key twice": (
        SMALL + "cluster: again\n",
        "autoscaler.yaml:8 cluster: written twice, first in line 1. Keep one of them.",
    ),
    "not YAML": (
        "cluster: [shop\n",
        (
            "autoscaler.yaml:2 yaml: not valid YAML: did not find expected ',' or ']'."
            " Check the indentation, quotes and brackets there."
        ),
    ),
    "empty": ("", "autoscaler.yaml:1 yaml: the file is empty. `autoscaler init` writes one to start from."),
    "a list": ("- a\n", "autoscaler.yaml:1 yaml: the file is not a mapping. Write `key: value` lines."),
    "kafka without brokers": (
        SMALL + "stream: {kind: kafka}\n",
        'autoscaler.yaml:8 stream.brokers: is missing. Write brokers: ["127.0.0.1:9092"].',
    ),
    "brokers of an embedded stream": (
        SMALL + "stream: {kind: embedded, brokers: ['a:1']}\n",
        "autoscaler.yaml:8 stream.brokers: belongs to kafka, and this stream is embedded. Remove it or kind.",
    ),
    "a missing password file": (
        SMALL + "registries: [{host: r.example, username: ci, password_file: nowhere}]\n",
        (
            "autoscaler.yaml:8 registries[0].password_file: the file does not exist."
            " Correct the path or the file's permissions."
        ),
    ),
    "queries of an unknown service": (
        SMALL + "metrics: {prometheus: [{url: 'http://p:9090', every: 5s, queries: {wob: {a: up}}}]}\n",
        (
            "autoscaler.yaml:8 metrics.prometheus[0].queries.wob: names no service of this configuration."
            ' Did you mean "web"?'
        ),
    ),
    "a group of an unknown service": (
        SMALL + "metrics: {kafka: [{group: g, topics: [t], service: wob, every: 5s, brokers: ['b:9092']}]}\n",
        ('autoscaler.yaml:8 metrics.kafka[0].service: names no service of this configuration. Did you mean "web"?'),
    ),
    "a group without a broker": (
        SMALL + "metrics: {kafka: [{group: g, topics: [t], service: web, every: 5s}]}\n",
        (
            "autoscaler.yaml:8 metrics.kafka[0].brokers: is missing, and the stream is embedded."
            " Name brokers as host:port."
        ),
    ),
    "a group whose brokers need a password": (
        SMALL
        + "metrics: {kafka: [{group: g, topics: [t], service: web, every: 5s, brokers: ['b:9092'],"
        + " security: {protocol: SASL_SSL, username: a}}]}\n",
        (
            "autoscaler.yaml:8 metrics.kafka[0].security.password_file: is missing, and SASL_SSL needs it."
            " Add it or change protocol."
        ),
    ),
    "two groups as one metric": (
        SMALL
        + "metrics: {kafka: [{group: g, topics: [t], service: web, every: 5s, brokers: ['b:9092']},"
        + " {group: h, topics: [t], service: web, every: 5s, brokers: ['b:9092']}]}\n",
        (
            "autoscaler.yaml:8 metrics.kafka[1].name: is the metric of another group of the service."
            " Give it another name."
        ),
    ),
    "a topic twice": (
        SMALL + "metrics: {kafka: [{group: g, topics: [t, t], service: web, every: 5s, brokers: ['b:9092']}]}\n",
        "autoscaler.yaml:8 metrics.kafka[0].topics: names a topic twice. Keep one of them.",
    ),
    "an image that is not allowed": (
        (
            "cluster: a\ntargets: {e: {kind: docker, hosts: [{name: h, url: 'unix:///s'}]}}\n"
            "services:\n  w: {target: e, images: ['shop/*'], revision: {image: 'evil/web:1'}}\n"
        ),
        'autoscaler.yaml:4 services.w.revision.image: evil/web matches no pattern of images. Add "evil/web" to images.',
    ),
    "a key of a plugin that is none": (
        SMALL + "plugins: [{pth: ./mine.py}]\n",
        'autoscaler.yaml:8 plugins[0].pth: there is no such key. Did you mean "path"?',
    ),
    "an included file that is not there": (
        SMALL + "include: [more.yaml]\n",
        "autoscaler.yaml:8 include: 'more.yaml' matches no file. Correct the path; it is relative to this file.",
    ),
}


@pytest.mark.parametrize("case", FILE_CASES)
def test_a_problem_of_the_file_names_its_place_and_its_remedy(case: str, tmp_path: Path) -> None:
    text, expected = FILE_CASES[case]
    assert problems(tmp_path, text) == [expected]


def test_a_file_that_is_not_there_is_a_problem_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path / "none.yaml", {})
    expected = f"{tmp_path}/none.yaml:0 file: does not exist. `autoscaler init` writes one; -c FILE names another."
    assert str(caught.value) == expected


def test_all_problems_of_a_file_come_in_one_pass_sorted_by_path(tmp_path: Path) -> None:
    text = """\
cluster: Shop_1
stream: {brokrs: [x], kind: kafka, security: {protocol: SASL_SSL}}
targets:
  loc: {kind: process, hosts: [{name: a, url: "http://x"}]}
http: {listen: 9180}
services:
  web:
    target: lok
    replica: {min: 3}
  api:
    target: loc
    replicas: {min: 3, max: 2}
    update: {max_surge: 0, deadline: 10, soak: 1s, monitor: 5s}
    guards: {freeze: ["Fri 17:00-Mon 07:00 Europe/Berlni", 17:00]}
"""
    found = problems(tmp_path, text, {"AUTOSCALER_LOGLEVEL": "x"})
    paths = [problem.removeprefix("autoscaler.yaml:").split(" ", 1)[-1].split(": ")[0] for problem in found]
    paths[0] = found[0].split(":")[0]
    assert paths == [
        "AUTOSCALER_LOGLEVEL",
        "cluster",
        "http.listen",
        "services.api.guards.freeze[0]",
        "services.api.guards.freeze[1]",
        "services.api.replicas.max",
        "services.api.update.deadline",
        "services.api.update.max_surge",
        "services.api.update.soak",
        "services.web.replica",
        "services.web.target",
        "stream.brokers",
        "stream.brokrs",
        "stream.security.password_file",
        "stream.security.username",
        "targets.loc.hosts[0].url",
    ]
