"""Puts a bundle together: a version's model for a target, with all that a device needs to trust and to try it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from adapters.errors import InvalidInput
from adapters.export.data import Data, DataKind, read_data
from adapters.export.environments import MAIN, Environments, OnLine
from adapters.export.formats import Format
from adapters.export.measuring import Subject
from gateway.artifacts import GOLDEN as GOLDEN_FILE
from gateway.bundles import manifest as said
from gateway.bundles.archive import Content, entry_of, write_archive
from gateway.bundles.contents import Weights, certificate_of, choose, papers_of, weights_in
from gateway.bundles.golden import Recorded, record
from gateway.errors import NotAllowed

_MOST_LABELS_BYTES = 1 << 20
_RUNS_IN = {Format.PTE: "executorch", Format.TFJS: "tfjs"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be bundled: a version, for whom, and what stands in for the version's own files.

    `golden` is an .npz of rows; with `without_golden` the bundle has none, and no device can check itself.
    """

    model: str
    version: int
    target: str
    backend: str | None = None
    golden: Path | None = None
    without_golden: bool = False
    labels: Path | None = None
    licence: Path | None = None
    min_app: str | None = None

    def __str__(self) -> str:
        return f"{self.model}/{self.version}"


@dataclass(frozen=True, slots=True)
class Made:
    """A bundle that was written, and what it lacks, in words."""

    path: Path
    manifest: said.Manifest
    lacks: tuple[str, ...]


async def bundle(wanted: Wanted, folder: Path, output: Path, on_line: OnLine = lambda line: None) -> Made:
    """Write the bundle of a version, whose folder is `folder`, into the folder `output`.

    A runtime that needs an environment of its own gets one; `on_line` is told of that.

    Raises:
        InvalidInput: what is asked for, or golden data, do not fit the model.
        ModelNotFound: the version has nothing for the target.
        Conflict: its certificate is of other bytes.
        InferenceFailed: the model does not run.
        BackendUnavailable: its runtime's environment cannot be made.
        NotAllowed: the bundle cannot be written; nothing is left behind then.
    """
    said.check_min_app(wanted.min_app)
    weights = await asyncio.to_thread(lambda: choose(weights_in(folder), wanted.target, wanted.backend, str(wanted)))
    data = await asyncio.to_thread(_rows, wanted, folder)
    recorded = await record(await _subject(weights, on_line), data, weights.form.precision)
    return await asyncio.to_thread(_write, wanted, folder, weights, recorded, output)


async def _subject(weights: Weights, on_line: OnLine) -> Subject:
    environment = await Environments().ready(_RUNS_IN.get(weights.form.format, MAIN), on_line)
    return Subject(weights.form, weights.path, environment.python, environment.node_modules)


def _rows(wanted: Wanted, folder: Path) -> Data | None:
    file = wanted.golden or folder / GOLDEN_FILE
    if wanted.without_golden:
        return None
    if not file.is_file() or (file.is_symlink() and wanted.golden is None):
        raise InvalidInput(
            f"{wanted} has no {GOLDEN_FILE}, so devices could not check themselves: put one into its folder, give one "
            "(--golden FILE: an .npz with an array inputs/<tensor> for each input), or do without (--without-golden)"
        )
    return read_data(file, DataKind.GOLDEN)


def _write(wanted: Wanted, folder: Path, weights: Weights, recorded: Recorded, output: Path) -> Made:
    contents: dict[str, Content] = {**weights.files, **papers_of(folder, wanted.labels, wanted.licence)}
    contents |= certificate_of(folder, weights)
    if said.LABELS in contents:
        contents[said.LABELS] = _text(contents[said.LABELS])
    if recorded.golden is not None:
        contents[said.GOLDEN] = _golden(recorded.golden)
    for name in contents:
        said.check_name(name)
    if len(contents) >= said.MOST_ENTRIES:
        raise InvalidInput(f"{wanted}: expected at most {said.MOST_ENTRIES - 1} files, got {len(contents)}")
    manifest = said.Manifest(
        model=wanted.model,
        version=wanted.version,
        target=wanted.target,
        runtime=weights.runtime,
        precision=weights.form.precision,
        model_file=weights.model_file,
        files={name: entry_of(content) for name, content in sorted(contents.items())},
        inputs=recorded.inputs,
        outputs=recorded.outputs,
        labels=said.LABELS if said.LABELS in contents else None,
        golden=said.GOLDEN if recorded.golden else None,
        tolerance=recorded.tolerance,
        licence=said.LICENCE if said.LICENCE in contents else None,
        min_app=wanted.min_app,
    )
    file = output / manifest.file_name
    try:
        write_archive(file, {**contents, said.MANIFEST: said.encode(manifest)})
    except OSError as error:
        text = f"{file.name} cannot be written: {error.strerror or error}; nothing was left behind"
        raise NotAllowed(text) from error
    return Made(file, manifest, _lacks(manifest))


def _golden(golden: said.Golden) -> bytes:
    data = said.encode(golden)
    if len(data) > said.MOST_GOLDEN_BYTES:
        raise InvalidInput(
            f"one golden row takes {len(data)} bytes as text, at most {said.MOST_GOLDEN_BYTES} are taken; "
            "--without-golden leaves it out"
        )
    return data


def _text(content: Content) -> bytes:
    """Labels, which are a line of text each."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    try:
        if len(data) <= _MOST_LABELS_BYTES and data.decode().strip():
            return data
    except UnicodeDecodeError:
        pass
    raise InvalidInput(f"labels: expected one label a line, in UTF-8, at most {_MOST_LABELS_BYTES} bytes")


def _lacks(manifest: said.Manifest) -> tuple[str, ...]:
    there = {
        "golden data: devices cannot check themselves": manifest.golden is not None,
        "a certificate: it was not exported here": said.CERTIFICATE in manifest.files,
        "labels (labels.txt)": manifest.labels is not None,
        "a licence (LICENSE)": manifest.licence is not None,
    }
    return tuple(what for what, is_there in there.items() if not is_there)
