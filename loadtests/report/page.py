"""The report as one HTML file: no script, and nothing that is fetched from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from loadtests.report.pictures import Picture, svg
from loadtests.report.writing import Report

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
    return environment.get_template("report.html").render(report=report, style=style, drawn=_drawn)


def _drawn(picture: Picture) -> Markup:
    return Markup(svg(picture))  # noqa: S704  # written by an XML library, which escapes
