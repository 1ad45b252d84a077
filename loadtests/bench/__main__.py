"""`python -m loadtests.bench`: alternates the servers, prints a table with ratios, and writes it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from loadtests.bench import servers
from loadtests.bench.models import write_mlp

_BODY = json.dumps(
    {"inputs": [{"name": "x", "shape": [1, 64], "datatype": "FP32", "data": [i / 64 for i in range(64)]}]}
).encode()


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="how often the servers take turns")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--output", type=Path, default=Path("bench-results/bench.json"))
    arguments = parser.parse_args()
    server_core, client_core = _cores()
    os.sched_setaffinity(0, {client_core})
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "mlp" / "1" / "model.onnx"
        write_mlp(model)
        time.sleep(2.1)  # the gateway takes a version up once its files have been left alone for 2 s
        with servers.torii(Path(folder), server_core) as torii, servers.plain_fastapi(model, server_core) as plain:
            rows = _measure([torii, plain], arguments)
            rss = {server.name: server.rss_bytes() for server in (torii, plain)}
    _show(rows, rss)
    facts = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "machine": _machine(), "python": sys.version}
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps({**facts, "command": sys.argv[1:], "rows": rows, "rss": rss}, indent=1))


def _measure(compared: list[servers.Server], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    runs: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    total = arguments.rounds * len(arguments.connections) * len(compared)
    with Console(stderr=True).status("measuring") as progress:
        for done in range(total):
            turn, index = divmod(done, len(compared))
            connections = arguments.connections[turn % len(arguments.connections)]
            server = compared[index]
            progress.update(f"{done + 1} of {total}: {server.name}, {connections} connections")
            runs[server.name, connections].append(_run(server, connections, arguments.seconds))
    return [
        {"server": name, "connections": connections, **{key: median(run[key] for run in each) for key in each[0]}}
        for (name, connections), each in runs.items()
    ]


def _run(server: servers.Server, connections: int, seconds: float) -> dict[str, float]:
    cpu_s = server.cpu_s()
    arguments = (str(server.port), server.path, str(connections), str(seconds))
    client = [sys.executable, "-m", "loadtests.bench.client", *arguments]
    result: dict[str, float] = json.loads(
        subprocess.run(client, input=_BODY, stdout=subprocess.PIPE, check=True).stdout
    )
    result["cpu_us_per_request"] = 1e6 * (server.cpu_s() - cpu_s) / result["requests"]
    return result


def _show(rows: list[dict[str, Any]], rss: dict[str, tuple[int, int]]) -> None:
    console = Console()
    title = "MLP 64→32→10 in ONNX, V2 JSON; server on one core, client on another"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("conns", "server", "requests/s", "ratio", "p50 ms", "p99 ms", "CPU µs", "client CPU"):
        table.add_column(heading, justify="left" if heading == "server" else "right", no_wrap=True)
    plain = {row["connections"]: row for row in rows if row["server"] == "plain FastAPI"}
    for row in sorted(rows, key=lambda each: each["connections"]):
        base = plain[row["connections"]]
        table.add_row(
            str(row["connections"]),
            row["server"],
            f"{row['requests_per_s']:,.0f}",
            f"{row['requests_per_s'] / base['requests_per_s']:.2f}",
            f"{row['p50_ms']:.3f}",
            f"{row['p99_ms']:.2f}",
            f"{row['cpu_us_per_request']:.0f}",
            f"{row['client_cpu']:.0%}",
        )
    console.print(table)
    console.print(
        "Medians over the rounds. ratio: requests/s to plain FastAPI's; CPU µs: of the server for each request."
    )
    for name, (own, children) in rss.items():
        workers = f" + {children / 2**20:.0f} MB in workers" if children else ""
        console.print(f"{name}: RSS {own / 2**20:.0f} MB{workers}")
    console.print(_machine())


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the benchmark needs two cores: one for the servers, one for the client")
    return cores[0], cores[1]


def _machine() -> str:
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in facts if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, {platform.platform()}"


if __name__ == "__main__":
    main()
