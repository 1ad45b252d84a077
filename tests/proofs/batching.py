"""`make proof-batching`: a million requests, in batches, among reloads and kills: to each its own answer, none lost."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import uvloop
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.e2e.gateway import RunningGateway
from tests.proofs.asking import TROUBLES, Ask, Way, stream
from tests.proofs.callers import PATIENCE_S, GrpcCaller, HttpCaller
from tests.proofs.chaos import Chaos
from tests.proofs.judging import Judge, Outcome
from tests.proofs.tagged import MAX_ROWS, MORE_ROWS, digits, doubling, table

_GRPC_SHARE = 0.02
_GRPC_CALLERS = 6
_HTTP_WAYS = [Way.BINARY] * 7 + [Way.JSON]
_LOOK_S = 0.5
_WARM_UP_SHARE = 0.1
_SETTLED_S = 30.0
GROWTH_BYTES = 32 << 20


@dataclass
class Run:
    """A run, and what it showed."""

    requests: int
    seed: int = 1
    frontends: int = 1
    connections: int = 60
    kill_every_s: float = 3.0
    reload_every_s: float = 2.0
    least_right: float = 0.8
    judge: Judge = field(default_factory=Judge)
    reloads: int = 0
    versions: int = 0
    took_s: float = 0.0
    rss_bytes: list[int] = field(default_factory=list)
    batches: dict[tuple[str, str], dict[int, int]] = field(default_factory=dict)

    def failures(self) -> list[str]:
        """What speaks against the claim; nothing where it holds."""
        judge, found = self.judge, []
        if judge.violations:
            found.append(f"{judge.violations.total()} requests were not answered as they had to be")
        if judge.judged != self.requests:
            found.append(f"{self.requests - judge.judged} requests were lost")
        if judge.outcomes[Outcome.RIGHT] < self.least_right * self.requests:
            found.append(f"only {judge.outcomes[Outcome.RIGHT]} requests had an answer at all: that shows little")
        if self.largest_batch > MAX_ROWS + MORE_ROWS:
            found.append(f"a batch had {self.largest_batch} rows")
        if self.grown_bytes > GROWTH_BYTES:
            found.append(f"the gateway grew by {self.grown_bytes / 2**20:.1f} MB")
        return found

    @property
    def grown_bytes(self) -> int:
        """What the gateway's own processes grew by since the run had warmed up."""
        return self.rss_bytes[-1] - self.rss_bytes[0] if self.rss_bytes else 0

    @property
    def largest_batch(self) -> int:
        """In rows; a request of more than MAX_ROWS runs alone."""
        return max((rows for sizes in self.batches.values() for rows in sizes), default=0)

    @property
    def mean_rows(self) -> float:
        """Rows in a batch."""
        sizes = [item for each in self.batches.values() for item in each.items()]
        return sum(rows * count for rows, count in sizes) / max(1, sum(count for _, count in sizes))


def prove(run: Run, folder: Path, console: Console) -> Run:
    """Do it, with a gateway over `folder`."""
    repository = folder / "repository"
    repository.mkdir()
    settings = {"POLL_S": "0.2", "SETTLE_S": "0", "LOG_LEVEL": "info", "FRONTENDS": str(run.frontends)}
    with RunningGateway.running(repository, **settings) as gateway:
        chaos = Chaos(gateway, [doubling(), table(), digits()], run.judge, run.seed)
        chaos.begin()
        gateway.until(lambda: len(gateway.deployments()) == 3 and gateway.status()["ready"], within_s=60)
        began_s = time.monotonic()
        uvloop.run(_send(run, gateway, chaos, console))
        run.took_s = time.monotonic() - began_s
        run.reloads, run.versions = chaos.reloads, chaos.versions
        _settle(gateway, run)
    return run


async def _send(run: Run, gateway: RunningGateway, chaos: Chaos, console: Console) -> None:
    over_grpc = int(run.requests * _GRPC_SHARE)
    http = _streams(run.seed, _HTTP_WAYS, run.requests - over_grpc)
    calls = _streams(run.seed + 1, [Way.GRPC], over_grpc)
    port = int(gateway.url.rpartition(":")[2])
    callers = [HttpCaller(port, _for_caller(http, number), run.judge) for number in range(run.connections)]
    async with grpc.aio.insecure_channel(gateway.grpc) as channel:
        stubs = [GrpcCaller(channel, _for_caller(calls, number), run.judge) for number in range(_GRPC_CALLERS)]
        around = [
            asyncio.create_task(chaos.reload(run.reload_every_s)),
            asyncio.create_task(chaos.kill(run.kill_every_s)),
            asyncio.create_task(_watch(run, gateway, callers, console)),
        ]
        sending = asyncio.gather(*(caller.run() for caller in [*callers, *stubs]))
        await asyncio.wait([sending, *around], return_when=asyncio.FIRST_COMPLETED)
        for task in around:
            if task.done():  # it goes on for ever, unless it fails
                task.result()
            task.cancel()
        await asyncio.gather(*around, return_exceptions=True)
        await sending


