"""The signed metadata of an edge folder in memory: which files there are, and which of them are the newest."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config import ConfigError
from gateway.edge.server.documents import Document

_NAME: Final = re.compile(r"timestamp\.json|[1-9][0-9]{0,9}\.[a-z][a-z0-9_-]{0,63}\.json")
"""What is ever served of the folder: the timestamp, and what bears a version."""

_MOST_BYTES: Final = 16 << 20
_MOST_FILES: Final = 4096

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Metadata:
    """`documents` by name; `roles` are the newest of each role but root, as JSON, by name: timestamp, snapshot, …"""

    documents: Mapping[str, Document] = field(default_factory=dict)
    roles: Mapping[str, Any] = field(default_factory=dict)
    stamps: Mapping[str, Stamp] = field(default_factory=dict)


def read_metadata(folder: Path, before: Metadata) -> Metadata:
    """Read what has changed. Blocking; raises OSError, and ConfigError where the newest files do not fit together."""
    stamps = _stamps(folder)
    if stamps == before.stamps:
        return before
    kept = {name: each for name, each in before.documents.items() if before.stamps.get(name) == stamps.get(name)}
    contents = {name: kept[name].content if name in kept else _read(folder / name) for name in stamps}
    roles = _roles(contents)
    current = {_file(role, document) for role, document in roles.items()}
    documents = {
        name: kept.get(name) or Document.of(each, compressed=name in current or name.endswith(".root.json"))
        for name, each in contents.items()
    }
    return Metadata(documents, roles, stamps)


def _stamps(folder: Path) -> dict[str, Stamp]:
    found: dict[str, Stamp] = {}
    with os.scandir(folder) as entries:
        for each in entries:
            if _NAME.fullmatch(each.name) and each.is_file(follow_symlinks=False):
                told = each.stat(follow_symlinks=False)
                found[each.name] = told.st_mtime_ns, told.st_size, told.st_ino
    if len(found) > _MOST_FILES:
        raise ConfigError(f"metadata: expected at most {_MOST_FILES} files, found {len(found)}; remove old versions")
    return found


def _read(path: Path) -> bytes:
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ConfigError(f"metadata/{path.name}: expected at most {_MOST_BYTES} bytes")
    return content


def _roles(contents: Mapping[str, bytes]) -> dict[str, Any]:
    """From the timestamp to the snapshot, and from that to all others."""
    found = {"timestamp": _signed(contents, "timestamp.json")}
    for role in ("timestamp", "snapshot"):
        if role not in found:
            continue
        for file, meta in found[role]["meta"].items():
            name = file.removesuffix(".json")
            found[name] = _signed(contents, f"{meta['version']}.{file}")
    return found


def _signed(contents: Mapping[str, bytes], name: str) -> Any:
    if name not in contents:
        raise ConfigError(f"metadata/{name}: it is not there; torii edge init makes a repository")
    try:
        signed = msgspec.json.decode(contents[name])["signed"]
        _ = signed["version"], signed["_type"]
    except (msgspec.DecodeError, RecursionError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ConfigError(f"metadata/{name}: it is no signed metadata: {error!r:.200}") from None
    return signed


def _file(role: str, signed: Any) -> str:
    return "timestamp.json" if role == "timestamp" else f"{signed['version']}.{role}.json"
