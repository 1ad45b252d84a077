from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from adapters.errors import BackendUnavailable, InvalidInput
from adapters.export.environments import PURPOSES, Environments
from tests.conftest import ROOT


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    folder = tmp_path / "requirements"
    folder.mkdir()
    for name in PURPOSES:
        (folder / f"{name}.txt").write_text("# nothing\n")
    return folder


async def says(python: Path) -> str:
    """The answer of an interpreter: it works."""
    return (await asyncio.to_thread(subprocess.check_output, [python, "-c", "print(6 * 7)"], text=True)).strip()


async def test_torii_s_own_is_there_without_being_made(tmp_path: Path) -> None:
    said: list[str] = []
    environment = await Environments(tmp_path / "cache").ready("main", said.append)
    assert environment.python.exists()
    assert not said
    assert not (tmp_path / "cache").exists()


async def test_an_environment_is_made_once_and_says_so(tmp_path: Path, pins: Path) -> None:
    environments, said = Environments(tmp_path / "cache", requirements=pins), list[str]()
    made = await environments.ready("litert", said.append)
    assert await says(made.python) == "42"
    assert len(said) == 1
    assert str(environments.place("litert")) in said[0]
    assert await environments.ready("litert", said.append) == made
    assert len(said) == 1


async def test_two_exports_do_not_make_one_at_once(tmp_path: Path, pins: Path) -> None:
    said: list[str] = []
    several = [Environments(tmp_path / "cache", requirements=pins) for _ in range(3)]
    made = await asyncio.gather(*(each.ready("litert", said.append) for each in several))
    assert len(set(made)) == 1
    assert sum(line.startswith("making") for line in said) == 1
    assert sum(line.startswith("waiting") for line in said) == 2


async def test_other_pins_make_another_environment(tmp_path: Path, pins: Path) -> None:
    environments = Environments(tmp_path / "cache", requirements=pins)
    before = environments.place("tfjs")
    (pins / "tfjs.txt").write_text("# something else\n")
    assert environments.place("tfjs") != before
    assert environments.place("litert").parent == before.parent


async def test_a_failed_install_says_why_and_leaves_nothing(tmp_path: Path, pins: Path) -> None:
    (pins / "onnx2tf.txt").write_text(f"{tmp_path}/no-such-thing.whl\n")
    environments = Environments(tmp_path / "cache", requirements=pins)
    with pytest.raises(BackendUnavailable, match=r"environment onnx2tf could not be made: .*no-such-thing"):
        await environments.ready("onnx2tf", lambda line: None)
    assert not environments.place("onnx2tf").exists()
    assert not environments.is_ready("onnx2tf")


async def test_what_was_left_half_made_is_made_anew(tmp_path: Path, pins: Path) -> None:
    environments = Environments(tmp_path / "cache", requirements=pins)
    place = environments.place("executorch")
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").write_text("half of it")
    assert not environments.is_ready("executorch")
    made = await environments.ready("executorch", lambda line: None)
    assert await says(made.python) == "42"


async def test_an_install_that_takes_too_long_ends(tmp_path: Path, pins: Path) -> None:
    environments = Environments(tmp_path / "cache", requirements=pins, install_s=0.0)
    with pytest.raises(BackendUnavailable, match="not installed within 0 s"):
        await environments.ready("litert", lambda line: None)
    assert not environments.place("litert").exists()


async def test_a_cache_folder_that_cannot_be_made_is_told(tmp_path: Path, pins: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BackendUnavailable, match=r"environment litert: .*cache"):
        await Environments(tmp_path / "cache", requirements=pins).ready("litert", lambda line: None)


async def test_an_unknown_environment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="environment: expected one of main, onnx2tf"):
        await Environments(tmp_path).ready("../x", lambda line: None)


def test_every_environment_is_pinned_and_has_no_address() -> None:
    environments = Environments(Path("/nonexistent"))
    standings = environments.standings()
    assert [each.name for each in standings] == list(PURPOSES)
    assert [each.ready for each in standings] == [True, False, False, False, False]
    for name in PURPOSES:
        for pinned in (ROOT / "adapters" / "export" / "requirements").glob(f"{name}*.txt"):
            lines = [line for line in pinned.read_text().splitlines() if not line.startswith("#")]
            assert lines
            assert all(("==" in line or "@" in line[1:]) and "://" not in line for line in lines)
