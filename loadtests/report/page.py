"""The report as one HTML file: no script, and nothing that is fetched from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.report.markdown import SHOWN
from loadtests.report.pictures import Picture, svg
from loadtests.report.writing import Report

_MOST_SPREAD: Final = 40
_FOLDER: Final = Path(__file__).parent


def html(report: Report) -> str:
    """The whole page; what comes from results is escaped by the template."""
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((_FOLDER / "report.css").read_text())  # noqa: S704  # ours
    return environment.get_template("report.html").render(
        report=report, style=style, drawn=_drawn, shown=SHOWN, spread=_spread
    )


def _spread(cell: str) -> bool:
    """Whether it is a value with its interval, which stands below it."""
    interval = cell.partition(" (")[2]
    return len(cell) <= _MOST_SPREAD and cell.endswith(")") and (" to " in interval or interval == "unknown)")


def _drawn(picture: Picture) -> Markup:
    return Markup(svg(picture))  # noqa: S704  # written by an XML library, which escapes
