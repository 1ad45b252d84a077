"""What `torii bundle` says of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from gateway.bundles.manifest import TensorInfo
from gateway.bundles.opening import OpenedBundle
from gateway.terminal.screen import plain
from gateway.terminal.tables import size


def document(bundle: OpenedBundle, lacks: Sequence[str]) -> dict[str, Any]:
    """A bundle as plain data."""
    return {
        "file": str(bundle.path),
        "bytes": bundle.size_bytes,
        "sha256": bundle.digest,
        "manifest": msgspec.to_builtins(bundle.manifest),
        "lacks": list(lacks),
    }


def lines(bundle: OpenedBundle, lacks: Sequence[str]) -> Iterator[str | Table]:
    """A bundle for people: what is in it, and what it lacks."""
    manifest = bundle.manifest
    table = Table()
    table.add_column("file", overflow="fold")
    table.add_column("size", justify="right")
    table.add_column("SHA-256")
    for name, entry in sorted(manifest.files.items()):
        table.add_row(Text(name), size(entry.bytes), entry.sha256[:16])
    yield f"[green]{plain(str(bundle.path))}[/green] {size(bundle.size_bytes)}, SHA-256 {bundle.digest}"
    yield table
    yield f"{manifest.model}/{manifest.version} for {manifest.target}: {plain(manifest.runtime)}, {manifest.precision}"
    yield plain(f"{_tensors(manifest.inputs)} -> {_tensors(manifest.outputs)}")
    if bundle.golden is not None and manifest.tolerance is not None:
        rows = max((each.shape[0] for each in bundle.golden.inputs if each.shape), default=1)
        nearness = manifest.tolerance
        yield f"{rows} golden rows: to {nearness.max_abs:g}, best class the same in {nearness.argmax * 100:g} %"
    for each in lacks:
        yield f"[yellow]without[/yellow] {plain(each)}"


def _tensors(infos: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{each.name} {each.datatype} {list(each.shape)}" for each in infos)
