"""What a version's folder holds: every layout of others is recognised, and what could betray the gateway is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.artifacts import VersionFiles, digest, find_artifacts


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def backends(found: VersionFiles) -> dict[str, str]:
    """The recognised artifacts: backend to path within the folder."""
    return {backend: each.path.relative_to(found.path).as_posix() for backend, each in found.artifacts.items()}


def digest_of(found: VersionFiles, backend: str) -> str:
    return digest(found.path, found.artifacts[backend].files)


@pytest.mark.parametrize(
    ("names", "recognised"),
    [
        (["model.onnx"], {"onnxruntime": "model.onnx"}),
        (["digits.onnx"], {"onnxruntime": "digits.onnx"}),
        (["model.onnx", "draft.onnx"], {"onnxruntime": "model.onnx"}),
        (["model.onnx", "model.onnx.data", "labels.txt"], {"onnxruntime": "model.onnx"}),
        (["net.tflite"], {"tflite": "net.tflite"}),
        (["saved_model.pb", "variables/variables.index", "assets/foo.txt"], {"tfserving": "."}),
        (["saved_model/saved_model.pb", "saved_model/variables/variables.index"], {"tfserving": "saved_model"}),
        (["model.savedmodel/saved_model.pb"], {"tfserving": "model.savedmodel"}),
        (["model.pt"], {"torchserve": "model.pt"}),
        (["mnist.mar"], {"torchserve": "mnist.mar"}),
        (
            ["model.onnx", "model.tflite", "saved_model/saved_model.pb", "model.pt", "golden.npz"],
            {
                "onnxruntime": "model.onnx",
                "tflite": "model.tflite",
                "tfserving": "saved_model",
                "torchserve": "model.pt",
            },
        ),
        (["model.onnx", ".model.onnx.swp", ".hidden/other.onnx"], {"onnxruntime": "model.onnx"}),
        (
            ["model.tflite", "model.int8.tflite", "model.fp16.tflite", "model.int8.onnx", "model.ort"],
            {
                "tflite": "model.tflite",
                "tflite-int8": "model.int8.tflite",
                "tflite-fp16": "model.fp16.tflite",
                "onnxruntime-int8": "model.int8.onnx",
                "onnxruntime-ort": "model.ort",
            },
        ),
        (
            ["mobilenet.ort", "mobilenet.int8.tflite"],
            {"onnxruntime-ort": "mobilenet.ort", "tflite": "mobilenet.int8.tflite"},
        ),
        (["model.Int8.tflite"], {"tflite": "model.Int8.tflite"}),
        (["model.cuda.pt"], {"torchserve": "model.cuda.pt"}),
        (["model.onnx", "model.keras", "model.pt2", "model.pte", "tfjs/model.json"], {"onnxruntime": "model.onnx"}),
        ([".model.onnx"], {}),
        (["model.onnx.tmp", "model.onnx~", "model.onnx.part"], {}),
        (["README.md", "checkpoint"], {}),
        (["deeper/model.onnx"], {}),
        ([], {}),
    ],
    ids=str,
)
def test_every_layout_is_recognised(tmp_path: Path, names: list[str], recognised: dict[str, str]) -> None:
    found = find_artifacts(fill(tmp_path, *names))
    assert backends(found) == recognised
    assert not [each.problem for each in found.artifacts.values() if each.problem]
    assert bool(found.problems) == (not recognised)


def test_a_folder_without_an_artifact_says_what_is_expected_and_what_is_there(tmp_path: Path) -> None:
    (problem,) = find_artifacts(fill(tmp_path, "model.h5", "notes.txt")).problems
    assert problem == (
        "no artifact: expected *.onnx, *.ort, *.tflite, saved_model.pb, saved_model/, model.savedmodel/, *.pt or "
        "*.mar; found model.h5, notes.txt"
    )


def test_a_folder_of_nothing_but_what_can_be_exported_says_so(tmp_path: Path) -> None:
    (problem,) = find_artifacts(fill(tmp_path, "model.keras")).problems
    assert problem.endswith("; found model.keras; torii export makes an artifact of what is there")


@pytest.mark.parametrize(
    ("names", "backend", "says"),
    [
        (
            ["a.onnx", "b.onnx"],
            "onnxruntime",
            "several candidates: a.onnx, b.onnx; keep one, or name one of them model",
        ),
        (["model.pt", "model.mar"], "torchserve", "several candidates: model.mar, model.pt; keep one"),
        (
            ["saved_model.pb", "saved_model/saved_model.pb"],
            "tfserving",
            "several SavedModels: saved_model.pb, saved_model",
        ),
        (["saved_model/variables/variables.index"], "tfserving", "saved_model/ has no saved_model.pb"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_decided_is_a_problem_that_names_the_candidates(
    tmp_path: Path, names: list[str], backend: str, says: str
) -> None:
    found = find_artifacts(fill(tmp_path, *names))
    assert (found.artifacts[backend].problem or "").startswith(says)
    assert found.problems == (f"{backend}: {found.artifacts[backend].problem}",)


@pytest.mark.parametrize("link", ["model.onnx", "weights.bin", "golden.npz", "variables", "assets/vocabulary.txt"])
@pytest.mark.parametrize("to", ["a file", "a folder", "nothing"])
def test_a_link_anywhere_in_the_folder_is_refused(tmp_path: Path, link: str, to: str) -> None:
    outside = fill(tmp_path / "outside", "secret", "folder/secret")
    folder = fill(tmp_path / "1", "model.onnx", "saved_model.pb", "assets/foo.txt")
    (folder / link).unlink(missing_ok=True)
    (folder / link).symlink_to({"a file": outside / "secret", "a folder": outside / "folder"}.get(to, outside / "no"))
    found = find_artifacts(folder)
    assert {each.problem for each in found.artifacts.values()} == {
        f"{link} is a symbolic link; put the file itself there"
    }
    assert not [stamp for each in found.artifacts.values() for stamp in each.files if "secret" in stamp.name]


def test_a_pipe_among_the_files_is_refused_since_reading_it_would_never_end(tmp_path: Path) -> None:
    os.mkfifo(fill(tmp_path, "model.onnx") / "weights.bin")
    found = find_artifacts(tmp_path)
    assert found.artifacts["onnxruntime"].problem == "weights.bin is no file; take it away"
    (tmp_path / "weights.bin").unlink()
    assert find_artifacts(tmp_path).artifacts["onnxruntime"].problem is None


def test_more_files_than_anybody_needs_are_not_all_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.artifacts._MAX_FILES", 10)
    found = find_artifacts(fill(tmp_path, "a.onnx", *(f"weights/{number}" for number in range(20))))
    assert "more than 10 files; the rest is not looked at" in found.problems


def test_each_backend_s_digest_covers_its_own_files_alone(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", "model.onnx.data", "model.tflite", "saved_model/saved_model.pb", "saved_model/v/w")
    before = find_artifacts(tmp_path)
    (tmp_path / "saved_model/v/w").write_bytes(b"other weights")
    (tmp_path / "model.onnx.data").write_bytes(b"other weights")
    after = find_artifacts(tmp_path)
    changed = {each for each in before.artifacts if digest_of(before, each) != digest_of(after, each)}
    assert changed == set(), "a digest is of what is there now, whatever the stamps were taken of"
    stamps = {each for each in before.artifacts if before.artifacts[each].files != after.artifacts[each].files}
    assert stamps == {"onnxruntime", "tfserving"}


def test_what_is_exported_changes_no_digest_of_what_was_there(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", "model.onnx.data", "model.tflite")
    before = find_artifacts(tmp_path)
    fill(tmp_path, "model.int8.onnx", "model.int8.tflite", "model.ort", "model.keras", "model.pt2", "model.pte")
    fill(
        tmp_path, "tfjs/model.json", "tfjs/shard1.bin", "certificates/tflite-int8.json", "certificates/tflite-int8.html"
    )
    after = find_artifacts(tmp_path)
    assert {each: after.artifacts[each].files for each in before.artifacts} == {
        each: before.artifacts[each].files for each in before.artifacts
    }
    assert [each.name for each in after.artifacts["onnxruntime-int8"].files] == ["model.int8.onnx", "model.onnx.data"]
    assert [each.name for each in after.artifacts["onnxruntime-ort"].files] == ["model.ort"]


def test_a_digest_changes_with_content_and_names_and_not_with_times(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", "model.onnx.data")

    def now() -> str:
        return digest_of(find_artifacts(tmp_path), "onnxruntime")

    first = now()
    os.utime(tmp_path / "model.onnx", (1, 1))
    assert now() == first
    content = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "model.onnx").write_bytes(content[::-1])
    second = now()
    (tmp_path / "model.onnx").write_bytes(content)
    (tmp_path / "model.onnx.data").rename(tmp_path / "model.onnx.weights")
    third = now()
    fill(tmp_path, "one_more")
    assert len({first, second, third, now()}) == 4
    assert len(first) == 64


def test_moving_bytes_from_one_file_to_the_next_changes_the_digest(tmp_path: Path) -> None:
    digests = set()
    for left, right in ((b"ab", b"c"), (b"a", b"bc"), (b"", b"abc")):
        (tmp_path / "model.onnx").write_bytes(left)
        (tmp_path / "weights").write_bytes(right)
        digests.add(digest_of(find_artifacts(tmp_path), "onnxruntime"))
    assert len(digests) == 3


def test_names_that_are_no_text_have_a_digest_too(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/weights\xff")).write_bytes(b"1")
    assert len(digest_of(find_artifacts(tmp_path), "onnxruntime")) == 64


def test_a_file_that_is_replaced_by_one_of_equal_size_and_time_has_another_stamp(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx")
    os.utime(tmp_path / "model.onnx", ns=(10**9, 10**9))
    before = find_artifacts(tmp_path)
    (tmp_path / "new").write_bytes(b"MODEL.ONNX")
    os.utime(tmp_path / "new", ns=(10**9, 10**9))
    (tmp_path / "new").replace(tmp_path / "model.onnx")
    after = find_artifacts(tmp_path)
    assert before.artifacts["onnxruntime"].files != after.artifacts["onnxruntime"].files


def test_changed_is_when_a_file_was_put_there_whatever_its_modification_time_says(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", ".incoming")
    before = find_artifacts(tmp_path).changed_ns
    assert before == max((tmp_path / name).stat().st_ctime_ns for name in ("model.onnx", ".incoming"))
    os.utime(tmp_path / "model.onnx", (1, 1))
    assert find_artifacts(tmp_path).changed_ns == (tmp_path / "model.onnx").stat().st_ctime_ns >= before


def test_a_version_that_is_renamed_into_place_did_not_change_by_it(tmp_path: Path) -> None:
    fill(tmp_path / "staged", "model.onnx", "saved_model/saved_model.pb")
    before = find_artifacts(tmp_path / "staged").changed_ns
    (tmp_path / "staged").rename(tmp_path / "1")
    assert find_artifacts(tmp_path / "1").changed_ns == before
