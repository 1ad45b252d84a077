"""A new edge folder: keys, and the first metadata of every role."""

from __future__ import annotations

from collections.abc import Mapping

from securesystemslib.signer import Signer
from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from gateway.edge.disk import Disk
from gateway.edge.keys import KeyFolder
from gateway.edge.roles import ROLES, RoleName, Terms, tuf_role
from gateway.edge.signed import SignedFolder
from gateway.errors import Conflict


def make(folder: SignedFolder, keys: KeyFolder, terms: Mapping[RoleName, Terms]) -> None:
    """Make a repository without targets; keys that are in their folder are taken, missing ones are made.

    What was cut short is done again from its beginning: no client can have seen it. Raises Conflict where there is a
    repository, NotAllowed for keys that cannot be opened, and OSError.
    """
    for each in (folder.edge, folder.metadata, folder.targets, folder.edge / "channels"):
        each.mkdir(parents=True, exist_ok=True)
    with folder.alone():
        if (folder.metadata / "timestamp.json").exists():
            raise Conflict(f"{folder.edge}: a repository is there already; torii edge status shows it")
        signers = {role: _signers(keys, role, terms[role]) for role in ROLES}
        root = _root(signers, terms)
        targets = folder.sign(root, "targets", Targets(1), _enough(signers, terms, "targets"))
        snapshot = folder.sign(
            root,
            "snapshot",
            Snapshot(1, meta={"targets.json": targets.described()}),
            _enough(signers, terms, "snapshot"),
        )
        content = Timestamp(1, snapshot_meta=snapshot.described())
        timestamp = folder.sign(root, "timestamp", content, _enough(signers, terms, "timestamp"))
        folder.write_root(root, _enough(signers, terms, "root"), None)
        disk: Disk = folder.disk
        for name, stored in (("1.targets", targets), ("1.snapshot", snapshot), ("timestamp", timestamp)):
            disk.write(folder.metadata / f"{name}.json", stored.data)


def _signers(keys: KeyFolder, role: RoleName, terms: Terms) -> list[Signer]:
    there = keys.existing(role)[: terms.keys]
    return there + [keys.create(role) for _ in range(terms.keys - len(there))]


def _root(signers: Mapping[RoleName, list[Signer]], terms: Mapping[RoleName, Terms]) -> Root:
    public = {role: [each.public_key for each in found] for role, found in signers.items()}
    return Root(
        1,
        keys={key.keyid: key for found in public.values() for key in found},
        roles={
            role: tuf_role([key.keyid for key in public[role]], terms[role].threshold, terms[role].expires)
            for role in ROLES
        },
        consistent_snapshot=True,
    )


def _enough(signers: Mapping[RoleName, list[Signer]], terms: Mapping[RoleName, Terms], role: RoleName) -> list[Signer]:
    return signers[role][: terms[role].threshold]
