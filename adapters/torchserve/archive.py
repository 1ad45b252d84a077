"""Model archives as folders of TorchServe's model store: a manifest, the handler, the weights by hard link.

TorchServe reads a folder where it would read a .mar, and it unpacks a .mar on a thread that other models' requests
need. So archives are folders here: weights are not even copied where the file system can link them. The handler's
few modules travel along, so an archive needs nothing of ours installed where it runs.
"""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

from adapters.errors import LoadFailed
from adapters.torchserve.plan import MODEL_FILE, PLAN_FILE, Plan, encode_plan

_HANDLER = "adapters.torchserve.handler"
_MODULES = (
    "__init__.py",
    "base.py",
    "cores.py",
    "errors.py",
    "executions.py",
    "histograms.py",
    "tensors.py",
    "wire.py",
    "torchserve/__init__.py",
    "torchserve/plan.py",
    "torchserve/handler.py",
)


def pack(weights: Path, plan: Plan, folder: Path) -> None:
    """Make `folder` an archive that serves the TorchScript file `weights`. Blocking: disk."""
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(_manifest(folder.name)))
    (folder / PLAN_FILE).write_bytes(encode_plan(plan))
    ours = Path(__file__).resolve().parents[1]
    for module in _MODULES:
        copy = folder / ours.name / module
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ours / module).read_bytes())
    _place(weights, folder / MODEL_FILE)


def _place(source: Path, target: Path) -> None:
    # A second name outlives the first, while a worker that is restarted reads the file again.
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def unpack(mar: Path, folder: Path) -> None:
    """Make `folder` the archive that the file `mar` is. Blocking: disk.

    Raises:
        LoadFailed: it is no archive.
    """
    folder.mkdir()
    try:
        with zipfile.ZipFile(mar) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise LoadFailed(f"{mar.name} is no model archive: {error}") from error


def discard(entry: Path) -> None:
    """Remove an entry of the model store; one that is gone already is no error. Blocking: disk."""
    shutil.rmtree(entry, ignore_errors=True)


def _manifest(name: str) -> dict[str, object]:
    model = {"modelName": name, "serializedFile": MODEL_FILE, "handler": _HANDLER, "modelVersion": "1.0"}
    return {"createdOn": "", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
