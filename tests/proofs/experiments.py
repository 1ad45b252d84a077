"""`make proof-experiments`: assignment, guardrails, kills and shadows against real gateways, at full size."""

from __future__ import annotations

import argparse
import math
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from tests.e2e.experiments.callers import Caller, Told, traffic, v2
from tests.e2e.experiments.control import Experiment, report
from tests.e2e.gateway import RunningGateway
from tests.e2e.models import add_model, lookup_model, publish, slow_model
from tests.e2e.open_loop import Flood

_ADD = v2("x", np.array([[1, 2]], np.float32))
_WAYS = {
    "V2": ("/v2/models/add/infer", _ADD),
    "TF Serving": ("/v1/models/add:predict", b'{"instances": [[1, 2]]}'),
    "TorchServe": ("/predictions/add", b"[[1, 2]]"),
}
_TOGETHER = 8
_SHADOW_PER_S = 50.0
_SHADOW_FOR_S = 5.0
_SHADOW_WARM_S = 0.5
_DEARER = 1.02
_SETTINGS = "[batching]\nmax_rows = 1\n[backend.onnxruntime]\nintra_op_threads = 1\n"


def main() -> int:
    """Run the proof; 0 where all of it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--guards", type=int, default=10, help="variants that begin to fail")
    parser.add_argument("--kills", type=int, default=10, help="gateways that are killed")
    parser.add_argument("--rounds", type=int, default=20, help="times with a shadow, and as many without")
    parser.add_argument("--only", choices=["split", "guards", "kills", "shadow"])
    asked = parser.parse_args()
    parts = {
        "split": lambda folder: split(folder, asked.units),
        "guards": lambda folder: guards(folder, asked.guards),
        "kills": lambda folder: kills(folder, asked.kills),
        "shadow": lambda folder: shadow(folder, asked.rounds),
    }
    holds = True
    for name, part in parts.items():
        if asked.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                holds = part(Path(folder)) and holds
    return 0 if holds else 1


@contextmanager
def _serving(folder: Path, **settings: str) -> Iterator[RunningGateway]:
    store = {"STORE": f"sqlite:///{folder}/store.db", "STORE_NAME": "one", "LOG_LEVEL": "warning"}
    with RunningGateway.running(folder / "repository", **{"SETTLE_S": "0", **store, **settings}) as gateway:
        gateway.wait_ready(within_s=60)
        yield gateway


def _publish(folder: Path, model: str, *contents: bytes) -> None:
    for version, content in enumerate(contents, start=1):
        publish(folder / "repository", model, version, {"model.onnx": content})
    (folder / "repository" / model / "model.toml").write_text(_SETTINGS)


def _variants(model: str, share: float) -> dict[str, Any]:
    """Control a is version 1, and b version 2 with `share` percent."""
    return {"a": {"target": f"{model}/1", "weight": 100 - share}, "b": {"target": f"{model}/2", "weight": share}}


def split(folder: Path, units: int) -> bool:
    """90/10 of so many units, each in one dialect, and all of them again in another."""
    _publish(folder, "add", add_model(1), add_model(2))
    with _serving(folder) as gateway:
        Experiment(gateway, "add", "split").begin(variants=_variants("add", 10))
        began_s = time.monotonic()
        first = _all_units(gateway, units, 0)
        second = _all_units(gateway, units, 1)
        took_s = time.monotonic() - began_s
    observed = Counter(variant for variant in first)
    deviation = abs(observed["b"] - units / 10) / math.sqrt(units * 0.1 * 0.9)
    moved = sum(one != other for one, other in zip(first, second, strict=True))
    print(
        f"split: {units:,} units over {', '.join(_WAYS)}: a {observed['a']:,}, b {observed['b']:,} "
        f"({observed['b'] / units:.3%}, {deviation:.1f} standard deviations off 10 %); "
        f"{moved} units got another variant in another dialect; {2 * units / took_s:,.0f} requests/s"
    )
    return observed["a"] + observed["b"] == units and deviation < 4 and moved == 0


def _all_units(gateway: RunningGateway, units: int, offset: int) -> list[str]:
    ways = list(_WAYS.values())
    parts = urlsplit(gateway.url)
    found: list[str] = []
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        data = b""
        for begin in range(0, units, _TOGETHER):
            numbers = range(begin, min(begin + _TOGETHER, units))
            connection.sendall(b"".join(_request(number, *ways[(number + offset) % 3]) for number in numbers))
            for _ in numbers:
                head, data = _answer(connection, data)
                found.append(head)
    return found


def _request(number: int, path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: torii\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}torii-unit: unit-{number}\r\n\r\n".encode() + body


def _answer(connection: socket.socket, data: bytes) -> tuple[str, bytes]:
    """The variant of the first answer in `data`, and what comes after it."""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += connection.recv(1 << 16)
    lines = (line.partition(b": ") for line in data[:end].lower().split(b"\r\n")[1:])
    headers = {name: value for name, _, value in lines}
    size = end + 4 + int(headers[b"content-length"])
    while len(data) < size:
        data += connection.recv(1 << 16)
    assert data.startswith(b"HTTP/1.1 200"), data[:size]
    return headers[b"torii-variant"].decode(), data[size:]


def guards(folder: Path, cycles: int) -> bool:
    """A variant fails from one moment on: how long until no request gets a failure of it."""
    _publish(folder, "lookup", lookup_model(100), lookup_model(10))
    took: list[float] = []
    failed: list[int] = []
    asking = [5]
    bodies = {number: v2("n", np.array([number], np.int64)) for number in (5, 50)}
    with _serving(folder) as gateway:  # with its usual looks at the folder, a second apart
        experiment = Experiment(gateway, "lookup", "guarded").begin(variants=_variants("lookup", 50))
        for _ in range(cycles):
            asking[0] = 5
            experiment.right("PATCH", body={"weights": {"a": 50, "b": 50}})
            with traffic(
                gateway, lambda caller, n: caller.infer("lookup", bodies[asking[0]], f"unit-{n}"), pause_s=0.005
            ) as seen:
                gateway.until(lambda: min(seen.variants()[each] for each in "ab") > 100)
                asking[0] = 50
                gateway.until(lambda: experiment.weights() == {"a": 100, "b": 0})
                time.sleep(2.5)  # does it stay so?
            took.append(seen.failures[-1].at_s - seen.failures[0].at_s)
            failed.append(len(seen.failures))
    print(
        f"guards: from the first failure to the last, {cycles} times: median {np.median(took):.2f} s, "
        f"longest {max(took):.2f} s; {np.median(failed):.0f} requests failed (median), {max(failed)} at most"
    )
    return max(took) <= 1.0


def kills(folder: Path, cycles: int) -> bool:
    """kill -9 under traffic with outcomes: how much of the end is missing, and whether a unit has moved."""
    _publish(folder, "add", add_model(1), add_model(2))
    metrics = {"good": {"kind": "mean", "better": "higher"}}
    lost: list[float] = []
    moved = known = 0
    before: list[str] = []
    times: list[float] = []
    killed_s = 0.0
    for number in range(cycles + 1):
        with _serving(folder, POLL_S="0.1") as gateway:
            experiment = Experiment(gateway, "add", "killed")
            if number == 0:
                experiment.begin(variants=_variants("add", 30), metrics=metrics)
            else:
                now = gateway.until(experiment.requests)
                lost.append(_how_long(times, killed_s, known - now))
                known = now
            with Caller(gateway.url) as caller:
                told = [caller.infer("add", _ADD, f"unit-{unit}") for unit in range(1000)]
            variants = [each.variant for each in told]
            before = before or variants
            moved += sum(one != other for one, other in zip(before, variants, strict=True))
            with traffic(gateway, _asked, threads=2, pause_s=0.002) as seen:
                end_s, since = time.monotonic() + 2 + number * 0.09, 0
                while time.monotonic() < end_s:
                    since = _report(gateway, seen.told, since)
                gateway.process.kill()
                gateway.process.wait()
                killed_s = time.monotonic()
        known += len(told) + len(seen.told)
        times = sorted(each.at_s for each in (*told, *seen.told))
    print(
        f"kills: {cycles} times: of the evidence before the kill, the last {np.median(lost):.2f} s are missing "
        f"(median), {max(lost):.2f} s at most; {moved} of {1000 * cycles:,} units moved"
    )
    return max(lost) <= 1.0 and moved == 0


def _asked(caller: Caller, number: int) -> Told:
    return caller.infer("add", _ADD, f"unit-{number % 1000}")


def _report(gateway: RunningGateway, told: list[Told], since: int) -> int:
    now = len(told)
    report(gateway, [{"metric": "good", "value": 1, "request": each.request} for each in told[since:now]])
    return now


def _how_long(times: list[float], killed_s: float, missing: int) -> float:
    """How long before the kill the oldest of the last `missing` answers came."""
    return killed_s - times[-missing] if missing > 0 else 0.0


def shadow(folder: Path, rounds: int) -> bool:
    """What a shadow costs its callers: the same open load, by turns with and without one."""
    _publish(folder, "slow", slow_model(), slow_model())
    body = {"inputs": [{"name": "n", "shape": [1], "datatype": "INT64", "data": [5]}]}
    took: dict[bool, list[list[float]]] = {True: [], False: []}
    with _serving(folder) as gateway:
        experiment = Experiment(gateway, "slow", "shadowed")
        experiment.begin(variants={name: {"target": "slow/1", "weight": 50} for name in "ab"})
        for number in range(rounds):
            for with_shadow in (number % 2 == 0, number % 2 == 1):
                changes = {"shadow": {"target": "slow/2", "percent": 100} if with_shadow else None}
                experiment.right("PATCH", body=changes)
                flood = Flood(f"{gateway.url}/v2/models/slow/infer", body)
                asked = flood.run(_SHADOW_PER_S, _SHADOW_FOR_S, number)
                assert all(each.status == 200 for each in asked)
                took[with_shadow].append([each.took_s * 1000 for each in asked if each.sent_s >= _SHADOW_WARM_S])
        experiment.right("PATCH", body={"shadow": {"target": "slow/2", "percent": 100}})
        seen = experiment.view()["shadow"]
    quantiles = {key: np.percentile(np.concatenate(each), [50, 95, 99]) for key, each in took.items()}
    ratio = quantiles[True] / quantiles[False]
    low, high = _interval(took[True], took[False])
    without, with_one = (", ".join(f"{each:.2f}" for each in quantiles[key]) for key in (False, True))
    print(
        f"shadow: {_SHADOW_PER_S:g} requests/s, {rounds} rounds of {_SHADOW_FOR_S:g} s each: p50, p95, p99 "
        f"{without} ms without, {with_one} ms with a shadow of all requests; "
        f"ratios {ratio[0]:.3f}, {ratio[1]:.3f}, {ratio[2]:.3f}; "
        f"that of p99 is in {low:.3f} to {high:.3f} (95 %, bootstrap over rounds); "
        f"{seen['compared']} compared, {seen['skipped']} skipped, {seen['failed']} failed"
    )
    return low <= _DEARER


def _interval(ours: list[list[float]], theirs: list[list[float]]) -> tuple[float, float]:
    """Where the ratio of p99s lies: what else the machine does troubles whole rounds."""
    dice = np.random.default_rng(1)
    found = []
    for _ in range(1000):
        chosen = dice.integers(0, len(ours), len(ours))
        one, other = (np.percentile(np.concatenate([of[at] for at in chosen]), 99) for of in (ours, theirs))
        found.append(float(one / other))
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


if __name__ == "__main__":
    sys.exit(main())
