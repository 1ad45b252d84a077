"""Runs a module of this package in an interpreter that may have nothing else of Torii: `python -P child.py MODULE`.

The job comes as a line of JSON on stdin. On stdout go lines of JSON: {"progress": [fraction, text]}, and at the end
{"result": …, "tools": …} with the versions of the module's TOOLS; or {"refused": text} where the job itself is at
fault, or {"missing": package} where the interpreter lacks one. A module's `run(job, report)` does the work.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

_HERE = Path(__file__).resolve().parent


def main() -> None:
    """Run the module that the command line names."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # converters talk a lot, and stdout is for answers
    _be_the_first_to_go()
    _make_importable()
    job = json.loads(sys.stdin.readline())
    try:
        module = importlib.import_module(sys.argv[1])
    except ModuleNotFoundError as error:
        _answer(answers, missing=error.name)
        return
    try:
        result = module.run(job, lambda fraction, text: _answer(answers, progress=[fraction, text]))
    except Exception as error:
        if not getattr(error, "is_refusal", False):
            raise
        _answer(answers, refused=str(error))
        return
    _answer(answers, result=result, tools={name: version(name) for name in getattr(module, "TOOLS", ())})


def _answer(answers: IO[str], **answer: Any) -> None:
    answers.write(json.dumps(answer) + "\n")


def _be_the_first_to_go() -> None:
    """Where memory runs out, the kernel shall end this process and not one that serves."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _make_importable() -> None:
    """Let `adapters.export.…` be imported without a path that leads to other packages of Torii's own environment."""
    for name, folder in (("adapters", _HERE.parent), ("adapters.export", _HERE)):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package


if __name__ == "__main__":
    main()
