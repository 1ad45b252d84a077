"""`make load`: Locust against every deployment of the sample models in turn, and one table of what came out.

Uses the gateway at --url; where none answers there, starts one over model_repo/ for as long as it takes.
"""

from __future__ import annotations

# Locust patches the standard library for gevent: it has to be imported before anything that opens sockets.
from loadtests.locustfile import user_class  # isort: skip

import argparse
import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from locust.env import Environment
from rich.console import Console
from rich.table import Table

_ROOT = Path(__file__).resolve().parents[1]
_START_S = 120.0


@dataclass(frozen=True, slots=True)
class Row:
    """What one deployment did: requests per second, latencies in milliseconds, errors."""

    deployment: str
    requests_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    requests: int
    errors: int
    first_error: str


def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the inference API [default: %(default)s]")
    parser.add_argument("--control", default="http://127.0.0.1:8002", help="the control API [default: %(default)s]")
    parser.add_argument("--users", type=int, default=8, help="users that ask at once [default: %(default)s]")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each deployment [default: %(default)s]")
    arguments = parser.parse_args()
    console = Console(stderr=True)
    with _gateway(arguments.url, console) as (url, control):
        deployments = _ready(control or arguments.control)
        rows = []
        for deployment in deployments:
            console.print(f"{deployment}: {arguments.users} users for {arguments.seconds:g} s")
            rows.append(_run(deployment, url, arguments.users, arguments.seconds))
    _show(rows, arguments.users)
    if any(row.errors for row in rows) or not rows:
        sys.exit(1)


def _run(deployment: str, url: str, users: int, seconds: float) -> Row:
    user = user_class(deployment, _ROOT / "docs" / "digits")
    environment = Environment(user_classes=[user], host=url)
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    gevent.sleep(min(1.0, seconds / 4))  # connections are opened, and whatever warms up has warmed up
    environment.stats.reset_all()
    gevent.sleep(seconds)
    stats = environment.stats.total
    row = Row(
        deployment,
        stats.num_requests / seconds,
        stats.get_response_time_percentile(0.50) or 0.0,
        stats.get_response_time_percentile(0.95) or 0.0,
        stats.get_response_time_percentile(0.99) or 0.0,
        stats.num_requests,
        stats.num_failures,
        next((str(error.error) for error in environment.stats.errors.values()), ""),
    )
    runner.quit()
    return row


def _show(rows: list[Row], users: int) -> None:
    table = Table(title=f"One digit a request, V2 JSON, {users} users", title_justify="left")
    for heading in ("deployment", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors"):
        table.add_column(heading, justify="left" if heading == "deployment" else "right", no_wrap=True)
    for row in sorted(rows, key=lambda each: -each.requests_per_s):
        latencies = [f"{each:.1f}" for each in (row.p50_ms, row.p95_ms, row.p99_ms)]
        table.add_row(row.deployment, f"{row.requests_per_s:,.0f}", *latencies, str(row.errors))
    console = Console()
    console.print(table)
    for row in rows:
        if row.first_error:
            console.print(f"{row.deployment}: {row.first_error}", markup=False)
    console.print("Locust's own client takes part of the time: compare the rows, do not quote them.")


def _ready(control: str) -> list[str]:
    status = _get(f"{control}/v1/status")
    ready = [each for each in status["deployments"] if each["state"] == "READY"]
    return [each["deployment"] for each in ready if each["model"] == "digits"]


@contextlib.contextmanager
def _gateway(url: str, console: Console) -> Iterator[tuple[str, str | None]]:
    """The gateway at `url`, or one that is started here: its inference URL and, if started, its control URL."""
    if _answers(url):
        yield url, None
        return
    console.print(f"no gateway answers at {url}: starting one over model_repo/")
    argv = [sys.executable, "-m", "gateway", "serve", "model_repo", "--http-port", "8090", "--control-port", "8092"]
    with subprocess.Popen(argv, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            give_up_s = time.monotonic() + _START_S
            while not _answers("http://127.0.0.1:8090"):
                if process.poll() is not None or time.monotonic() > give_up_s:
                    sys.exit("the gateway did not start: try `torii serve model_repo` to see why")
                gevent.sleep(0.2)
            yield "http://127.0.0.1:8090", "http://127.0.0.1:8092"
        finally:
            process.terminate()
            process.wait(60)


def _answers(url: str) -> bool:
    try:
        return bool(_get(f"{url}/v2/health/ready")["ready"])
    except (OSError, ValueError):
        return False


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
