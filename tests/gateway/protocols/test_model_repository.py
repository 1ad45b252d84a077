"""Model control's bodies in V2."""

from __future__ import annotations

import orjson
import pytest

from adapters.errors import InvalidInput
from gateway.protocols.model_repository import IndexEntry, Readiness, decode_index, decode_parameters, encode_index


def test_an_empty_body_asks_for_everything_and_brings_nothing() -> None:
    assert decode_index(b"") is decode_index(b"{}") is False
    assert decode_parameters(b"") == decode_parameters(b"{}") == decode_parameters(b'{"parameters": null}') == {}


def test_what_is_asked_is_read_and_the_rest_counts_for_nothing() -> None:
    assert decode_index(b'{"ready": true, "repository_name": "x"}') is True
    assert decode_parameters(b'{"parameters": {"config": "{}", "x": 3}, "y": 4}') == {"config": "{}", "x": 3}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "body: not JSON"),
        (b"\xff", "body: not JSON"),
        (b"NaN", "body: not JSON"),
        (b"[" * 5000, "body: not JSON"),
        (b"[]", "body: expected a JSON object, got a list"),
        (b'"x"', "body: expected a JSON object, got a str"),
        (b"{" * (2**20 + 1), "body: expected at most 1048576 lists and objects"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body: bytes, text: str) -> None:
    for decode in (decode_index, decode_parameters):
        with pytest.raises(InvalidInput) as caught:
            decode(body)
        assert text in str(caught.value)


@pytest.mark.parametrize("value", [b"1", b'"true"', b"null", b"[]"])
def test_ready_is_true_or_false(value: bytes) -> None:
    with pytest.raises(InvalidInput, match="ready: expected true or false"):
        decode_index(b'{"ready": ' + value + b"}")


@pytest.mark.parametrize("value", [b"1", b'"x"', b"[]", b"true"])
def test_parameters_are_an_object(value: bytes) -> None:
    with pytest.raises(InvalidInput, match="parameters: expected an object"):
        decode_parameters(b'{"parameters": ' + value + b"}")


def test_an_index_names_every_version_and_a_model_that_has_none() -> None:
    entries = [IndexEntry("m", "1", Readiness.READY, ""), IndexEntry("n", None, Readiness.UNAVAILABLE, "no version")]
    assert orjson.loads(encode_index(entries)) == [
        {"name": "m", "version": "1", "state": "READY", "reason": ""},
        {"name": "n", "state": "UNAVAILABLE", "reason": "no version"},
    ]
    assert encode_index([]) == b"[]"
