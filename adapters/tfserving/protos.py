"""TF Serving's generated messages and stubs, imported without loading TensorFlow.

The messages live in the packages `tensorflow_serving` and `tensorflow`, and importing anything of the latter runs its
`__init__`: 9 s and 600 MB for what is a few descriptors. So `tensorflow` is a mere folder while they are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


@contextmanager
def tensorflow_as_folder() -> Iterator[None]:
    """Imports inside find the submodules of `tensorflow` without executing it, unless it is imported already.

    Not for use while another thread imports TensorFlow: that thread would be given the placeholder.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    placeholder = ModuleType("tensorflow")
    placeholder.__path__ = tensorflow_folders()
    sys.modules["tensorflow"] = placeholder
    try:
        yield
    finally:
        # An honest `import tensorflow` later must run the package; the messages stay imported and serve it as well.
        del sys.modules["tensorflow"]


def tensorflow_folders() -> list[str]:
    """Where the installed TensorFlow's files are, without importing it; raises ModuleNotFoundError."""
    spec = find_spec("tensorflow")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("tensorflow is not installed: pip install 'torii-gateway[tensorflow]'")
    return list(spec.submodule_search_locations)


with tensorflow_as_folder():
    from tensorflow.core.framework import tensor_pb2, types_pb2
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, saved_model_pb2
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        model_service_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )
    from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "classification_pb2",
    "config_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "meta_graph_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "model_service_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_service_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
    "saved_model_pb2",
    "tensor_pb2",
    "tensorflow_as_folder",
    "tensorflow_folders",
    "types_pb2",
]
