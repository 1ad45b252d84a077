"""`python -m loadtests`, which `torii loadtest` and `torii compare` call: a command for each thing load tests do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Final

_VERDICT: Final = "verdict"
_LOADTEST: Final = ("run", "comparison", "report", _VERDICT, "hardware")
"""Packages that have a `command`."""

_EXTRA: Final = ("greenlet", "hdrh", "hpack", "locust", "matplotlib")
_INSTALL: Final = "pip install 'torii-gateway[load]'"
_MISSING: Final = 2
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> None:
    """Do what the arguments say, and leave Python; `verdict …` is what `torii compare …` calls."""
    try:
        if arguments[:1] == [_VERDICT]:
            _call("torii compare", (_VERDICT,), arguments[1:])
        else:
            _call("torii loadtest", _LOADTEST, arguments)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _EXTRA:
            raise
        print(f"error: load tests need {error.name}, which is not installed: {_INSTALL}", file=sys.stderr)
        sys.exit(_MISSING)


def _call(program: str, packages: Sequence[str], arguments: Sequence[str]) -> None:
    from loadtests.interruption import INTERRUPTION  # noqa: PLC0415  # it needs what the extra brings

    INTERRUPTION.listen()
    try:
        _commands(packages)(list(arguments), prog_name=program)
    finally:
        INTERRUPTION.ignore()


def _commands(packages: Sequence[str]) -> Callable[..., None]:
    importlib.import_module("locust")  # patches the standard library for gevent: before anything that opens sockets
    import typer  # noqa: PLC0415  # late, so that Ctrl-C is heard meanwhile

    app = typer.Typer(
        no_args_is_help=True, add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False
    )
    if len(packages) > 1:
        app.callback(epilog=_EXAMPLES)(loadtest)
    for package in packages:
        importlib.import_module(f"loadtests.{package}.command").register(app)
    return app


_EXAMPLES: Final = (
    "Examples:  [b]torii loadtest run[/b]   |   [b]torii loadtest run frameworks --quick[/b]   |   "
    "[b]torii loadtest compare before.json after.json --fail-over 5%[/b]   |   "
    "[b]torii loadtest report result.json[/b]   |   [b]torii loadtest machine[/b]"
)


def loadtest() -> None:
    """Put load on a gateway as scenarios say, compare results, report them; `torii compare` is the verdict."""


if __name__ == "__main__":
    main(sys.argv[1:])
