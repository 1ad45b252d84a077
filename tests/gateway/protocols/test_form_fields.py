"""Forms: what clients send comes out as the bytes that were meant, and what is none is refused soon."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import InvalidInput
from gateway.protocols.form_fields import is_form, read_fields, write_fields

X = b"multipart/form-data; boundary=x"
URLENCODED = b"application/x-www-form-urlencoded"


def part(name: str, value: bytes = b"1") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + value + b"\r\n"


@given(st.dictionaries(st.text("ab c-_.0", min_size=1, max_size=5), st.binary(max_size=50), max_size=5))
def test_a_form_that_is_written_is_read_back(fields: dict[str, bytes]) -> None:
    content_type, body = write_fields(fields)
    assert read_fields(content_type.encode(), body) == fields


def test_a_client_s_files_and_values_are_fields() -> None:
    request = httpx.Request("POST", "http://x", files={"data": ("a.bin", b"\0\r\n--\xff"), "k": (None, b"v")})
    assert read_fields(request.headers["content-type"].encode(), request.read()) == {"data": b"\0\r\n--\xff", "k": b"v"}


def test_an_urlencoded_form_keeps_every_byte() -> None:
    assert read_fields(URLENCODED, b"data=%93NUMPY%00%ff&b=1+2&c=") == {
        "data": b"\x93NUMPY\0\xff",
        "b": b"1 2",
        "c": b"",
    }


@pytest.mark.parametrize(
    ("content_type", "body", "form"),
    [
        (b"multipart/form-data; boundary=x", b"", True),
        (b"Multipart/Form-Data", b"", True),
        (b"application/x-www-form-urlencoded", b"data=[1]", True),
        (b"application/x-www-form-urlencoded; charset=utf-8", b"a=1&b=2", True),
        (b"application/x-www-form-urlencoded", b"[[1, 2]]", False),
        (b"application/x-www-form-urlencoded", b'{"a": "b=c"}', False),
        (b"application/x-www-form-urlencoded", b"\x93NUMPY=", False),
        (b"application/json", b"data=1", False),
        (b"", b"data=1", False),
    ],
)
def test_what_is_a_form_is_told_by_type_and_by_looks(content_type: bytes, body: bytes, form: bool) -> None:
    assert is_form(content_type, body) is form


@pytest.mark.parametrize(
    ("content_type", "body", "said"),
    [
        (b"multipart/form-data", b"", "boundary"),
        (b"multipart/form-data; boundary=", b"", "boundary"),
        (b"multipart/form-data; boundary=" + b"x" * 300, b"", "boundary"),
        (b"multipart/form-data; boundary=x" + b" " * 9000, b"--x--", "boundary"),
        (X, b"", "before its last boundary"),
        (X, b"rubbish", "Expected boundary"),
        (X, b"--y\r\n", "Expected boundary"),
        (X, b"\r\n" * 10_000, "before its last boundary"),
        (X, part("a"), "before its last boundary"),
        (X, part("a") + b"--x", "before its last boundary"),
        (X, part("a")[:-2], "before its last boundary"),
        (X, part("a") + part("a") + b"--x--\r\n", "'a' is there twice"),
        (X, b"--x\r\n\r\n1\r\n--x--\r\n", "no name"),
        (X, b"--x\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--x--\r\n", "no name"),
        (X, b"--x\r\nA b: c\r\n\r\n", "invalid character"),
        (X, b"--x\r\nA: " + b"b" * 5000, "header size"),
        (X, b"--x\r\n" + b"A: b\r\n" * 9, "header count"),
        (X, b"".join(part(f"f{number}") for number in range(300)) + b"--x--\r\n", "at most 256 fields"),
        (URLENCODED, b"a=1&b", "bad query field"),
        (URLENCODED, b"a=1&a=2", "'a' is there twice"),
        (URLENCODED, b"a=\xff", "urlencoded"),
        (URLENCODED, b"&".join(b"a%d=1" % number for number in range(300)), "urlencoded"),
    ],
)
def test_what_is_no_whole_form_is_refused(content_type: bytes, body: bytes, said: str) -> None:
    with pytest.raises(InvalidInput) as error:
        read_fields(content_type, body)
    assert said in str(error.value)


@pytest.mark.parametrize("filling", [b"\r", b"\r\n", b"\r\n--", b"\r\n--" + b"x" * 59, part("a")])
def test_a_long_body_that_is_almost_a_form_is_refused(filling: bytes) -> None:
    boundary = b"x" * 60
    body = b'--%s\r\nContent-Disposition: form-data; name="data"\r\n\r\n' % boundary + filling * (2**24 // len(filling))
    with pytest.raises(InvalidInput, match="before its last boundary"):
        read_fields(b"multipart/form-data; boundary=" + boundary, body)


@pytest.mark.parametrize("name", ['a"', "a\r\nb: c", "", "\0", "x" * 201, "ü"])
def test_a_name_that_would_be_more_than_a_name_is_not_written(name: str) -> None:
    with pytest.raises(InvalidInput, match="plain characters"):
        write_fields({name: b""})
