"""An export goes into its version's folder as a whole, with its certificate, and only while the version stands."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.export.formats import Form, forms_in
from gateway.artifacts import find_artifacts
from gateway.errors import Conflict, NotAllowed
from gateway.replacing import sync_folder

CERTIFICATES: Final = "certificates"
_LOCK: Final = ".exports.lock"
_STAGED: Final = ".export-"
_SPARE_BYTES: Final = 1 << 20
_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Standing:
    """A version's folder as it was when its export began: which folder, and what it could be made of.

    `stamps` are size, modification time and inode of each file of each source.
    """

    name: str
    path: Path
    inode: tuple[int, int]
    stamps: Mapping[str, tuple[int, int, int]]

    @classmethod
    def of(cls, name: str, path: Path) -> Standing:
        """Look at a version's folder; `name` is what errors call it. Blocking; raises Conflict where it is gone."""
        try:
            real = path.resolve(strict=True)
            found = real.stat()
            return cls(name, real, (found.st_dev, found.st_ino), _stamps(real))
        except (FileNotFoundError, NotADirectoryError):
            raise _gone(name) from None

    def check(self, form: Form) -> None:
        """Raises Conflict where the folder is not what it was: it is being removed, or its files were replaced.

        What is published there, of this form, does not count.
        """
        now = Standing.of(self.name, self.path)
        if now.inode != self.inode:
            raise _gone(self.name)
        for file, stamp in self.stamps.items():
            if file.split("/")[0] == form.file_name:
                continue
            if file not in now.stamps:
                raise Conflict(f"{self.name} is being removed: {file} is gone; nothing was published")
            if now.stamps[file] != stamp:
                raise Conflict(f"{file} of {self.name} was replaced meanwhile; nothing was published: export it again")


def certificate_name(form: Form) -> str:
    """What the files of an export's certificate are called, without their suffix."""
    return form.backend or str(form)


def check_free(standing: Standing, form: Form, replace: bool) -> None:
    """Raises Conflict where a version has such an artifact, and NotAllowed where nothing can be written. Blocking."""
    there = form.file_name if (standing.path / form.file_name).exists() else None
    if there is None and form.backend is not None:
        artifact = find_artifacts(standing.path).artifacts.get(form.backend)
        there = artifact.path.name if artifact else None
    if there and not replace:
        raise Conflict(f"{standing.name} has a {there} already; ask for it to be replaced (--replace)")
    for folder in (standing.path, standing.path.parent):
        if not os.access(folder, os.W_OK | os.X_OK):
            raise NotAllowed(f"{standing.name}: the folder {folder.name}/ cannot be written to by this user")


def publish(
    artifact: Path, form: Form, papers: Mapping[str, bytes], standing: Standing, *, replace: bool = False
) -> Path:
    """Put an artifact, a file or folder, into its version's folder; gives where it is then. Blocking: disk.

    `papers` are the certificate's files by suffix: they are there before the artifact is.

    Raises:
        Conflict: the version is gone, being removed or changed, or has such an artifact and shall keep it.
        NotAllowed: the disk is full, or cannot be written to.
    """
    size = _size(artifact) + sum(map(len, papers.values()))
    try:
        with _locked(standing.path.parent):
            standing.check(form)
            check_free(standing, form, replace)
            _check_space(standing, size)
            staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=standing.path.parent))
            try:
                _stage(artifact, form, papers, staged)
                return _move(staged, form, papers, standing)
            finally:
                shutil.rmtree(staged, ignore_errors=True)
    except FileNotFoundError:
        raise _gone(standing.name) from None
    except OSError as error:
        if error.errno in _FULL:
            raise _full(standing, size) from error
        text = f"{standing.name} cannot be written to: {error.strerror or error}; nothing was published"
        raise NotAllowed(text) from error


def _stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    stamps: dict[str, tuple[int, int, int]] = {}
    for source in forms_in(folder).values():
        files = [source] if source.is_file() else sorted(each for each in source.rglob("*") if each.is_file())
        for file in files:
            name, found = file.relative_to(folder).as_posix(), file.stat()
            if name.startswith(f"{CERTIFICATES}/"):  # a SavedModel may be the folder itself
                continue
            stamps[name] = found.st_size, found.st_mtime_ns, found.st_ino
    return stamps


def _gone(name: str) -> Conflict:
    return Conflict(f"{name} is gone; nothing was published")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """The time in which nobody else publishes into a model's versions; what a killed one left is taken away."""
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in folder.glob(f"{_STAGED}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _check_space(standing: Standing, size: int) -> None:
    if shutil.disk_usage(standing.path).free < size + _SPARE_BYTES:
        raise _full(standing, size)


def _full(standing: Standing, size: int) -> NotAllowed:
    free = shutil.disk_usage(standing.path.parent).free
    return NotAllowed(
        f"{standing.name}: the disk is full: {size} bytes are needed, {free} are free; nothing was published"
    )


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(each.stat().st_size for each in files if each.is_file())


def _stage(artifact: Path, form: Form, papers: Mapping[str, bytes], staged: Path) -> None:
    """Write all of it beside the version, durably: to publish is to rename."""
    target = staged / form.file_name
    if artifact.is_dir():
        shutil.copytree(artifact, target, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(artifact, target)
    for suffix, content in papers.items():
        (staged / f"{certificate_name(form)}{suffix}").write_bytes(content)
    for folder, _, files in os.walk(staged, topdown=False):
        for name in files:
            _sync_file(Path(folder, name))
        sync_folder(Path(folder))
        Path(folder).chmod(_FOLDER_MODE)


def _sync_file(file: Path) -> None:
    with file.open("rb") as stream:
        os.fchmod(stream.fileno(), _FILE_MODE)
        os.fsync(stream.fileno())


def _move(staged: Path, form: Form, papers: Mapping[str, bytes], standing: Standing) -> Path:
    """Rename all of it into place; where anything stands against it, all is as before."""
    certificates = standing.path / CERTIFICATES
    if certificates.is_symlink():
        raise NotAllowed(f"{standing.name}: {CERTIFICATES} is a symbolic link; take it away")
    with contextlib.ExitStack() as undo:
        if not certificates.is_dir():
            certificates.mkdir(mode=_FOLDER_MODE)
            undo.callback(_quietly, certificates.rmdir)
        for suffix in papers:
            name = f"{certificate_name(form)}{suffix}"
            _replace(staged / name, certificates / name, undo)
        artifact = standing.path / form.file_name
        _replace(staged / form.file_name, artifact, undo)
        standing.check(form)
        undo.pop_all()
    sync_folder(certificates)
    sync_folder(standing.path)
    return artifact


def _replace(source: Path, target: Path, undo: contextlib.ExitStack) -> None:
    """Rename a file or folder over another; `undo` brings the other back."""
    former = source.with_name(f".former-{source.name}")
    if not target.exists():
        undo.callback(_quietly, lambda: target.rename(source))
    elif target.is_dir():  # a folder cannot take another's place at once: for a moment there is none
        target.rename(former)
        undo.callback(_quietly, lambda: former.rename(target))
        undo.callback(_quietly, lambda: target.rename(source))
    else:
        shutil.copyfile(target, former)
        undo.callback(_quietly, lambda: former.replace(target))
    source.replace(target)


def _quietly(act: Callable[[], object]) -> None:
    with contextlib.suppress(OSError):
        act()
