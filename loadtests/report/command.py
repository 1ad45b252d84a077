"""`report` on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from loadtests.comparison.matching import Source
from loadtests.report.page import html
from loadtests.report.writing import as_markdown, report, write_pngs
from loadtests.results.files import BadResult, read

_UNUSABLE: Final = 2


def register(app: typer.Typer) -> None:
    """Add the command `report`."""
    app.command(
        name="report",
        epilog="Examples:  report result.json   |   report results/*/frameworks-*.json --html all.html   |   "
        "report result.json --markdown report.md --png pictures",
    )(write_report)


def write_report(
    results: Annotated[list[Path], typer.Argument(metavar="RESULT…", help="Result files; of several machines, too")],
    html_file: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write it")] = Path("report.html"),
    png: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the pictures there as PNG, too")] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Markdown, too; with --png, it shows the pictures")
    ] = None,
) -> None:
    """Write results as one HTML file that opens without internet; and as PNG and Markdown for a pull request.

    Exit status: 0; 2 where the results cannot be read or the report cannot be written.
    """
    try:
        made = report([Source(_name(path, results), read(path)) for path in results])
        html_file.write_text(html(made))
        print(html_file)
        for path in write_pngs(made, png) if png else ():
            print(path)
        if markdown:
            there = Path(os.path.relpath(png, markdown.parent)) if png else None
            markdown.write_text(as_markdown(made, there))
            print(markdown)
    except (BadResult, ValueError, OSError) as error:
        print(f"report: {error}", file=sys.stderr)
        raise typer.Exit(_UNUSABLE) from None


def _name(path: Path, paths: list[Path]) -> str:
    """The file's name; with its folder where others have the same."""
    return path.name if [each.name for each in paths].count(path.name) == 1 else str(path)
