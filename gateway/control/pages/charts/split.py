"""Bars of shares, one below the other: how the traffic is to be split, and how it was."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from gateway.control.pages.charts.svg import element, picture

_WIDTH, _LEFT, _RIGHT = 480.0, 70.0, 474.0
_BAR, _STEP = 22.0, 32.0
_ROOM_FOR_TEXT = 0.09


def split(bars: Sequence[tuple[str, Sequence[float]]], names: Sequence[str]) -> Markup:
    """The picture; each bar has a label and shares (0..1) in the order of `names`, which colours follow."""
    told = "; ".join(
        f"{label}: " + ", ".join(f"{name} {share * 100:.3g} %" for name, share in zip(names, shares, strict=True))
        for label, shares in bars
    )
    return picture(
        *(_bar(label, shares, 4 + index * _STEP) for index, (label, shares) in enumerate(bars)),
        width=_WIDTH,
        height=len(bars) * _STEP,
        title=f"Shares of the traffic. {told}",
        class_="split",
    )


def _bar(label: str, shares: Sequence[float], top: float) -> Markup:
    whole = sum(shares)
    parts = [element("text", label, x=0, y=top + 15, class_="label")]
    start = _LEFT
    for place, share in enumerate(shares):
        part = share / whole if whole else 0.0
        width = (_RIGHT - _LEFT) * part
        shapes = [element("rect", x=start, y=top, width=max(width - 1.5, 0.0), height=_BAR, class_="share")]
        if part >= _ROOM_FOR_TEXT:
            middle = start + width / 2
            shapes.append(
                element("text", f"{part * 100:.3g} %", x=middle, y=top + 15, class_="on-share", text_anchor="middle")
            )
        parts.append(element("g", *shapes, class_=f"v{place % 8}"))
        start += width
    return element("g", *parts)
