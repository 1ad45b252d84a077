"""`report` on the command line."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from loadtests.comparison.matching import Source
from loadtests.report.markdown import as_markdown
from loadtests.report.page import html
from loadtests.report.writing import MOST_RESULTS, report, write_pngs
from loadtests.results.files import BadResult, read

_UNUSABLE: Final = 2


def register(app: typer.Typer) -> None:
    """Add the command `report`."""
    app.command(
        name="report",
        epilog="Examples:  [b]torii loadtest report result.json[/b]   |   [b]torii loadtest report before.json "
        "after.json --html both.html[/b]   |   [b]torii loadtest report loadtests/results/*/frameworks-*.json[/b]   |"
        "   [b]torii loadtest report result.json --markdown report.md --png pictures[/b]",
    )(write_report)


def write_report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT…",
            help=f"Result files, {MOST_RESULTS} at most; of several machines, too",
            show_default=False,
        ),
    ],
    html_file: Annotated[Path, typer.Option("--html", metavar="FILE", help="Where to write it")] = Path("report.html"),
    png: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write the pictures there as PNG, too")] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write Markdown, too; with --png, it shows the pictures")
    ] = None,
) -> None:
    """Write results as one HTML file that opens without internet; and as PNG and Markdown for a pull request.

    What can be concluded and what cannot; latencies, throughput, heat map, timelines, all numbers, all settings.

    Exit status: 0; 2 where the results cannot be read or the report cannot be written.
    """
    try:
        _check(results, [each for each in (html_file, markdown) if each], png)
        made = report([Source(_name(path, results), read(path)) for path in results])
        _write(html_file, html(made))
        print(f"report: {html_file} ({html_file.stat().st_size / 1e3:,.0f} kB, needs no internet)")
        if png:
            print(f"pictures: {len(write_pngs(made, png))} PNG in {png}")
        if markdown:
            there = Path(os.path.relpath(png, markdown.parent)) if png else None
            _write(markdown, as_markdown(made, there))
            print(f"markdown: {markdown}")
        print(f"open in a browser: {html_file.resolve().as_uri()}")
    except (BadResult, ValueError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or html_file} cannot be written: {error.strerror}; choose another place")


def _check(results: list[Path], written: list[Path], pictures: Path | None) -> None:
    """Before minutes are spent: whether the same is given twice, or what is written would replace a result."""
    if len(results) > MOST_RESULTS:
        raise ValueError(f"expected {MOST_RESULTS} results at most in one report, got {len(results)}; choose some")
    found = [path.resolve() for path in results]
    for path in results:
        if found.count(path.resolve()) > 1:
            raise ValueError(f"{path} is given more than once; give each result once")
    for path in written:
        if path.resolve() in found:
            raise ValueError(f"{path} is a result, which the report would replace; choose another name for the report")
        if path.is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file, as {path / 'report.html'}")
    for folder in (*(path.parent for path in written), *([pictures] if pictures else [])):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"{folder} is not a folder; choose another place")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _name(path: Path, paths: list[Path]) -> str:
    """The file's name; with its folder where others have the same."""
    return path.name if [each.name for each in paths].count(path.name) == 1 else str(path)


def _fail(reason: str) -> None:
    print(f"report: {reason}", file=sys.stderr)
    raise typer.Exit(_UNUSABLE) from None
