"""The certificate of an export: what it was made of, how far it is from its source, and what it costs here."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from adapters.errors import InvalidInput
from adapters.export.data import DataKind
from adapters.export.figures import Accuracy, Count, Figure, OutputParity, Text
from adapters.export.tolerances import Tolerance
from adapters.export.verdicts import reasons_against

SCHEMA: Final = 1
MOST_BYTES: Final = 4 << 20
"""The largest certificate that is read."""

Digest: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"\A(?:[0-9a-f]{64})?\Z")]


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times of runs of `rows` rows each, after a warm-up, on one thread, in milliseconds."""

    p50_ms: Figure
    p99_ms: Figure
    runs: Count
    rows: Count


class Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The source or the export: its file and what ran it.

    `sha256` is of the file; of a folder, it is over its files' names and digests (`adapters.export.digests`).
    `operators` are how often each was used in a run.
    """

    form: Text
    file: Text
    size_bytes: Count
    sha256: Digest
    runtime: Text
    load_ms: Figure
    latency: Latency
    operators: dict[str, Count]


class DataUsed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rows: `rows` were run, of `rows_of` that the file has."""

    name: Text
    kind: DataKind
    sha256: Digest
    rows: Count
    rows_of: Count


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it was measured: figures of time are of this machine, and of no phone."""

    system: Text
    architecture: Text
    processor: Text
    cores: Count
    memory_bytes: Count


class Certificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an export compares with its source. It passed where `reasons` is empty.

    `subject` is what it is of, as `digits/2`; `made` is when, in UTC; `tools` are versions by name.
    """

    schema: Literal[1]
    subject: Text
    made: Text
    passed: bool
    reasons: Annotated[list[Text], msgspec.Meta(max_length=1000)]
    source: Side
    export: Side
    route: Annotated[list[Text], msgspec.Meta(max_length=20)]
    outputs: Annotated[list[OutputParity], msgspec.Meta(min_length=1, max_length=1000)]
    accuracy: Accuracy | None
    data: DataUsed
    tolerance: Tolerance
    machine: Machine
    tools: dict[str, str]


def encode(certificate: Certificate) -> bytes:
    """Its JSON, for people to read."""
    return msgspec.json.format(msgspec.json.encode(certificate), indent=1) + b"\n"


def decode(data: bytes) -> Certificate:
    """The inverse of `encode`.

    Raises:
        InvalidInput: it is cut off, no certificate, of another schema, or says that it passed while its own figures
            say otherwise.
    """
    try:
        schema = msgspec.json.decode(data, type=_AnySchema).schema
        if schema != SCHEMA:
            raise InvalidInput(f"certificate: expected schema {SCHEMA}, got {schema!r:.20}; a newer Torii made it")
        certificate = msgspec.json.decode(data, type=Certificate)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput(f"certificate: cut off, or not one: {error}") from None
    found = reasons_against(certificate.outputs, certificate.accuracy, certificate.tolerance)
    if certificate.passed != (not certificate.reasons) or (certificate.passed and found):
        raise InvalidInput(
            f"certificate: its verdict is not that of its own figures{f' ({found[0]})' if found else ''}"
        )
    return certificate


def read(path: Path) -> Certificate:
    """Read a certificate's file. Blocking: disk. Raises OSError, and InvalidInput as `decode` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InvalidInput("certificate: expected a file")
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise InvalidInput(f"certificate: expected at most {MOST_BYTES} bytes")
    return decode(data)


def write(certificate: Certificate, path: Path) -> None:
    """Write a certificate's file, which appears whole or not at all. Blocking: disk. Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("wb") as stream:
            stream.write(encode(certificate))
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _AnySchema(msgspec.Struct):
    schema: Any
