"""The repository folder as pure data: what is served, what is not, and what is wrong with it, file and key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.repository import Snapshot, scan
from tests.gateway.test_artifacts import fill

THERE = "no such folder"


def texts(snapshot: Snapshot) -> list[str]:
    return [str(problem) for problem in snapshot.all_problems()]


def test_an_empty_repository_is_empty(tmp_path: Path) -> None:
    assert scan(tmp_path) == Snapshot()


@pytest.mark.parametrize("kind", ["absent", "a file"])
def test_a_repository_that_cannot_be_read_raises(tmp_path: Path, kind: str) -> None:
    if kind == "a file":
        (tmp_path / "root").touch()
    with pytest.raises(OSError, match="root"):
        scan(tmp_path / "root")


def test_versions_are_numbers_however_they_are_written(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "1/model.onnx", "00000123/saved_model.pb", "10/model.pt", "9" * 18 + "/model.tflite")
    snapshot = scan(tmp_path)
    assert list(snapshot.models["digits"].versions) == [1, 10, 123, int("9" * 18)]
    assert snapshot.models["digits"].versions[123].path.name == "00000123"
    assert texts(snapshot) == []


@pytest.mark.parametrize(
    "name", ["0", "000", "v1", "1.0", "-1", "+1", "1_0", "１", "²", "1 ", "9" * 19, ".1", "_1", "tmp", "1.tmp"]
)
def test_folders_of_other_names_are_no_versions(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "digits", "1/model.onnx", f"{name}/model.onnx")
    snapshot = scan(tmp_path)
    assert list(snapshot.models["digits"].versions) == [1]
    assert texts(snapshot) == []


def test_two_folders_of_one_number_are_an_error_that_names_both(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "7/model.onnx", "007/model.onnx", "8/model.onnx")
    snapshot = scan(tmp_path)
    assert list(snapshot.models["digits"].versions) == [8]
    assert texts(snapshot) == ["digits: digits/007 and digits/7 are both version 7: keep one; neither is served"]


@pytest.mark.parametrize("name", ["digits", "a", "0", "m.n-o_p", "9" * 64])
def test_good_names_are_models(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/1/model.onnx")
    assert list(scan(tmp_path).models) == [name]


@pytest.mark.parametrize("name", ["Digits", "a b", "a@b", "-a", "ä", "a" * 65, "a\nb", "a%2fb"])
def test_a_folder_of_another_name_is_not_served_and_said_so(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/1/model.onnx", "fine/1/model.onnx")
    snapshot = scan(tmp_path)
    assert list(snapshot.models) == ["fine"]
    assert texts(snapshot) == [f"{name}: not served: a model's name is a-z 0-9 . _ - (64 at most)"]


def test_a_name_that_is_no_text_can_be_told_in_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/model\xff")).mkdir()
    fill(tmp_path / "fine", "1/x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/fine/1/\xff")).touch()
    for text in texts(scan(tmp_path)):
        text.encode()


def test_files_hidden_folders_and_folders_of_tools_are_ignored(tmp_path: Path) -> None:
    fill(tmp_path, "README.md", ".git/config", "__pycache__/x", ".staging/1/model.onnx", "digits/1/model.onnx")
    snapshot = scan(tmp_path)
    assert list(snapshot.models) == ["digits"]
    assert texts(snapshot) == []


def test_a_model_without_versions_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    assert texts(scan(tmp_path)) == ["digits: no version: expected a folder named by a positive integer, as in 1/"]


def test_a_wrong_model_toml_is_said_with_file_and_key_and_leaves_the_versions(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    (tmp_path / "digits/model.toml").write_text("[batching]\nmax_row = 8")
    snapshot = scan(tmp_path)
    assert snapshot.models["digits"].config is None
    assert list(snapshot.models["digits"].versions) == [1]
    assert texts(snapshot) == ["digits/model.toml: batching.max_row: this key is unknown, found 8"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"stable = 1 2", "digits/labels.toml: not TOML"),
        (b"\xff\xfe", "digits/labels.toml: not UTF-8"),
        (b"stable = 0", "digits/labels.toml: stable: Input should be greater than or equal to 1, found 0"),
        (b"stable = 'two'", "digits/labels.toml: stable: Input should be a valid integer, found 'two'"),
        (b"stable = '2'", "digits/labels.toml: stable: Input should be a valid integer, found '2'"),
        (b"stable = true", "digits/labels.toml: stable: Input should be a valid integer, found True"),
        (b"stable = 1.0", "digits/labels.toml: stable: Input should be a valid integer, found 1.0"),
        (b"[stable]\nversion = 1", "digits/labels.toml: stable: Input should be a valid integer"),
        (b"#" * (2**20 + 1), "digits/labels.toml: larger than 1048576 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_wrong_labels_are_said_and_are_not_taken_for_no_labels(tmp_path: Path, content: bytes, says: str) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    (tmp_path / "digits/labels.toml").write_bytes(content)
    snapshot = scan(tmp_path)
    assert snapshot.models["digits"].labels is None
    assert texts(snapshot)[0].startswith(says)
    assert list(snapshot.models["digits"].versions) == [1]


def test_labels_are_read(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    assert scan(tmp_path).models["digits"].labels == {}
    (tmp_path / "digits/labels.toml").write_text("stable = 1\ncanary = 22\nstr = 3")
    assert scan(tmp_path).models["digits"].labels == {"stable": 1, "canary": 22, "str": 3}


def test_versions_that_are_listed_and_not_there_are_said(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    (tmp_path / "digits/model.toml").write_text("versions = [1, 4]")
    assert texts(scan(tmp_path)) == ["digits/model.toml: versions: 4 is listed, but there is no such folder"]


def test_what_is_wrong_with_a_version_is_said_with_its_folder(tmp_path: Path) -> None:
    fill(tmp_path / "digits", "007/a.onnx", "007/b.onnx")
    assert texts(scan(tmp_path)) == [
        "digits/007: onnxruntime: several candidates: a.onnx, b.onnx; keep one, or name one of them model.*"
    ]


def test_a_model_that_cannot_be_read_just_now_is_told_from_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "broken/1/model.onnx", "fine/1/model.onnx")
    real = os.scandir

    def scandir(path: str) -> object:
        if "broken/1" in str(path):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    snapshot = scan(tmp_path)
    assert (list(snapshot.models), snapshot.unreadable) == (["fine"], {"broken"})
    assert texts(snapshot) == ["broken: cannot be read: Permission denied"]


@pytest.mark.parametrize("name", ["model.toml", "labels.toml"])
@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "stable = 1" + "0" * 5000], ids=["nested without end", "a number of 5001 digits"]
)
def test_toml_that_breaks_its_parser_is_a_mistake_like_any_other(tmp_path: Path, name: str, text: str) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    (tmp_path / "digits" / name).write_text(text)
    assert any(f"digits/{name}" in problem for problem in texts(scan(tmp_path)))


@pytest.mark.parametrize("name", ["model.toml", "labels.toml"])
def test_a_named_pipe_in_the_place_of_a_file_does_not_hold_up_the_scan(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "digits", "1/model.onnx")
    os.mkfifo(tmp_path / "digits" / name)
    assert any("expected a regular file" in problem for problem in texts(scan(tmp_path)))
