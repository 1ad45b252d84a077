from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from adapters.export.steps.archive import checked_copy
from adapters.export.steps.job import Refusal

RUNS_CODE = pickle.dumps(print)


def archive(path: Path, **changed: bytes | dict[str, Any]) -> Path:
    """An archive like those of torch.export.save; `changed` are entries, with __ for a slash and _dot_ for a dot."""
    inputs = io.BytesIO()
    torch.save(([torch.zeros(1)], {}), inputs)
    entries: dict[str, bytes | dict[str, Any]] = {
        "archive_format": b"pt2",
        "models/model.json": {"nodes": [{"target": "torch.ops.aten.relu.default"}]},
        "data/weights/model_weights_config.json": {"config": {"w": {"path_name": "weight_0", "use_pickle": False}}},
        "data/weights/weight_0": b"1234",
        "data/sample_inputs/model.pt": inputs.getvalue(),
    }
    entries |= {name.replace("__", "/").replace("_dot_", "."): entry for name, entry in changed.items()}
    with zipfile.ZipFile(path, "w") as file:
        for name, entry in entries.items():
            file.writestr(f"m/{name}", entry if isinstance(entry, bytes) else json.dumps(entry))
    return path


def test_an_honest_archive_is_what_it_was(tmp_path: Path) -> None:
    sizes = {"a": {"expr_str": "Symbol('s0', positive=True, integer=True)"}, "b": {"expr_str": "Max(1, 2*s0 + u1)"}}
    path = archive(tmp_path / "model.pt2", models__model_dot_json=sizes)
    copy = checked_copy(path, tmp_path)
    with zipfile.ZipFile(path) as before, zipfile.ZipFile(copy) as after:
        assert {name: before.read(name) for name in before.namelist()} == {
            name: after.read(name) for name in after.namelist()
        }


def test_what_torch_writes_is_read_from_the_copy(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    shapes = {"input": {0: torch.export.Dim("batch")}}
    torch.export.save(torch.export.export(model, (torch.rand(4, 3),), dynamic_shapes=shapes), tmp_path / "model.pt2")
    program = torch.export.load(checked_copy(tmp_path / "model.pt2", tmp_path))
    rows = torch.rand(7, 3)
    assert torch.equal(program.module()(rows), model(rows))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('x')",
        "open('x')",
        "s0.__class__",
        "exec(s0)",
        "Symbol('s0', commutative=exec)",
        "[].append(1)",
        "lambda: 0",
        "(1).real",
        "Max(1, 2) if open else 1",
    ],
)
def test_an_expression_that_is_no_arithmetic_is_refused(tmp_path: Path, expression: str) -> None:
    path = archive(tmp_path / "model.pt2", models__model_dot_json={"deep": [{"expr_str": expression}]})
    with pytest.raises(Refusal, match="no arithmetic of sizes"):
        checked_copy(path, tmp_path)


@pytest.mark.parametrize(
    "function",
    [
        "torch.hub.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
        "math.os.system",
        "#x",
    ],
)
def test_a_function_that_is_no_operator_is_refused(tmp_path: Path, function: str) -> None:
    path = archive(tmp_path / "model.pt2", models__model_dot_json={"nodes": [{"target": function}]})
    with pytest.raises(Refusal, match="no operator on tensors"):
        checked_copy(path, tmp_path)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"data__weights__model_weights_config_dot_json": {"config": {"w": {"use_pickle": True}}}}, "pickled weights"),
        ({"data__constants__c_dot_json": {"config": {"c": {"path_name": "opaque_obj_0"}}}}, "no tensors"),
        ({"data__constants__c_dot_json": {"config": {"c": {"path_name": "custom_obj_0"}}}}, "no tensors"),
        ({"data__sample_inputs__model_dot_pt": RUNS_CODE}, "something else than tensors"),
        ({"serialized_state_dict_dot_pt": RUNS_CODE}, "has no need of"),
        ({"data__aotinductor__model__model_dot_so": b""}, "has no need of"),
        ({"data__weights__.._dot__dot_/x": b""}, "has no need of"),
        ({"models__model_dot_json": b"{"}, "damaged"),
    ],
)
def test_what_would_run_code_or_has_no_place_is_refused(
    tmp_path: Path, changed: dict[str, bytes | dict[str, Any]], reason: str
) -> None:
    with pytest.raises(Refusal, match=reason):
        checked_copy(archive(tmp_path / "model.pt2", **changed), tmp_path)


def test_two_entries_of_one_name_are_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.pt2")
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("m/models/model.json", "{}")
    with pytest.raises(Refusal, match="two entries"):
        checked_copy(path, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\5\6", RUNS_CODE])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(Refusal, match=r"no archive of torch\.export\.save, or damaged"):
        checked_copy(tmp_path / "model.pt2", tmp_path)
