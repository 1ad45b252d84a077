"""Edge folders to serve: metadata as a repository lays it out, unsigned, since the server passes it on as it is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.edge.channel_file import Channel, ChannelFile, Halt, Rollout, Stage
from gateway.edge.devices import Rules

SALT = "0123456789abcdef"


@dataclass
class Folder:
    """An edge folder; `write` publishes what was added so far."""

    path: Path
    targets: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 0

    def add(self, path: str, content: bytes, **custom: Any) -> str:
        """Add a target; gives its digest."""
        digest = hashlib.sha256(content).hexdigest()
        folder, _, name = path.rpartition("/")
        file = self.path / "targets" / folder / f"{digest}.{name}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        self.targets[path] = {"length": len(content), "hashes": {"sha256": digest}, "custom": custom}
        return digest

    def bundle(self, model: str, version: int, content: bytes, platform: str = "android", **custom: Any) -> str:
        """Add a bundle; gives its digest."""
        told = {"model": model, "version": version, "target": platform, "runtime": "tflite", **custom}
        return self.add(f"{model}/{version}/{model}-{version}-{platform}.zip", content, **told)

    def write(self) -> None:
        """Write the metadata, the timestamp last."""
        self.version += 1
        number = self.version
        folder = self.path / "metadata"
        folder.mkdir(parents=True, exist_ok=True)
        (self.path / "channels").mkdir(exist_ok=True)
        meta = {"version": number}
        signed: dict[str, dict[str, Any]] = {
            "targets": {"targets": self.targets},
            "snapshot": {"meta": {"targets.json": meta}},
            "timestamp": {"meta": {"snapshot.json": meta}},
        }
        if number == 1:
            signed = {"root": {"keys": {}, "roles": {}}, **signed}
        for role, parts in signed.items():
            name = "timestamp.json" if role == "timestamp" else f"{number}.{role}.json"
            told = {"_type": role, "version": number, "expires": "2036-01-01T00:00:00Z", **parts}
            replace(folder / name, json.dumps({"signatures": [], "signed": told}).encode())

    def channels(self, model: str, **channels: Channel) -> None:
        """Write a model's channels."""
        text = ChannelFile(model=model, salt=SALT, channels=channels).text()
        replace(self.path / "channels" / f"{model}.json", text.encode())

    def channel(self, model: str, name: str = "stable") -> Channel:
        """A channel as its file has it now."""
        return ChannelFile.read(self.path / "channels" / f"{model}.json").channels[name]


def replace(file: Path, content: bytes) -> None:
    """Exchange a file as a whole."""
    staged = file.with_name(f".{file.name}.staged")
    staged.write_bytes(content)
    staged.replace(file)


def rollout(version: int, percent: float = 100.0, **fields: Any) -> Rollout:
    """A rollout that began now, at its first stage."""
    now = datetime.now(UTC)
    stages = (Stage(percent=percent, after_s=0, min_reports=10**6),)
    if percent < 100:
        stages = (*stages, Stage(percent=100.0))
    told: dict[str, Any] = {"stages": stages, "started": now, "since": now, "rules": Rules(), "halt": Halt(), **fields}
    return Rollout(version=version, percent=told["stages"][0].percent, **told)
