"""`torii edge` as people type it: what it does, what it says, and what it says of mistakes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway import cli
from gateway.edge import keys as edge_keys
from gateway.edge.signed import SignedFolder
from tests.gateway.edge.workshop import COST, Client, bundle

Torii = Callable[..., tuple[int, str]]
PASSPHRASES = {
    "TORII_EDGE_OFFLINE_PASSPHRASE": "the offline keys' one",
    "TORII_EDGE_ONLINE_PASSPHRASE": "the online one",
}


def run(*words: str, **env: str | None) -> tuple[int, str]:
    """Run `torii edge …` in the folder of the moment: its exit code and what it said, in one line."""
    environment = {"COLUMNS": "300", "NO_COLOR": "1", **PASSPHRASES, **env}
    done = CliRunner().invoke(cli.app, ["edge", *words], env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a repository: digits/1 is in the channel stable, and digits/2 published."""
    place = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(edge_keys, "_COST", COST)
        patch.chdir(place)
        assert run("init", "edge")[0] == 0
        for version in (1, 2):
            assert run("publish", "edge", str(bundle(place / "bundles", version)), "--no-deltas")[0] == 0
        said = "digits, channel stable: everybody gets version 1; version 1 is done, at 100 %"
        assert run("promote", "edge", "digits/1") == (0, said)
    return place


