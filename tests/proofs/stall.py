"""`make proof-stall`: a gateway that is paused for a second: an open loop shows it, and a closed loop hides it."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from urllib.parse import urlsplit

from hdrh.histogram import HdrHistogram
from rich.console import Console
from rich.table import Table

from loadtests.dialects import DIALECTS
from loadtests.engine.histograms import DIGITS, HIGHEST_US, LOWEST_US
from loadtests.engine.plan import Arrival, Plan, Request, Slice, Target
from loadtests.generator import Generator
from loadtests.payloads import digits
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import publish

_MODELS = Path(__file__).resolve().parents[2] / "model_repo" / "digits" / "1"
_CONNECTIONS = 64
_LATE_S = 0.1


@dataclass(frozen=True)
class Load:
    """What is sent."""

    name: str
    arrival: Arrival
    level: float


@dataclass(frozen=True)
class Outcome:
    """What was seen: all latencies, in microseconds, from when requests were due and from when they were sent."""

    latency: HdrHistogram
    service: HdrHistogram
    failures: int


def main() -> int:
    """Run the proof; 0 where it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each run [%(default)s]")
    parser.add_argument(
        "--pause", type=float, default=1.0, help="seconds for which the gateway is paused [%(default)s]"
    )
    parser.add_argument("--rate", type=float, default=200.0, help="requests/s of the open loop [%(default)s]")
    given = parser.parse_args()
    loads = (
        Load(f"open loop, {given.rate:g}/s", "poisson", given.rate),
        Load("closed loop, 1 connection", "closed", 1),
    )
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder) / "repository"
        publish(repository, "digits", 1, {"model.onnx": (_MODELS / "model.onnx").read_bytes()})
        with RunningGateway.running(repository) as gateway:
            gateway.wait_ready(within_s=60)
            steady = [measure(gateway, load, given.seconds) for load in loads]
            paused = [measure(gateway, load, given.seconds, pauses(gateway, given.pause)) for load in loads]
    _show(loads, steady, paused, given.seconds, given.pause)
    return _judge(*paused, given.pause)


def measure(
    gateway: RunningGateway, load: Load, seconds: float, in_the_middle: Callable[[], None] = lambda: None
) -> Outcome:
    """Put load on a gateway for so long, and do something in the middle of it."""
    slices: list[Slice] = []
    timer = Timer(seconds / 2, in_the_middle)
    with Generator(_plan(gateway, load)) as generator:
        generator.level(load.level)
        for told in generator.slices():
            if not slices:
                timer.start()
            slices.append(told)
            if told.end_s >= seconds:
                generator.end()
                seconds = float("inf")
    timer.join()
    return Outcome(
        _sum(slices, "latency"), _sum(slices, "service"), sum(sum(each.failures.values()) for each in slices)
    )


def _plan(gateway: RunningGateway, load: Load) -> Plan:
    target = Target("127.0.0.1", urlsplit(gateway.url).port or 0, "http/1.1")
    requests: tuple[Request, ...] = tuple(DIALECTS["v2-json"].request("digits/1", {"image": each}) for each in digits())
    return Plan(target, requests, load.arrival, _CONNECTIONS)


def pauses(gateway: RunningGateway, seconds: float) -> Callable[[], None]:
    """Stops the gateway's process for a while."""

    def pause() -> None:
        gateway.process.send_signal(signal.SIGSTOP)
        resume = Timer(seconds, gateway.process.send_signal, (signal.SIGCONT,))
        resume.start()
        resume.join()

    return pause


def _sum(slices: list[Slice], kind: str) -> HdrHistogram:
    total = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for answers in (answers for each in slices for answers in each.answers.values()):
        total.add(HdrHistogram.decode(b64encode(getattr(answers, kind))))
    return total


def late(histogram: HdrHistogram) -> int:
    """How many requests took longer than a tenth of a second."""
    count: int = sum(
        each.count_added_in_this_iter_step
        for each in histogram.get_recorded_iterator()
        if each.value_iterated_to > _LATE_S * 1e6
    )
    return count


def _show(
    loads: tuple[Load, ...], steady: list[Outcome], paused: list[Outcome], seconds: float, pause_s: float
) -> None:
    table = Table(title=f"A gateway that is paused for {pause_s:g} s within {seconds:g} s")
    for column in ("", "gateway", "answers", "p50", "p99", "max", f"> {_LATE_S:g} s", "failed"):
        table.add_column(column, justify="left" if column in ("", "gateway") else "right")
    for load, calm, broken in zip(loads, steady, paused, strict=True):
        table.add_row(load.name, "steady", *_row(calm.latency, calm.failures))
        table.add_row("", "paused", *_row(broken.latency, broken.failures))
        if load.arrival != "closed":
            table.add_row("  from sent, not from due", "paused", *_row(broken.service, broken.failures))
    Console(width=110).print(table)


def _row(histogram: HdrHistogram, failures: int) -> tuple[str, ...]:
    shown = [f"{histogram.get_value_at_percentile(each) / 1000:.1f} ms" for each in (50, 99, 100)]
    return f"{histogram.get_total_count():,}", *shown, f"{late(histogram):,}", str(failures)


def _judge(of_open: Outcome, of_closed: Outcome, pause_s: float) -> int:
    """The pause is in the open loop's p99 and maximum, and not in the closed one's p99."""
    shown_s = of_open.latency.get_value_at_percentile(99) / 1e6
    most_s, hidden_s = of_open.latency.get_max_value() / 1e6, of_closed.latency.get_value_at_percentile(99) / 1e6
    holds = shown_s > pause_s / 2 and most_s > 0.9 * pause_s and hidden_s < pause_s / 10
    print(
        f"\np99 of the open loop: {shown_s:.3f} s (wanted: more than {pause_s / 2:g} s), its maximum: {most_s:.3f} s; "
        f"p99 of the closed loop: {hidden_s:.3f} s, as if nothing had been"
    )
    print("the proof holds" if holds else "the proof does NOT hold")
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
