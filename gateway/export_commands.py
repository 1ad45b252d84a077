"""The commands `torii export`, `torii bundle` and `torii doctor`: from a version to what devices get of it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.terminal.screen import err, fail, out, plain

if TYPE_CHECKING:
    from gateway.exports.origin import Origin

commands = typer.Typer()

_VERSION = re.compile(r"([a-z0-9][a-z0-9._-]{0,63})/([1-9][0-9]{0,17})")

Version = Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="What of, as digits/2")]
Repository = Annotated[
    Path | None, typer.Option(help="Folder of models \\[default: model_repo, or as ./torii.toml says]", file_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print plain JSON")]


@commands.command(
    epilog="Examples:  [b]torii export digits/2 --to tflite --quantize int8[/b]"
    "   |   [b]torii export digits/1 --to onnx --control http://127.0.0.1:8002[/b]"
    "   |   [b]torii export net/1 --to tflite --shape x=1,224,224,3[/b]"
)
def export(
    version: Version,
    to: Annotated[str, typer.Option(help="Format: tflite, onnx, ort, pte, tfjs, saved_model, pt2 …")],
    quantize: Annotated[str | None, typer.Option(help="Precision: fp16, dynamic or int8 \\[default: fp32]")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Rows to quantize by, an .npz of inputs/<tensor> \\[default: golden.npz]", dir_okay=False),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUT=SIZE,…", help="A fixed shape, batch axis included; repeatable"),
    ] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=65536, help="A fixed batch of all inputs")] = None,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(metavar="FIGURE=NUMBER", help="largest, mean, cosine, argmax or accuracy_loss; repeatable"),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace the artifact that is there")] = False,
    repository: Repository = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control", "--url", envvar="TORII_CONTROL", help="Have a running gateway do it: its control API"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Convert a version to another format, prove that it is the same model, and put it beside the others.

    Nothing is published where it strays further from its source than is tolerated. A gateway over the folder serves it
    as soon as it is there: digits/2@tflite-int8.
    """
    from gateway.terminal import export_steps

    model, number = _of(version)
    with _clearly():
        order = export_steps.order(model, number, to, quantize, shape or (), batch, tolerance or (), replace)
        if control is not None:
            done = export_steps.by_gateway(order, calibration, control)
        else:
            done = export_steps.here(order, calibration, _version(model, number, repository))
    if as_json:
        _print_json(done)
        return
    for line in export_steps.lines(done):
        out.print(line, highlight=False, soft_wrap=not hasattr(line, "columns"))


@commands.command(
    epilog="Examples:  [b]torii bundle digits/2 --target android[/b]   |   [b]torii bundle digits/2 --target browser"
    " --backend onnxruntime-int8[/b]   |   [b]torii bundle --check digits-2-android.zip[/b]"
)
def bundle(
    version: Annotated[str | None, typer.Argument(metavar="[MODEL/VERSION]", help="What of, as digits/2")] = None,
    target: Annotated[
        str | None, typer.Option(help="For whom: android, ios, browser, linux-arm64 or linux-amd64")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="Which artifact, as tflite-int8 \\[default: the target's plain one]")
    ] = None,
    golden: Annotated[
        Path | None,
        typer.Option(
            help="Rows by which devices check themselves, an .npz of inputs/<tensor>", dir_okay=False, exists=True
        ),
    ] = None,
    without_golden: Annotated[bool, typer.Option("--without-golden", help="No device can check itself then")] = False,
    labels: Annotated[
        Path | None, typer.Option(help="Names of classes, one a line", dir_okay=False, exists=True)
    ] = None,
    licence: Annotated[Path | None, typer.Option(help="The model's licence", dir_okay=False, exists=True)] = None,
    min_app: Annotated[str | None, typer.Option(help="The oldest version of the app that can use it")] = None,
    output: Annotated[Path, typer.Option(help="Folder that the bundle goes to", file_okay=False, exists=True)] = Path(),
    repository: Repository = None,
    check: Annotated[
        Path | None, typer.Option(help="Look through a bundle, and say what is in it", dir_okay=False, exists=True)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put a model for a target into one archive, with golden data, certificate, labels and licence; or check one."""
    import asyncio

    from gateway.bundles.bundle import Wanted
    from gateway.bundles.bundle import bundle as make
    from gateway.bundles.opening import open_bundle
    from gateway.terminal import bundles as shown

    if (check is None) == (version is None) or (check is None and target is None):
        fail("expected MODEL/VERSION with --target, or --check FILE")
    with _clearly():
        lacks: tuple[str, ...] = ()
        if check is None:
            model, number = _of(version or "")
            wanted = Wanted(model, number, target or "", backend, golden, without_golden, labels, licence, min_app)
            made = asyncio.run(make(wanted, _version(model, number, repository).folder, output, _say))
            check, lacks = made.path, made.lacks
        opened = open_bundle(check)
    if as_json:
        _print_json(shown.document(opened, lacks))
        return
    for line in shown.lines(opened, lacks):
        out.print(line, highlight=False, soft_wrap=not hasattr(line, "columns"))


@commands.command(epilog="Example:  [b]torii doctor[/b]")
def doctor(as_json: AsJson = False) -> None:
    """Say which runtimes and converters are here, and what to do about those that are not."""
    from gateway import doctor as looking
    from gateway.config import ConfigError, read_settings
    from gateway.terminal import tables

    try:
        found = looking.look(read_settings())
    except ConfigError as error:
        fail(plain(str(error)))
    if as_json:
        _print_json(found)
        return
    for title, rows in looking.rows(found):
        out.print(tables.findings(title, rows))


def _of(version: str) -> tuple[str, int]:
    match = _VERSION.fullmatch(version)
    if not match:
        fail(f"{plain(version)}: expected MODEL/VERSION, as digits/2")
    return match[1], int(match[2])


def _version(model: str, version: int, repository: Path | None) -> Origin:
    from gateway.config import ConfigError, read_settings
    from gateway.exports.origin import origin
    from gateway.repository import scan_model

    try:
        root = repository or read_settings().repository
        return origin(scan_model(model, root / model), version)
    except ConfigError as error:
        fail(plain(str(error)))
    except OSError as error:
        fail(f"model {model} cannot be read: {plain(str(error))}; --repository says where models are")


@contextmanager
def _clearly() -> Iterator[None]:
    from adapters.errors import ServingError

    try:
        yield
    except (ServingError, OSError) as error:
        fail(plain(str(error)))
    except KeyboardInterrupt:
        fail("cancelled; nothing was written")


def _say(line: str) -> None:
    err.print(plain(line), highlight=False, soft_wrap=True)


def _print_json(answer: object) -> None:
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
