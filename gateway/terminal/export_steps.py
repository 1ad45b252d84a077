"""What `torii export` does and shows: here or by a gateway, step by step, and what came of it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from adapters.errors import InvalidInput
from gateway.exports.engine import convert, headline
from gateway.exports.exporting import export
from gateway.exports.order import Order, checked
from gateway.exports.origin import Origin
from gateway.terminal.asking import ask_control
from gateway.terminal.screen import err, fail, plain
from gateway.terminal.tables import size

OnProgress: TypeAlias = Callable[[float, str], None]
_AGAIN_S: Final = 0.25


def order(
    model: str,
    version: int,
    to: str,
    quantize: str | None,
    shapes: Sequence[str],
    batch: int | None,
    tolerances: Sequence[str],
    replace: bool,
) -> Order:
    """An order out of a command line; raises InvalidInput that names the option."""
    return checked(
        Order(
            model,
            version,
            to,
            quantize,
            dict(_shape(each) for each in shapes),
            batch,
            dict(_tolerance(each) for each in tolerances),
            replace,
        )
    )


def here(asked: Order, calibration: Path | None, version: Origin) -> dict[str, Any]:
    """Export in this process; gives what there is to say of it. Raises ServingError."""
    with shown() as on_progress:
        published = asyncio.run(export(asked, version, calibration, on_progress, convert))
    return {
        "deployment": f"{asked}@{published.backend}" if published.backend else None,
        "file": str(published.path),
        "route": list(published.route),
        "certificate": msgspec.to_builtins(published.certificate),
    }


def by_gateway(asked: Order, calibration: Path | None, control: str) -> dict[str, Any]:
    """Have a gateway export, and wait for it; gives its answer. Raises OSError where calibration cannot be read."""
    body: dict[str, Any] = msgspec.to_builtins(asked)
    if calibration is not None:
        body["calibration"] = base64.b64encode(calibration.read_bytes()).decode()
    job = ask_control("POST", f"{control}/v1/exports", body)
    where = f"{control}/v1/exports/{job['id']}"
    try:
        with shown() as on_progress:
            while job["state"] in ("queued", "running"):
                on_progress(job["fraction"], job["step"])
                time.sleep(_AGAIN_S)
                job = ask_control("GET", where)
    except KeyboardInterrupt:
        ask_control("DELETE", where)
        raise
    if job["state"] != "done":
        fail(f"{asked}: {job['state']}: {plain(job['error'] or '')}")
    return dict(job)


@contextmanager
def shown() -> Iterator[OnProgress]:
    """Shows how far something is: a bar in a terminal, a line for each step elsewhere."""
    if not err.is_terminal:
        steps: list[str] = []

        def say(fraction: float, step: str) -> None:
            if (line := headline(step)) not in steps[-1:]:
                steps.append(line)
                err.print(plain(line), highlight=False, soft_wrap=True)

        yield say
        return
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("")
        yield lambda fraction, step: progress.update(task, completed=100 * fraction, description=plain(step[:80]))


def lines(done: Mapping[str, Any]) -> Iterator[str | Table]:
    """What came of an export: where it is, by which route, and how it compares."""
    certificate = done["certificate"]
    yield f"[green]{plain(Path(done['file']).name)}[/green] by {plain(', '.join(done['route']))}"
    yield _compared(certificate)
    for output in certificate["outputs"]:
        figures = [f"largest difference {output['largest']:.3g}", f"mean {output['mean']:.3g}"]
        figures += [f"cosine {output['cosine']:.6f}"] if output["cosine"] is not None else []
        figures += [f"best class the same in {output['argmax'] * 100:.4g} %"] if output["argmax"] is not None else []
        yield f"{plain(output['export'])}: {', '.join(figures)}"
    if accuracy := certificate["accuracy"]:
        before, after = (f"{accuracy[each] * 100:.4g} %" for each in ("before", "after"))
        yield f"right answers: {before} before, {after} after, of {accuracy['rows']} labelled rows"
    data = certificate["data"]
    of = "" if data["kind"] == "random" else f" of {plain(data['name'])}"
    yield f"compared on {data['rows']} {data['kind']} rows{of}"
    if done["deployment"]:
        yield f"a gateway over this folder serves it as {plain(done['deployment'])}"


def _compared(certificate: Mapping[str, Any]) -> Table:
    table = Table()
    for heading in ("", "size", "p50", "p99", "load", "runtime"):
        table.add_column(heading, justify="right" if heading in ("size", "p50", "p99", "load") else "left")
    for side in (certificate["source"], certificate["export"]):
        latency = side["latency"]
        times = (f"{each:.3g} ms" for each in (latency["p50_ms"], latency["p99_ms"], side["load_ms"]))
        table.add_row(side["form"], size(side["size_bytes"]), *times, Text(side["runtime"]))
    return table


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    name, _, sizes = text.rpartition("=")
    try:
        shape = tuple(int(each) for each in sizes.split(","))
    except ValueError:
        shape = ()
    if not name or not shape or min(shape) < 1:
        raise InvalidInput(
            f"--shape {text!r:.80}: expected INPUT=SIZE,SIZE,… with sizes of 1 or more, as x=1,224,224,3"
        )
    return name, shape


def _tolerance(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name, float(number)
    except ValueError:
        raise InvalidInput(f"--tolerance {text!r:.80}: expected FIGURE=NUMBER, as argmax=0.98") from None
