"""`quantile_headroom` as a policy: what it learns, what it keeps, and when it trusts nothing."""

from __future__ import annotations

import copy
import json
import math
from array import array
from random import Random
from typing import Any

import pytest

import autoscaler
from autoscaler.testing import NOW, a_service, propose, signal, unknown
from autoscaler_plugins import quantile_headroom
from autoscaler_plugins.rules import headroom, idleness
from autoscaler_plugins.rules.errors import ERRORS_MAX, Errors
from autoscaler_plugins.rules.forecaster import Forecaster

OPTIONS = {"metric": "rps", "per_replica": 50}
START = NOW // 15 * 15


class Service:
    """A service that does at once what it is told, seen every period."""

    def __init__(self, demand: int = 10, **options: Any) -> None:
        self.demand, self.options, self.at = demand, {**OPTIONS, **options}, 0.0
        self.minimum = 0
        self.memory: dict[str, Any] = {}

    def sees(self, load: float, after: float = 15.0) -> Any:
        service = a_service(demand=self.demand, minimum=self.minimum, maximum=1000)
        now = START + self.at
        answer = propose(quantile_headroom, service, [signal("rps", load)], self.options, now=now, memory=self.memory)
        self.at += after
        if isinstance(answer, autoscaler.Scale):
            self.demand = answer.to
        return answer


def noisy(count: int, mean: float, seed: int = 1) -> list[float]:
    random = Random(seed)  # noqa: S311 - repeatable noise
    return [mean + random.gauss(0, mean / 25) for _ in range(count)]


def test_without_a_past_it_keeps_what_a_plain_target_would() -> None:
    answer = Service(1).sees(500.0)
    assert answer.to == math.ceil(500 / (0.7 * 50))
    assert answer.reason.startswith("500 rps, now 500 within 700 (100.0% of 0); need 14.29, cap 14.29")


def test_a_steady_load_needs_less_than_a_plain_target_and_never_less_than_it_is() -> None:
    service = Service(15)
    answers = [service.sees(load) for load in noisy(400, 500.0)]
    plain = math.ceil(500 / (0.7 * 50))
    assert {answer.to for answer in answers[-100:]} <= {12, 13, 14}
    assert plain == 15


def test_most_loads_stay_within_their_bounds() -> None:
    service = Service()
    for load in noisy(700, 500.0, seed=3):
        service.sees(load)
    coverage, settled = service.memory["now"][4:6]
    assert settled == 240
    assert coverage > 0.94


def test_a_sudden_rise_is_met_at_once_and_up_to_the_cap() -> None:
    service = Service()
    for load in noisy(200, 500.0):
        service.sees(load)
    assert 1000 / 50 <= service.sees(1000.0).to <= math.ceil(1.6 * 1000 / (0.7 * 50))


def test_a_load_far_beyond_what_was_thought_possible_gets_what_a_plain_target_buys_for_as_long_as_a_start_takes() -> (
    None
):
    service = Service()
    for load in noisy(300, 100.0):
        service.sees(load)
    answers = [service.sees(load) for load in [600.0, 900.0, *noisy(30, 900.0)]]
    assert [answer.to for answer in answers[:2]] == [math.ceil(600 / 35), math.ceil(900 / 35)]
    surprised = ["a surprise" in answer.reason for answer in answers]
    assert surprised[:4] == [True] * 4
    assert not any(surprised[8:])


def test_noise_surprises_nobody() -> None:
    service = Service()
    reasons = [service.sees(load).reason for load in noisy(600, 500.0, seed=7)]
    assert not any("a surprise" in reason for reason in reasons)


def test_a_rise_is_carried_on_only_where_that_has_been_nearer_the_mark() -> None:
    climbing, jumping = Forecaster(50.0, 15.0, headroom.Q), Forecaster(50.0, 15.0, headroom.Q)
    for slot in range(400):
        climb = climbing.step(slot, 200.0 + 10.0 * (slot % 200), 5)
        jump = jumping.step(slot, 200.0 if slot % 80 < 40 else 800.0, 5)
        if slot == 390:
            assert climb.trend == pytest.approx(2150.0, rel=0.01), "a climb that goes on, carried on for five periods"
        if slot == 360:
            assert jump.trend == 800.0, "a jump that never has"


