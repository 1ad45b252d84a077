"""Bodies are counted before they are parsed: what would cost many times its size goes no further."""

from __future__ import annotations

import pytest

from adapters.errors import InvalidInput
from gateway.protocols.json_counts import check_counts

MANY = 2**20
VALUES = 2**23


@pytest.mark.parametrize(
    ("text", "limit", "says"),
    [
        (b"[", MANY, "expected at most 1048576 lists and objects, got more; send data flat"),
        (b"{", MANY, "expected at most 1048576 lists and objects, got more; send data flat"),
        (b"[{", MANY // 2, "expected at most 1048576 lists and objects, got more; send data flat"),
        (b",", VALUES, "expected at most 8388608 values, got more; send fewer rows at a time"),
        (b'""', MANY, "expected at most 1048576 strings, got more; send fewer rows at a time"),
    ],
)
def test_a_body_may_hold_so_many_and_no_more(text: bytes, limit: int, says: str) -> None:
    padding = b" " * MANY
    check_counts(padding + text * limit)
    with pytest.raises(InvalidInput, match=f"^body: {says}$"):
        check_counts(padding + text * (limit + 1))


def test_numbers_and_long_texts_are_not_counted() -> None:
    check_counts(b'{"data": ["' + b"0.5 true " * MANY + b'"]}')


def test_a_body_that_is_too_short_to_hold_many_is_not_looked_at() -> None:
    check_counts(b"[" * MANY)
