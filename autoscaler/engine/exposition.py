"""The member's counts as Prometheus metric families; read at scrape time, nothing is kept twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from autoscaler.core.budget_units import plain_amount
from autoscaler.core.tasks import TASKS
from autoscaler.engine.counters import Histogram

if TYPE_CHECKING:
    from autoscaler.engine.member import Member


SHADOW_LABELS_MAX = 32
BUDGET_LABELS_MAX = 100

_BUDGET_FAMILIES = (
    ("limit", "The limit: replicas, cores, bytes, or money per hour.", ("budget", "resource")),
    ("used", "What the replicas that are wanted take of it.", ("budget", "resource")),
    ("asked", "What they would take without budgets.", ("budget", "resource")),
    ("short_replicas", "Replicas that are asked for and not granted.", ("budget",)),
)


class MemberCollector:
    """A collector for prometheus_client's registry."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def collect(self) -> Iterable[Metric]:
        """All families, each present from the start."""
        yield from self._tasks()
        yield from self._counts()
        yield from self._latencies()
        yield from self._shadows()
        yield from self._budgets()
        yield from self._plugins()
        yield from self._hosts()
        yield from self._router()

    def _tasks(self) -> Iterator[Metric]:
        tasks = GaugeMetricFamily(
            "autoscaler_active_tasks", "Tasks of each of the six systems active now in this member.", labels=["task"]
        )
        active = self._member.active_tasks()
        for kind in TASKS:
            tasks.add_metric([kind], active[kind])
        yield tasks
        shards = self._member.shards()
        yield GaugeMetricFamily("autoscaler_partitions", "Partitions owned by this member.", value=len(shards))
        yield GaugeMetricFamily(
            "autoscaler_services", "Services with state in this member.", value=sum(len(s.states) for s in shards)
        )
        yield GaugeMetricFamily(
            "autoscaler_connected",
            "Whether the stream is reachable (1) or away (0).",
            value=int(self._member.connected),
        )
        lag = GaugeMetricFamily("autoscaler_consumer_lag_records", "Unread messages.", labels=["topic"])
        totals: dict[str, int] = {}
        for (topic, _), unread in self._member.parts.stream.lag().items():
            totals[topic.value] = totals.get(topic.value, 0) + unread
        for topic_name, unread in sorted(totals.items()):
            lag.add_metric([topic_name], unread)
        yield lag

    def _counts(self) -> Iterator[Metric]:
        counters = self._member.counters
        samples = CounterMetricFamily("autoscaler_samples", "Samples by what became of them.", labels=["fate"])
        for fate in ("folded", "stale", "duplicate", "rejected", "shed", "unknown_service"):
            samples.add_metric([fate], counters.samples[fate])
        yield samples
        events = CounterMetricFamily("autoscaler_events", "Deployments and commands read.", labels=["topic"])
        for topic in ("deployments", "control"):
            events.add_metric([topic], counters.events[topic, "read"])
        yield events
        verdicts = CounterMetricFamily("autoscaler_decisions", "Records that carry a verdict.", labels=["verdict"])
        for verdict, count in sorted(counters.verdicts.items()):
            verdicts.add_metric([verdict], count)
        yield verdicts
        records = CounterMetricFamily("autoscaler_records", "Records by type.", labels=["type"])
        for kind, count in sorted(counters.records.items()):
            records.add_metric([kind], count)
        yield records
        letters = CounterMetricFamily("autoscaler_dead_letters", "Messages that could not be used.", labels=["reason"])
        for reason, count in sorted(counters.dead_letters.items()):
            letters.add_metric([reason], count)
        yield letters
        calls = CounterMetricFamily(
            "autoscaler_target_calls", "Actions on targets by outcome.", labels=["target", "kind", "outcome"]
        )
        for (target, kind, outcome), count in sorted(counters.actions.items()):
            calls.add_metric([target, kind, outcome], count)
        yield calls
        yield CounterMetricFamily(
            "autoscaler_evaluations", "Evaluations of a service's policies.", value=counters.evaluations
        )
        yield CounterMetricFamily("autoscaler_appends", "Durable appends to the ledger.", value=counters.appends)
        yield CounterMetricFamily("autoscaler_append_failures", "Appends that failed.", value=counters.append_failures)

    def _latencies(self) -> Iterator[Metric]:
        counters = self._member.counters
        for name, help_text, histogram in (
            (
                "autoscaler_event_to_decision_seconds",
                "From the broker's time of an event to its durable decision.",
                counters.event_to_decision,
            ),
            (
                "autoscaler_event_to_action_seconds",
                "From the broker's time of an event to its first action.",
                counters.event_to_action,
            ),
            (
                "autoscaler_decision_to_effect_seconds",
                "From a durable decision to the end of its action.",
                counters.decision_to_effect,
            ),
        ):
            yield _family(name, help_text, histogram)

    def _shadows(self) -> Iterator[Metric]:
        """By the label of the policy, whatever the service; labels beyond the bound are one."""
        asked = CounterMetricFamily(
            "autoscaler_shadow_evaluations", "Evaluations of shadow policies.", labels=["policy", "outcome"]
        )
        now = GaugeMetricFamily(
            "autoscaler_shadow_disagreement_replicas",
            "Replicas that shadow policies would want more or fewer now.",
            labels=["policy", "direction"],
        )
        seconds = CounterMetricFamily(
            "autoscaler_shadow_disagreement_replica_seconds",
            "Replica seconds that they would have wanted more or fewer.",
            labels=["policy", "direction"],
        )
        known: dict[str, str] = {}

        def shown(label: str) -> str:
            return known.setdefault(label, label if len(known) < SHADOW_LABELS_MAX else "other")

        outcomes: dict[tuple[str, str], float] = defaultdict(float)
        for (label, outcome), count in sorted(self._member.counters.shadows.items()):
            outcomes[shown(label), outcome] += count
        differences: dict[tuple[str, str], float] = defaultdict(float)
        sums: dict[tuple[str, str], float] = defaultdict(float)
        kept = [of.shadows for shard in self._member.shards() for of in shard.evaluator.shadows.values()]
        for shadow in (shadow for shadows in kept for shadow in shadows):
            difference = shadow.demand - shadow.live
            differences[shown(shadow.label), "more"] += max(0, difference)
            differences[shown(shadow.label), "fewer"] += max(0, -difference)
        for (label, direction), total_s in self._member.counters.shadow_seconds.items():
            sums[shown(label), direction] += total_s
        for labels, value in sorted(outcomes.items()):
            asked.add_metric(list(labels), value)
        for labels, value in sorted(differences.items()):
            now.add_metric(list(labels), value)
        for labels, value in sorted(sums.items()):
            seconds.add_metric(list(labels), value)
        yield from (asked, now, seconds)

    def _budgets(self) -> Iterator[Metric]:
        """As this member's books have them: every member shows all, so take the maximum. Before it has read what the
        others decided, the limits alone. Budgets beyond the bound are one."""
        sums: dict[str, dict[tuple[str, ...], float]] = {name: defaultdict(float) for name, *_ in _BUDGET_FAMILIES}
        for number, (name, book) in enumerate(self._member.budgets.books.items()):
            shown = name if number < BUDGET_LABELS_MAX else "other"
            for (kind, limit), taken, wanted in zip(book.budget.limits, book.used, book.asked, strict=True):
                sums["limit"][shown, kind] += plain_amount(kind, limit)
                if book.known:
                    sums["used"][shown, kind] += plain_amount(kind, taken)
                    sums["asked"][shown, kind] += plain_amount(kind, wanted)
            if book.known:
                sums["short_replicas"][shown,] += book.short
        for name, help_text, labels in _BUDGET_FAMILIES:
            family = GaugeMetricFamily(f"autoscaler_budget_{name}", help_text, labels=labels)
            for values, total in sums[name].items():
                family.add_metric(values, total)
            yield family

    def _plugins(self) -> Iterator[Metric]:
        seconds = CounterMetricFamily("autoscaler_plugin_seconds", "Time spent in plugins.", labels=["plugin"])
        failures = CounterMetricFamily("autoscaler_plugin_failures", "Calls of plugins that failed.", labels=["plugin"])
        quarantined = GaugeMetricFamily(
            "autoscaler_plugin_quarantined", "Whether the plugin is not asked now.", labels=["plugin"]
        )
        now = self._member.parts.clock.wall()
        for name, standing in sorted(self._member.parts.plugins.stats().items()):
            seconds.add_metric([name], standing.seconds)
            failures.add_metric([name], standing.failures)
            quarantined.add_metric([name], int(standing.quarantined_until > now))
        yield from (seconds, failures, quarantined)

    def _hosts(self) -> Iterator[Metric]:
        ready = GaugeMetricFamily(
            "autoscaler_host_ready", "Whether the host answers and takes work.", labels=["target", "host"]
        )
        replicas = GaugeMetricFamily(
            "autoscaler_host_replicas", "Replicas of this cluster on the host.", labels=["target", "host"]
        )
        for target, hosts in sorted(self._member.observer.hosts().items()):
            for host in hosts:
                ready.add_metric([target, host.name], int(host.condition == "ready" and host.known))
                replicas.add_metric([target, host.name], host.replicas)
        yield from (ready, replicas)

    def _router(self) -> Iterator[Metric]:
        """What was carried inside this process. A service appears with its first request, so that idle ones cost
        nothing; a HAProxy has statistics of its own."""
        router = self._member.parts.router
        carried = sorted(router.counts().items()) if router is not None else []
        for name, help_text, count in (
            ("requests", "Requests that came to the embedded router.", attrgetter("requests")),
            ("held", "Requests that waited for a first replica.", attrgetter("held")),
            ("refused", "Requests answered 503 for want of a replica.", attrgetter("refused")),
            ("failed", "Requests answered 502 or 504.", attrgetter("failed")),
        ):
            counter = CounterMetricFamily(f"autoscaler_router_{name}", help_text, labels=["service"])
            for service, counts in carried:
                counter.add_metric([service], count(counts))
            yield counter
        in_flight = GaugeMetricFamily("autoscaler_router_in_flight", "Requests in flight now.", labels=["service"])
        for service, counts in carried:
            in_flight.add_metric([service], counts.in_flight)
        yield in_flight
        yield CounterMetricFamily(
            "autoscaler_router_late",
            "Backends that a router did not take in time; it is told again.",
            value=self._member.traffic.failures,
        )


def _family(name: str, help_text: str, histogram: Histogram) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip(histogram.bounds, histogram.counts, strict=False):
        running += count
        buckets.append((str(bound), running))
    buckets.append(("+Inf", histogram.number))
    return HistogramMetricFamily(name, help_text, buckets=buckets, sum_value=histogram.total_s)
