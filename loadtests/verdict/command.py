"""`torii compare MODEL/VERSION`: which backend should serve it here?"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from loadtests.dialects import DIALECTS, probe
from loadtests.gateways import CONTROL, GRPC_PORT, URL, Gateway, NoGateway, running, started
from loadtests.run.measuring import CutShort
from loadtests.verdict import control
from loadtests.verdict.bench import NORMAL, QUICK
from loadtests.verdict.document import Verdict, encode
from loadtests.verdict.html import html
from loadtests.verdict.judging import Options, Tools, judge
from loadtests.verdict.table import show

_SUBJECT: Final = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})(?:/([1-9][0-9]{0,17}))?")
_TIME: Final = re.compile(r"([0-9]*\.?[0-9]+)\s*(us|µs|ms|s)")
_UNITS: Final = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1000.0}
_NONE_RECOMMENDED: Final = 1
_NOT_DONE: Final = 2
_INTERRUPTED: Final = 130


Subject = Annotated[str, typer.Argument(metavar="MODEL[/VERSION]", help="as digits/1; without a version, the newest")]
LatencyTarget = Annotated[
    str, typer.Option(help="p99 has to stay under it: 5ms, 0.5s; without it, twice the highest p99 alone")
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.1, max=1e6, help="requests/s to compare at; without it, half of what the weakest can take"),
]
Rounds = Annotated[int | None, typer.Option(min=2, max=20, help="how often each is measured; more narrow intervals")]
Seconds = Annotated[float | None, typer.Option(min=0.2, max=600, help="of each stretch of load; 4, with --quick 1")]
Quick = Annotated[bool, typer.Option("--quick", help="some minutes instead of ten for four backends; wide intervals")]


def register(app: typer.Typer) -> None:
    """Add the command `verdict`."""
    app.command(
        "verdict",
        epilog="Examples:  [b]torii compare digits/1 --quick[/b]   |   "
        "[b]torii compare digits/1 --latency-target 5ms --html verdict.html[/b]   |   "
        "[b]torii compare digits/1 --repository model_repo[/b]",
    )(compare)


def compare(  # noqa: PLR0913  # the command line's options
    subject: Subject,
    latency_target: LatencyTarget = "",
    rate: Rate = None,
    price: Annotated[float, typer.Option(min=0, max=1e6, help="of a core for an hour")] = 0.05,
    url: Annotated[str, typer.Option(help="the inference API of a gateway that runs")] = URL,
    control_url: Annotated[str, typer.Option("--control", help="its control API")] = CONTROL,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="its port for gRPC")] = GRPC_PORT,
    repository: Annotated[Path | None, typer.Option(help="start a gateway over a copy of this folder instead")] = None,
    dialect: Annotated[str, typer.Option(help=f"how it is asked: {', '.join(DIALECTS)}")] = "v2-binary",
    rounds: Rounds = None,
    seconds: Seconds = None,
    quick: Quick = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the verdict there")] = None,
    html_file: Annotated[Path | None, typer.Option("--html", help="write a page with pictures there")] = None,
    keep: Annotated[bool, typer.Option(help="have the gateway keep it, and show it on the model's page")] = True,
) -> None:
    """Compare all deployments of one version, and say which should serve it here, and why: `torii compare`.

    It ends with 1 where none can be recommended.
    """
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        model, version = _parsed(subject)
        effort = (QUICK if quick else NORMAL).changed(rounds, seconds)
        options = Options(milliseconds(latency_target), rate, price, effort)
        _check_folders(json_file, html_file)
        tools = _tools(dialect, errors)
        with _gateway(url, control_url, grpc_port, repository, model) as gateway:
            verdict = judge(gateway, model, version, options, tools)
            show(verdict, Console(highlight=False))
            _write(verdict, json_file, html_file, errors)
            if keep and repository is None:
                _kept(gateway, verdict, errors)
    except CutShort:
        errors.print("cut short: no verdict")
        raise typer.Exit(_INTERRUPTED) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except (NoGateway, control.NoVersion, control.Refused, ValueError, OSError) as error:
        errors.print(str(error), markup=False, style="red")
        raise typer.Exit(_NOT_DONE) from None
    if verdict.recommendation.kind == "none":
        raise typer.Exit(_NONE_RECOMMENDED)


def _parsed(subject: str) -> tuple[str, int | None]:
    found = _SUBJECT.fullmatch(subject)
    if found is None:
        raise ValueError(f"expected MODEL or MODEL/VERSION, as digits/1; got {subject!r:.100}")
    return found[1], int(found[2]) if found[2] else None


def milliseconds(text: str) -> float | None:
    """Of `5ms`, `0.5s`, `250us`; None of no text. Raises ValueError."""
    if not text:
        return None
    found = _TIME.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise ValueError(f"--latency-target: expected a time as 5ms or 0.5s; got {text!r:.100}")
    return float(found[1]) * _UNITS[found[2]]


def _tools(dialect: str, errors: Console) -> Tools:
    if dialect not in DIALECTS:
        raise ValueError(f"--dialect: expected one of {', '.join(DIALECTS)}; got {dialect!r:.100}")
    # Imported late: Locust patches the standard library for gevent, and the fingerprint runs programs.
    from loadtests.hardware import fingerprint  # noqa: PLC0415
    from loadtests.run.stretch import stretch  # noqa: PLC0415

    return Tools(
        stretch, DIALECTS[dialect], probe, fingerprint, lambda text: errors.print(text, markup=False, style="dim")
    )


@contextlib.contextmanager
def _gateway(url: str, control_url: str, grpc_port: int, repository: Path | None, model: str) -> Iterator[Gateway]:
    if repository is None:
        yield running(url, control_url, grpc_port)
        return
    with started(repository, models=(model,)) as gateway:
        yield gateway


def _check_folders(*files: Path | None) -> None:
    """Before it is measured for minutes."""
    for file in files:
        if file is not None and (file.is_dir() or not os.access(file.absolute().parent, os.W_OK)):
            raise ValueError(f"{file}: expected a file in a folder that is there, and can be written to")


def _write(verdict: Verdict, json_file: Path | None, html_file: Path | None, errors: Console) -> None:
    if json_file is not None:
        json_file.write_bytes(encode(verdict) + b"\n")
    if html_file is not None:
        html_file.write_text(html(verdict), encoding="utf-8")
    if written := [str(each) for each in (json_file, html_file) if each is not None]:
        errors.print(f"written: {', '.join(written)}", markup=False, style="dim")


def _kept(gateway: Gateway, verdict: Verdict, errors: Console) -> None:
    """A gateway that does not keep it takes nothing from the verdict."""
    try:
        control.keep(gateway, verdict)
    except (control.Refused, NoGateway) as error:
        errors.print(f"the gateway does not keep it: {error}", markup=False, style="yellow")
        return
    errors.print(f"kept: {gateway.control}/models/{verdict.model} shows it", markup=False, style="dim")
