from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.bench.processes import ROOT
from loadtests.run import portable


def test_a_command_names_no_folder_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    argv = ["run", f"{tmp_path}/mine.toml", "--out=/elsewhere/out", "--repository", f"{ROOT}/model_repo", "--quick"]
    told = "python -m loadtests run mine.toml --out=out --repository model_repo --quick"
    assert portable.command(argv) == told


def test_settings_keep_everything_but_the_folders() -> None:
    given = {"url": "http://127.0.0.1:1/v2", "repository": "/elsewhere/models", "levels": [1, 2.5], "none": None}
    assert portable.value(given) == {**given, "repository": "models"}


def test_a_message_names_no_folder_of_this_machine() -> None:
    assert portable.words(f"no module in {ROOT}/gateway, GET /v2/x") == "no module in gateway, GET /v2/x"
