"""The id of a request: what was put in comes out, for whoever has the key, and nothing else is believed."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.experiments.tokens import Token, hash_run, make_token, read_token

KEY = b"k" * 32
RUN = hash_run("digits/x", 3)


@given(st.integers(0, 2**16 - 1), st.integers(0, 2**16 - 1), st.integers(0, 2**64 - 1), st.binary(max_size=64))
def test_what_was_put_in_comes_out(arm: int, epoch: int, number: int, key: bytes) -> None:
    token = read_token(key, make_token(key, RUN, arm, epoch, number).decode())
    assert token is not None
    assert (token.run_hash, token.arm, token.epoch, token.number) == (RUN, arm, epoch, number)


def test_it_says_in_which_second_it_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_800_000_000.9)
    assert read_token(KEY, make_token(KEY, RUN, 0, 0, 0).decode()) == Token(RUN, 0, 0, 1_800_000_000, 0)


def test_it_fits_into_a_header_and_a_url() -> None:
    text = make_token(KEY, RUN, 1, 2, 2**64 - 1).decode()
    assert len(text) == 48
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def test_no_two_are_equal_though_they_say_the_same() -> None:
    assert len({make_token(KEY, RUN, 1, 2, 3) for _ in range(10_000)}) == 10_000


def test_one_made_with_another_key_is_refused() -> None:
    assert read_token(b"another", make_token(KEY, RUN, 1, 2, 3).decode()) is None


def test_runs_have_hashes_of_their_own() -> None:
    assert (
        len({hash_run("m/x", 1), hash_run("m/x", 2), hash_run("m/y", 1), hash_run("n/x", 1), hash_run("m/x1", 1)}) == 5
    )


@given(st.integers(0, 36 * 8 - 1))
def test_with_one_bit_changed_it_is_refused(bit: int) -> None:
    data = bytearray(urlsafe_b64decode(make_token(KEY, RUN, 1, 2, 3)))
    data[bit // 8] ^= 1 << bit % 8
    assert read_token(KEY, urlsafe_b64encode(data).decode()) is None


@given(st.integers(0, 47), st.characters())
def test_with_one_character_changed_it_is_refused(place: int, character: str) -> None:
    text = make_token(KEY, RUN, 1, 2, 3).decode()
    changed = text[:place] + character + text[place + 1 :]
    assert (read_token(KEY, changed) is None) == (changed != text)


def test_there_is_one_way_only_to_write_it() -> None:
    text = next(each for _ in range(200) if "-" in (each := make_token(KEY, RUN, 1, 2, 3).decode()))
    assert read_token(KEY, text.replace("-", "+")) is None


@pytest.mark.parametrize("cut", [0, 1, 4, 44, 47])
def test_one_that_is_cut_off_or_too_long_is_refused(cut: int) -> None:
    text = make_token(KEY, RUN, 1, 2, 3).decode()
    assert read_token(KEY, text[:cut]) is None
    assert read_token(KEY, text + "A" * (cut + 1)) is None


@given(st.one_of(st.text(max_size=60), st.text(min_size=48, max_size=48), st.binary(min_size=36, max_size=36)))
def test_garbage_is_refused(garbage: str | bytes) -> None:
    text = garbage if isinstance(garbage, str) else urlsafe_b64encode(garbage).decode()
    assert read_token(KEY, text) is None
