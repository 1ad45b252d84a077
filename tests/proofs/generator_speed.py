"""`make proof-generator`: how many requests a second one generator sends from one core, beside other people's tools.

Servers that answer at once have one core, and whoever sends has another; then a gateway has the servers' core. The
generator should reach five times what the gateway serves there, or its results have to say that it was the limit.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Literal
from urllib.parse import urlsplit

import psutil
from rich.console import Console
from rich.table import Table

from loadtests.bench.processes import Place, free_ports, listens, running
from loadtests.dialects import DIALECTS
from loadtests.engine.plan import Plan, Request, Slice, Target
from loadtests.generator import Generator
from loadtests.payloads import digits
from loadtests.results.schema import Noise
from loadtests.run.marks import marks
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import publish

_ROOT = Path(__file__).resolve().parents[2]
_CONNECTIONS = 32
_FACTOR = 5
_NGINX = """
{user} daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{{"outputs":[]}}'; }} }}
}}
"""
_FAST_USER = """
from locust import FastHttpUser, constant, task

class Asking(FastHttpUser):
    wait_time = constant(0)

    @task
    def ask(self):
        self.client.post("/v2/models/digits/infer", b"{}")
"""


@dataclass
class Way:
    """One way to send, to one server: what it reached in each turn."""

    name: str
    protocol: str
    server: str
    send: Callable[[float], float]
    reached: list[float] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of ours: the share of its core that it used."""


