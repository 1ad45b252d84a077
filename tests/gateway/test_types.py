"""Names as they come in URLs: taken by a strict pattern, or refused with what was expected."""

from __future__ import annotations

import pytest

from adapters.errors import InvalidInput
from gateway.types import Deployment, ModelTable, Standing, State, Target


@pytest.mark.parametrize(
    ("segment", "version", "target"),
    [
        ("digits", None, Target("digits")),
        ("digits@tflite", None, Target("digits", backend="tflite")),
        ("0.m_n-o@a.b", "7", Target("0.m_n-o", 7, backend="a.b")),
        ("a" * 64, "00000123", Target("a" * 64, 123)),
        ("digits", "9" * 18, Target("digits", 10**18 - 1)),
    ],
)
def test_a_target_is_read_off_its_segments(segment: str, version: str | None, target: Target) -> None:
    assert Target.parse(segment, version) == target


@pytest.mark.parametrize(
    "segment",
    [
        "",
        "Digits",
        "a" * 65,
        "@tflite",
        "digits@",
        "a@b@c",
        "..",
        ".",
        "-a",
        "a/b",
        "a%2fb",
        "a\n",
        "a\0",
        "ä",
        "a b",
        "１",
    ],
)
def test_a_segment_of_another_form_is_refused(segment: str) -> None:
    with pytest.raises(InvalidInput, match="expected a name of a-z 0-9"):
        Target.parse(segment)


@pytest.mark.parametrize(
    "version", ["", "0", "-1", "+1", "1.0", "1e3", "²", "１", "1_0", " 1", "1\n", "9" * 19, "latest"]
)
def test_a_version_that_is_no_positive_integer_is_refused(version: str) -> None:
    with pytest.raises(InvalidInput, match="expected a positive integer"):
        Target.parse("digits", version)


@pytest.mark.parametrize("text", ["digits/2@tflite", "a/1@b", "m.n-o_p/999@tf-serving"])
def test_a_deployment_is_written_and_read_alike(text: str) -> None:
    assert str(Deployment.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "digits", "digits/2", "digits@tflite", "digits/0@tflite", "digits/02@t", "a/1@b\n"]
)
def test_what_is_no_deployment_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"expected MODEL/VERSION@BACKEND, as in digits/2@tflite$"):
        Deployment.parse(text)


def test_deployments_sort_by_model_then_by_number() -> None:
    texts = ["a/2@t", "a/10@o", "b/1@o", "a/2@o"]
    assert [str(each) for each in sorted(map(Deployment.parse, texts))] == ["a/2@o", "a/2@t", "a/10@o", "b/1@o"]


def test_a_table_lists_each_version_once() -> None:
    there = {Deployment("m", version, backend): Standing(State.READY) for version in (10, 2) for backend in "ab"}
    assert ModelTable("m", (), {}, there).versions() == [2, 10]
