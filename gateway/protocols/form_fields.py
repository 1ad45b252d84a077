"""The fields of forms, by name: `multipart/form-data` and `application/x-www-form-urlencoded`."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from adapters.errors import InvalidInput

_MAX_FIELDS: Final = 256
_MAX_HEADERS: Final = 8
_MAX_HEADER_BYTES: Final = 4096
_MAX_CONTENT_TYPE_BYTES: Final = 1024
_PLAIN_NAME: Final = re.compile(r"[ !#-\[\]-~]{1,200}")
_PAIR: Final = re.compile(rb"[A-Za-z_%][^=&]{0,200}=")
_MULTIPART: Final = b"multipart/form-data"
_URLENCODED: Final = b"application/x-www-form-urlencoded"

logging.getLogger(MultipartParser.__module__).setLevel(logging.CRITICAL)  # what callers get wrong, they are told


def is_form(content_type: bytes, body: bytes) -> bool:
    """Whether a body is a form. curl calls everything urlencoded: what does not look so is none."""
    kind = _kind(content_type)
    return kind == _MULTIPART or (kind == _URLENCODED and _PAIR.match(body) is not None)


def _kind(content_type: bytes) -> bytes:
    return content_type[:64].partition(b";")[0].strip().lower()


def read_fields(content_type: bytes, body: bytes) -> dict[str, bytes]:
    """The fields of a form, files among them, each as the bytes that were sent.

    Raises:
        InvalidInput: it is no such form, ends too early, or has too many fields or too long headers.
    """
    return _Multipart(_boundary(content_type)).read(body) if _kind(content_type) == _MULTIPART else _urlencoded(body)


def _urlencoded(body: bytes) -> dict[str, bytes]:
    exact = "surrogateescape"  # values are bytes, of which only some are text
    fields: dict[str, bytes] = {}
    try:
        pairs = parse_qsl(body.decode("ascii"), True, True, errors=exact, max_num_fields=_MAX_FIELDS)
        for name, value in pairs:
            _put(fields, name, value.encode(errors=exact))
    except ValueError as error:
        raise InvalidInput(f"body: expected {_URLENCODED.decode()}: {error}") from None
    return fields


def _boundary(content_type: bytes) -> bytes:
    boundary = b""
    if len(content_type) <= _MAX_CONTENT_TYPE_BYTES:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise InvalidInput(
            "content-type: expected multipart/form-data with a boundary of 1 to 200 characters, got "
            f"{content_type.decode('latin-1')!r:.120}"
        )
    return boundary


class _Multipart:
    """Collects the parts of one body."""

    def __init__(self, boundary: bytes) -> None:
        self._fields: dict[str, bytes] = {}
        self._header = bytearray()
        self._value = bytearray()
        self._name: str | None = None
        self._content: list[bytes] = []
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_begin": self._begin_header,
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_part_data": lambda data, start, end: self._content.append(data[start:end]),
                "on_part_end": self._end,
                "on_end": self._finish,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=_MAX_HEADER_BYTES,
        )

    def read(self, body: bytes) -> dict[str, bytes]:
        try:
            self._parser.write(body)
            self._parser.finalize()
        except FormParserError as error:
            raise InvalidInput(f"body: expected multipart/form-data: {error}") from None
        if not self._ended:
            raise InvalidInput("body: expected multipart/form-data: it ends before its last boundary")
        return self._fields

    def _begin(self) -> None:
        self._name, self._content = None, []

    def _begin_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            kind, options = parse_options_header(bytes(self._value))
            if kind == b"form-data" and b"name" in options:
                self._name = options[b"name"].decode(errors="replace")

    def _end(self) -> None:
        if self._name is None:
            raise InvalidInput("body: multipart/form-data: a part has no name in its content-disposition")
        _put(self._fields, self._name, b"".join(self._content))

    def _finish(self) -> None:
        self._ended = True


def _put(fields: dict[str, bytes], name: str, value: bytes) -> None:
    if name in fields:
        raise InvalidInput(f"body: field {name!r:.80} is there twice")
    if len(fields) == _MAX_FIELDS:
        raise InvalidInput(f"body: expected at most {_MAX_FIELDS} fields, got more")
    fields[name] = value


def write_fields(fields: Mapping[str, bytes]) -> tuple[str, bytes]:
    """A content type and a body of multipart/form-data with these fields.

    Raises:
        InvalidInput: a name cannot be written in a header.
    """
    boundary = secrets.token_hex(16)
    parts: list[bytes] = []
    for name, value in fields.items():
        if not _PLAIN_NAME.fullmatch(name):
            raise InvalidInput(f"input {name!r:.80}: expected a name of 1 to 200 plain characters, without quotes")
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode())
        parts.append(value)
        parts.append(b"\r\n")
    parts.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(parts)
