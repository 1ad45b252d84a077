"""The commands `torii loadtest` and `torii compare`: `python -m loadtests` in the place of this process.

It patches the standard library, and knows a gateway by the network alone: the gateway does not import it.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any, NoReturn

import typer

from gateway.terminal.screen import fail, plain

commands = typer.Typer()

_PASSED_ON: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
_NEEDED = ("hdrh", "hpack", "locust", "matplotlib")


@commands.command(
    "loadtest",
    context_settings=_PASSED_ON,
    epilog="Examples:  [b]torii loadtest run[/b]   |   [b]torii loadtest run frameworks --quick[/b]"
    "   |   [b]torii loadtest compare before.json after.json --fail-over 5%[/b]"
    "   |   [b]torii loadtest report result.json[/b]   |   [b]torii loadtest machine[/b]",
)
def loadtest(context: typer.Context) -> None:
    """Put load on a gateway as scenarios say, compare results, report them: run, compare, report, machine.

    `torii loadtest COMMAND --help` says more.
    """
    _pass_on(context.args)


@commands.command(
    "compare",
    context_settings=_PASSED_ON,
    epilog="Examples:  [b]torii compare digits/1[/b]   |   [b]torii compare digits/1 --latency-target 5ms[/b]",
)
def compare(context: typer.Context) -> None:
    """Say which framework should serve a model on this machine: every deployment of a version on the same inputs."""
    _pass_on(["verdict", *context.args])


def _pass_on(arguments: list[str]) -> NoReturn:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        fail(
            f"load tests need {', '.join(missing)}, which is not installed: "
            + plain("pip install 'torii-gateway[load]', or `make .venv/.installed-all` in a checkout")
        )
    sys.stdout.flush()
    argv = [sys.executable, "-m", "loadtests", *arguments]
    os.execv(argv[0], argv)  # noqa: S606  # in its place: there are no signals and no status to be handed on
