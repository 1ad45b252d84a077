"""`make crosscheck`: the same load by wrk, h2load, perf_analyzer and MLPerf's LoadGen beside our own generator.

One gateway with one deployment on one core, who measures on another, in turns. Tools that are missing are said and
left out; `make crosscheck-tools` installs them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console

from loadtests.bench.processes import ROOT, Server
from loadtests.bench.report import facts
from loadtests.crosscheck import markdown, report
from loadtests.crosscheck.agreement import agreements
from loadtests.crosscheck.asked import Asked, Load
from loadtests.crosscheck.measured import ToolFailed
from loadtests.crosscheck.perf_analyzer import parted
from loadtests.crosscheck.scenarios import Scenario, scenarios
from loadtests.crosscheck.turns import Rounds, Site, alternate
from loadtests.dialects import DIALECTS
from loadtests.gateways import Gateway, NoGateway, path, started
from loadtests.payloads import BadPayload, Payload, payload

_STATISTICS_S = 10.0


def main() -> None:
    """Measure and show; exits with 1 where requests failed, or a figure differs and nothing explains it."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: sys.exit(128 + received))  # an exception: everything is stopped
    about = {**facts(), "command": shlex.join(["python", "-m", "loadtests.crosscheck", *sys.argv[1:]])}
    server_core, tool_core = _cores()
    os.sched_setaffinity(0, {tool_core})  # tools inherit it
    try:
        measured = _measure(arguments, server_core, tool_core)
    except (BadPayload, NoGateway, ToolFailed) as error:
        raise SystemExit(str(error)) from None
    report.show(measured)
    report.write(arguments.output, measured, about)
    if arguments.markdown:
        markdown.write(arguments.markdown, measured, about)
    found = [each for rounds in measured for each in agreements(rounds)]
    if any(each.verdict in {"differs", "failed requests"} for each in found):
        sys.exit(1)


def _measure(arguments: argparse.Namespace, server_core: int, tool_core: int) -> list[Rounds]:
    wanted = chosen(scenarios(arguments.rate), arguments.only)
    model, version, backend = parted(arguments.deployment)
    overlay = {key: [value] for key, value in (("backends", backend), ("versions", int(version or 0))) if value}
    with (
        started(arguments.repository, {model: overlay}, core=server_core, models=[model]) as gateway,
        Console(stderr=True).status("starting") as progress,
    ):
        server = Server("gateway", psutil.Process(gateway.pid), gateway.http_port, gateway.grpc_port)
        site = Site(server, lambda: answered(gateway, arguments.deployment))
        sent = payload(arguments.payload, gateway.metadata(arguments.deployment))
        asks = [asked(scenario.load, arguments.deployment, gateway, sent, tool_core) for scenario in wanted]
        return [
            alternate(scenario, ask, site, arguments.seconds, arguments.rounds, progress.update)
            for scenario, ask in zip(wanted, asks, strict=True)
        ]


def answered(gateway: Gateway, deployment: str) -> int:
    """How many requests a deployment has answered, well or not, by V2's statistics."""
    address = f"{gateway.url}/v2/models/{path(deployment)}/stats"
    with urllib.request.urlopen(address, timeout=_STATISTICS_S) as response:
        (told,) = json.load(response)["model_stats"]
    return sum(int(told["inference_stats"][each]["count"]) for each in ("success", "fail"))


def asked(load: Load, deployment: str, gateway: Gateway, sent: Payload, core: int) -> Asked:
    """A load with its request: the payload's first inputs, as often as it has rows."""
    dialect = DIALECTS[load.dialect]
    inputs = {name: np.repeat(rows[:1], load.rows, axis=0) for name, rows in sent.inputs[0].items()}
    return Asked(load, deployment, gateway.target(dialect.protocol), dialect.request(deployment, inputs), inputs, core)


def chosen(those: Sequence[Scenario], words: Sequence[str]) -> list[Scenario]:
    """Scenarios with one of the words in their names; all without any.

    Raises:
        SystemExit: there is none.
    """
    found = [each for each in those if not words or any(word.lower() in each.name.lower() for word in words)]
    if not found:
        raise SystemExit(
            f"--only: expected words out of {'; '.join(each.name for each in those)}; got {', '.join(words)}"
        )
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m loadtests.crosscheck", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option, kind, default, text in (
        ("--repository", Path, ROOT / "model_repo", "a folder of models"),
        ("--deployment", str, "digits/1@onnxruntime", "what is asked"),
        ("--payload", str, "digits", "what is sent"),
        ("--seconds", float, 2.0, "length of one turn (wrk's: whole seconds)"),
        ("--rounds", int, 3, "how often they take turns"),
        ("--rate", float, 1000.0, "of Poisson arrivals, requests/s"),
        ("--output", Path, Path("bench-results/crosscheck.json"), "where everything is written as JSON"),
    ):
        parser.add_argument(option, type=kind, default=default, help=f"{text} [default: %(default)s]")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="a page whose table is written anew")
    parser.add_argument("--only", nargs="+", default=(), metavar="WORD", help="scenarios with it in their names")
    return parser.parse_args()


def _cores() -> tuple[int, int]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("the cross-check needs two cores: one for the servers, one for who measures")
    return cores[0], cores[1]


if __name__ == "__main__":
    main()
