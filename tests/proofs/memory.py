"""`make proof-memory`: 50 cycles of load and unload of one model leave the gateway as large as it was."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish, withdraw

_CYCLES = 50
_WARM_UP = 3
_LIMIT_BYTES = 5 * 2**20
_X = np.array([[1, 2]], np.float32)


def main() -> int:
    """Run the proof; 0 where it holds."""
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        repository.mkdir()
        with RunningGateway.running(repository, POLL_S="0.05", SETTLE_S="0") as gateway:
            gateway.wait_ready(within_s=30)
            for _ in range(_WARM_UP):
                cycle(gateway)
            before = gateway.rss_bytes()
            for _ in track(range(_CYCLES), "cycles of load and unload"):
                cycle(gateway)
            grown = gateway.rss_bytes() - before
    print(
        f"RSS {before / 2**20:.1f} MB, after {_CYCLES} cycles {grown / 2**20:+.2f} MB (limit {_LIMIT_BYTES >> 20} MB)"
    )
    return 0 if grown < _LIMIT_BYTES else 1


def cycle(gateway: RunningGateway) -> None:
    """Load a model, ask it, unload it, and see its worker gone."""
    publish(gateway.repository, "add", 1, {"model.onnx": add_model(1)})
    gateway.until(lambda: gateway.infer("add", x=_X).status_code == 200)
    withdraw(gateway.repository, "add", 1)
    gateway.until(lambda: not gateway.children())


if __name__ == "__main__":
    sys.exit(main())
