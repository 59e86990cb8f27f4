"""Policies beside one another, tuned, drawn and told; and the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from autoscaler import lab
from autoscaler.cli.main import app
from autoscaler.lab import page, plots
from autoscaler.lab.comparison import Point, geometric, lack_at
from autoscaler.lab.plots import PlottingUnavailable

MINE = """
import math

import autoscaler


@autoscaler.hookimpl
def propose(signals):
    load = signals["my_load"].latest
    if load is not None:
        return autoscaler.Scale(math.ceil(load / 40), f"{load:.0f} & <so>")
"""

FIGURES = dict.fromkeys(page.FIGURES, 1.0)


def a_load(name: str = "made", minutes: int = 60) -> lab.Load:
    wave = 3 + 2 * np.sin(np.arange(minutes) / 6)
    return lab.load_of(lab.Trace(name, 60.0, wave), 50.0)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    lines = [f"{60 * i},{3 + i % 7}" for i in range(60)]
    file = tmp_path / "shop.csv"
    file.write_text("# name: shop\nt_seconds,value\n" + "\n".join(lines) + "\n")
    return file


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    return file


def test_every_policy_meets_every_load_and_means_are_of_all() -> None:
    loads = [a_load("one"), a_load("two", 40)]
    told: list[float] = []
    found = lab.compare(loads, ["hpa_v2", "target_value"], lab.Setting(), told=lambda _, share: told.append(share))
    assert list(found.figures) == ["one", "two"]
    assert list(found.figures["one"]) == ["hpa_v2", "target_value"]
    means = found.means("hpa_v2")
    costs = [of["hpa_v2"]["cost"] for of in found.figures.values()]
    assert means["arithmetic"]["cost"] == pytest.approx(sum(costs) / 2)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_the_same_again_is_the_same() -> None:
    one, other = (lab.simulate("quantile_headroom", a_load(), lab.Setting()).figures() for _ in range(2))
    assert one == other


def test_equal_cost_is_read_off_the_sweep() -> None:
    curve = (Point(0.5, 2.0, 0.0), Point(1.0, 1.0, 1.0), Point(0.7, 1.5, 0.2))
    assert lack_at(curve, 1.25) == pytest.approx(0.6)
    assert lack_at(curve, 1.75) == pytest.approx(0.1)
    assert lack_at(curve, 2.5) is None
    found = lab.compare([a_load()], ["target_value", "hpa_v2"], lab.Setting(), sweep=(0.5, 0.7, 1.0))
    assert [point.target for point in found.curves["made"]["hpa_v2"]] == [0.7, 0.5, 1.0]
    (pair,) = found.at_cost_of("hpa_v2", "hpa_v2").values()
    assert pair[0] == pytest.approx(pair[1])


def test_geometric_means_have_a_floor() -> None:
    assert geometric([0.0, 1.0]) == pytest.approx(0.1)


def test_tuning_judges_a_choice_on_what_it_was_not_made_on() -> None:
    found = lab.tune(a_load(), "target_value", lab.Setting(), {"target": [0.2, 0.6, 1.0]}, lack_cost=200, folds=3)
    assert found.chosen == {"target": 0.6}
    assert [cost for _, cost in found.costs] == sorted(cost for _, cost in found.costs)
    assert found.judged == pytest.approx(found.costs[0][1])
    assert found.usual > 0


def test_a_dear_lack_buys_more_replicas() -> None:
    space = {"target": [0.5, 0.8, 0.95]}
    cheap = lab.tune(a_load(), "target_value", lab.Setting(startup=120), space, lack_cost=1).chosen["target"]
    dear = lab.tune(a_load(), "target_value", lab.Setting(startup=120), space, lack_cost=1000).chosen["target"]
    assert dear < cheap


def test_a_report_stands_alone_and_trusts_no_text(mine: Path) -> None:
    run = lab.simulate(str(mine), a_load("<b>", 90), lab.Setting())
    text = page.run_page(run)
    assert "&lt;b&gt;" in text
    assert "<b> " not in text
    assert "&amp; &lt;so&gt;" in text
    assert 'src="http' not in text
    assert "href" not in text
    assert text.count("data:image/png;base64,") == 2


def test_a_comparison_has_a_picture_for_each_run(mine: Path) -> None:
    found = lab.compare([a_load()], ["hpa_v2", str(mine)], lab.Setting(), sweep=(0.6, 0.8))
    text = page.comparison_page(found)
    assert text.count("data:image/png;base64,") == 4
    assert "geometric mean" in text


def test_pictures_are_pictures_and_the_worst_hour_is_where_most_is_lacking() -> None:
    load = lab.Load("made", np.concatenate((np.full(9000, 50.0), np.full(1000, 500.0), np.full(9000, 50.0))), 50.0, 1)
    run = lab.simulate("target_value", load, lab.Setting())
    assert plots.run_png(run).startswith(b"\x89PNG")
    start, end = plots.worst_window(run)
    assert start < 9000 < end


def test_without_matplotlib_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(PlottingUnavailable, match=r"Install eventscaler\[lab\]"):
        plots.run_png(lab.simulate("target_value", a_load(), lab.Setting()))


def test_simulate_on_the_command_line(trace: Path, mine: Path, tmp_path: Path) -> None:
    html, png = tmp_path / "report.html", tmp_path / "run.png"
    given = ["simulate", "--trace", str(trace), "--policy", str(mine), "--html", str(html), "--png", str(png), "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["trace"] == "shop"
    assert document["figures"]["cost"] > 0
    assert document["decisions"][0]["after"] != document["decisions"][0]["before"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert html.read_text().startswith("<!doctype html>")


def test_compare_on_the_command_line(trace: Path, mine: Path) -> None:
    given = [
        "compare",
        "--traces",
        str(trace.parent),
        "--policies",
        f"hpa_v2,target_value,{mine}",
        "--sweep",
        "--only",
        "30m",
    ]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "LOAD" in result.stdout
    assert "geometric mean" in result.stdout
    assert "at equal cost hpa_v2 lacks" in result.stderr
    png = trace.parent / "compared.png"
    result = CliRunner().invoke(app, [*given, "--json", "--png", str(png)])
    assert set(json.loads(result.stdout)["figures"]["shop"]) == {"hpa_v2", "target_value", str(mine)}
    assert png.read_bytes().startswith(b"\x89PNG")


def test_tune_on_the_command_line(trace: Path) -> None:
    given = ["tune", "--trace", str(trace), "--policy", "target_value", "--vary", "target=0.5,0.9", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["chosen"]["target"] in {0.5, 0.9}
    assert len(document["costs"]) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(["simulate", "--policy", "hpa_v2"], "--trace: a trace is needed", id="no trace"),
        pytest.param(["simulate", "--trace", "no.csv"], "cannot be read", id="no such file"),
        pytest.param(["compare", "--traces", "nowhere"], "no CSV file in nowhere", id="no directory"),
        pytest.param(["compare", "--policies", "hpa_v3"], "Did you mean hpa_v2", id="no policy"),
        pytest.param(["simulate", "--trace", "x", "--html", "no/x"], "no/x: cannot be written", id="no place"),
        pytest.param(["simulate", "--trace", "x", "--png", "no/x"], "Name another file.", id="no place for a picture"),
        pytest.param(["simulate", "--trace", "x", "--with", "lack_cost"], "no KEY=VALUE", id="no value"),
        pytest.param(["tune", "--trace", "x", "--vary", "target=a"], "target: 'a' is no number", id="no number"),
    ],
)
def test_wrong_usage_says_what_to_do(
    given: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_text("0,1\n60,1\n")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 2
    assert words in result.stderr


TEN_LINES = """\
import math

