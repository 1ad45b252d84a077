"""`torii-edge`: keeps a model on this machine up to date, and runs it."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from torii_edge.device import Device
from torii_edge.errors import EdgeError
from torii_edge.installed import InstalledModel
from torii_edge.model import EdgeModel
from torii_edge.polling import next_wait
from torii_edge.updating import Outcome, Update

_FAILED: Final = 1
_MISUSED: Final = 2
_LATER: Final = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says, and end the process: 0 well, 1 refused or unfit, 2 misused, 3 not now."""
    given = _parser().parse_args(arguments)
    try:
        status = int(given.act(given))
    except (EdgeError, ValueError, OSError) as error:
        sys.stderr.write(f"torii-edge: {_plain(str(error))}\n")
        status = _FAILED if isinstance(error, EdgeError) else _MISUSED
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="torii-edge", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act, text in (
        ("update", _update, "ask the server once, and install what it has for this device"),
        ("watch", _watch, "update again and again, as often as the server wishes"),
    ):
        command = _command(commands, name, act, text)
        command.add_argument("--url", required=True, help="the edge server, as https://edge.example")
        command.add_argument("--model", required=True, help="the model's name")
        command.add_argument("--root", required=True, type=Path, help="the trusted root.json, from a trusted source")
        command.add_argument("--channel", default="stable", help="the model's channel (default: stable)")
        command.add_argument("--app", default="", help="the app's version, for rules that ask for one")
        command.add_argument("--os", default="", help="another system than this one, as android")
        command.add_argument("--arch", default="", help="another architecture than this one, as arm64")
    run = _command(commands, "run", _run, "run the installed model on data")
    run.add_argument("--input", required=True, type=Path, help="arrays by name: .npz, or .json ('-': JSON from stdin)")
    run.add_argument("--output", type=Path, help="an .npz file for the answer (default: JSON on stdout)")
    _command(commands, "status", _status, "say what is installed, as JSON")
    _command(commands, "rollback", _rollback, "go back to the last good version")
    return parser


def _command(commands: Any, name: str, act: object, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("folder", type=Path, help="where the model is kept")
    command.set_defaults(act=act)
    return command


def _model(given: argparse.Namespace) -> EdgeModel:
    here = Device()
    device = Device(os=given.os or here.os, arch=given.arch or here.arch, ram_mb=here.ram_mb, app=given.app)
    return EdgeModel(
        given.url, given.model, given.folder, trusted_root=given.root, channel=given.channel, device=device
    )


def _update(given: argparse.Namespace) -> int:
    update = _model(given).update()
    _say(update)
    if update.outcome in {Outcome.OFFLINE, Outcome.BUSY}:
        return _LATER
    return 0 if update.outcome.good else _FAILED


def _watch(given: argparse.Namespace) -> int:
    stop = Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    model, failures, said = _model(given), 0, None
    while not stop.is_set():
        update = model.update()
        if (update.outcome, update.version, update.detail) != said:
            _say(update)
            said = (update.outcome, update.version, update.detail)
        failures = failures + 1 if update.outcome in {Outcome.OFFLINE, Outcome.NO_SPACE} else 0
        stop.wait(next_wait(update.poll_s, failures, random.random()))  # noqa: S311  # spreads requests, no secret
    return 0


def _run(given: argparse.Namespace) -> int:
    answers = InstalledModel(given.folder).run(_inputs(given.input))
    if given.output:
        np.savez(given.output, **answers)  # type: ignore[arg-type]
    else:
        sys.stdout.write(json.dumps({name: each.tolist() for name, each in answers.items()}) + os.linesep)
    return 0


def _inputs(path: Path) -> Mapping[str, ArrayLike]:
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    inputs = json.loads(text)
    if not isinstance(inputs, dict):
        raise ValueError(f"{path}: expected a JSON object of arrays by name, got {type(inputs).__name__}")
    return inputs


def _status(given: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(InstalledModel(given.folder).status(), indent=2) + os.linesep)
    return 0


def _rollback(given: argparse.Namespace) -> int:
    sys.stdout.write(f"version {InstalledModel(given.folder).rollback()} is in use{os.linesep}")
    return 0


def _say(update: Update) -> None:
    version = "none" if update.version is None else str(update.version)
    detail = f" ({_plain(update.detail)})" if update.detail else ""
    sys.stdout.write(f"{update.outcome.value}: version {version} is in use{detail}{os.linesep}")
    sys.stdout.flush()


def _plain(text: str) -> str:
    """What a server said may have control characters in it, and those are not for a terminal."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
