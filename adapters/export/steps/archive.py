"""Archives of torch.export, checked before torch opens them: a hostile one would run code in three places.

torch unpickles what an archive says is pickled, hands its expressions to sympy, which evaluates Python, and calls
whatever function of torch a node names. So pickles, other expressions and other functions are refused, and what is left
is written anew: no two readers can then differ about what the archive has.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from adapters.export.steps.job import Refusal

_ENTRY = re.compile(
    r"data/(weights|constants)/\w[\w.]*|data/sample_inputs/model\.pt|models/model\.json|"
    r"archive_format|archive_version|byteorder|\.data/\w+|version"
)
_MOST_ENTRIES, _MOST_BYTES, _MOST_JSON_BYTES = 100_000, 8 << 30, 256 << 20
_SYMBOL = re.compile(r"Symbol\('[a-z]+\d+'(, \w+=(True|False))*\)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_EXPRESSION = re.compile(r"(?:[\w\s+\-*/(),<>=]|(?<=\d)\.(?=\d))*")
_WORDS = frozenset(
    "Add Mul Pow Max Min Mod PythonMod FloorDiv CleanDiv CeilToInt FloorToInt TruncToInt IntTrueDiv FloatTrueDiv "  # noqa: SIM905
    "PowByNatural ToFloat Eq Ne Ge Gt Le Lt And Or Not Integer oo int_oo".split()
)
_FUNCTION = re.compile(
    r"torch\.ops\.(aten|prims|higher_order)\.(?!from_file)\w+(\.\w+)?|torch\.sym_\w+|_operator\.\w+|math\.\w+"
)
_RESOLVED = ("torch", "_operator", "math", "#")


def checked_copy(path: Path, folder: Path) -> Path:
    """The archive again, in `folder`, with nothing in it that runs code; blocking: disk.

    Raises:
        Refusal: it is no archive of torch.export, or has something that would.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root, members = _members(archive)
            _check(archive, root, members)
            return _written(archive, members, folder / "checked.pt2")
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, RecursionError) as error:
        raise Refusal(f"{path.name} is no archive of torch.export.save, or damaged: {error}") from error


def _members(archive: zipfile.ZipFile) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    infos = archive.infolist()
    if not infos or len(infos) > _MOST_ENTRIES or sum(info.file_size for info in infos) > _MOST_BYTES:
        raise ValueError(f"{len(infos)} entries, or too many bytes")
    root = infos[0].filename.partition("/")[0] + "/"
    members = {info.filename: info for info in infos}
    for name in members:
        if not name.startswith(root) or not _ENTRY.fullmatch(name.removeprefix(root)):
            raise Refusal(
                f"the archive has '{name:.80}', which a program alone has no need of; save it with torch.export.save"
            )
    if len(members) < len(infos):
        raise ValueError("two entries of one name")
    return root, members


def _check(archive: zipfile.ZipFile, root: str, members: dict[str, zipfile.ZipInfo]) -> None:
    for name, info in members.items():
        if name.endswith(".json"):
            if info.file_size > _MOST_JSON_BYTES:
                raise ValueError(f"{name} is too large")
            _check_json(json.loads(archive.read(info)))
        elif name == f"{root}data/sample_inputs/model.pt" and info.file_size:
            try:
                torch.load(io.BytesIO(archive.read(info)), weights_only=True)
            except Exception as error:
                raise Refusal("its sample inputs are something else than tensors; save it without them") from error


def _check_json(document: Any) -> None:
    for each in _objects(document):
        if each.get("use_pickle"):
            raise Refusal("it has pickled weights or constants, and a pickle runs code; save it with plain tensors")
        if str(each.get("path_name", "")).startswith(("custom_obj", "opaque_obj")):
            raise Refusal("it has constants that are no tensors, and these run code; save it without them")
        if not _is_arithmetic(str(each.get("expr_str", ""))):
            raise Refusal(f"it has an expression that is no arithmetic of sizes: {each['expr_str']!r:.80}")
        target = each.get("target")
        if isinstance(target, str) and target.startswith(_RESOLVED) and not _FUNCTION.fullmatch(target):
            raise Refusal(f"it calls '{target:.80}', which is no operator on tensors")


def _objects(document: Any) -> Iterator[dict[str, Any]]:
    pending = [document]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            yield each
            pending += each.values()
        elif isinstance(each, list):
            pending += each


def _is_arithmetic(expression: str) -> bool:
    plain = _SYMBOL.sub("1", expression)
    words = {word for word in _WORD.findall(plain) if not re.fullmatch(r"[su]\d+", word)}
    return bool(_EXPRESSION.fullmatch(plain)) and words <= _WORDS


def _written(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as copy:
        for name, info in members.items():
            with archive.open(info) as source, copy.open(zipfile.ZipInfo(name), "w", force_zip64=True) as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)
    return target
