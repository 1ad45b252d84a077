"""onnxruntime alone, as fast as it can: the limit of every server.

`python -m loadtests.bench.programs.raw_onnxruntime MODEL CORE ROWS SECONDS < X.npy` runs batches of ROWS times the one
row of X on a core (a number, or `any`), and prints one line of JSON: rows per second, latencies of one run in
milliseconds, the first row's answer.
"""

import io
import json
import os
import sys
import time
from typing import Any

import numpy as np
import onnxruntime

_WARM_UP = 0.2
"""The share of the time that does not count."""


def main() -> None:
    """Run, and print."""
    path, core, rows, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    if core != "any":
        os.sched_setaffinity(0, {int(core)})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    row = np.load(io.BytesIO(sys.stdin.buffer.read()))
    feed = {session.get_inputs()[0].name: np.repeat(row, rows, axis=0)}
    (answer, *_) = session.run(None, feed)
    _loop(session, feed, _WARM_UP * seconds)
    cpu_s, started_s = time.process_time(), time.perf_counter()
    latencies_s = sorted(_loop(session, feed, seconds))
    elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    others_s = max(0.0, elapsed_s - cpu_s)  # it never waits by itself
    found = {
        "requests": len(latencies_s) * rows,
        "requests_per_s": len(latencies_s) * rows / elapsed_s,
        "p50_ms": 1000 * latencies_s[len(latencies_s) // 2],
        "p99_ms": 1000 * latencies_s[int(len(latencies_s) * 0.99)],
        "cpu_us_per_request": 1e6 * cpu_s / (len(latencies_s) * rows),
        "others_cpu": others_s / elapsed_s,
        "answer": answer[:1].tolist(),
    }
    print(json.dumps(found))


def _loop(session: onnxruntime.InferenceSession, feed: dict[str, Any], seconds: float) -> list[float]:
    """Seconds that each run took; one run at least."""
    latencies_s: list[float] = []
    now_s = time.perf_counter()
    end_s = now_s + seconds
    while not latencies_s or now_s < end_s:
        started_s = now_s
        session.run(None, feed)
        now_s = time.perf_counter()
        latencies_s.append(now_s - started_s)
    return latencies_s


if __name__ == "__main__":
    main()
