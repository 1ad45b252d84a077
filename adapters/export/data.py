"""Rows to try a model with: the arrays of a golden or calibration file, read under limits and checked."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Signature, Tensor, TensorSpec, show_shape

MOST_BYTES = 1 << 30
"""The most that a file's arrays may take in memory together; the file itself may not be larger either."""

_INPUTS, _OUTPUTS, _LABELS, _SUFFIX = "inputs/", "outputs/", "labels", ".npy"
_MOST_ARRAYS = 1000
_CHUNK_BYTES = 1 << 20
_END = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_BYTES = 20


class DataKind(StrEnum):
    """Where rows come from: real ones with their answers, real ones to quantize by, or invented ones."""

    GOLDEN = "golden"
    CALIBRATION = "calibration"
    RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Data:
    """Rows of inputs by tensor name, axis 0 the rows; a tensor without axes is the same for all rows.

    `outputs` are the right answers, `labels` the right class of each row ([rows], integers), each only where the file
    has them. `digest` is the file's SHA-256; `rows_of` is how many rows the file had, where these are a sample.
    """

    name: str
    kind: DataKind
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor] = field(default_factory=dict)
    labels: Tensor | None = None
    digest: str = ""
    rows_of: int = 0

    @property
    def rows(self) -> int:
        """How many rows there are; one where no input has axes."""
        return _rows(self.inputs)

    def sample(self, most: int) -> Data:
        """At most so many rows, evenly from first to last: files are often sorted by class."""
        if self.rows <= most:
            return self
        places = np.linspace(0, self.rows - 1, most).astype(np.intp)

        def taken(arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: array[places] if array.ndim else array for name, array in arrays.items()}

        labels = None if self.labels is None else self.labels[places]
        inputs, outputs = taken(self.inputs), taken(self.outputs)
        return replace(self, inputs=inputs, outputs=outputs, labels=labels, rows_of=self.rows_of or self.rows)

    def check(self, signature: Signature) -> None:
        """Raises InvalidInput that names the first input which is missing, unknown or not as the signature has it.

        The rows need not fit a fixed batch: axis 0 may have any size.
        """
        wanted = {spec.name: spec for spec in signature.inputs}
        if odd := sorted(wanted.keys() ^ self.inputs.keys()):
            names = ", ".join(f"'inputs/{name}'" for name in wanted)
            raise InvalidInput(f"{self.name}: expected the arrays {names}, got {_shown(self.inputs)} ('{odd[0]:.80}')")
        for name, spec in wanted.items():
            try:
                any_rows(spec).check(self.inputs[name])
            except InvalidInput as error:
                raise InvalidInput(f"{self.name}: {error}") from None


def any_rows(spec: TensorSpec) -> TensorSpec:
    """The same tensor with a free axis 0."""
    return replace(spec, shape=(None, *spec.shape[1:])) if spec.shape else spec


def read_data(path: Path, kind: DataKind) -> Data:
    """Read `inputs/<tensor>`, `outputs/<tensor>` and `labels` of an .npz file. Blocking: disk.

    Raises:
        InvalidInput: it cannot be read, is no such file, is too large, or its arrays are empty, of different lengths,
            of no datatype that a model can take, or have a NaN or an infinity among the inputs.
    """
    try:
        with _opened(path) as stream:
            digest = _sha256(stream)
            _check_directory(stream)
            with zipfile.ZipFile(stream) as archive:
                arrays = _arrays(archive)
    except InvalidInput as error:
        raise InvalidInput(f"{path.name}: {error}") from None
    except Exception as error:  # a damaged archive raises whatever its reader stumbles over
        reason = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{path.name} cannot be read as an .npz file: {reason}") from error
    return _checked(path.name, kind, arrays, digest)


