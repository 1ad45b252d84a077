"""MLPerf's LoadGen, which drives the gateway by way of a system under test of ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from loadtests.crosscheck import environment
from loadtests.crosscheck.asked import Turn, http_request
from loadtests.crosscheck.command import Command
from loadtests.crosscheck.measured import Measured, ToolFailed

Scenario = Literal["SingleStream", "MultiStream", "Server", "Offline"]

_PROGRAM = Path(__file__).with_name("programs") / "loadgen_sut.py"
_SUMMARY = "mlperf_log_summary.txt"
_LINE = re.compile(r"^([^:\n]+?)\s*:\s*([\d.]+)\s*$", re.MULTILINE)


class LoadGen:
    """The wheel mlcommons-loadgen, one scenario of it."""

    def __init__(self, scenario: Scenario) -> None:
        self.name = f"LoadGen {scenario}"
        self._scenario: Scenario = scenario

    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        return environment.missing()

    def command(self, turn: Turn) -> Command:
        """LoadGen in Python, its system under test with as many connections as the load has."""
        asked, load = turn.asked, turn.asked.load
        request = turn.folder / "request"
        request.write_bytes(http_request(asked))
        told = {"host": asked.target.host, "port": asked.target.port, "request": str(request), "rows": load.rows}
        told |= {"connections": load.connections, "rate": load.rate or 1.0, "scenario": self._scenario}
        told |= {"seconds": turn.seconds, "expected": turn.expected}
        return Command([str(environment.PYTHON), "-P", str(_PROGRAM), str(turn.folder)], json.dumps(told))

    def read(self, output: str, turn: Turn) -> Measured:
        """The summary, and what the system under test counted."""
        summary = turn.folder / _SUMMARY
        return parse(output, summary.read_text() if summary.exists() else "", turn.asked.load.rows)


def parse(output: str, summary: str, rows: int = 1) -> Measured:
    """Figures out of a summary of any scenario; LoadGen's own times are nanoseconds.

    Its latencies are queries', so Offline's, where all samples are due at once, are none of requests and left out.

    Raises:
        ToolFailed: it is no summary, or names errors.
    """
    found = dict(_LINE.findall(summary))
    scenario = re.search(r"^Scenario : (\w+)$", summary, re.MULTILINE)
    try:
        if scenario is None or "No errors encountered" not in summary:
            raise ToolFailed(f"expected LoadGen's summary without errors, got {_complaint(summary) or output[-300:]!r}")
        failures = json.loads(output.strip().splitlines()[-1])["failures"]
        if scenario[1] == "Offline":
            return Measured(float(found["Samples per second"]), failures=failures)
        p50, p90, p99 = (float(found[f"{each}.00 percentile latency (ns)"]) / 1e6 for each in (50, 90, 99))
        return Measured(_throughput(scenario[1], found, rows), p50, p90, p99, failures)
    except (LookupError, ValueError) as error:
        raise ToolFailed(f"LoadGen's summary has no {error}") from None


def _complaint(summary: str) -> str:
    """What LoadGen recommends, or the summary's end."""
    _, _, recommended = summary.partition("Recommendations:\n")
    return recommended.partition("Early Stopping")[0].strip() or summary[-300:]


def _throughput(scenario: str, found: dict[str, str], rows: int) -> float:
    """Samples/s; MultiStream does not say, but its queries follow each other."""
    if scenario == "Server":
        return float(found["Completed samples per second"])
    if scenario == "SingleStream":
        return float(found["QPS w/ loadgen overhead"])
    return rows * 1e9 / float(found["Mean latency (ns)"])
