"""Rollouts to devices over HTTP, as `make proof-edge` has them with ten thousand."""

from __future__ import annotations

from tests.proofs.edge_rollout import run


def test_good_versions_reach_all_devices_in_stages_and_bad_ones_are_halted_before_they_reach_many() -> None:
    lines: list[str] = []
    run(500, (4, 40, 100), 20, {3: 0.6, 4: 1.0}, lines.append)
    assert any("everybody has" in each for each in lines)
    assert sum("every device is back on version 2" in each for each in lines) == 2