def main() -> int:
    """Run the proof; 0 where it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each turn [%(default)s]")
    parser.add_argument("--turns", type=int, default=3, help="of each way to send [%(default)s]")
    given = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("this takes two cores: one for who answers, one for who sends")
        return 1
    with tempfile.TemporaryDirectory(prefix="torii-speed-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        ways = [*_fast(stack, Place(folder, cores[0]), cores[1]), *_gateway(stack, folder, cores)]
        for number in range(given.turns):
            for way in ways if number % 2 else ways[::-1]:
                way.reached.append(way.send(given.seconds))
    _show(ways)
    return _judge(ways)


def _fast(stack: contextlib.ExitStack, place: Place, core: int) -> list[Way]:
    """Ways to send to servers that answer at once."""
    http, grpc = free_ports(2)
    server = stack.enter_context(_fastest(place, http))
    argv = [sys.executable, "-m", "tests.proofs.responder", str(grpc), "grpc"]
    stack.enter_context(running("responder", argv, place, lambda: listens(grpc), {"PYTHONPATH": str(_ROOT)}))
    url, h2 = f"http://127.0.0.1:{http}/v2/models/digits/infer", f"http://127.0.0.1:{grpc}/a.B/C"
    body, locustfile = place.folder / "body", place.folder / "fast_user.py"
    body.write_bytes(b"\0\0\0\0\2{}")
    locustfile.write_text(_FAST_USER)
    ways = [
        _ours("http/1.1", server, http, (Request("/v2/models/digits/infer", b"{}"),), core),
        _ours("grpc", "uvloop", grpc, (Request("/a.B/C", b"{}"),), core),
    ]
    many = str(_CONNECTIONS)
    locust = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary"]
    locust += ["-u", many, "-r", many]
    tools = (
        ("wrk", "http/1.1", server, ["wrk", "-t1", "-c", many, "-d{:g}s", url]),
        ("h2load", "http/1.1", server, ["h2load", "--h1", "-t1", "-c", many, "-D{:g}", url]),
        ("h2load", "grpc", "uvloop", ["h2load", "-t1", "-c", many, "-m1", "-D{:g}", "-d", str(body), h2]),
        ("Locust's FastHttpUser", "http/1.1", server, [*locust, "-t", "{:g}s", "--host", f"http://127.0.0.1:{http}"]),
    )
    return ways + [Way(*how, _tool(argv, core)) for *how, argv in tools if shutil.which(argv[0])]


@contextlib.contextmanager
def _fastest(place: Place, port: int) -> Iterator[str]:
    """The fastest server of HTTP/1.1 that there is here; gives its name."""
    name, argv = "uvloop", [sys.executable, "-m", "tests.proofs.responder", str(port), "http/1.1"]
    if shutil.which("nginx"):
        user = "user root;" if os.geteuid() == 0 else ""
        (place.folder / "nginx.conf").write_text(_NGINX.format(folder=place.folder, port=port, user=user))
        name, argv = "nginx", ["nginx", "-p", str(place.folder), "-c", str(place.folder / "nginx.conf")]
    with running(name, argv, place, lambda: listens(port), {"PYTHONPATH": str(_ROOT)}):
        yield name


def _gateway(stack: contextlib.ExitStack, folder: Path, cores: list[int]) -> list[Way]:
    """Our generator and a gateway with all its processes on one core."""
    model = _ROOT / "model_repo" / "digits" / "1" / "model.onnx"
    publish(folder / "repository", "digits", 1, {"model.onnx": model.read_bytes()})
    gateway = stack.enter_context(RunningGateway.running(folder / "repository"))
    gateway.wait_ready(within_s=60)
    for process in [psutil.Process(gateway.process.pid), *gateway.children()]:
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {cores[0]})
    inputs = digits()
    ways = []
    for dialect, url in (("v2-json", gateway.url), ("v2-grpc", f"//{gateway.grpc}")):
        spoken = DIALECTS[dialect]
        requests = tuple(spoken.request("digits/1@onnxruntime", {"image": each}) for each in inputs)
        ways.append(_ours(spoken.protocol, "gateway", urlsplit(url).port or 0, requests, cores[1]))
    return ways


def _ours(
    protocol: Literal["http/1.1", "grpc"], server: str, port: int, requests: tuple[Request, ...], core: int
) -> Way:
    plan = Plan(Target("127.0.0.1", port, protocol), requests, connections=_CONNECTIONS, core=core)

    def send(seconds: float) -> float:
        slices: list[Slice] = []
        with Generator(plan) as generator:
            generator.level(_CONNECTIONS)
            for each in generator.slices():
                slices.append(each)
                if each.end_s >= seconds + 0.5:
                    break
        counted = [each for each in slices if each.begin_s >= 0.5]
        failed = sum(sum(each.failures.values()) for each in slices)
        assert not failed, f"{server}: {next(each.first_failure for each in slices if each.failures)}"
        way.marks.extend(marks(counted, Noise(None, None, None)))  # type: ignore[arg-type]  # has the same names
        way.cpu.append(median(each.cpu for each in counted))
        answered = sum(answers.succeeded for each in counted for answers in each.answers.values())
        return answered / (counted[-1].end_s - counted[0].begin_s)

    way = Way("ours", protocol, server, send)
    return way


def _tool(argv: list[str], core: int) -> Callable[[float], float]:
    def send(seconds: float) -> float:
        filled = [each.format(max(1, round(seconds))) for each in argv]
        bound = ["taskset", "-c", str(core), *filled]
        ended = subprocess.run(bound, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        found = re.search(
            r"Requests/sec:\s+([\d.]+)|, ([\d.]+) req/s|Aggregated .*\|\s+([\d.]+)\s+[\d.]+\n", ended.stdout
        )
        assert found is not None, ended.stdout[-2000:]
        return float(next(filter(None, found.groups())))

    return send


def _show(ways: list[Way]) -> None:
    table = Table(title="Requests a second: who sends has one core, who answers has another")
    for column in ("sent by", "protocol", "answered by", "median", "turns", "said"):
        table.add_column(column, justify="right" if column in ("median", "turns") else "left")
    for way in sorted(ways, key=lambda each: (each.protocol, each.server == "gateway", -median(each.reached))):
        turns = f"{min(way.reached):,.0f}…{max(way.reached):,.0f}"
        table.add_row(way.name, way.protocol, way.server, f"{median(way.reached):,.0f}", turns, _said(way))
    Console(width=130).print(table)


def _said(way: Way) -> str:
    used = f"{median(way.cpu):.0%} of its core" if way.cpu else ""
    return f"{used}; {way.marks[0].partition(':')[0]} ({len(way.marks)} of {len(way.reached)})" if way.marks else used


def _judge(ways: list[Way]) -> int:
    holds = True
    for protocol in ("http/1.1", "grpc"):
        ours = {each.server == "gateway": each for each in ways if each.name == "ours" and each.protocol == protocol}
        factor = median(ours[False].reached) / median(ours[True].reached)
        told = len(ours[False].marks) > len(ours[False].reached) / 2
        holds = holds and (factor >= _FACTOR or told)
        print(
            f"{protocol}: the generator reaches {factor:.1f} × what the gateway serves on a core (wanted: {_FACTOR}); "
            f"its result {'says' if told else 'does not say'} that it was the limit"
        )
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
