"""`make proof-edge-speed`: what delivering to devices costs, beside nginx on the same core."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

import psutil

from gateway.edge.channel_file import Channel
from tests.e2e.gateway import free_port
from tests.gateway.edge.server.folder import Folder, rollout
from tests.proofs.edge_fleet import Connection
from tests.proofs.edge_server import serving

MODEL = "digits"
_BIG, _SMALL = 64 << 20, 100 << 10
_CONNECTIONS = 8
_TURN_S = 2.0
_TURNS = 6
_DEVICES = 1000

_NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1; worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000; etag on;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port}; location /edge/v1/targets/ {{ alias {targets}/; }} }}
}}
"""


@dataclass
class Peer:
    """A server that sends files; `process` is the one that does the work."""

    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """What it has computed so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def nginx(targets: Path, core: int) -> Iterator[Peer]:
    """nginx on one core, one worker."""
    with tempfile.TemporaryDirectory(prefix="torii-nginx-") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        (folder / "conf").write_text("user root;" + _NGINX.format(folder=folder, port=port, targets=targets))
        process = subprocess.Popen(
            ["taskset", "-c", str(core), "nginx", "-p", name, "-c", str(folder / "conf")], stderr=subprocess.DEVNULL
        )
        try:
            workers: list[psutil.Process] = []
            until_s = time.monotonic() + 10
            while not workers:
                assert time.monotonic() < until_s, (folder / "error.log").read_text()
                with suppress(psutil.Error):
                    workers = psutil.Process(process.pid).children()
                time.sleep(0.05)
            yield Peer("nginx", port, workers[0])
        finally:
            process.terminate()
            process.wait()


@dataclass
class Turn:
    """What came from one server in one turn."""

    bytes_a_s: float
    answers_a_s: float
    cpu_share: float


def turn(peer: Peer, path: str, length: int) -> Turn:
    """Download the same file on some connections for a while; what comes is thrown away in the kernel."""
    request = f"GET /edge/v1/targets/{path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()
    sockets = [socket.create_connection(("127.0.0.1", peer.port)) for _ in range(_CONNECTIONS)]
    left = {each: _begin(each, request, length) for each in sockets}
    cpu_s, began_s, came, answers = peer.cpu_s(), time.perf_counter(), 0, 0
    room = bytearray(1 << 20)
    while (now_s := time.perf_counter()) < began_s + _TURN_S:
        for each in sockets:
            got = each.recv_into(room, min(len(room), left[each]), socket.MSG_TRUNC)
            came += got
            left[each] -= got
            if not left[each]:
                answers += 1
                left[each] = _begin(each, request, length)
    took_s = now_s - began_s
    used = (peer.cpu_s() - cpu_s) / took_s
    for each in sockets:
        each.close()
    return Turn(came / took_s, answers / took_s, used)


def _begin(connection: socket.socket, request: bytes, length: int) -> int:
    """Ask, and read the head; gives how much of the body is to come."""
    connection.sendall(request)
    head = connection.recv(1 << 16, socket.MSG_PEEK)
    while b"\r\n\r\n" not in head:
        head = connection.recv(1 << 16, socket.MSG_PEEK)
    end = head.index(b"\r\n\r\n") + 4
    connection.recv(end)
    assert head.startswith(b"HTTP/1.1 200"), head[:200]
    return length


def throughput(edge: Peer, others: Peer | None, path: str, length: int, what: str) -> float | None:
    """Turns of both, one after the other; gives the median ratio."""
    turns: dict[str, list[Turn]] = {}
    peers = [edge, *([others] if others else [])]
    for number in range(_TURNS):
        for each in peers if number % 2 else peers[::-1]:
            turns.setdefault(each.name, []).append(turn(each, path, length))
    for name, each in turns.items():
        rate, answers = median(one.bytes_a_s for one in each), median(one.answers_a_s for one in each)
        cost = median(one.cpu_share / one.bytes_a_s * 1e9 for one in each)
        print(f"{what}, {name}: {rate / 1e9:.2f} GB/s, {answers:.0f} answers/s, {cost * 1000:.0f} ms of CPU a GB")
    if others is None:
        return None
    pairs = zip(turns[edge.name], turns[others.name], strict=True)
    ratios = [one.bytes_a_s / other.bytes_a_s for one, other in pairs]
    print(f"{what}: {median(ratios):.0%} of nginx (turns from {min(ratios):.0%} to {max(ratios):.0%})")
    return median(ratios)


def metadata(edge: Peer) -> float:
    """One client, one question after the other; gives the median in ms."""
    took: list[float] = []
    with socket.create_connection(("127.0.0.1", edge.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"GET /edge/v1/metadata/timestamp.json HTTP/1.1\r\nHost: edge\r\n\r\n"
        for _ in range(4000):
            began_s = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(1 << 16)
            took.append((time.perf_counter() - began_s) * 1000)
            assert answer.startswith(b"HTTP/1.1 200"), answer
            assert answer.endswith(b"}"), answer
    share = quantiles(took, n=100)
    print(f"metadata: p50 {share[49]:.3f} ms, p99 {share[98]:.3f} ms, {len(took)} answers one after the other")
    return share[49]


async def polling(edge: Peer, for_s: float = 15.0) -> float:
    """1,000 devices that ask every second; gives the server's share of a core."""
    asked = 0

    async def device(number: int) -> None:
        nonlocal asked
        connection = Connection("127.0.0.1", edge.port)
        loop = asyncio.get_running_loop()
        at_s = began_s + number / _DEVICES
        while (at_s := at_s + 1.0) < began_s + for_s + 1:
            await asyncio.sleep(at_s - loop.time())
            path = f"models/{MODEL}/check?os=android&runtime=tflite&ram_mb=4096&app=2.1.0&id=device-{number}"
            status, _ = await connection.ask("GET", path)
            assert status == 200, status
            asked += 1
        connection.close()

    began_s = asyncio.get_running_loop().time()
    devices = [asyncio.create_task(device(number)) for number in range(_DEVICES)]
    await asyncio.sleep(2.0)
    cpu_s, since_s, before = edge.cpu_s(), time.perf_counter(), asked
    await asyncio.sleep(for_s - 3.0)
    took_s = time.perf_counter() - since_s
    share, rate = (edge.cpu_s() - cpu_s) / took_s, (asked - before) / took_s
    await asyncio.gather(*devices)
    print(f"{_DEVICES} devices that ask every second: {share:.0%} of a core for {rate:.0f} questions a second")
    return share


