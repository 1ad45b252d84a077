"""Private keys as files: PEM, encrypted, mode 600; those that sign by themselves apart from those that do not.

A folder of keys holds `offline/root-<key id>.pem`, `offline/targets-….pem`, `online/snapshot-….pem` and
`online/timestamp-….pem`; either half may be elsewhere. PKCS8 as the library writes it stretches a passphrase too
little (PBKDF2, 2,048 rounds), so what encrypts it is the passphrase stretched by scrypt, whose numbers stand above it.
A file without them is opened by the passphrase itself: so one made by openssl can be used.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import CryptoSigner, Signer
from tuf.api.metadata import Root

from gateway.edge.disk import DISK, Disk
from gateway.edge.roles import Kind, RoleName, kind_of
from gateway.errors import NotAllowed

Passphrase = Callable[[Kind, Path], str]
"""Gives the passphrase of a file of keys; raises NotAllowed where there is none."""

LEAST_CHARACTERS: Final = 12
_PRIVATE: Final = 0o600
_MOST_BYTES: Final = 1 << 16
_COST: Final = 1 << 16
"""scrypt's N: 64 MiB and a fifth of a second for each guess."""

_BLOCK: Final = 8
_STRETCHED: Final = re.compile(rb"^Scrypt: N=([0-9]{1,7}) r=8 p=1 salt=([0-9a-f]{32})$", re.MULTILINE)


def variable(kind: Kind) -> str:
    """The variable of the environment that holds the passphrase of a kind of keys."""
    return f"TORII_EDGE_{kind.upper()}_PASSPHRASE"


def from_environment(kind: Kind, file: Path) -> str:
    """The passphrase as a variable has it; raises NotAllowed where it is not set."""
    found = os.environ.get(variable(kind), "")
    if not found:
        raise NotAllowed(f"{file}: set {variable(kind)} to the passphrase of the {kind} keys")
    return found


class KeyFolder:
    """Keys in a folder. Blocking: disk, and scrypt."""

    def __init__(
        self, folder: Path, passphrase: Passphrase = from_environment, cost: int | None = None, disk: Disk = DISK
    ) -> None:
        self.folder = folder
        self._passphrase = passphrase
        self._cost = cost or _COST
        self._disk = disk
        self._opened: dict[Path, Signer] = {}

    def create(self, role: RoleName) -> Signer:
        """Make a key and its file. Raises OSError, and NotAllowed where the passphrase is missing or too short."""
        private = Ed25519PrivateKey.generate()
        signer = CryptoSigner(private)
        file = self.file(role, signer.public_key.keyid)
        for each in (self.folder, file.parent):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        passphrase = self._passphrase(kind_of(role), file)
        if len(passphrase) < LEAST_CHARACTERS:
            raise NotAllowed(
                f"the passphrase of the {kind_of(role)} keys: expected at least {LEAST_CHARACTERS} characters, got "
                f"{len(passphrase)}"
            )
        salt = secrets.token_bytes(16)
        encryption = BestAvailableEncryption(_stretched(passphrase, self._cost, salt))
        pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        head = f"Torii edge key of the role {role}: keep it secret\nScrypt: N={self._cost} r=8 p=1 salt={salt.hex()}\n"
        self._disk.write(file, head.encode() + pem, _PRIVATE)
        self._opened[file] = signer
        return signer

    def existing(self, role: RoleName) -> list[Signer]:
        """The keys of a role that are in the folder, whether a repository knows them or not."""
        files = sorted((self.folder / kind_of(role)).glob(f"{role}-*.pem"))
        return [self._open(role, each) for each in files]

    def signers(self, root: Root, role: RoleName) -> list[Signer]:
        """As many keys of a role as must sign. Raises NotAllowed where there are fewer, or one cannot be opened."""
        wanted = root.roles[role]
        files = [self.file(role, each) for each in wanted.keyids]
        there = [each for each in files if each.exists()]
        if len(there) < wanted.threshold:
            raise NotAllowed(
                f"{wanted.threshold} of {len(files)} keys must sign {role}, and {len(there)} are in {self.folder}: "
                f"expected {_listed(self.folder, files)}; --keys names another folder"
            )
        return [self._open(role, each) for each in there[: wanted.threshold]]

    def has_online(self, root: Root) -> bool:
        """Whether as many keys of snapshot and timestamp are in the folder as must sign."""
        roles: tuple[RoleName, ...] = ("snapshot", "timestamp")
        return all(
            sum(self.file(role, each).exists() for each in root.roles[role].keyids) >= root.roles[role].threshold
            for role in roles
        )

    def file(self, role: RoleName, keyid: str) -> Path:
        """Where a key belongs."""
        return self.folder / kind_of(role) / f"{role}-{keyid[:16]}.pem"

    def _open(self, role: RoleName, file: Path) -> Signer:
        if file not in self._opened:
            mode = stat.S_IMODE(file.stat().st_mode)
            if mode & 0o077:
                raise NotAllowed(
                    f"{file}: others may read it (mode {mode:o}); chmod 600 it, and rotate {role} if they did"
                )
            self._opened[file] = self._decrypted(role, file)
        return self._opened[file]

    def _decrypted(self, role: RoleName, file: Path) -> Signer:
        with file.open("rb") as stream:
            data = stream.read(_MOST_BYTES)
        kind = kind_of(role)
        passphrase = self._passphrase(kind, file)
        numbers = _STRETCHED.search(data)
        secret = passphrase.encode()
        try:
            if numbers:
                secret = _stretched(passphrase, int(numbers[1]), bytes.fromhex(numbers[2].decode()))
            return CryptoSigner(load_pem_private_key(data, secret))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise NotAllowed(
                f"{file}: it is not opened by this passphrase, or is no encrypted key ({error}); "
                f"{variable(kind)} is to hold the passphrase that it was made with"
            ) from None


def _stretched(passphrase: str, cost: int, salt: bytes) -> bytes:
    room = 256 * _BLOCK * cost + (1 << 20)
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=cost, r=_BLOCK, p=1, maxmem=room, dklen=32).hex().encode()


def _listed(folder: Path, files: Iterable[Path]) -> str:
    return ", ".join(str(each.relative_to(folder)) for each in files)
