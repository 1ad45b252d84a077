from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.crosscheck import markdown, report
from loadtests.crosscheck.agreement import Verdict, agreements, judge
from loadtests.crosscheck.asked import Load
from loadtests.crosscheck.measured import Measured
from loadtests.crosscheck.scenarios import Entry, Scenario, scenarios
from loadtests.crosscheck.turns import Figures, Rounds
from loadtests.crosscheck.wrk import Wrk


@pytest.mark.parametrize(
    ("ratios", "their_cpu", "our_cpu", "gap_us", "cost_us", "verdict"),
    [
        ((1.05, 0.96, 1.4), 0.2, 0.2, 5, 0, "agrees"),
        ((0.7, 0.72, 0.69), 0.97, 0.2, 90, 2, "the tool is the limit"),
        ((1.7, 1.72, 1.69), 0.5, 0.95, -90, 2, "ours is the limit"),
        ((0.85, 0.86, 0.84), 0.3, 0.2, 50, 45, "its cost"),
        ((1.15, 1.16, 1.14), 0.1, 0.2, -50, -45, "its cost"),
        ((0.85, 0.86, 0.84), 0.3, 0.2, 50, -45, "differs"),
        ((0.85, 0.86, 0.84), 0.3, 0.2, 50, 10, "differs"),
        ((0.8, 1.05, 0.85), 0.3, 0.2, 50, 10, "undecided"),
        ((0.8, 1.3, 0.85), 0.3, 0.2, 50, 10, "undecided"),
    ],
)
def test_a_figure_is_judged_by_rounds_then_by_what_cpu_explains(
    ratios: tuple[float, ...], their_cpu: float, our_cpu: float, gap_us: float, cost_us: float, verdict: Verdict
) -> None:
    assert judge(ratios, their_cpu, our_cpu, gap_us, cost_us) == verdict


def test_a_difference_is_none_on_a_busy_machine() -> None:
    assert judge((0.85, 0.86, 0.84), 0.3, 0.2, 50, 10, disturbed=True) == "undecided"


def measured(theirs: list[Figures], ours: list[Figures], load: Load | None = None) -> Rounds:
    scenario = Scenario("a load", load or Load("v2-binary", 1), (Entry(Wrk()),))
    return Rounds(scenario, {"torii": ours, "wrk": theirs})


def figures(
    throughput: float, p50: float, cpu: float = 0.1, others: float = 0.0, failures: int = 0, server_us: float = 0.0
) -> Figures:
    return Figures(Measured(throughput, p50, failures=failures), cpu, others, server_us)


def test_rounds_are_compared_in_pairs_for_the_machine_drifts() -> None:
    theirs = [figures(1000, 1.0), figures(500, 2.0), figures(2000, 0.5)]
    throughput, p50 = agreements(measured(theirs, theirs))

    assert throughput.ratios == p50.ratios == (1, 1, 1)
    assert throughput.verdict == p50.verdict == "agrees"
    assert throughput.their_cost_us == pytest.approx(100)


def test_a_tool_that_needs_more_cpu_shows_it_in_a_closed_loop() -> None:
    theirs, ours = figures(1e6 / 400, 0.40, cpu=0.20), figures(1e6 / 320, 0.32, cpu=0.02)
    throughput, p50 = agreements(measured([theirs], [ours]))

    assert throughput.verdict == p50.verdict == "its cost"  # 80 µs of CPU against 6 µs, 80 µs longer


def test_the_same_cost_explains_more_where_answers_come_together() -> None:
    theirs, ours = figures(6400, 1.0, cpu=0.42), figures(8300, 0.7, cpu=0.17)

    (_, of_eight), (_, of_two) = (
        agreements(measured([theirs], [ours], Load("v2-binary", connections))) for connections in (8, 2)
    )

    assert (of_eight.verdict, of_two.verdict) == ("its cost", "differs")


def test_requests_that_cost_the_server_more_take_longer() -> None:
    dear, cheap = figures(2500, 0.40, cpu=0.1, server_us=400), figures(3125, 0.32, cpu=0.125, server_us=320)

    assert [each.verdict for each in agreements(measured([dear], [cheap]))] == ["its cost", "its cost"]


def test_failed_requests_are_no_agreement() -> None:
    (throughput, _) = agreements(measured([figures(1000, 1.0, failures=3)], [figures(1000, 1.0)]))

    assert (throughput.verdict, throughput.failures) == ("failed requests", 3)


def test_the_cost_of_a_request_is_not_that_of_a_sample() -> None:
    (throughput, _) = agreements(measured([figures(8000, 1.0)], [figures(8000, 1.0)], Load("v2-binary", 1, rows=8)))

    assert throughput.our_cost_us == pytest.approx(100)


def test_the_table_marks_disturbed_figures_and_says_who_is_missing() -> None:
    rounds = measured([figures(1000, 1.0, others=0.3)], [figures(1000, 1.0)])
    rounds.skipped["h2load"] = "it is not on PATH"
    text = io.StringIO()
    report.show([rounds], Console(file=text, width=150))

    assert "agrees?" in text.getvalue()
    assert "h2load is left out: it is not on PATH" in text.getvalue()


def test_everything_is_written_as_json(tmp_path: Path) -> None:
    rounds = measured([figures(1000, 1.0)], [figures(900, 1.0)])
    report.write(tmp_path / "results" / "crosscheck.json", [rounds], {"date": "today"})

    found = json.loads((tmp_path / "results" / "crosscheck.json").read_text())
    assert found["date"] == "today"
    assert found["agreements"][0]["ratio"] == pytest.approx(1000 / 900)
    assert found["scenarios"][0]["turns"]["torii"][0]["measured"]["throughput"] == 900


def test_a_pages_table_is_written_anew_and_what_stands_around_it_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    about = {"date": "today", "machine": "a | machine", "load_average": (0.5,), "command": "python -m this"}
    page.write_text(f"# Before\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\nAfter\n")
    rounds = measured([figures(1000, 1.0)], [figures(900, 1.0)])
    rounds.skipped["h2load"] = "it is\nnot on PATH"
    markdown.write(page, [rounds], about)
    markdown.write(page, [rounds], about)

    text = page.read_text()
    assert text.startswith(f"# Before\n\n{markdown.BEGIN}\n")
    assert text.endswith(f"{markdown.END}\n\nAfter\n")
    assert "old" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| wrk | throughput |")]
    assert row.split(" | ")[2:5] == ["1,000", "900", "1.11"]
    assert "h2load is left out: it is not on PATH" in text


def test_without_a_page_the_table_is_one(tmp_path: Path) -> None:
    about = {"date": "today", "machine": "here", "load_average": (0.5,), "command": "python -m this"}
    markdown.write(tmp_path / "new" / "page.md", [measured([figures(1000, 1.0)], [figures(900, 1.0)])], about)

    assert "| wrk | p50 |" in (tmp_path / "new" / "page.md").read_text()


def test_each_tool_is_in_some_scenario_and_no_name_comes_twice() -> None:
    found = scenarios(500)

    assert len({each.name for each in found}) == len(found)
    assert {entry.tool.name.split()[0] for each in found for entry in each.entries} == {
        *("wrk", "h2load", "perf_analyzer", "LoadGen")
    }
