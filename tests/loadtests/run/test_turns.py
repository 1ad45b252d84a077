from __future__ import annotations

from loadtests.run.turns import turns


def test_every_row_has_its_turn_in_every_round_and_another_one_begins() -> None:
    assert [(number, row) for number, row in turns("abc", 4)] == [
        *((1, "a"), (1, "b"), (1, "c")),
        *((2, "b"), (2, "c"), (2, "a")),
        *((3, "c"), (3, "a"), (3, "b")),
        *((4, "a"), (4, "b"), (4, "c")),
    ]


def test_no_rows_have_no_turns() -> None:
    assert list(turns([], 3)) == []
