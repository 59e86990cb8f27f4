"""The loops of the products whose users come, written down once more from their documentation and in their own terms.

Each takes a moment, the load and the count that is there, and says the count that the product would set. They share no
code with the policies, which are judged by them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

PER_REPLICA = 35.0
Rule = tuple[str, int, int]
"""Pods or Percent, how many, in how many seconds."""


@dataclass
class Hpa:
    """HorizontalPodAutoscaler with ``behavior`` and one external metric of type AverageValue."""

    up: list[Rule]
    down: list[Rule]
    up_window_s: int = 0
    down_window_s: int = 300
    select: tuple[str, str] = ("Max", "Max")
    bounds: tuple[int, int] = (1, 60)
    recommended: list[tuple[float, int]] = field(default_factory=list)
    events: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, now: float, load: float, count: int) -> int:
        if not self.recommended:
            self.recommended.append((now, count))
        ratio = load / (PER_REPLICA * count)
        wish = count if 0.9 <= ratio <= 1.1 else math.ceil(load / PER_REPLICA)
        lowest = min([wish, *(n for at, n in self.recommended if at > now - self.up_window_s)])
        highest = max([wish, *(n for at, n in self.recommended if at > now - self.down_window_s)])
        self.recommended.append((now, wish))
        steady = min(max(count, lowest), highest)
        if steady > count:
            steady = min(steady, self.bounds[1], self._limit(now, count, self.up, self.select[0], way=1))
        elif steady < count:
            steady = max(steady, self.bounds[0], self._limit(now, count, self.down, self.select[1], way=-1))
        if steady != count:
            self.events.append((now, steady - count))
        return steady

    def _limit(self, now: float, count: int, rules: list[Rule], select: str, way: int) -> int:
        if select == "Disabled":
            return count
        limits = []
        for kind, amount, period_s in rules:
            start = count - sum(change for at, change in self.events if at > now - period_s)
            if kind == "Pods":
                limits.append(start + way * amount)
            else:
                exact = start * (1 + way * amount / 100)
                limits.append(math.ceil(exact) if way > 0 else int(exact))
        widest, narrowest = (max, min) if way > 0 else (min, max)
        limit = (narrowest if select == "Min" else widest)(limits)
        return max(count, limit) if way > 0 else min(count, limit)


@dataclass
class Keda:
    """A ScaledObject with one trigger: KEDA's operator below one replica, HPA without ``behavior`` above."""

    cooldown_s: int = 300
    activation: float = 0.0
    minimum: int = 0
    idle: int | None = None
    maximum: int = 40
    active_at: float | None = None
    recommended: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, now: float, load: float, count: int) -> int:
        active = load > self.activation
        if active:
            self.active_at = now
            if count == 0 or (self.idle is not None and count < self.minimum):
                self.recommended.clear()
                return max(self.minimum, 1)
        elif (self.active_at is None or now > self.active_at + self.cooldown_s) and self._may_stop(count):
            self.recommended.clear()
            return self.idle or 0
        if count == 0:
            return 0
        if not self.recommended:
            self.recommended.append((now, count))
        ratio = load / (PER_REPLICA * count)
        wish = count if 0.9 <= ratio <= 1.1 else math.ceil(load / PER_REPLICA)
        highest = max([wish, *(n for at, n in self.recommended if at >= now - 300)])
        self.recommended.append((now, wish))
        return max(self.minimum, 1, min(highest, self.maximum, max(2 * count, 4)))

    def _may_stop(self, count: int) -> bool:
        return (count > 0 and self.minimum == 0) if self.idle is None else count > self.idle


@dataclass
class Nomad:
    """Nomad's `target-value` of the load over what is there, with its cooldowns."""

    cooldown_s: int = 300
    cooldown_up_s: int | None = None
    threshold: float = 0.01
    most: tuple[int | None, int | None] = (None, None)
    bounds: tuple[int, int] = (1, 40)
    until: float = -math.inf

    def __call__(self, now: float, load: float, count: int) -> int:
        factor = load / count / PER_REPLICA
        if now < self.until or 1 - self.threshold <= factor <= 1 + self.threshold:
            return count
        wish = math.ceil(count * factor)
        more, fewer = self.most
        wish = wish if fewer is None else max(wish, count - fewer)
        wish = wish if more is None else min(wish, count + more)
        wish = min(max(wish, self.bounds[0]), self.bounds[1])
        if wish != count:
            up_s = self.cooldown_s if self.cooldown_up_s is None else self.cooldown_up_s
            self.until = now + (up_s if wish > count else self.cooldown_s)
        return wish


@dataclass
class Kpa:
    """Knative's autoscaler of requests a second, a look and a sample each second."""

    window_s: int = 60
    rates: tuple[float, float] = (1000.0, 2.0)
    activation: int = 1
    delay_s: int = 0
    bounds: tuple[int, int] = (1, 40)
    panic_since: float | None = None
    peak: int = 0
    loads: list[tuple[float, float]] = field(default_factory=list)
    wished: list[tuple[float, int]] = field(default_factory=list)

    def __call__(self, now: float, load: float, count: int) -> int:
        if not self.loads and count > 1:
            self.panic_since, self.peak = now, count
        self.loads = [(at, of) for at, of in self.loads if at > now - self.window_s] + [(now, load)]
        hasty_s = max(1, self.window_s // 10)
        calm, hasty = (math.ceil(self._mean(now, within) / PER_REPLICA) for within in (self.window_s, hasty_s))
        there = max(1, count)
        least, most = math.floor(there / self.rates[1]), math.ceil(there * self.rates[0])
        wish, panicked = (
            max(min(max(raw, least), most), self.activation if self.activation > 1 and raw > 0 else 0)
            for raw in (calm, hasty)
        )
        if hasty / there >= 2:
            self.panic_since = now
        elif self.panic_since is not None and self.panic_since + self.window_s < now:
            self.panic_since, self.peak = None, 0
        if self.panic_since is not None:
            wish = self.peak = max(wish, panicked, self.peak)
        if self.delay_s:
            self.wished = [(at, of) for at, of in self.wished if now - at < self.delay_s] + [(now, wish)]
            wish = max(of for _, of in self.wished)
        return min(max(wish, self.bounds[0]), self.bounds[1])

    def _mean(self, now: float, within_s: int) -> float:
        loads = [load for at, load in self.loads if at > now - within_s]
        return sum(loads) / len(loads)
