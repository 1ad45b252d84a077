"""`make bench`: has servers take turns, prints tables with ratios and goals, and writes all of it as JSON.

mlp: a small model over every protocol, beside all other servers that are installed (make bench-peers).
cnn: what batching gains, beside Triton and beside what onnxruntime's own curve allows.
resnet: what Torii costs where the model costs much, beside onnxruntime alone.
image: a tensor of an image's size, beside an endpoint that sends the body back.
experiment: requests that an experiment assigns and records, beside the same without one.
backends: what Torii adds in front of TF Serving and of TorchServe.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from loadtests.bench import backends, cnn, experiment, image, mlp, report, resnet
from loadtests.bench.comparisons import Part
from loadtests.bench.contenders import Entrant, alternate
from loadtests.bench.processes import Place, Server, awake
from loadtests.bench.report import Footprint

_BENCHMARKS = {
    "mlp": mlp.BENCHMARK,
    "cnn": cnn.BENCHMARK,
    "resnet": resnet.BENCHMARK,
    "image": image.BENCHMARK,
    "experiment": experiment.BENCHMARK,
    "backends": backends.BENCHMARK,
}
_IDLE_S = 1.0


def main() -> None:
    """Run one benchmark; exits with 1 where a request failed."""
    arguments = _arguments()
    benchmark = _BENCHMARKS[arguments.benchmark]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: sys.exit(128 + received))  # an exception: everything is stopped
    about = report.facts()
    server_core, client_core = _cores()
    os.sched_setaffinity(0, {client_core})  # clients inherit it
    with (
        tempfile.TemporaryDirectory(prefix="torii-bench-") as folder,
        ExitStack() as running,
        Console(stderr=True).status("starting") as progress,
    ):
        parts = chosen(benchmark.parts(Place(Path(folder), server_core)), arguments.only, arguments.skip)
        entrants = _start(parts, running, progress.update)
        connections = arguments.connections or benchmark.connections
        rows = alternate(entrants, connections, arguments.seconds, arguments.rounds, progress.update)
        footprints = _footprints(entrants, progress.update)
    report.show(benchmark, rows, footprints)
    output = arguments.output or Path(f"bench-results/{arguments.benchmark}.json")
    report.write(output, benchmark, rows, footprints, about)
    if any(figures.failures for row in rows for figures in row.rounds):
        sys.exit(1)


def chosen(parts: Sequence[Part], only: Sequence[str], skip: Sequence[str]) -> list[Part]:
    """Those that are wanted and can run; stderr hears what is left out because it cannot.

    Raises:
        SystemExit: a name is no part's, or nothing is left.
    """
    names = [part.name for part in parts]
    if unknown := sorted({*only, *skip} - {*names}):
        raise SystemExit(f"expected names out of {', '.join(names)}; got {', '.join(unknown)}")
    found = []
    for part in parts:
        if (only and part.name not in only) or part.name in skip:
            continue
        if why := part.missing():
            print(f"{part.name} is left out: {why}", file=sys.stderr)
        else:
            found.append(part)
    if not found:
        raise SystemExit("nothing is left to measure")
    return found


def _start(parts: Sequence[Part], running: ExitStack, tell: Callable[[str], None]) -> list[Entrant]:
    """Start one after the other, see that its answers are right, and pause it."""
    entrants: list[Entrant] = []
    for part in parts:
        tell(f"starting: {part.name}")
        started = running.enter_context(part.start())
        for entrant in started:
            entrant.check()
        for server in _servers(started):
            server.pause()
        entrants += started
    return entrants


def _footprints(entrants: Sequence[Entrant], tell: Callable[[str], None]) -> dict[str, Footprint]:
    found = {}
    for server in _servers(entrants):
        tell(f"idle: {server.name}")
        with awake((server,)):
            found[server.name] = Footprint(server.rss_bytes(), server.idle_cpu(_IDLE_S))
    return found


def _servers(entrants: Sequence[Entrant]) -> list[Server]:
    return list({server.name: server for entrant in entrants for server in entrant.servers}.values())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", nargs="?", default="mlp", choices=_BENCHMARKS, help="[default: mlp]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often the servers take turns [default: %(default)s]")
    parser.add_argument(
        "--connections", type=int, nargs="+", help="[default: mlp and cnn 1 8 32, resnet 1 8, the others 1]"
    )
    for option, text in (
        ("--only", "what to measure, like torii,triton,fastapi [default: all]"),
        ("--skip", "not these"),
    ):
        parser.add_argument(option, type=_names, default=(), metavar="NAME,NAME", help=text)
    parser.add_argument("--output", type=Path, help="[default: bench-results/BENCHMARK.json]")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the servers, one for the client")
    return cores[0], cores[1]


if __name__ == "__main__":
    main()