@pytest.fixture
def torii(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Torii:
    """Runs commands in an empty folder."""
    monkeypatch.setattr(edge_keys, "_COST", COST)
    monkeypatch.chdir(tmp_path)
    return run


@pytest.fixture
def made(torii: Torii, template: Path, tmp_path: Path) -> Torii:
    """The same, in a copy of the template."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return torii


def test_from_an_empty_folder_to_a_device(torii: Torii, tmp_path: Path) -> None:
    code, said = torii("init", "edge", "--threshold", "root=2/3", "--expires", "timestamp=12h")
    assert code == 0
    assert "next: torii edge publish edge BUNDLE.zip" in said
    assert "edge/metadata/1.root.json" in said
    assert len(list((tmp_path / "edge-keys" / "offline").glob("root-*.pem"))) == 3
    code, said = torii("publish", "edge", str(bundle(tmp_path / "bundles", 1)), "--min-ram-mb", "512")
    assert said == "published digits/1/digits-1-android.zip next: torii edge promote edge digits/1"
    assert torii("promote", "edge", "digits/1")[0] == 0
    code, said = torii("status", "edge")
    assert code == 0
    for each in ("2 of 3, offline", "digits/1/digits-1-android.zip", "512 MiB", "stable"):
        assert each in said
    assert Client(tmp_path / "edge", tmp_path / "client").get("digits/1/digits-1-android.zip")


def test_a_rollout_its_halt_and_the_way_back(made: Torii) -> None:
    words = "--stages 1,5,100 --every 10m --max-failed 0.5% --min-reports 20 --os android,ios --min-app 2.1"
    code, said = made("promote", "edge", "digits/2", *words.split(), "--min-ram-mb", "64")
    assert (code, said) == (0, "digits, channel stable: everybody gets version 1; version 2 is running, at 1 %")
    found = json.loads(made("status", "edge", "--json")[1])["channels"][0]["rollout"]
    assert found["stages"][1] == {"percent": 5.0, "after_s": 600.0, "min_reports": 20}
    assert found["halt"] == {"max_failed": 0.005, "min_reports": 20}
    assert found["rules"] == {"os": ["android", "ios"], "min_app": "2.1", "min_ram_mb": 64}
    assert "is being rolled out" in made("promote", "edge", "digits/2")[1]
    assert "version 2 is halted" in made("halt", "edge", "digits", "--reason", "[b]crashes[/b]")[1]
    code, said = made("channel", "edge", "digits")
    assert "[b]crashes[/b]" in said
    assert "os android/ios, app 2.1 or newer, 64 MiB or more" in said
    assert made("rollback", "edge", "digits")[1] == "digits, channel stable: everybody gets version 1"
    assert made("promote", "edge", "digits/2", "--at-once")[0] == 0
    assert (
        made("rollback", "edge", "digits", "--reason", "slow")[1] == "digits, channel stable: everybody gets version 1"
    )
    assert made("rollback", "edge", "digits") == (
        1,
        "error: there is no former version to go back to; torii edge promote sets another one",
    )
    assert [each["event"] for each in json.loads(made("channel", "edge", "digits", "--json")[1])[0]["history"]] == [
        "promoted", "done", "promoted", "halted", "rolled back", "promoted", "done", "rolled back"
    ]  # fmt: skip


def test_a_version_is_revoked(made: Torii) -> None:
    made("promote", "edge", "digits/2", "--at-once")
    code, said = made("revoke", "edge", "digits/2", "--reason", "bad")
    assert (code, said) == (
        0,
        "digits, channel stable: everybody gets version 1 revoked digits/2/digits-2-android.zip",
    )
    assert "everybody gets nothing, for there is no former version" in made("revoke", "edge", "digits/1")[1]
    assert made("revoke", "edge", "digits/1")[0] == 1


def test_roles_get_new_keys(made: Torii, tmp_path: Path) -> None:
    for role in ("root", "targets", "snapshot", "timestamp"):
        code, said = made("rotate", "edge", role)
        assert code == 0
        assert f"{role} has new keys, by root" in said
        assert "of no use any more, delete it: " in said
    assert made("rotate", "edge", "targets", "--same-keys") == (0, "targets is signed again by the same keys")
    assert "signed until 20" in made("refresh", "edge")[1]
    assert made("rotate", "edge", "root", "--threshold", "2")[0] == 0
    assert SignedFolder(tmp_path / "edge").read().root.roles["root"].threshold == 2


def test_a_refresh_needs_the_online_passphrase_only(made: Torii) -> None:
    assert made("refresh", "edge", TORII_EDGE_OFFLINE_PASSPHRASE=None)[0] == 0
    code, said = made("refresh", "edge", TORII_EDGE_ONLINE_PASSPHRASE=None)
    assert (code, "set TORII_EDGE_ONLINE_PASSPHRASE" in said) == (1, True)
    code, said = made("refresh", "edge", TORII_EDGE_ONLINE_PASSPHRASE="not the right one")
    assert (code, "it is not opened by this passphrase" in said) == (1, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("init edge", "a repository is there already; torii edge status shows it"),
        ("init other --threshold root=3/2", "expected at least 1, at most as many as there are keys"),
        ("init other --threshold root", "expected ROLE=SIGN/KEYS, as root=2/3, got 'root'"),
        ("init other --expires timestamp=1x", "--expires timestamp: expected a time as 30s, 10m, 1h or 7d, got '1x'"),
        ("init other --expires moon=1d", "expected one of root, targets, snapshot, timestamp"),
        ("init other --expires root=1s", "expected from 0:10:00 to 3650 days"),
        ("init edge2 --keys edge2/keys", "expected a folder outside of"),
        ("publish edge nothing.zip", "nothing.zip: No such file or directory"),
        ("publish other bundles/digits-1-android.zip", "no repository is there, or its making was cut short"),
        ("promote edge digits", "expected MODEL/VERSION, as digits/2"),
        ("promote edge digits/0", "expected a version from 1 on"),
        ("promote edge digits/9", "digits/9 is not published; there is digits/1, digits/2; torii edge publish adds"),
        ("promote edge digits/2 --stages 5,1,100", "growing percents that end with 100, as 1,5,25,100, got '5,1,100'"),
        ("promote edge digits/2 --stages x", "growing percents"),
        ("promote edge digits/2 --every soon", "--every: expected a time"),
        ("promote edge digits/2 --max-failed 2", "--max-failed: expected a share as 2%, below 100%, got '2'"),
        ("promote edge digits/2 --min-app newest", "min_app: expected a version"),
        ("promote edge digits/2 --channel No", "channel 'No': expected a name"),
        ("halt edge digits", "no rollout is running; torii edge rollback takes back what everybody has"),
        ("halt edge digits --channel beta", "channel 'beta' of model 'digits' is not there; there is stable"),
        ("rollback edge other", "model 'other' has no channels; there is digits"),
        ("channel edge ../x", "expected a name of a-z 0-9"),
        ("channel edge other", "model 'other' has no channels"),
        ("rotate edge moon", "role 'moon': expected one of"),
        ("rotate edge root --threshold 3 --count 2", "threshold 3: expected at most as many as there are keys, 2"),
        ("refresh edge --keys nowhere", "1 of 1 keys must sign snapshot, and 0 are in nowhere"),
        ("status other", "torii edge init other"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(made: Torii, words: str, says: str) -> None:
    code, said = made(*words.split())
    assert says in said
    assert code == 1


def test_what_is_to_be_done_is_said_and_is_the_exit_code(made: Torii, tmp_path: Path) -> None:
    keys = tmp_path / "edge-keys"
    (keys / "online").rename(tmp_path / "online")
    code, said = made("publish", "edge", str(bundle(tmp_path / "bundles", 3)), "--no-deltas")
    assert (code, "clients do not see it yet: torii edge refresh edge" in said) == (0, True)
    assert "clients do not see it yet; torii edge refresh" in made("promote", "edge", "digits/3")[1]
    code, said = made("status", "edge")
    assert (code, "to do: targets 4 are signed, and clients do not see them yet" in said) == (2, True)
    (tmp_path / "online").rename(keys / "online")
    made("refresh", "edge")
    assert made("status", "edge")[0] == 0
