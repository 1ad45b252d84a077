from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import InvalidInput
from adapters.export.formats import Form, Format
from adapters.export.sources import copied

ONNX, SAVED_MODEL = Form(Format.ONNX), Form(Format.SAVED_MODEL)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def version(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "1"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_the_copy_has_the_weights_beside_an_onnx_model_and_nothing_else(tmp_path: Path, work: Path) -> None:
    folder = version(tmp_path, "any.onnx", "model.onnx.data", "model.tflite", "golden.npz", "certificates/x.json")
    copy = copied(ONNX, folder / "any.onnx", work)
    assert copy.read_text() == "any.onnx"
    assert {path.name for path in work.iterdir()} == {"model.onnx", "model.onnx.data"}


def test_a_saved_model_in_the_folder_itself_is_copied_without_the_rest(tmp_path: Path, work: Path) -> None:
    folder = version(tmp_path, "saved_model.pb", "variables/variables.index", "model.onnx", "golden.npz")
    copy = copied(SAVED_MODEL, folder, work)
    assert {path.name for path in copy.rglob("*") if path.is_file()} == {"saved_model.pb", "variables.index"}


def test_a_link_in_a_source_is_refused(tmp_path: Path, work: Path) -> None:
    folder = version(tmp_path, "saved_model/saved_model.pb")
    (folder / "saved_model" / "assets").mkdir()
    (folder / "saved_model" / "assets" / "words").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput, match="words is a symbolic link"):
        copied(SAVED_MODEL, folder / "saved_model", work)


def test_a_source_that_went_away_is_told(tmp_path: Path, work: Path) -> None:
    with pytest.raises(InvalidInput, match=r"model\.onnx went away"):
        copied(ONNX, tmp_path / "model.onnx", work)
