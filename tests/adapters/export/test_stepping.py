from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.errors import BackendUnavailable
from adapters.export import stepping
from adapters.export.environments import MAIN, Environment
from adapters.export.paths import STEPS
from adapters.export.stepping import Unconvertible, run_step
from tests.waiting import children

STEP = next(step for step in STEPS if step.name == "onnx_to_ort")
OWN = Environment(MAIN, Path(sys.executable))


async def run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float = 60.0) -> list[str]:
    """Run a step whose child is `code`; gives what it says."""
    script = tmp_path / "child.py"
    script.write_text(f"import json, os, sys, time\ndef say(**told): print(json.dumps(told), flush=True)\n{code}")
    monkeypatch.setattr(stepping, "_CHILD", script)
    said: list[str] = []
    tools = await run_step(STEP, OWN, {"a": 1}, tmp_path, limit_s, lambda part, text: said.append(f"{part} {text}"))
    return [*said, *(f"{name} {version}" for name, version in tools.items())]


async def test_progress_and_tools_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "job = json.loads(sys.stdin.readline())\nsay(progress=[.5, str(job)])\nsay(result={}, tools={'t': '1'})"
    assert await run(code, tmp_path, monkeypatch) == ["0.5 {'a': 1}", "t 1"]


async def test_no_secret_reaches_a_converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("LANG", "C.UTF-8")
    names = (await run("say(progress=[0, ' '.join(os.environ)])\nsay(result={}, tools={})", tmp_path, monkeypatch))[0]
    assert "LANG" in names.split()
    assert "AWS_SECRET_ACCESS_KEY" not in names


async def test_a_refusal_is_the_model_s_fault_and_says_at_which_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unconvertible, match=r"^onnx → ort: no operator Foo"):
        await run("say(refused='no operator Foo')", tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
        ("sys.exit('out of cheese')", "exit code 1; last lines of stderr: out of cheese"),
    ],
)
async def test_a_converter_that_dies_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    with pytest.raises(Unconvertible, match=rf"the converter failed on this model .{reason}"):
        await run(code, tmp_path, monkeypatch)


async def test_a_converter_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {each.pid for each in children()}
    with pytest.raises(Unconvertible, match=r"not done within 0\.3 s"):
        await run("time.sleep(3600)", tmp_path, monkeypatch, limit_s=0.3)
    assert not {each.pid for each in children()} - before


async def test_a_package_that_is_missing_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendUnavailable, match=r"'tf2onnx' is not installed: pip install 'torii-gateway\[export\]'"):
        await run("say(missing='tf2onnx')", tmp_path, monkeypatch)
