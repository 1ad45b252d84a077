"""`make proof-comparison`: of results without a difference, at most one pair in twenty is called different.

Pairs of short runs of the same requests to the same gateway, in turns and rounds as scenarios have them, judged as
`torii loadtest compare --rows` judges. What was measured is judged again as if one side were slower by a known share,
and with some pairs one side does ask for more.
"""

from __future__ import annotations

# Locust patches the standard library for gevent: it has to come before anything that opens sockets.
import locust  # noqa: F401  # isort: skip

import argparse
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from loadtests.dialects import DIALECTS
from loadtests.engine.plan import Plan
from loadtests.gateways import Gateway, started
from loadtests.hardware import fingerprint
from loadtests.payloads import payload
from loadtests.results.files import read, write
from loadtests.results.schema import SCHEMA, Result, Row, Run
from loadtests.run.measuring import CutShort
from loadtests.run.stretch import stretch
from loadtests.run.subjects import together
from loadtests.run.turns import turns
from tests.proofs.comparison_judging import judged

DEPLOYMENT: Final = "digits/1@onnxruntime"
ROWS: Final = {"baseline": 1, "equal": 1, "slower's baseline": 1, "slower": 8}
"""How many images a request has."""


def main() -> int:
    """Measure (or read) and judge; 0 where no more than 5 % of the pairs are called different."""
    asked = _asked()
    result = read(asked.judge) if asked.judge else _measured(asked)
    if asked.keep and not asked.judge:
        print(f"kept: {write(result, asked.keep)} (judge it again with --judge)", flush=True)
    return judged(result)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.proofs.comparison", description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="without a difference [200]")
    parser.add_argument("--slower", type=int, default=15, help="pairs with one side that asks for 8 images [15]")
    parser.add_argument("--rounds", type=int, default=3, help="of each pair [3]")
    parser.add_argument("--seconds", type=float, default=0.35, help="of each run [0.35]")
    parser.add_argument("--warm-up", type=float, default=0.05, help="seconds before each, which do not count [0.05]")
    parser.add_argument("--slice", type=float, default=0.05, help="seconds [0.05]")
    parser.add_argument("--connections", type=int, default=4, help="[4]")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="write what was measured as a result file")
    parser.add_argument("--judge", type=Path, metavar="FILE", help="judge such a file again, without measuring")
    return parser.parse_args()


def _measured(asked: argparse.Namespace) -> Result:
    found: dict[str, list[Run]] = {name: [] for name in ROWS}
    with started(Path("model_repo"), core=0, models=("digits",)) as gateway:
        plans = {name: _plan(gateway, samples, asked) for name, samples in ROWS.items()}
        begun_s = time.monotonic()
        try:
            for number in range(asked.pairs + asked.slower):
                names = ("baseline", "equal") if number < asked.pairs else ("slower's baseline", "slower")
                for name, run in list(_pair(gateway, {each: plans[each] for each in names}, number, asked)):
                    found[name].append(run)
                if (number + 1) % 10 == 0:
                    left_s = (time.monotonic() - begun_s) / (number + 1) * (asked.pairs + asked.slower - number - 1)
                    print(f"{number + 1} pairs measured; about {left_s / 60:.1f} minutes more", flush=True)
        except (KeyboardInterrupt, CutShort):
            print("cut short: judging what there is", flush=True)
    return _result(found, asked)


def _pair(
    gateway: Gateway, plans: Mapping[str, Plan], number: int, asked: argparse.Namespace
) -> Iterator[tuple[str, Run]]:
    """A pair's runs; rounds of all pairs are counted on."""
    for place, name in turns(tuple(plans), asked.rounds):
        yield (
            name,
            stretch(
                plans[name],
                asked.connections,
                asked.seconds,
                warm_up_s=asked.warm_up,
                round=number * asked.rounds + place,
                gateway=gateway,
            ),
        )


def _plan(gateway: Gateway, samples: int, asked: argparse.Namespace) -> Plan:
    dialect, inputs = DIALECTS["v2-json"], payload("digits", gateway.metadata(DEPLOYMENT)).inputs
    return Plan(
        target=gateway.target(dialect.protocol),
        requests=tuple(dialect.request(DEPLOYMENT, each) for each in together(inputs, samples)),
        connections=asked.connections,
        served_by=DEPLOYMENT,
        slice_s=asked.slice,
        core=1 if len(os.sched_getaffinity(0)) > 1 else None,
    )


def _result(found: Mapping[str, Sequence[Run]], asked: argparse.Namespace) -> Result:
    settings = {name: getattr(asked, name) for name in ("rounds", "seconds", "warm_up", "slice", "connections")}
    rows = (
        Row(DEPLOYMENT, "v2-json", "as served", name, {}, "measured", runs=tuple(runs)) for name, runs in found.items()
    )
    return Result(
        SCHEMA, "proof-comparison", "load", datetime.now(UTC).isoformat(timespec="seconds"), shlex.join(sys.argv),
        settings, {}, {}, fingerprint(), tuple(rows),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
