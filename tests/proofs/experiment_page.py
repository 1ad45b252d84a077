"""`make proof-page`: an experiment's page opens within a second with 50 million recorded requests behind it.

They are put into a store as a gateway would have left them (three variants, two epochs, an outcome metric, 200,000
units), and a real gateway goes on from it. Page and API are asked again and again, each time with something new to
look at; a browser, where there is one, opens the page.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np

from gateway.experiments.definition import ERRORS, LATENCY
from gateway.experiments.evidence import CLUSTERS, Cell, Split
from gateway.experiments.report import Estimate, Look
from gateway.experiments.store.records import CellKey, Exposure, Run
from gateway.experiments.store.store import Store
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, publish

_REQUESTS = 50_000_000
_AT_ONCE = 500_000
_UNITS = 200_000
_LOOKS = 400
_VARIANTS = ("a", "b", "c")
_TIMES = 15
_LIMIT_S = 1.0
_FILE = """
state = "running"
run = 1
started = {started}
[variants.a]
target = "m/1@onnxruntime"
weight = 34
[variants.b]
target = "m/2@onnxruntime"
weight = 33
[variants.c]
target = "m/3@onnxruntime"
weight = 33
[metrics.correct]
kind = "binary"
better = "higher"
margin = 0.01
"""


def fill(store: Store, run: Run, started: datetime) -> None:
    """What 50 million requests leave."""
    random = np.random.default_rng(1)
    with store.transaction() as transaction:
        transaction.save_run(run, started)
        for epoch in (0, 1):
            cells = {}
            for place, variant in enumerate(_VARIANTS):
                cells |= _cells(random, epoch, variant, 1 + 0.02 * place)
            transaction.save_cells(run, cells)
            assigned = dict.fromkeys(_VARIANTS, _REQUESTS // 6)
            transaction.save_splits(run, {epoch: Split({"a": 34.0, "b": 33.0, "c": 33.0}, assigned)})
        transaction.save_counters(run, {f"requests:{name}": _REQUESTS // 3 for name in _VARIANTS})
        now = time.time()
        units = [number.to_bytes(8) for number in random.integers(0, 1 << 63, _UNITS).tolist()]
        transaction.save_exposures(run, [Exposure(each, "a", 0, each[0], now, now) for each in units])
        transaction.save_looks(run, _looks(started))


def _cells(random: np.random.Generator, epoch: int, variant: str, factor: float) -> dict[CellKey, Cell]:
    latency, errors, correct = Cell.empty(histogram=True), Cell.empty(), Cell.empty()
    left = _REQUESTS // 6
    while left > 0:
        count = min(left, _AT_ONCE)
        left -= count
        clusters = random.integers(0, CLUSTERS, count)
        latency.add(clusters, factor * random.lognormal(1.0, 0.5, count))
        errors.add(clusters, (random.random(count) < 0.01).astype(np.float64))
        correct.add(clusters[::10], (random.random(count)[::10] < 0.9).astype(np.float64))
    cells = {LATENCY: latency, ERRORS: errors, "correct": correct}
    return {CellKey(epoch, metric, variant): cell for metric, cell in cells.items()}


def _looks(started: datetime) -> list[Look]:
    unknown = Estimate(None, None, None)
    return [
        Look(
            started + timedelta(minutes=10 * number),
            metric,
            variant,
            1000,
            Estimate(4.0, 3.9, 4.1),
            unknown,
            None,
            33.0,
        )
        for number in range(_LOOKS)
        for metric in (LATENCY, ERRORS, "correct")
        for variant in _VARIANTS
    ]


def main() -> int:
    """Run the proof; 0 where it holds."""
    with tempfile.TemporaryDirectory(prefix="torii-proof-") as name:
        folder = Path(name)
        repository = folder / "repository"
        for version in (1, 2, 3):
            publish(repository, "m", version, {"model.onnx": add_model(float(version))})
        started = datetime.now(UTC) - timedelta(days=3)
        file = repository / "m" / "experiments" / "x.toml"
        file.parent.mkdir()
        file.write_text(_FILE.format(started=started.isoformat()))
        url = f"sqlite:///{folder / 'store.db'}"
        store = Store(url, "proof")
        fill(store, Run("m", "x", 1), started)
        store.close()
        size_mb = (folder / "store.db").stat().st_size / 1e6
        print(f"{_REQUESTS:,} requests and {_UNITS:,} units in {size_mb:.1f} MB")
        with RunningGateway.running(repository, STORE=url, STORE_NAME="proof", LOG_LEVEL="warning") as gateway:
            gateway.wait_ready(60)
            return _ask(gateway)


def _ask(gateway: RunningGateway) -> int:
    page, status = f"{gateway.control}/models/m/experiments/x", f"{gateway.control}/v1/models/m/experiments/x/status"
    gateway.until(
        lambda: sum(each["requests"] for each in gateway.client.get(status).json()["variants"]) >= _REQUESTS - 3
    )
    worst = 0.0
    for what, url in (("page", page), ("status", status)):
        taken = []
        for _ in range(_TIMES):
            gateway.infer("m", x=np.ones((1, 1), np.float32))  # so that there is something new to look at
            time.sleep(1.1)
            began = time.perf_counter()
            answer = gateway.client.get(url, headers={"accept": "text/html"} if what == "page" else {})
            taken.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
        worst = max(worst, *taken)
        print(f"{what}: median {median(taken) * 1000:.0f} ms, worst {max(taken) * 1000:.0f} ms of {_TIMES}")
    if (opened_s := _browse(page)) is not None:
        worst = max(worst, opened_s)
        print(f"browser, until loaded: worst {opened_s * 1000:.0f} ms of 5")
    return 0 if worst <= _LIMIT_S else 1


def _browse(url: str) -> float | None:
    """The longest of five times that Chromium takes to open a page; None where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if not Path("/usr/bin/chromium").exists():
        return None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            page.goto(url, wait_until="load")
            taken.append(time.perf_counter() - began)
        browser.close()
    return max(taken)


if __name__ == "__main__":
    sys.exit(main())
