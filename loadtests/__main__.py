"""`python -m loadtests`: run scenarios, compare and report results, say which framework should serve a model here."""

from __future__ import annotations

# Locust patches the standard library for gevent: it has to come before anything that opens sockets.
import locust  # noqa: F401  # isort: skip

import importlib
from typing import Final

import typer

_COMMANDS: Final = (
    "loadtests.run.command",
    "loadtests.comparison.command",
    "loadtests.report.command",
    "loadtests.verdict.command",
    "loadtests.hardware.command",
)


def app() -> typer.Typer:
    """All commands; one whose module is not there is left out, and said."""
    made = typer.Typer(
        name="loadtests", no_args_is_help=True, add_completion=False, rich_markup_mode="rich",
        pretty_exceptions_enable=False, help=__doc__,
    )  # fmt: skip

    @made.callback()
    def loadtests() -> None:
        """Load tests of a gateway, and what comes out of them."""

    for name in _COMMANDS:
        try:
            importlib.import_module(name).register(made)
        except ModuleNotFoundError as error:
            if not (error.name and name.startswith(error.name)):
                raise
            _stand_in(made, name)
    return made


def _stand_in(made: typer.Typer, module: str) -> None:
    name = {"comparison": "compare", "hardware": "machine"}.get(part := module.split(".")[1], part)

    @made.command(name, hidden=True, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def missing() -> None:
        typer.echo(f"error: this installation has no {module}, which {name} needs: install it anew", err=True)
        raise typer.Exit(2)


if __name__ == "__main__":
    app()()
