"""A SavedModel in a session of its own: numpy in, numpy out."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from adapters.errors import InvalidInput
from adapters.tensors import DataType, Tensor
from adapters.tfserving import libtensorflow
from adapters.tfserving.libtensorflow import STRING_BYTES, LibTensorFlow, Output, TensorFlowError
from adapters.tfserving.protos import meta_graph_pb2, tensor_pb2, types_pb2
from adapters.tfserving.tensor_proto import datatype_of, encode, number_of

_TAG_SERVE = b"serve"


class SavedModel:
    """A loaded SavedModel. Any number of threads may run it at once; none may while it is closed or afterwards."""

    def __init__(self, library: LibTensorFlow, path: Path, config: bytes) -> None:
        """Load the graph tagged `serve`; `config` is a serialised ConfigProto.

        Raises:
            TensorFlowError: the folder holds no SavedModel that this TensorFlow can load.
        """
        self._library = library
        self._c = library.c
        self._outputs: dict[str, Output] = {}
        self._graph = self._c.TF_NewGraph()
        try:
            self._session, meta_graph = self._load(path, config)
        except BaseException:
            self._c.TF_DeleteGraph(self._graph)
            raise
        self.signatures: Mapping[str, Any] = dict(meta_graph_pb2.MetaGraphDef.FromString(meta_graph).signature_def)

    def _load(self, path: Path, config: bytes) -> tuple[int, bytes]:
        with self._status() as status, ExitStack() as stack:
            options = self._c.TF_NewSessionOptions()
            stack.callback(self._c.TF_DeleteSessionOptions, options)
            self._c.TF_SetConfig(options, config, len(config), status)
            self._library.check(status)
            meta_graph = self._c.TF_NewBuffer()
            stack.callback(self._c.TF_DeleteBuffer, meta_graph)
            tags = (ctypes.c_char_p * 1)(_TAG_SERVE)
            session = self._c.TF_LoadSessionFromSavedModel(
                options, None, str(path).encode(), tags, 1, self._graph, meta_graph, status
            )
            self._library.check(status)
            return session, ctypes.string_at(meta_graph.contents.data, meta_graph.contents.length)

    def run(self, feeds: Mapping[str, Tensor], fetches: Sequence[str]) -> list[Tensor]:
        """Compute the tensors named by `fetches` ("y:0") from those named by the keys of `feeds`.

        Raises:
            TensorFlowError: the graph has no such tensor, or an operation failed.
        """
        with self._status() as status, ExitStack() as stack:
            given = [self._tensor(array, stack) for array in feeds.values()]
            taken = (ctypes.c_void_p * len(fetches))()
            self._c.TF_SessionRun(
                *(self._session, None),
                *((Output * len(feeds))(*map(self._output, feeds)), (ctypes.c_void_p * len(given))(*given), len(given)),
                *((Output * len(fetches))(*map(self._output, fetches)), taken, len(fetches)),
                *(None, 0, None, status),
            )
            self._library.check(status)
            tensors: list[int] = list(taken)
            for tensor in tensors:
                stack.callback(self._c.TF_DeleteTensor, tensor)
            return [self._array(tensor) for tensor in tensors]

    def close(self) -> None:
        """Give the memory back; must not be called twice."""
        with self._status() as status:
            self._c.TF_CloseSession(self._session, status)
            self._c.TF_DeleteSession(self._session, status)
            self._c.TF_DeleteGraph(self._graph)

    @contextmanager
    def _status(self) -> Iterator[int]:
        status = self._c.TF_NewStatus()
        try:
            yield status
        finally:
            self._c.TF_DeleteStatus(status)

    def _output(self, name: str) -> Output:
        """The graph's output "operation:index"; a bare "operation" is its output 0."""
        output = self._outputs.get(name)
        if output is None:
            operation, _, index = name.partition(":")
            pointer = self._c.TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer or not (index or "0").isdecimal():
                raise TensorFlowError(libtensorflow.INVALID_ARGUMENT, f"the graph has no tensor {name!r}")
            output = self._outputs[name] = Output(pointer, int(index or 0))
        return output

    def _tensor(self, array: Tensor, stack: ExitStack) -> int:
        """A TF_Tensor with a copy of the array, deleted with the stack."""
        datatype = DataType.of(array.dtype)
        sizes = (ctypes.c_int64 * array.ndim)(*array.shape)
        if datatype is DataType.BYTES:
            return self._string_tensor(array, stack)
        tensor: int = self._c.TF_AllocateTensor(number_of(datatype), sizes, array.ndim, array.nbytes)
        stack.callback(self._c.TF_DeleteTensor, tensor)
        if array.nbytes:
            contiguous = np.ascontiguousarray(array)
            ctypes.memmove(self._c.TF_TensorData(tensor), contiguous.ctypes.data, contiguous.nbytes)
        return tensor

    def _string_tensor(self, array: Tensor, stack: ExitStack) -> int:
        # Strings filled in by hand would have to be freed by hand, and not before the session dropped its last
        # reference. Those of a tensor that TensorFlow parsed are freed by TensorFlow.
        proto = tensor_pb2.TensorProto()
        encode(array, proto)
        data = proto.SerializeToString()
        tensor: int = self._c.TF_AllocateTensor(types_pb2.DT_STRING, (ctypes.c_int64 * 1)(0), 1, 0)
        stack.callback(self._c.TF_DeleteTensor, tensor)
        with self._status() as status:
            self._c.TF_TensorFromProto(ctypes.byref(libtensorflow.borrow(data)), tensor, status)
            self._library.check(status)
        return tensor

    def _array(self, tensor: int) -> Tensor:
        try:
            datatype = datatype_of(self._c.TF_TensorType(tensor))
        except InvalidInput as error:
            raise TensorFlowError(libtensorflow.UNIMPLEMENTED, str(error)) from error
        shape = tuple(self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor)))
        count = math.prod(shape)
        data = self._c.TF_TensorData(tensor)
        if datatype is DataType.BYTES:
            elements = (self._string(data + index * STRING_BYTES) for index in range(count))
            return np.fromiter(elements, np.object_, count).reshape(shape)
        array = np.empty(shape, datatype.dtype)
        if count:
            ctypes.memmove(array.ctypes.data, data, array.nbytes)
        return array

    def _string(self, element: int) -> bytes:
        return ctypes.string_at(self._c.TF_StringGetDataPointer(element), self._c.TF_StringGetSize(element))