import autoscaler


@autoscaler.hookimpl
def propose(signals):
    load = signals["requests_per_second"]
    if load.known:
        return autoscaler.Scale(math.ceil(load.max("1m") / 40), f"{load.latest:.0f} requests/s")
"""


def command(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a user calls it, in a directory that knows nothing of the project."""
    program = Path(sys.executable).with_name("autoscaler")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOSCALER_", "PYTHON"))}
    return subprocess.run(
        [program, *words], cwd=directory, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def test_ten_lines_in_an_empty_directory_are_simulated_and_compared(trace: Path) -> None:
    here = trace.parent
    (here / "mine.py").write_text(TEN_LINES)
    done = command(here, "simulate", "--trace", "shop.csv", "--policy", "./mine.py", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["policy"] == "mine"
    assert found["figures"]["slo"] < 5
    assert any("requests/s" in decision["reason"] for decision in found["decisions"])
    done = command(
        here, "compare", "--trace", "shop.csv", "--policies", "quantile_headroom,./mine.py", "--html", "report.html"
    )
    assert done.returncode == 0, done.stderr
    assert "./mine.py" in done.stdout
    assert "mine" in (here / "report.html").read_text()
    assert {path.name for path in here.iterdir()} - {"__pycache__"} == {"mine.py", "report.html", "shop.csv"}


SAID = {
    "no file": ("", "./mine.py: no such file: ./mine.py"),
    "syntax": ("def propose(:", "./mine.py: its import failed: SyntaxError"),
    "no hook": ("x = 1", "./mine.py: it implements no hook. Mark its functions with @autoscaler.hookimpl."),
    "misspelt": (TEN_LINES.replace("(signals)", "(signal)"), "propose has no argument signal. Did you mean signals?\n"),
}


@pytest.mark.parametrize(("content", "words"), SAID.values(), ids=list(SAID))
def test_what_is_wrong_with_a_policy_is_said(trace: Path, content: str, words: str) -> None:
    if content:
        (trace.parent / "mine.py").write_text(content)
    done = command(trace.parent, "compare", "--trace", "shop.csv", "--policies", "./mine.py")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_policy_that_fails_is_not_taken_for_one_that_decides(trace: Path, mine: Path) -> None:
    mine.write_text(TEN_LINES.replace("math.ceil(", "1 / 0 * math.ceil("))
    result = CliRunner().invoke(app, ["simulate", "--trace", str(trace), "--policy", str(mine)])
    assert result.exit_code == 0
    assert "shop: mine had no answer at 240 of 240 looks, at last: " in result.stderr


def test_a_file_that_is_named_as_a_directory_of_traces_is_told_apart(trace: Path) -> None:
    result = CliRunner().invoke(app, ["compare", "--traces", str(trace), "--policies", "hpa_v2"])
    assert result.exit_code == 2
    assert "is a file. Name it with --trace." in result.stderr


def test_the_worst_hour_shows_what_came_before_and_after() -> None:
    load = lab.Load("made", np.concatenate((np.full(9000, 50.0), np.full(60, 500.0), np.full(9000, 50.0))), 50.0, 1)
    start, end = plots.worst_window(lab.simulate("target_value", load, lab.Setting()))
    assert end - start == 3600
    assert start + 1200 < 9000 < end - 1200


def test_a_report_is_for_dark_and_small_screens_and_says_every_figure() -> None:
    run = lab.simulate("target_value", a_load(), lab.Setting())
    text = page.run_page(run)
    assert "prefers-color-scheme: dark" in text
    assert '<meta name="viewport"' in text
    assert set(page.FIGURES) == set(run.figures())
    assert all(words in text for _, words in page.FIGURES.values())
    assert 'alt=""' not in page.comparison_page(lab.compare([a_load()], ["hpa_v2"], lab.Setting()))


def test_figures_are_printed_with_their_units_and_what_they_are(trace: Path) -> None:
    result = CliRunner().invoke(app, ["simulate", "--trace", str(trace), "--policy", "hpa_v2"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["FIGURE", "VALUE", "UNIT", "WHAT", "IT", "IS"]
    assert lines[1].startswith("theta_u ")
    assert lines[1].endswith("lack: replicas too few, of those needed")


def test_a_generated_load_is_a_trace_by_its_name_unless_a_file_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["simulate", "--trace", "stairs", "--policy", "target_value", "--only", "20m", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["trace"] == "stairs"
    (tmp_path / "stairs").write_text("# name: mine\n0,1\n60,2\n")
    assert json.loads(CliRunner().invoke(app, given).stdout)["trace"] == "mine"
    result = CliRunner().invoke(app, ["simulate", "--policy", "target_value"])
    assert "Name a CSV file, or one of diurnal, ramp," in result.stderr


def test_a_comparison_needs_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def compare(loads: list[lab.Load], policies: list[str], setting: lab.Setting, **_: object) -> lab.Comparison:
        asked.append([load.name for load in loads])
        return lab.Comparison(setting, tuple(policies), {"a": dict.fromkeys(policies, FIGURES)})

    monkeypatch.setattr("autoscaler.lab.comparison.compare", compare)
    result = CliRunner().invoke(app, ["compare"])
    assert result.exit_code == 0, result.output
    assert asked == [[trace.name for trace in lab.generated()]]


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_a_report_that_cannot_be_written_is_said_before_anything_runs(
    command: str, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("autoscaler.lab.comparison.compare", never)
    monkeypatch.setattr("autoscaler.lab.simulation.run_policy", never)
    nowhere = tmp_path / "nowhere" / "report.html"
    result = CliRunner().invoke(app, [command, "--trace", str(trace), "--html", str(nowhere)])
    assert result.exit_code == 2
    assert result.stderr == (
        f"autoscaler: {nowhere}: cannot be written (No such file or directory). Name another file.\n"
    )


def test_a_run_that_fails_leaves_no_empty_report_and_spares_the_last_one(trace: Path, tmp_path: Path) -> None:
    new, old = tmp_path / "new.html", tmp_path / "old.html"
    old.write_text("before")
    for file in (new, old):
        given = ["simulate", "--trace", str(trace), "--policy", "target_value", "--with", "tolerance=x"]
        assert CliRunner().invoke(app, [*given, "--html", str(file)]).exit_code == 2
    assert not new.exists()
    assert old.read_text() == "before"


@pytest.mark.parametrize(
    "text",
    ["time,requests\n0,5\n60,6\n", "\ufefft_seconds,value\r\n0,5\r\n\r\n60,6\r\n", "# c\n0, 5\n60, 6\n"],
    ids=["other heads", "as a spreadsheet writes it", "spaces"],
)
def test_a_trace_is_read_as_people_have_it(text: str, tmp_path: Path) -> None:
    file = tmp_path / "some.csv"
    file.write_text(text, encoding="utf-8", newline="")
    found = lab.read_trace(file)
    assert (found.step_s, found.values.tolist()) == (60.0, [5.0, 6.0])