def _streams(seed: int, ways: Sequence[Way], count: int) -> list[Iterator[Ask]]:
    """One for each model, and so many requests in all."""
    left = iter(range(count))
    asks = [stream(model, ways, seed, TROUBLES) for model in (doubling(), table(), digits())]
    return [_limited(each, left) for each in asks]


def _limited(asks: Iterator[Ask], left: Iterator[int]) -> Iterator[Ask]:
    for _ in left:
        yield next(asks)


def _for_caller(streams: Sequence[Iterator[Ask]], number: int) -> Iterator[Ask]:
    """Most callers have one model; every fifth asks all of them in turn, over one connection."""
    if number % 5:
        return streams[number % len(streams)]
    return _in_turn(streams)


def _in_turn(streams: Sequence[Iterator[Ask]]) -> Iterator[Ask]:
    while True:
        for each in streams:
            ask = next(each, None)
            if ask is None:
                return
            yield ask


async def _watch(run: Run, gateway: RunningGateway, callers: Sequence[HttpCaller], console: Console) -> None:
    """Show how it goes on, note what the gateway says of itself, and give up what is not answered."""
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("requests", total=run.requests)
        while True:
            await asyncio.sleep(_LOOK_S)
            judge = run.judge
            bad = judge.violations.total()
            progress.update(bar, completed=judge.judged, description=f"requests, {bad} wrong" if bad else "requests")
            if judge.judged > _WARM_UP_SHARE * run.requests:
                run.rss_bytes.append(sum(each.memory_info().rss for each in _own(gateway)))
            await asyncio.to_thread(_note_batches, run, gateway)
            for caller in callers:
                if caller.oldest_s > PATIENCE_S:
                    caller.give_up()


def _own(gateway: RunningGateway) -> list[psutil.Process]:
    """The gateway's process, and those of its frontends where they have their own."""
    children = psutil.Process(gateway.process.pid).children(recursive=True)
    frontends = []
    for child in children:
        try:
            if "gateway.frontends.main" in child.cmdline():
                frontends.append(child)
        except psutil.Error:  # it has just ended: a worker
            continue
    return [psutil.Process(gateway.process.pid), *frontends]


def _note_batches(run: Run, gateway: RunningGateway) -> None:
    """Statistics go with a version: so the last ones of each are kept."""
    for model in gateway.get("/v2/models/stats").json()["model_stats"]:
        sizes = {each["batch_size"]: each["compute_infer"]["count"] for each in model["batch_stats"]}
        run.batches[model["name"], model["version"]] = sizes


def _settle(gateway: RunningGateway, run: Run) -> None:
    """Once nothing is asked any more, three workers are left, and memory can be compared."""
    gateway.until(lambda: gateway.status()["ready"], within_s=_SETTLED_S)
    gateway.until(lambda: len(_workers(gateway)) == 3, within_s=_SETTLED_S)
    run.rss_bytes.append(sum(each.memory_info().rss for each in _own(gateway)))


def _workers(gateway: RunningGateway) -> list[Any]:
    own = {each.pid for each in _own(gateway)}
    return [each for each in gateway.children() if each.pid not in own]


def show(run: Run, console: Console) -> None:
    """Print what became of the requests."""
    judge = run.judge
    outcomes = Table("what became of a request", "requests")
    for outcome in Outcome:
        outcomes.add_row(outcome.value, f"{judge.outcomes[outcome]:,}")
    for kind, count in judge.violations.items():
        outcomes.add_row(f"[red]{kind}", f"[red]{count:,}")
    console.print(outcomes)
    for line in judge.told:
        console.print(line, style="red", markup=False, soft_wrap=True)
    ways = ", ".join(f"{count:,} {way}" for way, count in judge.ways.most_common())
    console.print(
        f"{judge.judged:,} requests ({ways}) in {run.took_s:.0f} s, {judge.judged / run.took_s:,.0f} a second; "
        f"seed {run.seed}, {run.frontends} frontend(s); {len(judge.kills)} workers killed, {run.reloads} versions "
        f"replaced, {run.versions} new versions; {run.mean_rows:.1f} rows a batch, {run.largest_batch} at most; "
        f"the gateway {run.rss_bytes[-1] / 2**20:.1f} MB, {run.grown_bytes / 2**20:+.1f} MB",
        soft_wrap=True,
    )


def main() -> int:
    """Run the proof; 0 where it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--frontends", type=int, default=1)
    parser.add_argument("--connections", type=int, default=60)
    parser.add_argument("--kill-every-s", type=float, default=3.0)
    parser.add_argument("--reload-every-s", type=float, default=2.0)
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        run = prove(Run(**vars(parser.parse_args())), Path(folder), console)
    show(run, console)
    failures = run.failures()
    for failure in failures:
        console.print(failure, style="red")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
