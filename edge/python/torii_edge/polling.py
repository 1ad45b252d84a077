"""When to ask the server again."""

from __future__ import annotations

from typing import Final

_FIRST_S: Final = 60.0
_DEFAULT_S: Final = 3600.0
_MOST_DOUBLINGS: Final = 6
_LONGEST_S: Final = 86400.0
_JITTER: Final = 0.2


def next_wait(poll_s: float | None, failures: int, chance: float) -> float:
    """Seconds until the next update.

    Args:
        poll_s: what the server wishes; None where it has said nothing yet.
        failures: how many updates in a row could not reach it; each doubles the wait, up to 64 times, a day at most.
        chance: from 0 to 1, evenly: devices that were started together do not ask together.
    """
    wished = poll_s if poll_s is not None else (_FIRST_S if failures else _DEFAULT_S)
    backed_off = min(wished * 2.0 ** min(failures, _MOST_DOUBLINGS), max(_LONGEST_S, wished))
    return backed_off * (1 - _JITTER + 2 * _JITTER * chance)
