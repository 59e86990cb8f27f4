"""The book of one budget: what each of its services has and asks for, and what one of them is granted. Pure.

Kept by the engine as services' states become known. Sums are kept with each entry, and who may have what is worked out
once between two changes, so that a budget with room costs next to nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from heapq import nsmallest

from autoscaler.core.budgets import Account, Amounts, Budget, Kind, fit, shares, spent
from autoscaler.core.grants import Grant

NAMED_MAX = 3
"""So many services are named that have most of a budget."""


class Book:
    """``known``: it has an entry of every service that has a state; before that nobody grows."""

    def __init__(self, budget: Budget, *, known: bool = True) -> None:
        self.budget = budget
        self.known = known
        self.accounts: dict[str, Account] = {}
        self._most = budget.most
        self._used = [0] * len(self._most)
        self._asked = [0] * len(self._most)
        self._short: set[str] = set()
        self._short_at: Counter[int] = Counter()
        self._below = 0
        self._shares: dict[str, int] | None = None
        self._first: dict[int, list[Account]] = {}

    def enter(self, account: Account) -> bool:
        """The service's account is this one now; whether that is news."""
        before = self.accounts.get(account.service)
        if before == account:
            return False
        self._count(before, -1)
        self._count(account, 1)
        self.accounts[account.service] = account
        self._first.clear()
        if before is None or not self._went_to_share(before, account):
            self._shares = None
        return True

    def _went_to_share(self, before: Account, now: Account) -> bool:
        """Whether nothing has changed but that its demand is its share now: all shares stay as they are."""
        known = self._shares
        return known is not None and known[now.service] == now.demand and replace(now, demand=before.demand) == before

    def _count(self, account: Account | None, sign: int) -> None:
        if account is None:
            return
        for kind, each in enumerate(account.unit):
            self._used[kind] += sign * each * account.demand
            self._asked[kind] += sign * each * account.asking
        self._below += sign * (account.demand < account.least)
        if account.asking != account.demand:
            self._short_at[account.priority] += sign
        if sign > 0 and account.asking != account.demand:
            self._short.add(account.service)
        else:
            self._short.discard(account.service)

    @property
    def used(self) -> Amounts:
        """What the demands take, of each limited kind."""
        return tuple(self._used)

    @property
    def asked(self) -> Amounts:
        """What would be taken without the budget."""
        return tuple(self._asked)

    @property
    def short(self) -> int:
        """Replicas that are asked for and not granted here; what another budget alone withholds is none of them."""
        self.work_out()
        short = [self.accounts[name] for name in self._short]
        return sum(one.asking - one.demand for one in short if self._most_now(one, one) < one.asking)

    def granted(self, account: Account) -> Grant | None:
        """What a service is granted now if it asks by this account; None where that is all of it.

        Its demand is the one entered, from before the decision that is being made.
        """
        before = self.accounts.get(account.service)
        account = replace(account, demand=0 if before is None else before.demand)
        if account.asking <= account.least:
            return None
        if not self.known:
            if account.asking <= account.demand:
                return None
            text = f"budget {self.budget.name}: what others have is not known yet"
            return Grant(self.budget.name, max(account.demand, account.least), text)
        most = self._most_now(account, before)
        return None if most >= account.asking else Grant(self.budget.name, most, self._why(account, most))

    def _most_now(self, account: Account, before: Account | None) -> int:
        """Its share, or as much of it as is free."""
        free = fit(self._free_with(account, account.demand), account.unit)
        if free == 0 and (account.demand < account.least or self._keeps(account, before)):
            return max(account.least, account.demand)  # whatever its share is; to work that out takes all accounts
        share = self._share(account, before)
        if share is None:
            return max(account.least, account.demand)
        if share <= account.demand or free is None:
            return share
        return max(account.least, min(share, account.demand + free))

    def _keeps(self, account: Account, before: Account | None) -> bool:
        """Whether its share is what it has at least, as can be told without the others: there is room for all that is
        there, nobody is below its least number, and nobody of higher priority waits for more."""
        return (
            before is not None
            and before.unit == account.unit
            and account.demand <= account.asking
            and not self._below
            and self._is_enough(self._used)
            and not any(count and priority > account.priority for priority, count in self._short_at.items())
        )

    def _share(self, account: Account, before: Account | None) -> int | None:
        """How many of those it asks for it may have once all have what is theirs.

        None while that is to be worked out anew: thousands that ask for something else within one turn keep what they
        have until `work_out` looks at all of them at once.
        """
        changed = [(before, -1), (account, 1)] if before is not None else [(account, 1)]
        change = [sum(sign * one.unit[kind] * one.asking for one, sign in changed) for kind in range(len(self._most))]
        if self._is_enough(asked + more for asked, more in zip(self._asked, change, strict=True)):
            return account.asking
        if before is not None and replace(account, asking=before.asking) == before:
            if self._is_enough(self._asked):
                known = before.asking
            elif self._shares is None:
                return None
            else:
                known = self._shares[account.service]
            if account.asking <= before.asking or known < before.asking:
                # By max-min fairness, who asks for less gets it, and who is not granted all gets no more for more.
                return min(account.asking, known)
        return shares(self._most, (self.accounts | {account.service: account}).values())[account.service]

    def work_out(self) -> None:
        """Who may have what, by all accounts as they are: once between two changes, as it takes all of them."""
        if self._shares is None and not self._is_enough(self._asked):
            self._shares = shares(self._most, self.accounts.values())

    def _free_with(self, account: Account, replicas: int) -> Amounts:
        """What would be left if the service had so many replicas, each as its account has it."""
        before = self.accounts.get(account.service)
        had = (0,) * len(self._most) if before is None else before.takes(before.demand)
        return tuple(left + old - new for left, old, new in zip(self.free(), had, account.takes(replicas), strict=True))

    def free(self) -> Amounts:
        """What is left of each limited kind, by the demands; negative where more is taken."""
        return tuple(limit - taken for limit, taken in zip(self._most, self._used, strict=True))

    def share(self, service: str) -> int:
        """How many of those it asks for the service may have once all have what is theirs."""
        self.work_out()
        return self.accounts[service].asking if self._shares is None else self._shares[service]

    def is_settled(self, service: str) -> bool:
        """Whether the service has its share of what it asks for."""
        return self.share(service) == self.accounts[service].demand

    @property
    def may_unsettle(self) -> bool:
        """Whether a demand may be other than what is granted: not while all have what they ask for, and it is there."""
        return bool(self.known and (self._short or not self._is_enough(self._used)))

    def _is_enough(self, taken: Iterable[int]) -> bool:
        return all(each <= limit for each, limit in zip(taken, self._most, strict=True))

    def lacking(self, account: Account, most: int) -> tuple[Kind, ...]:
        """The kinds that leave a service with ``most`` of what it asks for: those that it has spent then, else those
        of which all ask for more than there is."""
        before = self.accounts.get(account.service)
        asked = (0,) * len(self._most) if before is None else before.takes(before.asking)
        wanted = zip(self._asked, asked, account.takes(account.asking), strict=True)
        rest = [limit - (all_ - old + new) for limit, (all_, old, new) in zip(self._most, wanted, strict=True)]
        kinds = [kind for kind, _ in self.budget.limits]
        contended = tuple(k for k, left, each in zip(kinds, rest, account.unit, strict=True) if each > 0 and left < 0)
        return spent(kinds, self._free_with(account, most), account.unit) or contended

    def _why(self, account: Account, most: int) -> str:
        """What is spent, and who has most of it."""
        kinds = [kind for kind, _ in self.budget.limits]
        lacking = self.lacking(account, most)
        if not lacking:
            return f"budget {self.budget.name}: who may have what is about to be worked out"
        place = kinds.index(lacking[0])
        others = [one for one in self._holders(place) if one.service != account.service][:NAMED_MAX]
        named = ", ".join(map(_standing, others)) or "no other has any"
        are = "is" if len(lacking) == 1 and lacking[0] != "replicas" else "are"
        what = f"of budget {self.budget.name} the {' and '.join(lacking)} {are} spent"
        return f"{what} at priority {account.priority}; {named}"

    def _holders(self, place: int) -> list[Account]:
        """Those of the highest priority that have most of one kind; one more than are named."""
        found = self._first.get(place)
        if found is None:
            having = (one for one in self.accounts.values() if one.demand)
            most = nsmallest(NAMED_MAX + 1, having, key=lambda one: (-one.priority, -one.demand * one.unit[place]))
            found = self._first[place] = most
        return found


def _standing(account: Account) -> str:
    more = f" and asks for {account.asking}" if account.asking > account.demand else ""
    return f"{account.service} (priority {account.priority}) has {account.demand}{more}"