@pytest.mark.parametrize("missed", [1, 3])
def test_a_few_periods_without_a_sample_are_a_line(missed: int) -> None:
    forecaster = Forecaster(50.0, 15.0, headroom.Q)
    for slot in range(100):
        forecaster.step(slot, 200.0 + slot, 5)
    pending = len(forecaster.pending)
    forecaster.step(100 + missed, 300.0 + missed, 5)
    assert list(forecaster.recent[-missed - 2 :]) == pytest.approx([299.0 + n for n in range(missed + 2)])
    assert pending - missed <= len(forecaster.pending) <= pending


def test_many_periods_without_a_sample_are_unknown() -> None:
    forecaster = Forecaster(50.0, 15.0, headroom.Q)
    for slot in range(100):
        forecaster.step(slot, 200.0 + slot, 5)
    forecaster.step(106, 300.0, 5)
    assert list(forecaster.recent) == [300.0]
    assert len(forecaster.pending) == 1


def test_a_fall_goes_no_further_than_the_needs_of_ten_minutes_and_the_cap() -> None:
    service = Service(20)
    for load in noisy(200, 900.0):
        service.sees(load)
    before = service.demand
    counts = [service.sees(300.0).to for _ in range(60)]
    assert before > counts[20]
    assert counts == sorted(counts, reverse=True)
    assert 6 <= counts[-1] <= math.ceil(300 / (0.7 * 50))


