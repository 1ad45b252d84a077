"""From what lies in the folder to what is to be loaded: loads are repeated when they would differ, and only then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adapters.base import Batching
from gateway.directives import Directive
from gateway.plans import Plan, Planner, wishes
from gateway.repository import scan
from gateway.types import Deployment, Limits, Serving
from gateway.versions import Wish

BACKENDS = ("onnxruntime", "tflite", "tfserving")


class Repository:
    """A folder, and a planner that looks at it."""

    def __init__(self, root: Path, settle_s: float = 0.0) -> None:
        self.root = root
        self.planner = Planner(BACKENDS, settle_s)

    def write(self, name: str, content: str = "weights") -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(content)

    def plans(self, monotonic_s: float = 0.0) -> dict[str, Plan]:
        found = self.planner.plan(scan(self.root), monotonic_s)
        return {str(deployment): plan for deployment, plan in found.items()}

    def fingerprint(self, deployment: str = "m/1@onnxruntime") -> object:
        return self.plans()[deployment].wanted.fingerprint


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path)
    repository.write("m/1/model.onnx")
    return repository


def test_every_artifact_of_a_backend_that_is_used_is_a_deployment(repository: Repository) -> None:
    for name in ("m/1/model.tflite", "m/1/model.pt", "m/2/saved_model/saved_model.pb", "n/3/model.onnx"):
        repository.write(name)
    assert list(repository.plans()) == ["m/1@onnxruntime", "m/1@tflite", "m/2@tfserving", "n/3@onnxruntime"]
    repository.write("m/model.toml", 'backends = ["tflite"]')
    assert list(repository.plans()) == ["m/1@tflite", "n/3@onnxruntime"]
    assert (repository.planner.order("m"), repository.planner.order("n")) == (("tflite",), BACKENDS)


def test_variants_of_a_backend_are_loaded_with_it_after_all_that_model_toml_names(repository: Repository) -> None:
    for name in ("m/1/model.int8.onnx", "m/1/model.tflite", "m/1/model.int8.tflite", "m/1/model.fp16.tflite"):
        repository.write(name)
    plain, variants = ["m/1@onnxruntime", "m/1@tflite"], ["m/1@onnxruntime-int8", "m/1@tflite-fp16", "m/1@tflite-int8"]
    assert list(repository.plans()) == plain + variants
    repository.write("m/model.toml", 'backends = ["tflite"]')
    assert list(repository.plans()) == ["m/1@tflite", "m/1@tflite-fp16", "m/1@tflite-int8"]
    repository.write("m/model.toml", 'backends = ["tflite-int8", "onnxruntime"]')
    assert list(repository.plans()) == ["m/1@tflite-int8", "m/1@onnxruntime", "m/1@onnxruntime-int8"]
    assert repository.planner.order("m") == ("tflite-int8", "onnxruntime")


def test_a_version_of_nothing_but_a_variant_is_served(repository: Repository) -> None:
    repository.write("m/2/model.int8.tflite")
    repository.write("m/model.toml", 'versions = "latest:1"')
    assert {name: plan.wanted.wish for name, plan in repository.plans().items()} == {
        "m/1@onnxruntime": Wish.SPARE,
        "m/2@tflite-int8": Wish.SERVE,
    }


def test_a_variant_is_loaded_with_the_options_of_its_backend(repository: Repository) -> None:
    repository.write("m/1/model.int8.tflite")
    repository.write("m/model.toml", "[backend.tflite]\nthreads = 3")
    plan = repository.plans()["m/1@tflite-int8"]
    assert plan.artifact("d").options == {"threads": 3}
    assert plan.serving("d").digest == "d {'threads': 3}"


def test_the_policy_s_versions_are_served_the_others_spare_and_empty_folders_count_for_nothing(
    repository: Repository,
) -> None:
    repository.write("m/2/model.onnx")
    repository.write("m/3/notes.txt")
    repository.write("m/model.toml", 'versions = "latest:1"')
    assert {name: plan.wanted.wish for name, plan in repository.plans().items()} == {
        "m/1@onnxruntime": Wish.SPARE,
        "m/2@onnxruntime": Wish.SERVE,
    }


def test_a_version_without_an_artifact_of_a_backend_that_is_used_is_not_the_latest(repository: Repository) -> None:
    repository.write("m/2/model.tflite")
    repository.write("m/model.toml", 'versions = "latest:1"\nbackends = ["onnxruntime"]')
    assert {name: plan.wanted.wish for name, plan in repository.plans().items()} == {"m/1@onnxruntime": Wish.SERVE}


def served(repository: Repository) -> set[str]:
    return {name for name, plan in repository.plans().items() if plan.wanted.wish is Wish.SERVE}


def test_a_version_that_a_label_names_is_served_whatever_the_policy_keeps(repository: Repository) -> None:
    repository.write("m/2/model.onnx")
    repository.write("m/3/model.onnx")
    repository.write("m/labels.toml", "stable = 1")
    for policy, kept in (("latest:1", {1, 3}), ("latest:2", {1, 2, 3}), ("all", {1, 2, 3})):
        repository.write("m/model.toml", f'versions = "{policy}"')
        assert served(repository) == {f"m/{number}@onnxruntime" for number in kept}
    repository.write("m/model.toml", "versions = [2]")
    assert served(repository) == {"m/1@onnxruntime", "m/2@onnxruntime"}
    repository.write("m/labels.toml", "")
    assert served(repository) == {"m/2@onnxruntime"}


def test_what_only_a_label_keeps_is_told_from_what_the_policy_keeps(repository: Repository) -> None:
    repository.write("m/2/model.onnx")
    repository.write("m/labels.toml", "stable = 1\ncanary = 2")
    repository.write("m/model.toml", 'versions = "latest:1"')
    wanted = {name: plan.wanted.by_label for name, plan in repository.plans().items()}
    assert wanted == {"m/1@onnxruntime": True, "m/2@onnxruntime": False}


def test_labels_count_on_while_labels_toml_is_wrong(repository: Repository) -> None:
    repository.write("m/2/model.onnx")
    repository.write("m/model.toml", 'versions = "latest:1"')
    repository.write("m/labels.toml", "stable = 1")
    assert served(repository) == {"m/1@onnxruntime", "m/2@onnxruntime"}
    repository.write("m/labels.toml", "stable = ")
    assert served(repository) == {"m/1@onnxruntime", "m/2@onnxruntime"}
    assert repository.planner.labels("m") == {"stable": 1}


def test_labelled_versions_of_all_models_come_first(repository: Repository) -> None:
    for name in ("m/2/model.onnx", "n/1/model.onnx", "n/2/model.onnx"):
        repository.write(name)
    repository.write("n/labels.toml", "stable = 2")
    assert list(repository.plans()) == ["n/2@onnxruntime", "m/1@onnxruntime", "m/2@onnxruntime", "n/1@onnxruntime"]


def test_a_version_that_was_unloaded_by_request_counts_for_no_policy(repository: Repository) -> None:
    repository.write("m/2/model.onnx")
    repository.write("m/model.toml", 'versions = "latest:1"')
    directives = {"m": Directive().unloaded(2)}
    plans = repository.planner.plan(scan(repository.root), 0, directives)
    wanted = {str(deployment): wanted.wish for deployment, wanted in wishes(plans, directives).items()}
    assert wanted == {"m/1@onnxruntime": Wish.SERVE, "m/2@onnxruntime": Wish.WITHDRAWN}


def test_fresh_files_are_waited_for(tmp_path: Path) -> None:
    repository = Repository(tmp_path, settle_s=1000)
    repository.write("m/1/model.onnx")
    seen = [repository.plans(monotonic_s)["m/1@onnxruntime"].wanted.wish for monotonic_s in (0, 999, 1000)]
    assert seen == [Wish.WAIT, Wish.WAIT, Wish.SERVE]


def test_what_is_loaded_is_told_all_that_it_needs(repository: Repository) -> None:
    repository.write(
        "m/model.toml",
        "[batching]\nmax_rows = 3\n[limits]\nmax_queue = 5\n[backend.onnxruntime]\nintra_op_threads = 2",
    )
    np.savez(repository.root / "m/1/golden.npz", **{"inputs/x": np.zeros(1)})
    plan = repository.plans()["m/1@onnxruntime"]
    artifact = plan.artifact(plan.digest())
    assert (str(artifact), artifact.path) == ("m/1@onnxruntime", repository.root / "m/1/model.onnx")
    assert (artifact.batching.max_rows, dict(artifact.options)) == (3, {"intra_op_threads": 2})
    assert artifact.golden == repository.root / "m/1/golden.npz"
    assert plan.serving("d") == Serving(Limits(max_queue=5), Batching(3), digest="d {'intra_op_threads': 2}")
    assert len(artifact.digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"m/1/model.onnx": "other weights"},
        {"m/1/weights.bin": "more weights"},
        {"m/1/golden.npz": "golden"},
        {"m/model.toml": "[batching]\nmax_rows = 3"},
        {"m/model.toml": "[limits]\ntimeout_ms = 3"},
        {"m/model.toml": "[backend.onnxruntime]\nintra_op_threads = 3"},
        {"m/1/draft.onnx": "", "m/1/model.onnx": "weights"},
    ],
    ids=str,
)
def test_a_change_that_matters_to_a_load_changes_the_fingerprint(
    repository: Repository, change: dict[str, str]
) -> None:
    before = repository.fingerprint()
    for name, content in change.items():
        repository.write(name, content)
    assert repository.fingerprint() != before


@pytest.mark.parametrize(
    "change",
    [
        {"m/2/model.onnx": "weights"},
        {"m/1/model.tflite": "another backend's weights"},
        {"m/1/saved_model/saved_model.pb": "another backend's weights"},
        {"m/1/.model.onnx.part": "hidden"},
        {"m/1/.rsync-partial/weights.bin": "hidden"},
        {"m/labels.toml": "stable = 1"},
        {"m/README.md": "words"},
        {"m/model.toml": 'description = "words"\n[version.1]\nframework = "words"'},
        {"m/model.toml": "[backend.tflite]\nthreads = 3"},
        {"m/model.toml": 'versions = "latest:1"\nbackends = ["onnxruntime"]'},
    ],
    ids=str,
)
def test_a_change_that_does_not_leaves_it(repository: Repository, change: dict[str, str]) -> None:
    before = repository.fingerprint()
    for name, content in change.items():
        repository.write(name, content)
    assert repository.fingerprint() == before


def test_a_file_put_there_anew_is_looked_at_again_and_has_the_same_digest(repository: Repository) -> None:
    plan = repository.plans()["m/1@onnxruntime"]
    (repository.root / "m/1/new").write_text("weights")
    (repository.root / "m/1/new").replace(repository.root / "m/1/model.onnx")
    again = repository.plans()["m/1@onnxruntime"]
    assert again.wanted.fingerprint != plan.wanted.fingerprint
    assert (again.digest(), again.settings) == (plan.digest(), plan.settings)


def test_a_model_toml_that_is_wrong_from_the_start_is_every_deployment_s_problem(repository: Repository) -> None:
    repository.write("m/model.toml", "max_rows = 3")
    assert repository.plans()["m/1@onnxruntime"].problem == "m/model.toml: max_rows: this key is unknown, found 3"


def test_one_that_turned_wrong_changes_nothing(repository: Repository) -> None:
    repository.write("m/model.toml", "[batching]\nmax_rows = 3")
    before = repository.fingerprint()
    repository.write("m/model.toml", "max_rows = 3")
    plan = repository.plans()["m/1@onnxruntime"]
    assert (plan.wanted.fingerprint, plan.problem) == (before, None)


def test_wishes_are_the_plans_in_short(repository: Repository) -> None:
    plans = repository.planner.plan(scan(repository.root), 0.0)
    assert list(wishes(plans)) == [Deployment("m", 1, "onnxruntime")]


def test_a_golden_file_that_is_a_link_is_refused_with_its_version(repository: Repository) -> None:
    (repository.root / "secret").write_text("secret")
    (repository.root / "m/1/golden.npz").symlink_to(repository.root / "secret")
    plan = repository.plans()["m/1@onnxruntime"]
    assert plan.golden is None
    assert plan.problem == "golden.npz is a symbolic link; put the file itself there"
