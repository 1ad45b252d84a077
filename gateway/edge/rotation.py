"""Other keys for a role, such that clients can verify everything at every moment on the way.

Root is one file, signed by the old keys and the new ones. For another role three steps follow each other: a root that
accepts the old keys and the new ones; the role's metadata, signed by the new ones; a root that accepts these only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, Root

from adapters.errors import InvalidInput
from gateway.edge.keys import KeyFolder
from gateway.edge.roles import RoleName, Terms, lifetime, tuf_role
from gateway.edge.signed import SignedFolder, State

_ROTATING = "x-torii-rotating"


@dataclass(frozen=True, slots=True)
class Rotated:
    """The root's new version, and key files that are of no use any more."""

    root_version: int
    useless: tuple[Path, ...]


def rotate(folder: SignedFolder, keys: KeyFolder, role: RoleName, terms: Terms | None = None) -> Rotated:
    """Replace a role's keys by new ones, as many as there were, or as `terms` say.

    Needs the keys of root, and those of snapshot and timestamp. What was cut short is finished by doing it again.
    Raises NotAllowed for keys that are missing, Conflict, ConfigError and OSError.
    """
    with folder.changing() as state:
        old = state.root.roles[role]
        terms = terms or Terms(lifetime(state.root, role), old.threshold, _count(state.root, role))
        root_signers = keys.signers(state.root, "root")
        if role != "root":
            _need(state.root, keys, role)
        made = [keys.create(role) for _ in range(terms.keys)]
        if role == "root":
            final = _replaced(state.root, role, made, terms)
            folder.write_root(final, _distinct([*root_signers, *made[: terms.threshold]]), state.root)
        else:
            both = _both(state.root, role, made, terms)
            final = _replaced(both, role, made, terms)
            folder.write_root(both, root_signers, state.root)
            targets = state.copied_targets() if role == "targets" else None
            folder.commit(state, keys, targets, final)
            folder.write_root(final, root_signers, both)
        kept = set(final.roles[role].keyids)
        useless = (keys.file(role, each) for each in old.keyids if each not in kept)
        return Rotated(final.version, tuple(each for each in useless if each.exists()))


def sign_again(folder: SignedFolder, keys: KeyFolder, role: RoleName) -> None:
    """Have a role's metadata signed by the same keys, so that it holds longer. Raises the same."""
    with folder.changing() as state:
        if role == "root":
            root = _copied(state.root)
            root.version += 1
            folder.write_root(root, keys.signers(state.root, "root"), state.root)
        else:
            folder.commit(state, keys, state.copied_targets() if role == "targets" else None)


def unfinished(state: State) -> tuple[str, ...]:
    """The roles whose rotation was cut short."""
    return tuple(name for name, each in state.root.roles.items() if _ROTATING in each.unrecognized_fields)


def _need(root: Root, keys: KeyFolder, role: RoleName) -> None:
    """Open what will have to sign, before anything is written."""
    online: tuple[RoleName, ...] = ("snapshot", "timestamp")
    for each in online:
        if each != role:
            keys.signers(root, each)


def _count(root: Root, role: RoleName) -> int:
    """How many keys a role had before its rotation began."""
    found = root.roles[role].unrecognized_fields.get(_ROTATING)
    return found if isinstance(found, int) else len(root.roles[role].keyids)


def _both(root: Root, role: RoleName, made: list[Signer], terms: Terms) -> Root:
    """With the old keys and the new ones; either alone are enough."""
    old = root.roles[role]
    changed = _copied(root)
    keyids = [*old.keyids, *(each.public_key.keyid for each in made)]
    changed.roles[role] = tuf_role(keyids, min(old.threshold, terms.threshold), terms.expires)
    changed.roles[role].unrecognized_fields[_ROTATING] = terms.keys
    changed.keys.update({each.public_key.keyid: each.public_key for each in made})
    changed.version += 1
    return changed


def _replaced(root: Root, role: RoleName, made: list[Signer], terms: Terms) -> Root:
    changed = _copied(root)
    changed.roles[role] = tuf_role([each.public_key.keyid for each in made], terms.threshold, terms.expires)
    changed.keys.update({each.public_key.keyid: each.public_key for each in made})
    used = {keyid for each in changed.roles.values() for keyid in each.keyids}
    changed.keys = {keyid: key for keyid, key in changed.keys.items() if keyid in used}
    changed.version += 1
    return changed


def _copied(root: Root) -> Root:
    return Metadata[Root].from_bytes(Metadata(root).to_bytes()).signed


def _distinct(signers: list[Signer]) -> list[Signer]:
    return list({each.public_key.keyid: each for each in signers}.values())


def checked_terms(state: State, role: RoleName, threshold: int | None, count: int | None) -> Terms:
    """The terms of a rotation: as they are, but for what is given. Raises InvalidInput."""
    old = state.root.roles[role]
    keys = count or max(_count(state.root, role), threshold or 1)
    if threshold is not None and threshold > keys:
        raise InvalidInput(f"threshold {threshold}: expected at most as many as there are keys, {keys}")
    return Terms(lifetime(state.root, role), threshold or old.threshold, keys)