def test_it_goes_on_after_a_restart_as_if_there_was_none(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, torn = Service(), Service()
    for step, load in enumerate(noisy(150, 400.0)):
        one = whole.sees(load)
        if step % 7 == 3:
            monkeypatch.setattr(quantile_headroom, "_live", {})
        torn.memory = json.loads(json.dumps(torn.memory))
        assert torn.sees(load) == one
    assert torn.memory == whole.memory


def test_the_same_question_twice_has_the_same_answer() -> None:
    service = Service()
    for load in noisy(50, 400.0):
        service.sees(load)
    kept, demand, at = copy.deepcopy(service.memory), service.demand, service.at
    first = service.sees(450.0)
    again, service.memory, service.demand, service.at = service.memory, kept, demand, at
    assert service.sees(450.0) == first
    assert service.memory == again


def test_samples_within_a_period_change_the_count_but_not_what_was_learnt() -> None:
    service = Service()
    for load in noisy(100, 500.0):
        service.sees(load)
    service.sees(500.0, after=5)
    key = service.memory["key"]
    assert service.sees(1500.0, after=5).to >= 30
    assert service.memory["key"] == key


def test_known_zeros_stop_the_last_replica_and_the_first_event_starts_one() -> None:
    service = Service(5)
    for load in noisy(100, 200.0):
        service.sees(load)
    answers = [service.sees(0.0) for _ in range(61)]
    assert [answers[59].to, answers[60].to] == [1, 0]
    assert answers[30].wake_at == START + 1500 + 900
    assert service.memory["needed"] == []
    assert service.sees(0.0).to == 0
    assert service.sees(3.0).to == 1


def paused(service: Service, *pauses_s: float) -> None:
    """Loads with pauses of known zeros between them."""
    for pause_s in pauses_s:
        service.sees(200.0)
        for _ in range(round(pause_s / 15)):
            service.sees(0.0)
    service.sees(200.0)


def goes_to_zero_after(service: Service) -> float:
    """Seconds of zeros until nothing is wanted."""
    began = service.at
    while service.sees(0.0).to:
        assert service.at - began < 20_000
    return service.at - 15 - began


def test_idle_time_is_learnt_from_pauses() -> None:
    service = Service(5, idle_max="15m")
    paused(service, *[90.0] * 19)
    service.sees(0.0)
    answer = service.sees(0.0)
    assert "; 0 after 15m of zeros" in answer.reason
    paused(service, *[90.0, 120.0])
    assert goes_to_zero_after(service) == 120.0
    answer = service.sees(0.0)
    assert answer.reason.endswith("2m asked for, as 99 % of 22 pauses lasted")


@pytest.mark.parametrize(
    ("pauses", "cap_s", "learnt"),
    [
        pytest.param([90.0] * 20 + [4000.0, 8000.0], 900.0, (90.0, 20), id="no waiting bridges the longest"),
        pytest.param([1200.0] * 25, 3600.0, (1200.0, 25), id="longer than is configured"),
        pytest.param([15.0] * 25, 3600.0, (60.0, 25), id="no less than a minute"),
        pytest.param([90.0] * 19, 900.0, (600.0, 0), id="too few are known"),
        pytest.param([90.0] * 50, None, (600.0, 0), id="no cap, nothing is learnt"),
    ],
)
def test_idle_time_is_what_pauses_lasted_up_to_a_cap(
    pauses: list[float], cap_s: float | None, learnt: tuple[float, int]
) -> None:
    memory: dict[str, Any] = {}
    for pause_s in pauses:
        memory["zero"] = NOW
        idleness.note_load(memory, NOW + pause_s, cap_s)
    assert idleness.idle_time(memory, 600.0, cap_s) == learnt
    assert "zero" not in memory


def test_what_was_learnt_outlives_a_restart() -> None:
    service = Service(5, idle_max="15m")
    paused(service, *[90.0] * 25)
    service.memory = json.loads(json.dumps(service.memory))
    assert goes_to_zero_after(service) == 90.0
    assert len(json.dumps(service.memory["pauses"])) < 1000


def test_a_pause_that_ends_in_silence_is_none() -> None:
    service = Service(5, idle_max="15m")
    paused(service, *[90.0] * 10)
    known = len(service.memory["pauses"])
    service.sees(0.0)
    service.at += 300
    service.sees(200.0)
    assert len(service.memory["pauses"]) == known


def test_without_a_cap_idle_time_is_as_configured() -> None:
    service = Service(5)
    paused(service, *[90.0] * 25)
    assert goes_to_zero_after(service) == 900.0
    assert "pauses" not in service.memory


def test_a_reason_says_what_start_up_was_learnt() -> None:
    service = Service(5)
    assert "start-up" not in service.sees(500.0).reason
    service.memory["took"] = [20.0, 40.0, 60.0]
    service.memory["ready"] = service.memory["demand"] = service.demand
    assert service.sees(500.0).reason.endswith("; start-up 60 s, of 3 starts")


def test_silence_is_no_known_zero() -> None:
    service = Service(2)
    for _ in range(50):
        service.sees(0.0)
    service.at += 120
    assert [service.sees(0.0).to for _ in range(60)] == [1] * 60
    assert service.sees(0.0).to == 0


def test_a_minimum_is_never_idle() -> None:
    service = Service(2)
    service.minimum = 2
    assert {service.sees(0.0).to for _ in range(80)} == {2}


def test_an_unknown_load_is_no_opinion_and_a_negative_one_is_none() -> None:
    assert propose(quantile_headroom, a_service(), [unknown("rps")], OPTIONS, memory={}) is None
    assert isinstance(Service().sees(-1.0), autoscaler.Hold)


def test_a_load_beyond_all_numbers_is_the_highest_count() -> None:
    service = Service(5)
    for load in noisy(10, 500.0):
        service.sees(load)
    service.sees(1e300)
    assert service.sees(1e300).to == 1000


def test_a_bound_that_is_missed_by_less_than_services_keep_over_it_anyway_holds() -> None:
    service = Service()
    for step in range(1500):
        service.sees(500 + 300 * math.sin(step / 240))
    assert "bounds have been off" not in " ".join(service.sees(500.0).reason for _ in range(5))
    coverage = service.memory["now"][4]
    assert coverage > 0.98


def test_one_settled_forecast_alone_chooses_no_model() -> None:
    for begin in range(8):
        forecaster = Forecaster(50.0, 15.0, headroom.Q)
        models = [forecaster.step(begin + step, 300.0 + 10 * step, 5).model for step in range(10)]
        assert set(models) == {"now"}, begin


def test_where_bounds_have_been_off_the_plain_target_rules_and_says_so() -> None:
    service = Service(5)
    for load in noisy(30, 500.0):
        service.sees(load)
    service.at -= 10
    service.memory["now"][4:6] = [0.5, 200]
    service.demand = 5
    answer = service.sees(500.0)
    assert answer.to == math.ceil(500 / 35)
    assert "bounds have been off" in answer.reason


def test_a_start_counts_from_the_look_at_which_it_was_wished() -> None:
    demands, memory = [2], {}
    for look in range(90):
        ready = demands[-2:][0]  # wished two looks ago
        facts = a_service(demand=demands[-1], ready=ready, minimum=0, maximum=1000)
        load = signal("rps", 80.0 + 60 * (look // 8))
        answer = propose(quantile_headroom, facts, [load], OPTIONS, now=START + 15 * look, memory=memory)
        demands.append(max(answer.to, demands[-1]))
    assert set(memory["took"]) == {30.0}
    assert "start-up 30 s" in answer.reason


def test_start_up_times_are_learnt() -> None:
    options = quantile_headroom.Options.model_validate(OPTIONS)
    memory: dict[str, Any] = {}
    for at, demand, ready in ((0, 2, 2), (10, 5, 2), (70, 5, 3), (75, 5, 5), (80, 7, 5), (85, 6, 5), (100, 6, 6)):
        service = a_service(demand=demand, ready=ready)
        quantile_headroom.note_starts(service, float(at), memory)
    assert memory["took"] == [70.0, 75.0, 25.0], "from the looks before"
    assert "starts" not in memory
    assert quantile_headroom.startup_of(options, memory["took"]) == 75.0
    assert quantile_headroom.startup_of(options, [5.0]) == 30.0


def square_days(period_s: float, days: int) -> Forecaster:
    """A forecaster that saw days of 200 until noon and 1000 from then on, up to two minutes before the last noon."""
    forecaster = Forecaster(50.0, period_s, headroom.Q)
    per_day = int(86_400 / period_s)
    for slot in range(int((days - 0.5) * per_day - 120 / period_s)):
        forecaster.step(slot, 1000.0 if slot % per_day >= per_day / 2 else 200.0, 5)
    return forecaster


@pytest.mark.parametrize("days", [1, 2])
def test_a_daily_rise_is_foreseen_after_a_day(days: int) -> None:
    forecaster = square_days(60.0, days)
    forecaster.step((forecaster.slot or 0) + 1, 200.0, 5)
    season = forecaster.pending[-1][4][3]
    assert season == pytest.approx(800.0) if days > 1 else math.isnan(season)


def filled(ordered: dict[int, array[int]]) -> dict[int, array[int]]:
    return {level: codes for level, codes in ordered.items() if codes}


@pytest.mark.parametrize("period_s", [2.0, 15.0, 60.0])
def test_what_is_kept_between_steps_is_what_would_be_worked_out_anew(period_s: float) -> None:
    random = Random(11)  # noqa: S311 - repeatable noise
    forecaster, slot = Forecaster(50.0, period_s, headroom.Q), 0
    for _ in range(4000):
        slot += random.choice([1] * 50 + [2, 30, 2000])
        forecaster.step(slot, random.choice([3.0, 400.0, 9000.0]) * random.random(), random.choice([4, 5]))
        kept = repr((forecaster.level, forecaster.growth))
        forecaster._look_back(forecaster.looked_ahead)
        assert repr((forecaster.level, forecaster.growth)) == kept
        for errors in forecaster.errors:
            again = Errors(50.0, headroom.Q)
            again.refill(errors.codes, bytes(errors.levels), errors.place)
            assert filled(again.ordered) == filled(errors.ordered)


def test_memory_of_days_stays_small() -> None:
    forecaster = square_days(15.0, 2)
    assert all(len(errors.codes) == ERRORS_MAX for errors in forecaster.errors[:3])
    saved = forecaster.saved()
    assert len(json.dumps(saved)) < 7_500
    again = Forecaster.restored(saved, 50.0, 15.0, headroom.Q)
    slot = (forecaster.slot or 0) + 1
    assert again.step(slot, 210.0, 5) == forecaster.step(slot, 210.0, 5)
    assert again.saved() == forecaster.saved()


def test_options_survive_their_own_json() -> None:
    options = quantile_headroom.Options.model_validate({**OPTIONS, "guard": "65%", "idle": "30m"})
    dumped = options.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert quantile_headroom.Options.model_validate(dumped) == options
