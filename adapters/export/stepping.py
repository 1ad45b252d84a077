"""Runs one conversion in a child process, within a time, and makes errors of what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec

from adapters.errors import BackendUnavailable, InvalidInput
from adapters.export.environments import BASIC_VARIABLES, MAIN, Environment
from adapters.export.paths import Step
from adapters.process import Child

OnStep: TypeAlias = Callable[[float, str], None]

_CHILD = Path(__file__).with_name("child.py")
_GRACE_S = 2.0
_VARIABLES: Final = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": "",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TF_USE_LEGACY_KERAS": "",
}


class Unconvertible(InvalidInput):
    """A converter cannot make of this model what is wanted; names the operator and the layer where it says which."""


async def run_step(
    step: Step, environment: Environment, job: Mapping[str, Any], folder: Path, limit_s: float, on_step: OnStep
) -> Mapping[str, str]:
    """Convert by one step, with `folder` for what is not kept; gives the versions of the tools that did it.

    The child inherits no variable that could be a secret, and ends with this process.

    Raises:
        Unconvertible: the converter refuses, fails, ends its process, or takes longer than `limit_s`.
        BackendUnavailable: a package is not installed.
    """
    module = f"adapters.export.steps.{step.name}"
    child = await Child.start(
        [str(environment.python), "-P", str(_CHILD), module],
        name=f"export {step}",
        env={**_VARIABLES, "TMPDIR": str(folder)},
        cwd=folder,
        inherited=BASIC_VARIABLES,
    )
    try:
        async with asyncio.timeout(limit_s):
            await child.send_line(msgspec.json.encode(job))
            return await _answer(child, step, environment, on_step)
    except TimeoutError:
        raise Unconvertible(f"{step}: not done within {limit_s:g} s") from None
    finally:
        await child.stop(_GRACE_S)


async def _answer(child: Child, step: Step, environment: Environment, on_step: OnStep) -> Mapping[str, str]:
    while line := await child.read_line():
        told = msgspec.json.decode(line)
        if "refused" in told:
            raise Unconvertible(f"{step}: {told['refused']}")
        if "missing" in told:
            raise BackendUnavailable(f"{step}: {_missing(told['missing'], environment)}")
        if "result" in told:
            tools: Mapping[str, str] = told["tools"]
            return tools
        on_step(*told["progress"])
    raise Unconvertible(f"{step}: the converter failed on this model ({await child.wait()})")


def _missing(package: str, environment: Environment) -> str:
    if environment.name == MAIN:
        return f"the Python package '{package}' is not installed: pip install 'torii-gateway[export]'"
    return f"its environment lacks '{package}': delete {environment.python.parents[1]} and export again"
