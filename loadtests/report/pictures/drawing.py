"""What all pictures share: size, colours of the light scheme, and the way into HTML, where styles recolour them."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from loadtests.results.text import plain

INK: Final = "#1b1c1e"
SOFT: Final = "#595d64"
LINE: Final = "#dedfda"
BAD: Final = "#a81c1c"
GROUND: Final = "#fefefe"
SERIES: Final = ("#0b66c3", "#ad4510", "#17734f", "#8a3fa8", "#7d5600", "#b6245f", "#466500", "#545d69")
DASHES: Final = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (7, 2, 1.5, 2)),
    "-",
    (0, (5, 2)),
    (0, (1, 1.5)),
    (0, (7, 2, 1.5, 2)),
)
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X", "*")
_VARIABLES: Final = {INK: "ink", SOFT: "soft", LINE: "line", BAD: "bad", GROUND: "ground"} | {
    colour: f"v{index}" for index, colour in enumerate(SERIES, 1)
}
_SVG: Final = "{http://www.w3.org/2000/svg}"
_REFERENCE: Final = re.compile(r"#([A-Za-z_][\w.-]*)")
_COLOUR: Final = re.compile("|".join(_VARIABLES))
_STYLE: Final = {
    "axes.edgecolor": SOFT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": SOFT,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10.5,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "torii",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
}
_LONG: Final = 48
"""Letters of a name in a legend, of which two do not fit beside each other."""
_LINE_HEIGHT: Final = 0.21
LEGEND: Final = 96
"""Letters of a name that a legend has room for."""

MOST_SERIES: Final = len(SERIES)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: its caption, what its columns are, and its rows, whose first cells name them."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure, what it shows in a heading and in a sentence, and its numbers."""

    name: str
    """Of letters, digits and hyphens: a file's name and an HTML id."""

    title: str
    says: str
    figure: Figure
    numbers: Grid


def canvas(width: float = 9.0, height: float = 4.0) -> Figure:
    """An empty figure, in inches; made by itself, so that nothing outside of it changes."""
    return Figure(figsize=(width, height), layout="constrained")


def styled() -> Any:
    """A context in which pictures get their look; drawing, too, has to happen in it."""
    return mpl.rc_context(_STYLE)  # type: ignore[arg-type,unused-ignore]


def label(text: str, most: int = 60) -> str:
    """Text of a result, as a picture can show it."""
    return plain(text, most)


def legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Below the picture, where it hides nothing; the picture grows by it."""
    handles, names = axes.get_legend_handles_labels()
    if handles:
        columns = 1 if max(map(len, names)) > _LONG else columns
        figure.set_figheight(figure.get_figheight() + _LINE_HEIGHT * -(-len(names) // columns))
        figure.legend(handles, names, loc="outside lower left", ncols=columns, handlelength=3.2)


def png(picture: Picture) -> bytes:
    """For where HTML is not shown: the light scheme, on its ground, under its title."""
    picture.figure.set_facecolor(GROUND)
    picture.figure.suptitle(label(picture.title, LEGEND), x=0.01, ha="left", fontsize=11, fontweight="bold", color=INK)
    FigureCanvasAgg(picture.figure)
    found = _saved(picture.figure, format="png", dpi=150, metadata={"Software": None})
    picture.figure.set_facecolor("none")
    picture.figure.suptitle("")
    return found


def svg(picture: Picture) -> str:
    """An element for HTML: its colours are the page's variables, its ids its own, and it says what it shows."""
    FigureCanvasSVG(picture.figure)
    found = _saved(picture.figure, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    root = ET.fromstring(found)  # noqa: S314  # matplotlib wrote it, and it has no entities
    _named(root, picture)
    ET.register_namespace("", _SVG[1:-1])
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    return _COLOUR.sub(lambda found: f"var(--{_VARIABLES[found[0]]})", ET.tostring(root, encoding="unicode"))


def _saved(figure: Figure, **how: Any) -> bytes:
    target = io.BytesIO()
    with styled(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # names may be of any script; browsers have more fonts
        figure.savefig(target, **how)
    return target.getvalue()


def _named(root: ET.Element, picture: Picture) -> None:
    for each in root.findall(f"{_SVG}metadata"):
        root.remove(each)
    for each in root.iter():
        if "id" in each.attrib:
            each.set("id", f"{picture.name}-{each.get('id')}")
        for key, text in each.attrib.items():
            if key.endswith("href") or "url(#" in text:
                each.set(key, _REFERENCE.sub(lambda found: f"#{picture.name}-{found[1]}", text))
    for key in ("width", "height"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{picture.name}-title {picture.name}-says")
    for index, (tag, text) in enumerate((("title", picture.title), ("desc", picture.says))):
        element = ET.Element(f"{_SVG}{tag}", {"id": f"{picture.name}-{'says' if index else 'title'}"})
        element.text = text
        root.insert(index, element)
