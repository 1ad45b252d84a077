"""The command `torii`."""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from gateway.config import ConfigError, read_settings
from gateway.edge_commands import edge as edge_app
from gateway.experiment_commands import experiment
from gateway.export_commands import commands as export_commands
from gateway.loadtest_commands import commands as loadtest_commands
from gateway.terminal.asking import CONTROL, Control, get, request
from gateway.terminal.screen import err, fail, out, plain

app = typer.Typer(
    name="torii",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(edge_app, name="edge")
app.add_typer(experiment, name="experiment")
app.add_typer(export_commands)
app.add_typer(loadtest_commands)

_MODEL = re.compile(r"(?P<name>[^/@]+)(?:/(?P<version>[0-9]+))?(?:@(?P<backend>[^/@]+))?")


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"torii {metadata.version('torii-gateway')}", highlight=False)
        raise typer.Exit


@app.callback()
def torii(
    show: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is")
    ] = False,
) -> None:
    """One gate to every model: one repository, served by TF Serving, TorchServe, ONNX Runtime and TFLite."""


@app.command(epilog="Examples:  [b]torii serve model_repo[/b]   |   [b]torii serve --http-port 9000 --host 0.0.0.0[/b]")
def serve(
    repository: Annotated[Path | None, typer.Argument(help="Folder of models \\[default: model_repo]")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the inference API \\[default: 127.0.0.1]")] = None,
    http_port: Annotated[int | None, typer.Option(help="Port of the inference API \\[default: 8000]")] = None,
    grpc_port: Annotated[int | None, typer.Option(help="Port of the inference gRPC API \\[default: 8001]")] = None,
    control_host: Annotated[str | None, typer.Option(help="Address of the control API \\[default: 127.0.0.1]")] = None,
    control_port: Annotated[int | None, typer.Option(help="Port of the control API \\[default: 8002]")] = None,
    allow_code: Annotated[
        bool | None, typer.Option("--allow-code", help="Serve .mar archives, which bring Python code of their own")
    ] = None,
    frontends: Annotated[
        int | None, typer.Option(help="Processes that answer requests; Linux shares out the connections \\[default: 1]")
    ] = None,
    edge: Annotated[
        Path | None, typer.Option(help="Folder that torii edge init made, to serve to devices on port 8003")
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error \\[default: info]")] = None,
) -> None:
    """Serve a repository until SIGTERM or Ctrl-C; changes in the folder are taken up while serving.

    Every setting can also stand in ./torii.toml or in a variable: http_port is TORII_HTTP_PORT.
    """
    # gRPC's handlers for fork would only get in the way: what is forked here becomes another program at once. It reads
    # these when it is imported.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    from gateway.serve import serve_forever

    try:
        settings = read_settings(
            repository=repository,
            host=host,
            http_port=http_port,
            grpc_port=grpc_port,
            control_host=control_host,
            control_port=control_port,
            allow_code=allow_code,
            frontends=frontends,
            edge=edge,
            log_level=log_level,
        )
    except ConfigError as error:
        fail(str(error))
    try:
        serve_forever(settings, err)
    except Exception as error:
        from gateway.ports import PortTaken

        if isinstance(error, PortTaken | NotADirectoryError | ConfigError):
            fail(plain(str(error)))
        raise


@app.command(epilog="Example:  [b]torii status --control http://127.0.0.1:8002[/b]")
def status(
    control: Control = CONTROL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the control API's own answer")] = False,
) -> None:
    """Show every deployment: state, reason, process, memory, digest. Exit code 2 where one has failed."""
    from gateway.terminal import tables

    answer = get(f"{control}/v1/status", "the control API", "--control")
    if as_json:
        sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    else:
        out.print(tables.deployments(answer))
        for line in tables.reasons(answer):
            out.print(line, soft_wrap=True)
        for backend in answer["backends"]:
            if backend["missing"]:
                out.print(f"[yellow]{backend['backend']}[/yellow] cannot serve: {plain(backend['missing'])}")
        for problem in answer["problems"]:
            out.print("[yellow]problem[/yellow] " + plain(problem), highlight=False)
        state = "ready" if answer["ready"] else "starting"
        out.print(f"gateway: {state}, RSS {tables.size(answer['gateway_rss_bytes'])}")
        for each in tables.frontends(answer):
            out.print(each)
    if any(each["state"] == "FAILED" for each in answer["deployments"]):
        raise typer.Exit(2)


@app.command(
    epilog="Examples:  [b]torii label digits[/b]   |   [b]torii label digits stable 2[/b]"
    "   |   [b]torii label digits canary --remove[/b]"
)
def label(
    model: Annotated[str, typer.Argument(help="The model")],
    name: Annotated[str | None, typer.Argument(metavar="LABEL", help="The label to set or move")] = None,
    version: Annotated[int | None, typer.Argument(help="The version that it is to name; it must be ready")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away")] = False,
    control: Control = CONTROL,
) -> None:
    """List a model's labels, set or move one, or take one away. `stable` is the version that unpinned requests get.

    Requests go by the new labels when this returns.
    """
    if (name is None and remove) or (name is not None and (version is None) != remove):
        fail("expected MODEL, MODEL LABEL VERSION, or MODEL LABEL --remove")
    url = f"{control}/v1/models/{quote(model, safe='')}/labels"
    if name is None:
        answer = get(url, "the control API", "--control")
    else:
        method, body = ("DELETE", None) if remove else ("PUT", {"version": version})
        answer = request(method, f"{url}/{quote(name, safe='')}", "the control API", "--control", body).json()
    for each, number in sorted(answer["labels"].items()):
        out.print(f"{each} = {number}", markup=False, highlight=False, soft_wrap=True)
    if not answer["labels"]:
        out.print(f"{model} has no labels", markup=False, highlight=False)


@app.command(
    epilog="Examples:  [b]torii infer digits docs/digits/7.png[/b]   |   [b]torii infer digits/1@tflite x.npy[/b]"
    "   |   [b]torii infer digits request.json --json[/b]"
)
def infer(
    model: Annotated[str, typer.Argument(help="MODEL, MODEL@BACKEND, MODEL/VERSION or MODEL/VERSION@BACKEND")],
    file: Annotated[Path, typer.Argument(help=".json, .npy, .npz, or an image", exists=True, dir_okay=False)],
    url: Annotated[str, typer.Option(envvar="TORII_URL", help="The inference API")] = "http://127.0.0.1:8000",
    as_json: Annotated[bool, typer.Option("--json", help="Print the inference API's own answer")] = False,
) -> None:
    """Send a file to a model and show what it answers.

    An image is resized to the model's height and width and sent as pixels 0..255. JSON is a V2 request, or the values
    of the model's only input, or an object of input names.
    """
    from gateway.terminal import payloads, tables

    base = f"{url}/v2/models/{_path(model)}"
    try:
        body = payloads.request_body(file, get(base, "the inference API", "--url"))
    except payloads.UnusableFile as error:
        fail(plain(str(error)))
    response = request("POST", f"{base}/infer", "the inference API", "--url", body)
    answer = response.json()
    if as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    out.print(tables.outputs(answer))
    milliseconds = response.elapsed.total_seconds() * 1000
    out.print(f"served by {response.headers['torii-served-by']} in {milliseconds:.1f} ms")


@app.command(epilog="Example:  [b]torii check model_repo[/b]")
def check(
    repository: Annotated[Path, typer.Argument(help="Folder of models", exists=True, file_okay=False)],
) -> None:
    """Say what would be loaded from a repository, and every mistake in it. Loads nothing.

    The exit code is 1 where there are mistakes.
    """
    from gateway.check import inspect
    from gateway.terminal import tables

    try:
        rows, problems = inspect(repository, read_settings())
    except ConfigError as error:
        fail(plain(str(error)))
    out.print(tables.plans(rows))
    for problem in problems:
        out.print("[red]problem[/red] " + plain(str(problem)), highlight=False, soft_wrap=True)
    out.print(f"{len(rows)} deployments, {len(problems)} problems")
    if problems:
        raise typer.Exit(1)


def _path(model: str) -> str:
    match = _MODEL.fullmatch(model)
    if not match:
        fail(f"{plain(model)}: expected MODEL, MODEL@BACKEND, MODEL/VERSION or MODEL/VERSION@BACKEND")
    segment = match["name"] + (f"@{match['backend']}" if match["backend"] else "")
    return segment + (f"/versions/{match['version']}" if match["version"] else "")


def main() -> None:
    """Entry point of the command."""
    app()