def downloads(edge: Peer, path: str) -> float:
    """1,000 downloads under way at a time; gives the memory that they take, in bytes."""
    request = f"GET /edge/v1/targets/{path} HTTP/1.1\r\nHost: edge\r\n\r\n".encode()
    before = edge.process.memory_info().rss
    sockets = []
    for _ in range(_DEVICES):
        connection = socket.create_connection(("127.0.0.1", edge.port))
        connection.sendall(request)
        sockets.append(connection)
    most, room = before, bytearray(1 << 16)
    for _ in range(40):
        for each in sockets:
            each.recv_into(room, len(room), socket.MSG_TRUNC)
        most = max(most, edge.process.memory_info().rss)
    for each in sockets:
        each.close()
    print(
        f"{_DEVICES} downloads of {_BIG >> 20} MiB at a time: {before / 2**20:.0f} MiB before, {most / 2**20:.0f} MiB "
        f"at most ({(most - before) / _DEVICES / 1024:.0f} KiB a connection)"
    )
    return float(most - before)


def run() -> list[str]:
    """All figures; gives what is not as it should be."""
    cores = sorted(os.sched_getaffinity(0))
    server_core = cores[-1]
    if len(cores) > 1:
        os.sched_setaffinity(0, set(cores[:-1]))
    with tempfile.TemporaryDirectory(prefix="torii-edge-") as name, ExitStack() as stack:
        Path(name).chmod(0o755)
        folder = Folder(Path(name) / "edge")
        paths = {}
        for version, length in ((1, _SMALL), (2, _BIG)):
            digest = folder.bundle(MODEL, version, os.urandom(length))
            paths[length] = f"{MODEL}/{version}/{digest}.{MODEL}-{version}-android.zip"
        folder.write()
        folder.channels(MODEL, stable=Channel(current=1, rollout=rollout(2, percent=10)))
        server = stack.enter_context(serving(folder.path, ("taskset", "-c", str(server_core))))
        edge = Peer("torii", server.port, psutil.Process(server.process.pid))
        other = None
        if shutil.which("nginx"):
            other = stack.enter_context(nginx(folder.path / "targets", server_core))
        else:
            print("nginx is not installed (apt-get install nginx-light): there is nothing to compare with")
        wrong = []
        if metadata(edge) > 1.0:
            wrong.append("metadata: p50 is above 1 ms")
        ratio = throughput(edge, other, paths[_BIG], _BIG, f"targets of {_BIG >> 20} MiB")
        if ratio is not None and ratio < 0.8:
            wrong.append("targets: below 80 % of nginx")
        throughput(edge, other, paths[_SMALL], _SMALL, f"targets of {_SMALL >> 10} KiB")
        if asyncio.run(polling(edge)) > 0.5:
            wrong.append("polling: more than half a core")
        if downloads(edge, paths[_BIG]) > 64 << 20:
            wrong.append("downloads: more than 64 MiB")
        return wrong


def main() -> None:
    """Entry point."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    if wrong := run():
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
