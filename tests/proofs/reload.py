"""`make proof-reload`: reloads by the hundred under constant traffic: nothing fails, waits, grows or slows down."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.e2e.gateway import RunningGateway
from tests.e2e.models import publish
from tests.proofs.footprint import Footprint, footprint
from tests.proofs.slow_loading import taking
from tests.proofs.steady_traffic import Slice
from tests.proofs.tagged import ROOT

RATIO = 1.2
GROWTH_BYTES = 16 << 20
SLOWDOWN = 1.25
_BETWEEN_S = 0.5
_WITHIN_S = 120.0
_OTHER = 0.5


@dataclass
class Run:
    """Cycles of reloading one model, and what they showed.

    `steady` and `reloading` are the other model's slices, in turns; `cycles_s` is how long each reload took, from the
    new file to the end of the call that has it loaded.
    """

    name: str
    cycles: int
    load_s: float = 0.0
    rate: float = 200.0
    warm_up_cycles: int = 5
    cycles_a_slice: int = 20
    steady_s: float = 5.0
    frontends: int = 1
    steady: list[Slice] = field(default_factory=list)
    reloading: list[Slice] = field(default_factory=list)
    own: list[Slice] = field(default_factory=list)
    cycles_s: list[float] = field(default_factory=list)
    requests: int = 0
    failures: list[str] = field(default_factory=list)
    failed: int = 0
    footprints: list[Footprint] = field(default_factory=list)
    took_s: float = 0.0

    def quantile_ms(self, slices: list[Slice], share: float) -> float:
        """The median over slices of a quantile: one slice that the machine disturbs does not count for all."""
        return median(each.quantile_ms(share) for each in slices)

    @property
    def ratio(self) -> float:
        """The other model's p99 while reloads go on, over that without."""
        return self.quantile_ms(self.reloading, 0.99) / self.quantile_ms(self.steady, 0.99)

    @property
    def ratios(self) -> list[float]:
        """As `ratio`, of each slice with reloads and the steady one before it."""
        pairs = zip(self.reloading, self.steady, strict=True)
        return [one.quantile_ms(0.99) / other.quantile_ms(0.99) for one, other in pairs]

    @property
    def before(self) -> Footprint:
        """Once it had warmed up."""
        return self.footprints[0]

    @property
    def after(self) -> Footprint:
        """At the end."""
        return self.footprints[-1]

    @property
    def grown_bytes(self) -> int:
        """What all processes grew by."""
        return self.after.memory_bytes - self.before.memory_bytes

    @property
    def slowdown(self) -> float:
        """The last tenth of the cycles over the first."""
        tenth = max(1, len(self.cycles_s) // 10)
        return median(self.cycles_s[-tenth:]) / median(self.cycles_s[:tenth])

    def leaks(self) -> list[str]:
        """What has become more."""
        found = self.after.more_than(self.before)
        if self.grown_bytes > GROWTH_BYTES:
            found.append(f"memory grew by {self.grown_bytes / 2**20:.1f} MB")
        return found

    def misses(self) -> list[str]:
        """What speaks against the claim; nothing where it holds."""
        found = self.leaks()
        if self.failed:
            found.append(f"{self.failed} requests failed")
        if self.ratio > RATIO:
            found.append(f"the other model's p99 was {self.ratio:.2f} times the steady one")
        if self.slowdown > SLOWDOWN:
            found.append(f"the last reloads took {self.slowdown:.2f} times what the first took")
        return found


def prove(run: Run, folder: Path, console: Console) -> Run:
    """Do it, with a gateway over `folder`."""
    repository = folder / "repository"
    make = taking(run.load_s)
    publish(repository, "other", 1, {"model.onnx": taking(0)(_OTHER)})
    publish(repository, "changing", 1, {"model.onnx": make(0)})
    settings = {"SETTLE_S": "0", "LOG_LEVEL": "info", "FRONTENDS": str(run.frontends)}
    with RunningGateway.running(repository, **settings) as gateway:
        gateway.wait_ready(within_s=_WITHIN_S)
        _Proof(run, gateway, make, console).run()
    return run


class _Proof:
    def __init__(self, run: Run, gateway: RunningGateway, make: Callable[[float], bytes], console: Console) -> None:
        self._run = run
        self._gateway = gateway
        self._make = make
        self._console = console
        self._published = 0
        self._traffic: subprocess.Popen[bytes]

    def run(self) -> None:
        run = self._run
        began_s = time.monotonic()
        port = self._gateway.url.rpartition(":")[2]
        line = [sys.executable, "-m", "tests.proofs.steady_traffic", port, str(run.rate), "other", "changing"]
        with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as self._traffic:
            try:
                self._tell(accept=["other", _OTHER, _OTHER])
                self._tell(accept=["changing", 0, 0])
                self._tell(start=True)
                self._cycles()
                self._count(self._tell(finish=True))
            finally:
                self._traffic.kill()
        run.took_s = time.monotonic() - began_s

    def _cycles(self) -> None:
        run = self._run
        for _ in range(run.warm_up_cycles):
            self._cycle()
        time.sleep(_BETWEEN_S)
        run.footprints.append(footprint(self._gateway))
        with Progress(console=self._console, disable=not self._console.is_terminal) as progress:
            bar = progress.add_task(f"reloads of a {run.name} model", total=run.cycles)
            while len(run.cycles_s) < run.cycles:
                self._slices()
                progress.update(bar, completed=len(run.cycles_s))

    def _slices(self) -> None:
        """One without reloads, one with, and a moment after each that counts for neither."""
        run = self._run
        time.sleep(_BETWEEN_S)
        self._slice()
        time.sleep(run.steady_s)
        run.steady.append(self._slice()["other"])
        for _ in range(min(run.cycles_a_slice, run.cycles - len(run.cycles_s))):
            run.cycles_s.append(self._cycle())
        slices = self._slice()
        run.reloading.append(slices["other"])
        run.own.append(slices["changing"])
        time.sleep(_BETWEEN_S)
        run.footprints.append(footprint(self._gateway))

    def _slice(self) -> dict[str, Slice]:
        return self._count(self._tell(slice=True))

    def _count(self, told: dict[str, dict[str, Any]]) -> dict[str, Slice]:
        slices = {model: Slice(**fields) for model, fields in told.items()}
        for each in slices.values():
            self._run.requests += each.requests
            self._run.failed += each.failed
            self._run.failures += each.failures
        return slices

    def _tell(self, **order: Any) -> Any:
        assert self._traffic.stdin is not None
        assert self._traffic.stdout is not None
        self._traffic.stdin.write(orjson.dumps(order) + b"\n")
        self._traffic.stdin.flush()
        return orjson.loads(self._traffic.stdout.readline())

    def _cycle(self) -> float:
        """Publish once more, have it loaded, and see the old worker gone; gives the seconds to the end of the load."""
        gateway, number = self._gateway, self._published + 1
        before = {child.pid for child in gateway.children()}
        staged = gateway.repository.parent / "staged"
        staged.write_bytes(self._make(number))
        self._tell(accept=["changing", self._published, number])
        began_s = time.monotonic()
        staged.rename(gateway.repository / "changing" / "1" / "model.onnx")
        url = f"{gateway.control}/v2/repository/models/changing/load"
        answer = gateway.client.post(url, timeout=_WITHIN_S)
        taken_s = time.monotonic() - began_s
        assert answer.status_code == 200, answer.text
        # What was sent before the load ended may be answered by what served then, until that is gone.
        gateway.until(lambda: len({child.pid for child in gateway.children()} & before) < len(before), _WITHIN_S)
        self._tell(accept=["changing", number, number])
        self._published = number
        return taken_s


def show(runs: list[Run], console: Console) -> None:
    """Print what the runs showed."""
    table = Table("", *(f"{run.name} model" for run in runs))
    for title, cell in _ROWS.items():
        table.add_row(title, *(cell(run) for run in runs))
    console.print(table)
    for run in runs:
        for failure in run.failures:
            console.print(failure, style="red", markup=False, soft_wrap=True)


def _counts(run: Run) -> str:
    names = ("processes", "threads", "descriptors", "sockets")
    return ", ".join(f"{getattr(run.before, each)} → {getattr(run.after, each)} {each}" for each in names)


def _memory(run: Run) -> str:
    own = run.after.gateway_bytes - run.before.gateway_bytes
    return f"{run.before.memory_bytes / 2**20:.1f} MB {run.grown_bytes / 2**20:+.1f}, the gateway {own / 2**20:+.1f}"


def _later_half(run: Run) -> str:
    middle = run.footprints[len(run.footprints) // 2]
    return f"{(run.after.memory_bytes - middle.memory_bytes) / 2**20:+.1f} MB"


def _spread(run: Run) -> str:
    low, _, high = quantiles(run.ratios, n=4) if len(run.ratios) > 1 else (run.ratios * 3)
    return f"{low:.2f} to {high:.2f}"


_ROWS: dict[str, Callable[[Run], str]] = {
    "reloads": lambda run: f"{len(run.cycles_s)} in {run.took_s:.0f} s",
    "a reload takes": lambda run: f"{median(run.cycles_s):.2f} s, {max(run.cycles_s):.2f} at most",
    "the last tenth of them, over the first": lambda run: f"{run.slowdown:.2f}",
    "requests": lambda run: f"{run.requests:,} at {2 * run.rate:g}/s",
    "failed": lambda run: f"{run.failed}",
    "the other model's p50, steady": lambda run: f"{run.quantile_ms(run.steady, 0.5):.2f} ms",
    "the other model's p50, reloading": lambda run: f"{run.quantile_ms(run.reloading, 0.5):.2f} ms",
    "the other model's p99, steady": lambda run: f"{run.quantile_ms(run.steady, 0.99):.2f} ms",
    "the other model's p99, reloading": lambda run: f"{run.quantile_ms(run.reloading, 0.99):.2f} ms",
    "ratio of the p99": lambda run: f"{run.ratio:.2f} (limit {RATIO})",
    "middle half of the slices' ratios": _spread,
    "the reloaded model's own p99": lambda run: f"{run.quantile_ms(run.own, 0.99):.2f} ms",
    "memory of all processes (USS)": _memory,
    "of that in the later half": _later_half,
    "besides": _counts,
}


def main() -> int:
    """Run the proof; 0 where it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small-cycles", type=int, default=1000)
    parser.add_argument("--slow-cycles", type=int, default=100)
    parser.add_argument("--load-seconds", type=float, default=5.0, help="of one core, for the slow model")
    parser.add_argument("--rate", type=float, default=200.0, help="requests a second to each of the two models")
    parser.add_argument("--steady-seconds", type=float, default=5.0, help="between two slices of reloads")
    parser.add_argument("--frontends", type=int, default=1)
    given = parser.parse_args()
    same = {"rate": given.rate, "steady_s": given.steady_seconds, "frontends": given.frontends}
    runs = [
        Run("small", given.small_cycles, cycles_a_slice=25, **same),
        Run("slow", given.slow_cycles, load_s=given.load_seconds, cycles_a_slice=5, **same),
    ]
    runs = [run for run in runs if run.cycles]
    console = Console()
    for run in runs:
        with tempfile.TemporaryDirectory() as folder:
            prove(run, Path(folder), console)
    show(runs, console)
    misses = [f"{run.name} model: {miss}" for run in runs for miss in run.misses()]
    for miss in misses:
        console.print(miss, style="red")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
