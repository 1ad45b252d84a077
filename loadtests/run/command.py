"""`python -m loadtests run`: measure a scenario, show it, write its result."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console

from loadtests import scenario as scenarios
from loadtests.gateways import NoGateway
from loadtests.interruption import INTERRUPTION
from loadtests.results.files import write
from loadtests.results.schema import Result
from loadtests.run.campaign import Campaign, cores
from loadtests.run.display import Display, table, troubles
from loadtests.run.latencies import failures, measured
from loadtests.run.marks import CUT_SHORT
from loadtests.run.session import Session
from loadtests.run.stretch import stretch
from loadtests.scenario import BadScenario

RESULTS: Final = Path(__file__).resolve().parents[1] / "results"

_WIDE: Final = 160
"""Columns where no terminal says how many it has."""

_FAILED: Final = 1
_BAD_INPUT: Final = 2
_INTERRUPTED: Final = 130

_EXAMPLES: Final = (
    "Examples:  [b]torii loadtest run frameworks[/b]   |   [b]torii loadtest run server --deployments digits/1@tflite"
    "[/b]   |   [b]torii loadtest run single-stream --repository model_repo --hardware all[/b]   |   "
    "[b]torii loadtest run my-own.toml --seconds 30 --rounds 5[/b]"
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=_EXAMPLES)(run)


def run(  # noqa: PLR0913  # options
    scenario: Annotated[
        str | None,
        typer.Argument(metavar="SCENARIO", help="Name of a scenario, or a .toml file [default: list them]"),
    ] = None,
    url: Annotated[str | None, typer.Option(envvar="TORII_URL", help="Inference API of a gateway that runs")] = None,
    control: Annotated[str | None, typer.Option(envvar="TORII_CONTROL", help="Its control API")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Its port for gRPC")] = None,
    repository: Annotated[Path | None, typer.Option(help="Start a gateway over a copy of this folder instead")] = None,
    deployments: Annotated[
        str | None, typer.Option(help="As digits/1@tflite,digits/1@onnxruntime or 'all of digits/1'")
    ] = None,
    dialects: Annotated[str | None, typer.Option(help="As v2-json,v2-grpc")] = None,
    payload: Annotated[str | None, typer.Option(help="digits, image, invented, or an .npz")] = None,
    hardware: Annotated[str | None, typer.Option(help="'as served', 'all', or names with ; between them")] = None,
    seconds: Annotated[float | None, typer.Option(help="For each stretch")] = None,
    warm_up_s: Annotated[
        float | None, typer.Option("--warm-up", help="Seconds before each, which do not count")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="How often each row has its turn")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Seconds instead of minutes: to see whether it works")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result [default: loadtests/results/MACHINE]", file_okay=False)
    ] = None,
) -> None:
    """Put load on a gateway as a scenario says, and write a result file.

    The exit code is 0 where every row was measured and every answer was right, 1 where something failed, 2 where there
    is no gateway or the scenario is wrong, 130 after Ctrl-C or SIGTERM: what was measured so far is written.
    """
    console = Console(stderr=True)
    if scenario is None:
        _list()
        return
    given = {"repository": repository, "url": url, "control": control, "grpc_port": grpc_port}
    changes: dict[str, Any] = {
        "deployments": _deployments(deployments),
        "dialects": _split(dialects, ","),
        "payload": payload,
        "hardware": _hardware(hardware),
        "seconds": seconds,
        "warm_up_s": warm_up_s,
        "rounds": rounds,
        "gateway": _gateway(given),
    }
    try:
        read = scenarios.read(
            scenario, {key: value for key, value in changes.items() if value not in (None, {})}, quick
        )
    except BadScenario as error:
        _fail(console, str(error))
    display = Display(console)
    try:
        gateway_core, generator_core = cores(read)
        campaign = Campaign(Session(read, stretch, display, generator_core), gateway_core)
        with display.running():
            campaign.run()
            INTERRUPTION.ignore()  # what comes now takes a moment, and is what was asked for
    except (NoGateway, ValueError) as error:
        _fail(console, str(error))
    _end(console, campaign.result(), out)


def _end(console: Console, result: Result, out: Path | None) -> NoReturn:
    if _cut(result) and not any(row.runs for row in result.rows):
        console.print(f"{CUT_SHORT}: nothing was measured, and no result is written")
        raise typer.Exit(_INTERRUPTED)
    file = write(result, out or RESULTS / result.machine.name)
    wide = None if sys.stdout.isatty() else _WIDE
    Console(width=wide).print(table(result))
    for line in (*troubles(result.rows), *result.marks):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    Console().print(f"result: {file}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"next: torii loadtest report {file}   |   torii loadtest compare {file} OTHER.json",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    raise typer.Exit(_status(result))


def _status(result: Result) -> int:
    if _cut(result):
        return _INTERRUPTED
    slices = [each for row in result.rows for run in row.runs for each in measured(run)]
    if any(row.status == "failed" for row in result.rows) or (failures(slices) and result.kind not in _MAY_FAIL):
        return _FAILED
    return 0


def _cut(result: Result) -> bool:
    return any(mark.startswith(CUT_SHORT) for mark in result.marks)


_MAY_FAIL: Final = ("server", "overload", "load")
"""Kinds that go to where requests fail."""


def _list() -> None:
    console = Console()
    console.print("Scenarios, for [b]torii loadtest run NAME[/b]:")
    for name in scenarios.names():
        console.print(f"  [b]{name}[/b]  {scenarios.read(name).description}", highlight=False)


def _gateway(given: Mapping[str, Any]) -> dict[str, Any]:
    """Who says where a gateway runs wants none to be started."""
    found = {key: value for key, value in given.items() if value is not None}
    return {"repository": None, **found} if found else {}


def _deployments(text: str | None) -> Any:
    return text if text is None or text.startswith("all of ") else _split(text, ",")


def _hardware(text: str | None) -> Any:
    named: Mapping[str, str] = {"all": scenarios.ALL_THERE_IS, scenarios.AS_SERVED: scenarios.AS_SERVED}
    if text is None or text in named.values():
        return text
    return named.get(text) or _split(text, ";")


def _split(text: str | None, by: str) -> tuple[str, ...] | None:
    return None if text is None else tuple(filter(None, (each.strip() for each in re.split(by, text))))


def _fail(console: Console, text: str) -> NoReturn:
    console.print(f"error: {text}", markup=False, highlight=False, soft_wrap=True, style="red")
    raise typer.Exit(_BAD_INPUT)
