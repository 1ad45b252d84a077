from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtests.bench import report
from loadtests.bench.comparisons import THROUGHPUT, Benchmark, goals
from loadtests.bench.contenders import IN_PROCESS, Figures, Row
from loadtests.bench.report import Footprint


def row(contender: str, requests_per_s: float, connections: int) -> Row:
    figures = Figures(1000, requests_per_s, 1.0, 2.0, 0, 0.1, 100, 0.0)
    return Row(contender, "plain", connections, figures, (figures,))


BENCHMARK = Benchmark("A title", (1, 8), THROUGHPUT, tuple(goals("Torii", "plain", (1, 8, 32), 3.0)), lambda _: [])
ROWS = (
    row("raw", 900, IN_PROCESS),
    row("Torii", 400, 1),
    row("plain", 100, 1),
    row("Torii", 200, 8),
    row("plain", 100, 8),
)
FOOTPRINTS = {"Torii": Footprint((2**20, 2 * 2**20), 0.02)}


def test_ratios_stand_beside_their_goals_at_each_number_of_connections(capsys: pytest.CaptureFixture[str]) -> None:
    report.show(BENCHMARK, ROWS, FOOTPRINTS)

    lines = capsys.readouterr().out.splitlines()
    (goal,) = (line for line in lines if "≥ 3 ×" in line)
    assert goal.split()[-6:] == ["4.00", "holds", "2.00", "missed", "not", "measured"]
    (raw,) = (line for line in lines if " raw " in line)
    assert raw.split()[:4] == [
        "–",
        "raw",
        "900",
        "–",
    ]  # nothing to be compared with: plain has no turn without connections
    assert "Torii: RSS 1 MB + 2 MB in children; idle: 2.0% of a core" in lines


def test_the_file_has_ratios_goals_and_footprints(tmp_path: Path) -> None:
    report.write(tmp_path / "new" / "mlp.json", BENCHMARK, ROWS, FOOTPRINTS, report.facts())

    found = json.loads((tmp_path / "new" / "mlp.json").read_text())
    assert [each["ratio"] for each in found["rows"]] == [None, 4.0, 1.0, 2.0, 1.0]
    assert [each["holds"] for each in found["goals"]] == [True, False, None]
    assert found["servers"] == {"Torii": {"rss_bytes": [2**20, 2 * 2**20], "idle_cpu": 0.02}}
    assert "GB" in found["machine"]
