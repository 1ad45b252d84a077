"""The few functions of TensorFlow's C API that run a SavedModel, without importing the Python package.

The C library comes with the package. It loads what the real TF Serving loads, for it is the same loader, and it is
there in 0.4 s and 70 MB of memory of its own where `import tensorflow` takes 9 s and 600 MB.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_int, c_int64, c_size_t, c_void_p
from pathlib import Path
from typing import Any, Final

INVALID_ARGUMENT: Final = 3
UNIMPLEMENTED: Final = 12


class TensorFlowError(Exception):
    """TensorFlow's status: `code` is a canonical code, the same number as gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Output(ctypes.Structure):
    """TF_Output: one output of an operation of a graph."""

    _fields_ = (("operation", c_void_p), ("index", c_int))


class Buffer(ctypes.Structure):
    """TF_Buffer: borrowed bytes when made here, TensorFlow's own when TF_NewBuffer made it."""

    _fields_ = (("data", c_void_p), ("length", c_size_t), ("deallocator", c_void_p))


# Functions that run a graph or read files give up the GIL for others to work meanwhile. The rest take less than getting
# it back would: with eight threads that is the difference between 0.1 ms and many times the GIL's 5 ms turn.
_SLOW: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "TF_LoadSessionFromSavedModel": (
        c_void_p,
        (c_void_p, c_void_p, c_char_p, POINTER(c_char_p), c_int, c_void_p, POINTER(Buffer), c_void_p),
    ),
    "TF_SessionRun": (
        None,
        (c_void_p, c_void_p) + (POINTER(Output), POINTER(c_void_p), c_int) * 2 + (c_void_p, c_int, c_void_p, c_void_p),
    ),
    "TF_CloseSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteSession": (None, (c_void_p, c_void_p)),
    "TF_DeleteGraph": (None, (c_void_p,)),
}
_QUICK: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "TF_Version": (c_char_p, ()),
    "TF_NewStatus": (c_void_p, ()),
    "TF_DeleteStatus": (None, (c_void_p,)),
    "TF_GetCode": (c_int, (c_void_p,)),
    "TF_Message": (c_char_p, (c_void_p,)),
    "TF_NewBuffer": (POINTER(Buffer), ()),
    "TF_DeleteBuffer": (None, (POINTER(Buffer),)),
    "TF_NewGraph": (c_void_p, ()),
    "TF_GraphOperationByName": (c_void_p, (c_void_p, c_char_p)),
    "TF_NewSessionOptions": (c_void_p, ()),
    "TF_SetConfig": (None, (c_void_p, c_char_p, c_size_t, c_void_p)),
    "TF_DeleteSessionOptions": (None, (c_void_p,)),
    "TF_AllocateTensor": (c_void_p, (c_int, POINTER(c_int64), c_int, c_size_t)),
    "TF_TensorFromProto": (None, (POINTER(Buffer), c_void_p, c_void_p)),
    "TF_DeleteTensor": (None, (c_void_p,)),
    "TF_TensorType": (c_int, (c_void_p,)),
    "TF_NumDims": (c_int, (c_void_p,)),
    "TF_Dim": (c_int64, (c_void_p, c_int)),
    "TF_TensorData": (c_void_p, (c_void_p,)),
    "TF_TensorByteSize": (c_size_t, (c_void_p,)),
    "TF_StringGetDataPointer": (c_void_p, (c_void_p,)),
    "TF_StringGetSize": (c_size_t, (c_void_p,)),
}

STRING_BYTES: Final = 24
"""The size of a TF_TString, one element of a string tensor."""


class LibTensorFlow:
    """The loaded library: its functions are attributes, under the names that `c_api.h` gives them."""

    def __init__(self, folders: list[str]) -> None:
        """Load it from the folders of the installed package; raises OSError."""
        files = [file for folder in folders for file in sorted(Path(folder).glob("libtensorflow_cc.*"))]
        if not files:
            raise OSError(f"expected libtensorflow_cc.so.2 in the tensorflow package, found none in {folders}")
        self.c = _Functions()
        for library, functions in ((ctypes.CDLL(str(files[0])), _SLOW), (ctypes.PyDLL(str(files[0])), _QUICK)):
            for name, (result, arguments) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                setattr(self.c, name, function)

    @property
    def version(self) -> str:
        """TensorFlow's version."""
        version: bytes = self.c.TF_Version()
        return version.decode()

    def check(self, status: int) -> None:
        """Raises TensorFlowError where a TF_Status says so."""
        code = self.c.TF_GetCode(status)
        if code:
            raise TensorFlowError(code, self.c.TF_Message(status).decode(errors="replace"))


class _Functions:
    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} of TensorFlow's C API is not declared here")


def borrow(data: bytes) -> Buffer:
    """A TF_Buffer over Python's bytes, which must outlive it."""
    return Buffer(ctypes.cast(c_char_p(data), c_void_p), len(data), None)
