"""`report` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from loadtests.report import command
from loadtests.results.files import write
from tests.loadtests.invented import made_result
from tests.loadtests.report.results import steady


def run(*arguments: str | Path) -> Result:
    app = typer.Typer(rich_markup_mode="rich")
    command.register(app)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [steady("digits/1@tflite", 1.0), steady("digits/1@onnxruntime", 4.0)]
    return write(made_result(rows), tmp_path_factory.mktemp("results"))


def test_it_writes_page_pictures_and_markdown_and_says_where_they_are(result: Path, tmp_path: Path) -> None:
    page, pictures, markdown = tmp_path / "new" / "all.html", tmp_path / "png", tmp_path / "docs" / "report.md"
    done = run(result, "--html", page, "--png", pictures, "--markdown", markdown)
    assert done.exit_code == 0, done.output
    assert page.read_text().startswith("<!doctype html>")
    found = sorted(pictures.iterdir())
    assert found
    assert all(each.read_bytes().startswith(b"\x89PNG\r\n") for each in found)
    assert markdown.read_text().count("](../png/") == len(found)
    said = done.stdout.splitlines()
    assert said[0].startswith(f"report: {page} (")
    assert said[1:] == [
        f"pictures: {len(found)} PNG in {pictures}", f"markdown: {markdown}", f"open in a browser: {page.as_uri()}",
    ]  # fmt: skip


def test_what_cannot_be_done_is_said_and_nothing_is_written(result: Path, tmp_path: Path) -> None:
    cut_off = tmp_path / "cut.json"
    cut_off.write_bytes(result.read_bytes()[:2000])
    before = result.read_bytes()
    for arguments, reason in (
        ((tmp_path / "none.json",), "none.json cannot be read: No such file or directory"),
        ((cut_off,), "cut.json is cut off after 2,000 bytes"),
        ((result, result), "is given more than once"),
        ((result, "--html", result), "is a result, which the report would replace"),
        ((result, "--html", tmp_path), "is a folder; give the name of a file"),
        ((result, "--html", cut_off / "x.html"), "cut.json is not a folder; choose another place"),
        ((result, "--png", cut_off), "cut.json is not a folder; choose another place"),
        ((result,) * 65, "expected 64 results at most in one report, got 65"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2, arguments
        assert reason in done.stderr
        assert done.stderr.startswith("report: ")
        assert done.stdout == ""
    assert result.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["cut.json"]


def test_help_has_examples() -> None:
    assert "torii loadtest report result.json" in run("--help").output
