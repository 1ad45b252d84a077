"""What a JSON body holds, counted in its bytes before it is parsed."""

from __future__ import annotations

import numpy as np

from adapters.errors import InvalidInput

_SMALL = 1 << 20
_MAX_CONTAINERS = 1 << 20
_MAX_STRINGS = 1 << 20
_MAX_VALUES = 1 << 23


def check_counts(body: bytes) -> None:
    """Refuse what would take many times its size in memory, or the event loop for seconds, before it is parsed.

    Raises:
        InvalidInput: more lists and objects, values or strings than a request needs.
    """
    if len(body) <= _SMALL:
        return
    view = np.frombuffer(body, np.uint8)  # numpy compares many bytes at once, `bytes.count` one after the other

    def count(character: str) -> int:
        return int(np.count_nonzero(view == ord(character)))

    if count("[") + count("{") > _MAX_CONTAINERS:
        raise InvalidInput(f"body: expected at most {_MAX_CONTAINERS} lists and objects, got more; send data flat")
    if count(",") > _MAX_VALUES:
        raise InvalidInput(f"body: expected at most {_MAX_VALUES} values, got more; send fewer rows at a time")
    if count('"') > 2 * _MAX_STRINGS:
        raise InvalidInput(f"body: expected at most {_MAX_STRINGS} strings, got more; send fewer rows at a time")
