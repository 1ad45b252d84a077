"""Files of rows, good ones and others."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np


def save(path: Path, **arrays: Any) -> Path:
    """An .npz file; `inputs_x` is the array inputs/x."""
    named = {name.replace("inputs_", "inputs/").replace("outputs_", "outputs/"): each for name, each in arrays.items()}
    np.savez(path, **named)
    return path


def save_claiming(path: Path, shape: tuple[int, ...], data: bytes, name: str = "inputs/x.npy") -> Path:
    """A file whose array says that it is of `shape`, and has `data`."""
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, member.getvalue() + data)
    return path
