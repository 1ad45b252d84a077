"""A signed repository in memory: metadata made by python-tuf, and real bundles of the digits model."""

from __future__ import annotations

import hashlib
import json
import tempfile
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Metadata, MetaFile, Role, Root, Snapshot, TargetFile, Targets, Timestamp

from gateway.bundles.archive import write_archive

ROLES = ("root", "targets", "snapshot", "timestamp")
MODELS = Path(__file__).parents[3] / "model_repo" / "digits"


def onnx_bundle(as_version: int = 2, spoilt: bool = False) -> bytes:
    """A bundle of digits/2; `spoilt`: its golden answers are those of another digit."""
    golden = np.load(MODELS / "2" / "golden.npz")
    images, answers = golden["inputs/image"], golden["outputs/probabilities"]
    if spoilt:
        answers = np.roll(answers, 1, axis=1)
    model = {"model.onnx": (MODELS / "2" / "model.onnx").read_bytes()}
    return _bundle(as_version, "onnxruntime", model, images, answers)


def tflite_bundle(fixed: bool = True) -> bytes:
    """A bundle of digits/1; `fixed`: its batch is 1, as LiteRT.js wants it, and not open."""
    golden = np.load(MODELS / "1" / "golden.npz")
    images, answers = golden["inputs/image"][:1], golden["outputs/probabilities"][:1]
    content = (MODELS / "1" / "model.tflite").read_bytes()
    return _bundle(1, "tflite", {"model.tflite": _fixed(content) if fixed else content}, images, answers)


def _fixed(content: bytes) -> bytes:
    """A TFLite model without the signatures of shapes that say what is open in them."""
    builder = flatbuffers.Builder(len(content))
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = None
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _bundle(
    version: int,
    runtime: str,
    model: dict[str, bytes],
    images: npt.NDArray[np.float32],
    answers: npt.NDArray[np.float32],
) -> bytes:
    tensors = {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": list(images.shape), "data": images.ravel().tolist()}],
        "outputs": [
            {
                "name": "probabilities",
                "datatype": "FP32",
                "shape": list(answers.shape),
                "data": answers.ravel().tolist(),
            }
        ],
    }
    files = {
        "golden.json": json.dumps(tensors).encode(),
        **model,
        "labels.txt": "\n".join(map(str, range(10))).encode() + b"\n",
    }
    files["manifest.json"] = json.dumps(_manifest(version, next(iter(model)), runtime, files)).encode()
    with tempfile.TemporaryDirectory() as folder:
        write_archive(archive := Path(folder) / "bundle.zip", files)
        return archive.read_bytes()


def _manifest(version: int, file: str, runtime: str, files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "schema": 1,
        "model": "digits",
        "version": version,
        "target": "browser",
        "runtime": runtime,
        "precision": "fp32",
        "model_file": file,
        "files": {name: {"sha256": digest(each), "bytes": len(each)} for name, each in files.items()},
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        "labels": "labels.txt",
        "golden": "golden.json",
        "tolerance": {"max_abs": 0.001, "argmax": 1.0},
        "licence": None,
        "min_app": None,
    }


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


class Repository:
    """`files` are what a server has, by the path below /edge/v1/; a test may change any of them."""

    def __init__(self) -> None:
        self.signers: dict[str, Signer] = {role: CryptoSigner.generate_ed25519() for role in ROLES}
        self.files: dict[str, bytes] = {}
        self.targets: dict[str, TargetFile] = {}
        self.versions = dict.fromkeys(ROLES, 0)
        self.lifetime: dict[str, timedelta] = dict.fromkeys(ROLES, timedelta(days=30))
        self.write_root()

    def write_root(self) -> None:
        """Write the next root, with the signers' keys of now."""
        self.versions["root"] += 1
        keys = {signer.public_key.keyid: signer.public_key for signer in self.signers.values()}
        roles = {role: Role([signer.public_key.keyid], 1) for role, signer in self.signers.items()}
        root = Root(**self._common("root"), keys=keys, roles=roles, consistent_snapshot=True)
        self.files[f"metadata/{self.versions['root']}.root.json"] = self._signed("root", root)

    def add(self, version: int, content: bytes, runtime: str) -> str:
        """Add a bundle; gives its path among the targets."""
        path = f"digits/{version}/digits-{version}-browser.zip"
        target = TargetFile.from_data(path, content, ["sha256"])
        told = {"model": "digits", "version": version, "target": "browser", "runtime": runtime}
        target.unrecognized_fields = {"custom": told}
        self.targets[path] = target
        folder, _, name = path.rpartition("/")
        self.files[f"targets/{folder}/{digest(content)}.{name}"] = content
        self.publish()
        return path

    def publish(self) -> None:
        """Sign targets, snapshot and timestamp anew."""
        self._write("targets", Targets(**self._next("targets"), targets=self.targets))
        self._write("snapshot", Snapshot(**self._next("snapshot"), meta={"targets.json": self._meta("targets")}))
        self._write("timestamp", Timestamp(**self._next("timestamp"), snapshot_meta=self._meta("snapshot")))

    def copy(self, after: int) -> Repository:
        """One with the same keys, to be changed while this one stays; its versions come after earlier copies'."""
        found = copy(self)
        for name in ("signers", "files", "targets", "versions", "lifetime"):
            setattr(found, name, dict(getattr(self, name)))
        found.versions |= {role: found.versions[role] + 10 * after for role in ROLES if role != "root"}
        return found

    def write_to(self, folder: Path) -> None:
        """Lay it out as an edge folder."""
        for path, content in self.files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)

    def _next(self, role: str) -> dict[str, Any]:
        self.versions[role] += 1
        return self._common(role)

    def _common(self, role: str) -> dict[str, Any]:
        now = datetime.now(UTC).replace(microsecond=0)
        return {"version": self.versions[role], "expires": now + self.lifetime[role]}

    def _signed(self, role: str, content: Any) -> bytes:
        metadata = Metadata(content)
        metadata.sign(self.signers[role])
        return metadata.to_bytes()

    def _write(self, role: str, content: Any) -> None:
        name = "timestamp" if role == "timestamp" else f"{self.versions[role]}.{role}"
        self.files[f"metadata/{name}.json"] = self._signed(role, content)

    def _meta(self, role: str) -> MetaFile:
        content = self.files[f"metadata/{self.versions[role]}.{role}.json"]
        return MetaFile(self.versions[role], len(content), {"sha256": digest(content)})
