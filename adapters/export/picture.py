"""Certificates as one page of HTML, which loads nothing: what was found in words, as pictures and as tables."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from adapters.export.certificate import Certificate
from adapters.export.charts import Bars, Histogram, bars, histogram
from adapters.export.figures import OutputParity
from adapters.export.verdicts import largest_allowed

_STYLE: Final = (files("adapters.export") / "page" / "certificate.css").read_text(encoding="utf-8")
_STYLE_DIGEST: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

POLICY: Final = f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; base-uri 'none'; form-action 'none'"
"""The Content-Security-Policy that the page keeps to; it says so itself, and a server should as well."""


@dataclass(frozen=True, slots=True)
class _Output:
    parity: OutputParity
    allowed: float
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class _Shown:
    certificate: Certificate
    title: str
    words: str
    outputs: Sequence[_Output]
    costs: Sequence[Bars]


def picture(certificates: Sequence[Certificate], notice: str = "") -> str:
    """The page, with a notice above all. What certificates say of names and files is text on it, and never markup."""
    shown = [_shown(each) for each in certificates]
    subjects = sorted({each.subject for each in certificates if each.subject})
    heading = shown[0].title if len(shown) == 1 else f"Certificates of {', '.join(subjects) or 'exports'}"
    page = _templates().get_template("certificate.html")
    style = Markup(_STYLE)  # noqa: S704  # our own file
    return page.render(shown=shown, heading=heading, notice=notice, style=style, policy=POLICY)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("adapters.export", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, size=size, milliseconds=milliseconds, percent=percent)
    return environment


def _shown(certificate: Certificate) -> _Shown:
    source, export = certificate.source, certificate.export
    names = [f"{source.form} (source)", f"{export.form} (export)"]
    pairs = [
        ("Size", (source.size_bytes, export.size_bytes), size),
        ("Latency, p50", (source.latency.p50_ms, export.latency.p50_ms), milliseconds),
        ("Latency, p99", (source.latency.p99_ms, export.latency.p99_ms), milliseconds),
        ("Time to load", (source.load_ms, export.load_ms), milliseconds),
    ]
    outputs = []
    for each in certificate.outputs:
        allowed = largest_allowed(each, certificate.tolerance)
        outputs.append(_Output(each, allowed, histogram(each.differences, allowed)))
    of = f"{certificate.subject}: " if certificate.subject else ""
    return _Shown(
        certificate,
        f"{of}{source.form} → {export.form}",
        _words(certificate),
        outputs,
        [bars(title, list(zip(names, values, strict=True)), write) for title, values, write in pairs],
    )


def _words(certificate: Certificate) -> str:
    """What was found, in a few sentences."""
    amounts = [each for each in certificate.outputs if not each.counted]
    of = "same model" if certificate.passed else "same model to this tolerance"
    rows = f"{certificate.data.rows:,} {certificate.data.kind} row{'s' if certificate.data.rows != 1 else ''}"
    told = [f"On {rows} the export {'is' if certificate.passed else 'is not'} the {of}."]
    if amounts:
        worst = max(amounts, key=lambda each: each.largest / (each.scale or 1.0))
        told.append(f"Its outputs differ by {number(worst.largest)} at most, by {number(worst.mean)} on average.")
    agreement = [each.argmax for each in certificate.outputs if each.argmax is not None]
    if agreement:
        told.append(f"{percent(min(agreement))} of the rows have the same best class.")
    if accuracy := certificate.accuracy:
        told.append(f"{percent(accuracy.before)} of the labelled rows were right, {percent(accuracy.after)} are.")
    source, export = certificate.source, certificate.export
    if source.size_bytes and source.latency.p50_ms and export.latency.p50_ms:
        faster = source.latency.p50_ms / export.latency.p50_ms
        pace = f"{number(faster)} times as fast" if faster >= 1 else f"{number(1 / faster)} times as slow"
        told.append(
            f"It has {percent(export.size_bytes / source.size_bytes)} of the source's size, and is {pace} here."
        )
    return " ".join(told)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many digits that count; a dash for what is not known."""
    if value is None:
        return "–"
    whole = abs(value)
    if whole >= 10**digits and whole < 1e15:
        text = f"{value:,.0f}"
    elif whole and not 1e-4 <= whole < 1e15:
        text = f"{value:.{digits - 1}e}"
    else:
        decimals = digits - 1 - (math.floor(math.log10(whole)) if whole else digits - 1)
        text = f"{value:.{max(decimals, 0)}f}"
    return text.replace("-", "−")


def size(count: float) -> str:
    """Bytes."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{number(count / unit)} {name}"
    return f"{count:.0f} B"


def milliseconds(value: float) -> str:
    """A time in milliseconds, for reading."""
    return f"{number(value / 1000)} s" if value >= 1000 else f"{number(value)} ms"


def percent(share: float | None) -> str:
    """A share in percent, not rounded up to all where a part is missing."""
    if share is None:
        return "–"
    return "> 99.99 %" if 0.9999 < share < 1 else f"{share * 100:.4g} %"
