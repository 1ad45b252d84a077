"""A log line stays one line, and what others wrote into it cannot steer a terminal."""

from __future__ import annotations

import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs import OneLine, configure


def line(message: str, *arguments: object, error: BaseException | None = None) -> str:
    info = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("torii", logging.INFO, "file", 1, message, arguments, info)
    return OneLine("%(levelname)s %(message)s").format(record)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nINFO all is well", r"a\nINFO all is well"),
        ("a\r\nb", r"a\r\nb"),
        ("a\tb", r"a\tb"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x9b31mred", r"\x9b31mred"),
        ("a\0b\x7f", r"a\x00b\x7f"),
        ("a\x85b\u2028c\u2029d", r"a\x85b\u2028c\u2029d"),
        ("Grüße, 日本 ✓", "Grüße, 日本 ✓"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text: str, shown: str) -> None:
    assert line("got %s", text) == f"INFO got {shown}"


@given(st.text())
def test_whatever_a_caller_sends_is_one_line_without_control_characters(text: str) -> None:
    shown = line("got %s", text)
    assert len(shown.splitlines()) == 1
    assert not [each for each in shown if ord(each) < 32 or 127 <= ord(each) < 160]


@given(st.text())
def test_an_exception_s_lines_are_indented_under_their_record(text: str) -> None:
    try:
        raise ValueError(text)
    except ValueError as error:
        first, *rest = line("request failed", error=error).split("\n")
    assert first == "INFO request failed"
    assert rest[0] == "    Traceback (most recent call last):"
    for each in rest:
        assert each.startswith("    "), "no line can be taken for a record"
        assert len(each.splitlines()) <= 1
        assert not [letter for letter in each if ord(letter) < 32 or 127 <= ord(letter) < 160]


def test_a_message_of_two_lines_with_an_exception_forges_no_record_either() -> None:
    shown = line("bad %s", "a\nINFO all is well", error=ValueError("no"))
    assert [each for each in shown.split("\n") if each.startswith("INFO")] == [shown.split("\n")[0]]


def test_lone_surrogates_do_not_stop_the_log() -> None:
    assert line("%s", "\ud800").encode(errors="backslashreplace") == b"INFO \\ud800"


def test_the_level_that_is_set_is_the_one_that_is_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    configure("warning")
    logging.getLogger("torii.test").info("unseen")
    logging.getLogger("torii.test").warning("seen %s", "a\nb")
    for handler in root.handlers:
        assert getattr(handler, "stream", None) is sys.stderr
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("WARNING torii.test  seen a\\nb\n")
    assert "unseen" not in captured.err
