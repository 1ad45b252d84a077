"""`make bench`: has servers take turns, prints a table with ratios, and writes it as JSON.

mlp: a small model over every protocol, beside a plain FastAPI app and the KServe SDK's server (make bench-peers).
image: a tensor of an image's size, beside an endpoint that sends the body back.
backends: what Torii adds in front of TF Serving and of TorchServe.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from loadtests.bench import backends, image, mlp, report
from loadtests.bench.contenders import alternate
from loadtests.bench.servers import Place

_BENCHMARKS = {"mlp": mlp.BENCHMARK, "image": image.BENCHMARK, "backends": backends.BENCHMARK}


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
        benchmark.start(Place(Path(folder), server_core)) as contenders,
    ):
        connections = arguments.connections or benchmark.connections
        with Console(stderr=True).status("measuring") as progress:
            rows = alternate(contenders, connections, arguments.seconds, arguments.rounds, progress.update)
        servers = {server for contender in contenders for server in contender.servers}
        rss = {server.name: server.rss_bytes() for server in sorted(servers, key=lambda each: each.name)}
    report.show(benchmark, rows, rss)
    report.write(arguments.output or Path(f"bench-results/{arguments.benchmark}.json"), benchmark, rows, rss, about)
    if any(figures.failures for row in rows for figures in row.rounds):
        sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("benchmark", nargs="?", default="mlp", choices=_BENCHMARKS, help="[default: mlp]")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement [default: %(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="how often the servers take turns [default: %(default)s]")
    parser.add_argument("--connections", type=int, nargs="+", help="[default: mlp 1 8 32, the others 1]")
    parser.add_argument("--output", type=Path, help="[default: bench-results/BENCHMARK.json]")
    return parser.parse_args()


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the servers, one for the client")
    return cores[0], cores[1]


if __name__ == "__main__":
    main()