def _opened(path: Path) -> IO[bytes]:
    # O_NONBLOCK: whoever opens a pipe would wait for its other end.
    stream = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")
    found = os.fstat(stream.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size <= MOST_BYTES:
        return stream
    stream.close()
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput("expected a file")
    raise InvalidInput(f"expected at most {MOST_BYTES} bytes, got {found.st_size}; keep fewer rows")


def _sha256(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := stream.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _check_directory(stream: IO[bytes]) -> None:
    """Refuses more entries than a reader should hold in memory, before one tries."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - _END.size - _ZIP64_LOCATOR_BYTES))
    tail = stream.read()
    end = tail[-_END.size :]
    if len(end) < _END.size or end[:4] != b"PK\5\6":
        raise InvalidInput("expected an .npz file as numpy.savez writes it, got something else, or a part of one")
    entries = _END.unpack(end)[4]
    if entries > _MOST_ARRAYS or tail.startswith(b"PK\6\7"):  # zip64's directory is for more than can be allowed
        raise InvalidInput(f"expected at most {_MOST_ARRAYS} arrays")
    if _END.unpack(end)[5] > _CHUNK_BYTES:
        raise InvalidInput("its directory is larger than names of arrays can need")


def _arrays(archive: zipfile.ZipFile) -> dict[str, Tensor]:
    members = [each for each in archive.infolist() if _wanted(each.filename)]
    if len({each.filename for each in members}) < len(members):
        raise InvalidInput("it has two arrays of one name")
    if not any(each.filename.startswith(_INPUTS) for each in members):
        found = ", ".join(name[:80].removesuffix(_SUFFIX) for name in archive.namelist()[:8]) or "nothing"
        raise InvalidInput(f"expected arrays inputs/<tensor>, got {found}; numpy.savez(file, **{{'inputs/x': rows}})")
    total = sum(each.file_size for each in members)
    if total > MOST_BYTES:
        raise InvalidInput(f"its arrays take {total} bytes, at most {MOST_BYTES} can be used; keep fewer rows")
    return {each.filename.removesuffix(_SUFFIX): _array(archive, each) for each in members}


def _wanted(member: str) -> bool:
    return member.endswith(_SUFFIX) and (member.startswith((_INPUTS, _OUTPUTS)) or member == _LABELS + _SUFFIX)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    name = member.filename.removesuffix(_SUFFIX)
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        if dtype.hasobject:
            raise InvalidInput(f"'{name:.80}': expected numbers or fixed-length bytes, got pickled objects")
        # What the header claims must be there, or numpy would make room for what never comes.
        if stream.tell() + prod(shape) * dtype.itemsize != member.file_size:
            raise InvalidInput(f"'{name:.80}' is damaged: its shape is not that of its {member.file_size} bytes")
    with archive.open(member) as stream:
        array: Tensor = np.lib.format.read_array(stream, allow_pickle=False)
    if dtype.kind in "SU":
        return _texts(array)
    native = array.astype(dtype.newbyteorder("="), copy=False)
    DataType.of(native.dtype)
    return native


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _texts(array: Tensor) -> Tensor:
    encoded = np.empty(array.shape, np.object_)
    encoded.ravel()[:] = [each if isinstance(each, bytes) else each.encode() for each in array.ravel()]
    return encoded


def _checked(name: str, kind: DataKind, arrays: Mapping[str, Tensor], digest: str) -> Data:
    inputs = {key.removeprefix(_INPUTS): array for key, array in arrays.items() if key.startswith(_INPUTS)}
    outputs = {key.removeprefix(_OUTPUTS): array for key, array in arrays.items() if key.startswith(_OUTPUTS)}
    rows = _rows(inputs)
    for key, array in arrays.items():
        if array.size == 0:
            raise InvalidInput(
                f"{name}: '{key:.80}' is empty, shape {show_shape(array.shape)}; at least one row is needed"
            )
        if array.ndim and len(array) != rows:
            raise InvalidInput(f"{name}: expected {rows} rows in every array, '{key:.80}' has {len(array)}")
        if key.startswith(_INPUTS):
            _check_finite(f"{name}: '{key:.80}'", array)
    return Data(name, kind, inputs, outputs, _labels(name, arrays.get(_LABELS), rows), digest)


def _rows(inputs: Mapping[str, Tensor]) -> int:
    return next((len(array) for array in inputs.values() if array.ndim), 1)


def _check_finite(where: str, array: Tensor) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array))[0][0]) if array.ndim else 0
        raise InvalidInput(f"{where} has a NaN or an infinity in row {row}: nothing can be compared by it")


def _labels(name: str, labels: Tensor | None, rows: int) -> Tensor | None:
    if labels is None:
        return None
    if labels.dtype.kind not in "iu" or labels.shape != (rows,):
        got = f"{labels.dtype} {show_shape(labels.shape)}"
        raise InvalidInput(f"{name}: expected labels as integers of shape [{rows}], the class of each row, got {got}")
    if int(labels.min()) < 0:
        raise InvalidInput(f"{name}: expected labels from 0 on, got {int(labels.min())}")
    return labels.astype(np.int64)


def _shown(arrays: Mapping[str, Tensor]) -> str:
    return ", ".join(f"'inputs/{name:.80}'" for name in list(arrays)[:8])
