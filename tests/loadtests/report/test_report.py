"""What a report says and shows of results that are known."""

from __future__ import annotations

import re

import pytest

from loadtests.comparison.matching import Source
from loadtests.report import writing
from loadtests.report.pictures import Picture
from loadtests.report.writing import Report, report
from tests.loadtests.invented import made_result, made_row
from tests.loadtests.report.results import BUSY, NO_GPU, steady


@pytest.fixture(scope="module")
def known() -> Report:
    rows = [steady("digits/1@tflite", 1.0), steady("digits/1@onnxruntime", 4.0)]
    return report([Source("known.json", made_result(rows))])


def pictures(made: Report, heading: str) -> tuple[Picture, ...]:
    return next((section.pictures for section in made.sections if section.heading == heading), ())


def test_a_report_has_each_section(made: Report) -> None:
    assert [section.heading for section in made.sections] == [
        "Frameworks and hardware", "Latency distributions", "Throughput against latency", "Timelines",
    ]  # fmt: skip
    assert all(section.pictures for section in made.sections)
    assert dict(made.facts)["machines"] == "EPYC-2c-8GB, H100-16c"
    assert dict(made.facts)["rows"] == "4 measured, 2 not run, 2 failed"
    assert dict(made.facts)["revision"] == "abcdef012345"


def test_what_is_faster_is_said_with_how_much_and_at_which_loads(made: Report) -> None:
    faster = [each for each in made.conclusions.can if "@tflite" in each.partition(" is faster than ")[0]]
    of_first = next(each for each in faster if "EPYC" in each.partition(" than ")[2] and "p50" in each)
    change, to = map(float, re.findall(r"p50 (-[\d.]+) % to (-[\d.]+) % at 1, 8 connections", of_first)[0])
    assert change == pytest.approx(-50, abs=5)
    assert to == pytest.approx(-50, abs=5)
    assert any("faster" in row for row in made.conclusions.compared.rows)


def test_the_same_rows_of_two_machines_are_compared(made: Report) -> None:
    assert any("H100-16c is faster than digits/1@tflite, CPU, 1 thread, EPYC" in each for each in made.conclusions.can)
    assert any(each.startswith("2 machines (EPYC-2c-8GB, H100-16c)") for each in made.conclusions.mind)


def test_what_was_not_run_is_said_with_its_reason_everywhere(made: Report) -> None:
    sentence = next(each for each in made.conclusions.cannot if each.startswith("Not run: "))
    assert NO_GPU in sentence
    assert sentence.count("CUDA") == 2  # of both machines, in one sentence
    assert any(each.startswith("Failed: it died") for each in made.conclusions.cannot)
    heat = pictures(made, "Frameworks and hardware")[0]
    assert f"[1] not run: {NO_GPU}." in heat.says
    assert [cell for row in heat.numbers.rows for cell in row].count(f"not run: {NO_GPU}") == 2
    shown = [text.get_text() for text in heat.figure.axes[0].texts]
    assert shown.count("not run [1]") == 2
    assert shown.count("failed [2]") == 2


def test_what_to_mistrust_is_said_once_and_marked_where_its_numbers_stand(made: Report) -> None:
    marks = [each for each in made.conclusions.mind if "steal" in each]
    assert len(marks) == 1
    assert marks[0].startswith(f"B{BUSY[1:]}: digits/1@onnxruntime")
    assert made.measured.head[-1] == "marks"
    assert [row[-1] for row in made.measured.rows].count("busy machine") == 2
    of_eight = next(
        each for each in pictures(made, "Frameworks and hardware") if each.title == "p99 in ms at 8 connections"
    )
    assert sum(cell.endswith("*") for row in of_eight.numbers.rows for cell in row) == 2
    assert any("The code was modified" in each for each in made.conclusions.mind)


def test_curves_have_a_logarithmic_axis_and_the_true_percentiles(known: Report) -> None:
    curve = pictures(known, "Latency distributions")[0]
    assert curve.figure.axes[0].get_yscale() == "log"
    assert len(curve.figure.axes[0].lines) == 2
    for row, milliseconds in zip(curve.numbers.rows, (1.0, 4.0), strict=True):
        name, answers, *percentiles, _longest = row
        assert answers == "2,400"
        assert [float(each) for each in percentiles] == pytest.approx([milliseconds] * 4, rel=0.01), name


