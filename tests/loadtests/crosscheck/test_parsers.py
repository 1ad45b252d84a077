"""What tools printed on real runs, read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.crosscheck import h2load, loadgen, perf_analyzer, wrk
from loadtests.crosscheck.measured import Measured, ToolFailed

HERE = Path(__file__).parent


def captured(name: str) -> str:
    return (HERE / "captured" / name).read_text()


def test_wrk_tells_its_whole_duration_and_every_latency() -> None:
    measured = wrk.parse(captured("wrk.txt"), connections=8)

    assert measured == Measured(45704 / 1.000199, p50=0.080, p90=0.128, p99=0.336, failures=0)


@pytest.mark.parametrize(("name", "connections"), [("wrk", 8), ("wrk-slow", 1), ("wrk-refused", 8)])
def test_latencies_that_wrk_makes_up_are_taken_out_again(name: str, connections: int) -> None:
    said = json.loads(captured(f"{name}.txt").splitlines()[-1])
    told = dict(said["latencies"])
    found = wrk.observed(told, said["duration"] // (said["requests"] // connections))

    assert sum(told.values()) > said["requests"]
    assert sum(found.values()) == said["requests"]
    assert min(found.values()) == 0


def test_a_server_that_holds_up_every_tenth_answer_is_slow_for_a_tenth_of_the_requests() -> None:
    measured = wrk.parse(captured("wrk-slow.txt"), connections=1)  # by wrk's own words the median is 2.3 ms

    assert measured.p50 == 0.023
    assert measured.p99 == 20.489


def test_refusals_are_failures_to_wrk_and_to_h2load() -> None:
    refused = wrk.parse(captured("wrk-refused.txt"), connections=8)
    assert refused.failures == 39319

    refused = h2load.parse(captured("h2load-refused.txt"), "1795477000000000\t404\t300\n")
    assert refused.failures == 11545


@pytest.mark.parametrize(("name", "rate"), [("h2load", 2911.0), ("h2load-grpc", 2948.0)])
def test_h2loads_percentiles_are_of_its_log_and_its_rate_of_its_text(name: str, rate: float) -> None:
    log = captured(f"{name}.tsv")
    measured = h2load.parse(captured(f"{name}.txt"), log)

    durations_ms = sorted(int(line.split("\t")[2]) / 1000 for line in log.splitlines())
    assert len(durations_ms) == 200
    assert measured == Measured(rate, durations_ms[100], durations_ms[180], durations_ms[198], 0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("perf_analyzer", Measured(7411.96, 0.953, 1.499, 3.684)),
        ("perf_analyzer-grpc", Measured(2760.97, 2.187, 5.870, 8.135)),
        ("perf_analyzer-rate", Measured(475.257, 0.840, 1.448, 3.533)),
    ],
)
def test_perf_analyzers_report_has_one_row(name: str, expected: Measured) -> None:
    assert perf_analyzer.parse(captured(f"{name}.csv")) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("single-stream", Measured(2893.33, 0.295631, 0.390361, 1.664809)),
        ("multi-stream", Measured(8 * 1e9 / 356090, 0.322150, 0.369450, 1.446274)),
        ("server", Measured(983.10, 0.574908, 1.743535, 4.934402)),
        ("offline", Measured(83898.5)),
    ],
)
def test_loadgens_summary_is_read_in_each_scenario(name: str, expected: Measured) -> None:
    found = loadgen.parse(captured("loadgen.txt"), captured(f"loadgen-{name}.txt"), rows=8)

    assert found == expected


def test_a_summary_with_errors_is_refused_with_what_loadgen_recommends() -> None:
    with pytest.raises(ToolFailed, match="Decrease the expected latency"):
        loadgen.parse(captured("loadgen.txt"), captured("loadgen-ran-out.txt"))


def test_samples_are_counted_where_a_request_has_several() -> None:
    assert wrk.parse(captured("wrk.txt"), 8, rows=4).throughput == pytest.approx(4 * 45704 / 1.000199)
    assert h2load.parse(captured("h2load.txt"), captured("h2load.tsv"), rows=4).throughput == 4 * 2911.0


@pytest.mark.parametrize("text", ["", "\n", "Killed", "unable to connect\n", '{"requests": 0, "duration": 0}', "[1]"])
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ToolFailed):
        wrk.parse(text, 1)
    with pytest.raises(ToolFailed):
        h2load.parse(text, text)
    with pytest.raises(ToolFailed):
        perf_analyzer.parse(text)
    with pytest.raises(ToolFailed):
        loadgen.parse(text, text)


def test_h2loads_text_without_its_log_is_refused() -> None:
    with pytest.raises(ToolFailed, match="log"):
        h2load.parse(captured("h2load.txt"), "")
