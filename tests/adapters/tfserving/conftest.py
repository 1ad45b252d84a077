"""SavedModels to test with: a real one, and small ones put together from protos without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from adapters.base import Artifact
from tests.adapters.tfserving.children import run_python

_MISSING = find_spec("tensorflow_serving") is None or find_spec("tensorflow") is None

collect_ignore_glob = ["test_*.py"] if _MISSING else []


def pytest_report_header() -> str | None:
    return "left out: tests/adapters/tfserving, tensorflow-serving-api is not installed" if _MISSING else None


@pytest.fixture(scope="session")
def half_plus_two(test_data: Callable[[str], Path]) -> Path:
    return test_data("tf/serving/saved_model_half_plus_two_cpu/00000123")


@dataclass(frozen=True, slots=True)
class TensorFlowSaid:
    """What against_tensorflow.py printed, and the SavedModel of TensorFlow 2 that it left."""

    printed: dict[str, Any]
    saved_model: Path


@pytest.fixture(scope="session")
def tensorflow_said(tmp_path_factory: pytest.TempPathFactory) -> TensorFlowSaid:
    """The real TensorFlow, once and in a process of its own: its import takes 10 s."""
    path = tmp_path_factory.mktemp("tensorflow") / "words" / "1"
    script = Path(__file__).with_name("against_tensorflow.py")
    return TensorFlowSaid(json.loads(run_python(script, path)), path)


@pytest.fixture(scope="session")
def artifact() -> Callable[..., Artifact]:
    def make(path: Path, model: str = "half", version: int = 123, **options: object) -> Artifact:
        return Artifact(model, version, "tfserving", path, "sha256:" + "0123456789abcdef" * 4, options)

    return make


@pytest.fixture(scope="session")
def save_identity() -> Callable[[Path, Mapping[str, int]], Path]:
    """Writes a SavedModel whose outputs are its inputs; `dtypes` are TensorFlow's numbers by input name."""
    from adapters.tfserving.protos import tensorflow_as_folder

    with tensorflow_as_folder():
        from tensorflow.core.protobuf import saved_model_pb2

    def save(path: Path, dtypes: Mapping[str, int]) -> Path:
        saved = saved_model_pb2.SavedModel(saved_model_schema_version=1)
        meta = saved.meta_graphs.add()
        meta.meta_info_def.tags.append("serve")
        signature = meta.signature_def["serving_default"]
        signature.method_name = "tensorflow/serving/predict"
        for name, dtype in dtypes.items():
            given = meta.graph_def.node.add(name=f"in_{name}", op="Placeholder")
            given.attr["dtype"].type = dtype
            given.attr["shape"].shape.unknown_rank = True
            taken = meta.graph_def.node.add(name=f"out_{name}", op="Identity", input=[given.name])
            taken.attr["T"].type = dtype
            for infos, node in ((signature.inputs, given), (signature.outputs, taken)):
                infos[name].name = f"{node.name}:0"
                infos[name].dtype = dtype
                infos[name].tensor_shape.unknown_rank = True
        path.mkdir(parents=True)
        (path / "saved_model.pb").write_bytes(saved.SerializeToString())
        return path

    return save
