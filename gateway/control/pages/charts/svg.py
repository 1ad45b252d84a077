"""SVG elements as markup; every value and text is escaped."""

from __future__ import annotations

from markupsafe import Markup, escape


def element(name: str, *children: Markup | str, **attributes: str | float | None) -> Markup:
    """One element.

    Attributes that are None are left out; `class_` is class, `stroke_width` is stroke-width. Names are never of
    elsewhere.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else _number(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(map(escape, children))
    return Markup(f"<{name}{written}>{inside}</{name}>")  # noqa: S704  # all but names is escaped, and names are ours


def picture(*children: Markup, width: float, height: float, title: str, class_: str = "") -> Markup:
    """A whole picture, as wide as its place; `title` says in words what it shows."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=f"chart {class_}".strip(),
        role="img",
        aria_label=title,
    )


def path(points: list[tuple[float, float]], closed: bool = False) -> str:
    """Points as a path's `d`."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + ("Z" if closed else "")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
