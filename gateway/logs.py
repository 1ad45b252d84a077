"""Log lines that stay one line each: what a caller or a model sent cannot forge another."""

from __future__ import annotations

import logging
import sys


class OneLine(logging.Formatter):
    """Formats a record with control characters escaped; a traceback's lines are indented under their record."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter.format."""
        first, _, rest = super().format(record).partition("\n")
        if not record.exc_info:
            first, rest = first + ("\n" + rest if rest else ""), ""
            return first.translate(_ESCAPES)
        return "\n    ".join([first, *rest.split("\n")]).translate(_ESCAPES_BUT_NEWLINE)


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {10: "\\n", 13: "\\r", 9: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_ESCAPES_BUT_NEWLINE = {code: text for code, text in _ESCAPES.items() if code != 10}


def configure(level: str) -> None:
    """Send the log to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)-7s %(name)s  %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    quieten()


def quieten() -> None:
    """Have libraries that tell much say what matters alone."""
    for noisy in ("alembic", "httpx", "httpcore", "asyncio", "urllib3", "uvicorn.error", "tuf"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
