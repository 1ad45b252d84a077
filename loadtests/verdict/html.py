"""A verdict as one HTML file that asks for nothing else."""

from __future__ import annotations

from functools import cache
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loadtests.verdict.document import Verdict
from loadtests.verdict.lines import doubts_title, headline, left_out, lines, remarks
from loadtests.verdict.pictures import latencies, rates

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def html(verdict: Verdict) -> str:
    """The page: recommendation, pictures, table, settings. What is of models and machines is text, never markup."""
    pictures = [
        ("Latencies of the backends; the table below has the same figures", latencies(verdict)),
        ("Highest rates of the backends; the table below has the same figures", rates(verdict)),
    ]
    return (
        _templates()
        .get_template("verdict.html")
        .render(
            policy=_POLICY,
            verdict=verdict,
            headline=headline(verdict),
            doubts_title=doubts_title(verdict),
            left_out=left_out(verdict),
            lines=lines(verdict),
            remarks=remarks(verdict),
            pictures=[(title, Markup(svg)) for title, svg in pictures if svg],  # noqa: S704  # matplotlib escapes texts
        )
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("loadtests.verdict", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
