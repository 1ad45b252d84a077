"""Text of result files for people: such files come from anybody."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>#|~$&])")
_MENTION: Final = re.compile(r"(?<![A-Za-z0-9])@")


def plain(text: str, most: int = 200) -> str:
    """One line without control characters, which terminals obey, and not longer than `most`."""
    line = "".join(" " if each.isspace() else "?" if unicodedata.category(each)[0] == "C" else each for each in text)
    return line if len(line) <= most else line[: most - 1] + "…"


def markdown(text: str) -> str:
    """The same for Markdown: nothing in it is markup, or calls somebody."""
    return _MENTION.sub("@\u200b", _MARKDOWN.sub(r"\\\1", plain(text)))