def test_throughput_stands_against_p99(known: Report) -> None:
    picture = pictures(known, "Throughput against latency")[0]
    assert [row[2].partition(" ")[0] for row in picture.numbers.rows] == ["400", "400"]
    assert [float(row[3].partition(" ")[0]) for row in picture.numbers.rows] == pytest.approx([1, 4], rel=0.01)


def test_a_timeline_shows_failures_and_what_happened(made: Report) -> None:
    shown = pictures(made, "Timelines")
    assert len(shown) == 2  # of each machine, the one in which something failed; the others are folded
    assert shown[0].says.startswith("7 requests failed: timeout. 1: SIGSTOP at ")
    assert any(float(row[4]) > 0 for row in shown[0].numbers.rows if row[4] != "–")
    assert any("SIGCONT" in row[5] for row in shown[0].numbers.rows)
    folded = made.sections[-1].folded
    assert len(folded) == 6
    assert all(each.says.startswith("No request failed.") for each in folded)


def test_tables_have_all_numbers_all_settings_and_the_machines(made: Report) -> None:
    assert len(made.measured.rows) == 8
    assert {row[1] for row in made.measured.rows} == {"1 connection", "8 connections"}
    settings = {row[:-1]: row[-1] for grid in made.settings for row in grid.rows}
    assert settings["levels",] == "[8]"
    assert settings["git.revision",] == "abcdef0123456789"
    assert settings["digits/1 model.tflite",] == f"SHA-256 {'0' * 64}"
    assert ("digits/1@tflite, CPU, 1 thread, EPYC-2c-8GB", "intra_op_threads") in settings
    assert ("CPU", "AMD EPYC (x86_64)") in made.machines[0].rows
    assert made.figures[0].rows[0][1:] == ("0.4 s (0.3 to 0.5)", "–; the bound was never met")
    assert made.figures[0].rows[2][1:] == ("not run", "not run")


def test_results_of_different_scenarios_are_not_compared_or_drawn_together() -> None:
    other = made_result([steady("digits/1@tflite", 1.0)], name="offline")
    made = report([Source("a.json", made_result([steady("digits/1@tflite", 2.0)])), Source("b.json", other)])
    assert made.conclusions.can == ()
    assert made.conclusions.cannot == ("2 scenarios are here, each of which stands for itself.",)
    curves = pictures(made, "Latency distributions")
    assert [each.title for each in curves] == ["Latency distribution, frameworks", "Latency distribution, offline"]
    assert pictures(made, "Frameworks and hardware") == ()


def test_results_of_one_scenario_that_cannot_be_compared_are_refused_with_the_difference() -> None:
    row = steady("digits/1@tflite", 1.0)
    others = made_result([row], models={"digits/1": {"model.tflite": "f" * 64}})
    made = report([Source("a.json", made_result([row])), Source("b.json", others)])
    assert any("have different models: model.tflite" in each for each in made.conclusions.cannot)


def test_more_rows_than_anybody_reads_are_left_out_and_it_is_said() -> None:
    rows = [made_row(f"digits/1@{number}", status="not run", why="as I like", figures=()) for number in range(10_000)]
    made = report([Source("big.json", made_result([steady("digits/1@tflite", 1.0), *rows]))])
    assert dict(made.facts)["rows"] == (
        f"1 measured, 10,000 not run; 9,801 are left out: a report takes {writing.MOST_ROWS}"
    )
    assert len(pictures(made, "Frameworks and hardware")[0].numbers.head) <= 9


def test_more_results_than_a_report_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="65 results in one report; expected 64 at most"):
        report([Source(f"{number}.json", made_result([])) for number in range(65)])


def test_a_result_without_rows_has_a_report() -> None:
    made = report([Source("empty.json", made_result([]))])
    assert made.sections == ()
    assert dict(made.facts)["rows"] == "none"


def test_settings_without_end_are_cut_and_it_is_said() -> None:
    scenario = {f"key {number}": number for number in range(5000)}
    made = report([Source("a.json", made_result([], scenario=scenario))])
    assert len(made.settings[0].rows) < 400
    assert "more, which the file has" in made.settings[0].rows[-1][0]


def test_a_row_of_two_results_of_one_machine_is_told_apart_by_their_files() -> None:
    result = made_result([steady("digits/1@tflite", 1.0)])
    made = report([Source("before.json", result), Source("after.json", result)])
    assert [row[0] for row in made.measured.rows] == [
        "digits/1@tflite, EPYC-2c-8GB (before.json)", "digits/1@tflite, EPYC-2c-8GB (after.json)",
    ]  # fmt: skip
