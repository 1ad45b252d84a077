"""A TUF repository and an edge server for the tests, which do as they are told, evil too."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Signed, Snapshot, TargetFile, Targets, Timestamp

ROLES = ("root", "targets", "snapshot", "timestamp")
PREFIX = "/edge/v1/"


class Repository:
    """Signs and keeps what a server serves; every version of a role has a file, and stays."""

    def __init__(self, root_threshold: int = 1) -> None:
        self.signers = {role: [CryptoSigner.generate_ed25519()] for role in ROLES}
        later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)
        root = Root(expires=later, consistent_snapshot=True)
        self.signers["root"] += [CryptoSigner.generate_ed25519() for _ in range(root_threshold - 1)]
        for role, signers in self.signers.items():
            for each in signers:
                root.add_key(each.public_key, role)
        root.roles["root"].threshold = root_threshold
        self.signed: dict[str, Signed] = {
            "root": root,
            "targets": Targets(expires=later),
            "snapshot": Snapshot(expires=later),
            "timestamp": Timestamp(expires=later),
        }
        self.metadata: dict[str, bytes] = {}
        self.targets: dict[str, bytes] = {}
        self.bundles: dict[int, tuple[str, bytes]] = {}
        self.write("root")
        self.write_all()

    @property
    def trusted_root(self) -> bytes:
        return self.metadata["1.root.json"]

    def write(self, role: str, signers: list[CryptoSigner] | None = None) -> None:
        """Sign a role as it is now, by its own keys or by others, and put it where clients look for it."""
        metadata = Metadata(deepcopy(self.signed[role]))
        for each in self.signers[role] if signers is None else signers:
            metadata.sign(each, append=True)
        data = metadata.to_bytes()
        name = "timestamp.json" if role == "timestamp" else f"{self.signed[role].version}.{role}.json"
        self.metadata[name] = data

    def write_all(self, *, bump: bool = False) -> None:
        """Targets, snapshot and timestamp, each naming the other's version."""
        for role in ROLES[1:]:
            if bump:
                self.signed[role].version += 1
        self.signed["snapshot"].meta["targets.json"] = MetaFile(self.signed["targets"].version)
        self.signed["timestamp"].snapshot_meta = MetaFile(self.signed["snapshot"].version)
        for role in ROLES[1:]:
            self.write(role)

    def rotate(self, *roles: str, drop_versions: bool = False) -> None:
        """Give roles new keys, by a new root that old and new root keys sign."""
        old_root = self.signers["root"]
        root: Root = self.signed["root"]  # type: ignore[assignment]
        for role in roles:
            for each in self.signers[role]:
                root.revoke_key(each.public_key.keyid, role)
            self.signers[role] = [CryptoSigner.generate_ed25519() for _ in self.signers[role]]
            for each in self.signers[role]:
                root.add_key(each.public_key, role)
        root.version += 1
        self.write("root", [*old_root, *(each for each in self.signers["root"] if each not in old_root)])
        self.write_all(bump=True)

    def publish(self, version: int, bundle: bytes, model: str = "digits", **custom: Any) -> str:
        """Sign a bundle as a target; gives its path."""
        path = f"{model}/{version}/{model}-{version}-linux.zip"
        self.add_target(path, bundle, {"model": model, "version": version, **custom})
        self.bundles[version] = (path, bundle)
        return path

    def add_target(self, path: str, data: bytes, custom: dict[str, Any]) -> None:
        target = TargetFile.from_data(path, data, ["sha256"])
        target.unrecognized_fields["custom"] = custom
        self.signed["targets"].targets[path] = target  # type: ignore[attr-defined]
        folder, _, name = path.rpartition("/")
        self.targets[f"{folder}/{hashlib.sha256(data).hexdigest()}.{name}"] = data
        self.write_all(bump=True)

    def revoke(self, version: int) -> None:
        del self.signed["targets"].targets[self.bundles[version][0]]  # type: ignore[attr-defined]
        self.write_all(bump=True)

    def offer(self, published: int, **other: Any) -> dict[str, Any]:
        """What `check` answers for a version."""
        path, data = self.bundles[published]
        return {
            "model": "digits",
            "channel": "stable",
            "version": published,
            "target": path,
            "delta": None,
            "sha256": hashlib.sha256(data).hexdigest(),
            "length": len(data),
            "stage": "current",
            "poll_s": 3600,
            **other,
        }


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that was killed is what some tests are about."""


class EdgeServer:
    """Serves a repository; `acts` are what it does instead, by a part of the path."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.offered: dict[str, Any] | None = None
        self.acts: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.queries: list[dict[str, str]] = []
        self.reports: list[dict[str, Any]] = []
        self.metadata_here: dict[str, bytes] | None = None
        self._server = _QuietServer(("127.0.0.1", 0), self._handler())
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @classmethod
    @contextlib.contextmanager
    def running(cls, repository: Repository) -> Iterator[EdgeServer]:
        server = cls(repository)
        try:
            yield server
        finally:
            server.stop()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def found(self, path: str) -> bytes | None:
        metadata = self.repository.metadata if self.metadata_here is None else self.metadata_here
        if path.startswith("metadata/"):
            return metadata.get(path.removeprefix("metadata/"))
        return self.repository.targets.get(path.removeprefix("targets/"))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:  # http.server's name
                parts = urlsplit(self.path)
                path = parts.path.removeprefix(PREFIX)
                server.asked.append((path, {name.lower(): value for name, value in self.headers.items()}))
                for part, act in server.acts.items():
                    if part in path:
                        act(self)
                        return
                if path.endswith("/check"):
                    server.queries.append(dict(parse_qsl(parts.query)))
                    offered = server.offered
                    answer(
                        self, 204 if offered is None else 200, b"" if offered is None else json.dumps(offered).encode()
                    )
                    return
                data = server.found(path)
                began = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if data is None:
                    answer(self, 404, b"not there")
                elif began:
                    there = int(began[1])
                    headers = {"Content-Range": f"bytes {there}-{len(data) - 1}/{len(data)}"}
                    answer(self, 206, data[there:], headers)
                else:
                    answer(self, 200, data)

            def do_POST(self) -> None:  # http.server's name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if "reports" in server.acts:
                    server.acts["reports"](self)
                    return
                new = json.loads(body)["reports"]
                server.reports += new
                answer(self, 202, json.dumps({"accepted": len(new), "duplicates": 0, "refused": []}).encode())

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def answer(to: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    to.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
        to.send_header(name, value)
    to.end_headers()
    with contextlib.suppress(OSError):
        to.wfile.write(body)


def make_bundle(
    version: int,
    model: bytes,
    *,
    golden: dict[str, Any] | None = None,
    runtime: str = "numbers",
    change: Callable[[dict[str, Any]], None] = lambda _: None,
    padding: bytes = b"",
    write: Callable[[ZipFile], None] = lambda _: None,
    model_file: str = "model.txt",
) -> bytes:
    """A bundle; of the runtime of these tests, where nothing else is said: y = x * the number in its model file."""
    if golden is None:
        golden = golden_data({"x": np.ones((2, 3), "f4")}, {"y": np.ones((2, 3), "f4") * float(model)})
    files = {model_file: model, "golden.json": json.dumps(golden).encode(), "padding.bin": padding}
    tensors = {
        side: [{"name": each["name"], "datatype": each["datatype"], "shape": [-1, *each["shape"][1:]]} for each in some]
        for side, some in golden.items()
    }
    manifest: dict[str, Any] = {
        "schema": 1,
        "model": "digits",
        "version": version,
        "target": "linux",
        "runtime": runtime,
        "precision": "fp32",
        "model_file": model_file,
        **tensors,
        "labels": None,
        "golden": "golden.json",
        "tolerance": {"max_abs": 0.001, "argmax": 1.0},
        "licence": None,
        "min_app": None,
        "files": {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()
        },
    }
    change(manifest)
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_STORED) as archive:
        for name, data in sorted({**files, "manifest.json": json.dumps(manifest).encode()}.items()):
            archive.writestr(ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data)
        write(archive)
    return stream.getvalue()


def golden_data(inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {side: [_golden(name, array) for name, array in some.items()]
            for side, some in (("inputs", inputs), ("outputs", outputs))}  # fmt: skip


def _golden(name: str, array: Any) -> dict[str, Any]:
    datatype = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8"}[array.dtype.name]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}
