"""What is in the repository folder: a scan gives plain data and loads nothing."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from adapters.errors import BackendUnavailable
from gateway.artifacts import VersionFiles, find_artifacts, printable
from gateway.config import MAX_CONFIG_BYTES, ConfigError, ModelConfig, read_labels, read_model_config
from gateway.errors import ModelNotFound
from gateway.experiments.definition import Definition
from gateway.experiments.files import FOLDER as EXPERIMENTS
from gateway.experiments.files import read_experiment
from gateway.types import MODEL_NAME

_VERSION_FOLDER = re.compile(r"[0-9]{1,18}")
LABELS_FILE = "labels.toml"
_NAMES_SHOWN = 20
MOST_EXPERIMENTS = 256


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in the repository: where, and what to do about it."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model's folder.

    `config` is None where model.toml is there but wrong, `labels` where labels.toml is, and of `experiments` each whose
    file is (then `problems` says so).
    """

    name: str
    path: Path
    config: ModelConfig | None
    labels: Mapping[str, int] | None
    versions: Mapping[int, VersionFiles]
    problems: tuple[Problem, ...]
    experiments: Mapping[str, Definition | None] = field(default_factory=dict)

    def all_problems(self) -> list[Problem]:
        """Every mistake found, of the model and its versions."""
        found = list(self.problems)
        for files in self.versions.values():
            found.extend(Problem(f"{self.name}/{files.path.name}", text) for text in files.problems)
        return found


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The repository as it was at one moment.

    `unreadable` are models whose folder could not be read just now: what serves of them is left alone.
    """

    models: Mapping[str, ModelEntry] = field(default_factory=dict)
    unreadable: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    def entry(self, model: str) -> ModelEntry:
        """A model of the repository.

        Raises:
            ModelNotFound: there is none of that name.
            BackendUnavailable: its folder cannot be read just now.
        """
        if model in self.unreadable:
            raise BackendUnavailable(f"the folder of model '{model}' cannot be read just now")
        if model not in self.models:
            shown = sorted(self.models)[:_NAMES_SHOWN]
            there = (", ".join(shown) or "none") + (" and more" if len(self.models) > len(shown) else "")
            raise ModelNotFound(f"model '{model:.80}' is not in the repository; there are: {there}")
        return self.models[model]

    def all_problems(self) -> list[Problem]:
        """Every mistake found, of the repository, its models and their versions."""
        found = list(self.problems)
        for model in self.models.values():
            found.extend(model.all_problems())
        return found


def scan(root: Path) -> Snapshot:
    """Look at every model and version folder under `root`.

    Raises:
        OSError: the repository itself cannot be read.
    """
    models: dict[str, ModelEntry] = {}
    unreadable: set[str] = set()
    problems: list[Problem] = []
    for folder in _folders(root):
        if not MODEL_NAME.fullmatch(folder.name):
            problems.append(Problem(printable(folder.name), "not served: a model's name is a-z 0-9 . _ - (64 at most)"))
            continue
        try:
            models[folder.name] = scan_model(folder.name, folder)
        except OSError as error:
            unreadable.add(folder.name)
            problems.append(Problem(folder.name, f"cannot be read: {error.strerror or error}"))
    return Snapshot(models, frozenset(unreadable), tuple(problems))


def _folders(root: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(root), key=lambda each: each.name):
        if entry.is_dir() and not entry.name.startswith((".", "_")):
            yield Path(entry.path)


def scan_model(name: str, folder: Path) -> ModelEntry:
    """Look at one model's folder; raises OSError where it cannot be read."""
    problems: list[Problem] = []
    config: ModelConfig | None = ModelConfig()
    labels: dict[str, int] | None = {}
    try:
        if (text := read_text(folder / "model.toml")) is not None:
            config = read_model_config(text, f"{folder.name}/model.toml")
    except ConfigError as error:
        config = None
        problems.append(_problem(error))
    try:
        if (text := read_text(folder / LABELS_FILE)) is not None:
            labels = read_labels(text, f"{folder.name}/{LABELS_FILE}")
    except ConfigError as error:
        labels = None
        problems.append(_problem(error))
    versions = _scan_versions(folder, problems)
    if not versions and not problems:
        problems.append(Problem(folder.name, "no version: expected a folder named by a positive integer, as in 1/"))
    if config is not None and not isinstance(config.versions, str):
        problems.extend(
            Problem(f"{folder.name}/model.toml", f"versions: {number} is listed, but there is no such folder")
            for number in config.versions
            if number not in versions
        )
    experiments = _scan_experiments(name, folder / EXPERIMENTS, problems)
    return ModelEntry(name, folder, config, labels, versions, tuple(problems), experiments)


def _scan_experiments(model: str, folder: Path, problems: list[Problem]) -> dict[str, Definition | None]:
    experiments: dict[str, Definition | None] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".toml"))
    except (FileNotFoundError, NotADirectoryError):
        return experiments
    for file in names:
        where = f"{model}/{EXPERIMENTS}/{printable(file)}"
        name = file.removesuffix(".toml")
        if file.startswith("."):
            continue
        if not MODEL_NAME.fullmatch(name):
            problems.append(Problem(where, "not read: an experiment's name is a-z 0-9 . _ - (64 at most)"))
        elif len(experiments) >= MOST_EXPERIMENTS:
            problems.append(Problem(where, f"not read: there are more than {MOST_EXPERIMENTS} experiments"))
        else:
            experiments[name] = _read_experiment(folder / file, model, name, where, problems)
    return experiments


@lru_cache(maxsize=1024)
def _parsed(text: str, model: str, name: str, where: str) -> Definition:
    return read_experiment(text, model, name, where)


def _read_experiment(file: Path, model: str, name: str, where: str, problems: list[Problem]) -> Definition | None:
    try:
        text = read_text(file)
        return None if text is None else _parsed(text, model, name, where)
    except ConfigError as error:
        problems.append(_problem(error))
    return None


def _scan_versions(folder: Path, problems: list[Problem]) -> dict[int, VersionFiles]:
    named: dict[int, list[Path]] = {}
    for each in _folders(folder):
        if _VERSION_FOLDER.fullmatch(each.name) and int(each.name):
            named.setdefault(int(each.name), []).append(each)
    versions: dict[int, VersionFiles] = {}
    for number, folders in sorted(named.items()):
        if len(folders) > 1:
            names = " and ".join(f"{folder.name}/{each.name}" for each in folders)
            problems.append(Problem(folder.name, f"{names} are both version {number}: keep one; neither is served"))
            continue
        versions[number] = find_artifacts(folders[0])
    return versions


def _problem(error: ConfigError) -> Problem:
    where, _, text = str(error).partition(": ")
    return Problem(where, text)


def read_text(file: Path) -> str | None:
    """The text of a model's settings; None where there is no such file.

    Raises:
        ConfigError: it is no regular file, too large, or no UTF-8.
        OSError: it cannot be read.
    """
    try:
        # Without waiting: a named pipe would keep the open, and so the watch over everything, for ever.
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), "rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise ConfigError(f"{file.parent.name}/{file.name}: expected a regular file")
            data = stream.read(MAX_CONFIG_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{file.parent.name}/{file.name}: larger than {MAX_CONFIG_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file.parent.name}/{file.name}: not UTF-8: {error}") from None
