"""What is published, revoked and refreshed, as TUF's own client sees it."""

from __future__ import annotations

import json
import stat
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bsdiff4
import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.api.metadata import Metadata, TargetFile

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.edge.channel_file import Channel, Rollout, Stage
from gateway.edge.deltas import DeltaLimits, make_delta
from gateway.edge.listing import bundles, deltas
from gateway.edge.promoting import AT_ONCE, Plan, begin
from gateway.edge.refreshing import refresh
from gateway.edge.signed import utc_now
from gateway.errors import Conflict, ModelNotFound, NotAllowed
from gateway.locking import locked
from tests.gateway.edge.workshop import Hands, Workshop, bundle

ONE, TWO = "digits/1/digits-1-android.zip", "digits/2/digits-2-android.zip"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.make()
    return made


def test_a_client_gets_a_published_bundle_and_what_it_is(shop: Workshop) -> None:
    done = shop.publish(1)
    client = shop.client()
    assert client.get(ONE) == (shop.place / "bundles" / "digits-1-android.zip").read_bytes()
    found = client.update().get_targetinfo(ONE)
    assert found is not None
    assert found.custom == {
        "model": "digits", "version": 1, "target": "android", "runtime": "tflite", "precision": "int8",
        "min_app": None, "min_ram_mb": None, "manifest_sha256": done.bundle.manifest_sha256,
    }  # fmt: skip
    assert done.new
    assert done.live
    assert (shop.folder.targets / "digits" / "1" / f"{done.bundle.sha256}.digits-1-android.zip").is_file()


def test_the_same_bundle_twice_is_published_once(shop: Workshop) -> None:
    shop.publish(1)
    before = shop.files()
    assert not shop.publish(1).new
    assert shop.files() == before


def test_a_bundle_never_changes_under_its_name(shop: Workshop) -> None:
    shop.publish(1)
    with pytest.raises(Conflict, match="never changes"):
        shop.publish(1, min_app="2.0")
    with pytest.raises(Conflict, match="other requirements"):
        shop.publisher.publish(bundle(shop.place / "bundles", 1), min_ram_mb=512)


def test_what_is_no_bundle_is_refused_and_leaves_nothing(shop: Workshop, tmp_path: Path) -> None:
    good = bundle(tmp_path / "bundles", 1)
    hostile = {
        "rubbish.zip": b"rubbish",
        "cut.zip": good.read_bytes()[:-5],
        "changed.zip": good.read_bytes().replace(b"manifest", b"manifesT", 1),
    }
    for name, data in hostile.items():
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "outside.zip", "w") as archive:
        archive.writestr("../../evil", b"x")
        archive.writestr("manifest.json", b"{}")
    (tmp_path / "link.zip").symlink_to("/dev/zero")
    before = shop.files()
    for name in (*hostile, "outside.zip", "link.zip"):
        with pytest.raises(InvalidInput, match=name):
            shop.publisher.publish(tmp_path / name)
        assert shop.files() == before
    with pytest.raises(FileNotFoundError):
        shop.publisher.publish(tmp_path / "nothing.zip")


def test_a_model_cannot_choose_where_its_bundle_lies(shop: Workshop, tmp_path: Path) -> None:
    for model in ("../../evil", "Digits", "a/b", ""):
        with pytest.raises(InvalidInput):
            shop.publisher.publish(_named(tmp_path / "bad.zip", model))


def _named(file: Path, model: str) -> Path:
    """A bundle whose manifest, and nothing else, says another model."""
    good = zipfile.ZipFile(bundle(file.parent / "bundles", 1))
    with good, zipfile.ZipFile(file, "w") as archive:
        for name in good.namelist():
            data = good.read(name)
            if name == "manifest.json":
                data = json.dumps({**json.loads(data), "model": model}).encode()
            archive.writestr(zipfile.ZipInfo(name), data)
    return file


def test_deltas_lead_from_what_devices_have(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, differ=make_delta)
    shop.make()
    for version in (1, 2, 3):
        shop.publish(version)
    begin(shop.folder, shop.channels, "digits", 1, "stable", Plan(AT_ONCE))
    done = shop.publish(4)
    digests = {each.sha256: each.version for each in bundles(_targets(shop))}
    found = {digests[old]: each.path for each, old, to in deltas(_targets(shop)) if to == done.bundle.path}
    assert found.keys() == {1, 3}
    client, old = shop.client(), bundles(_targets(shop))[0]
    assert found[1] == f"digits/4/digits-4-android.from-{old.sha256[:16]}.bsdiff"
    before, delta = client.get(ONE), client.get(found[1])
    assert before
    assert delta
    assert len(delta) < 0.1 * len(before)
    assert bsdiff4.patch(before, delta) == client.get(done.bundle.path)


def _targets(shop: Workshop) -> Any:
    return shop.folder.read().targets.metadata.signed


def test_no_delta_is_made_where_it_would_not_be_worth_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"a" * 1000)
    new.write_bytes(bytes(range(256)) * 4)
    assert "of the whole" in make_delta(old, new, tmp_path / "delta", DeltaLimits(most_share=0.01))
    assert "more than deltas are made of" in make_delta(old, new, tmp_path / "delta", DeltaLimits(most_bytes=100))
    assert "not ready within" in make_delta(old, new, tmp_path / "delta", DeltaLimits(longest_s=0.001))
    old.unlink()
    with pytest.raises(FileNotFoundError):
        make_delta(old, new, tmp_path / "delta")
    assert not (tmp_path / "delta").exists()


def test_no_delta_leads_to_another_platform(shop: Workshop) -> None:
    shop.publish(1, target="ios")
    assert shop.publish(2).told == ()


def test_what_is_revoked_cannot_be_had_and_channels_go_back(shop: Workshop) -> None:
    shop.publish(1)
    shop.publish(2)
    shop.publish(3)
    for version in (1, 2):
        begin(shop.folder, shop.channels, "digits", version, "stable", Plan(AT_ONCE))
    begin(shop.folder, shop.channels, "digits", 2, "beta", Plan(AT_ONCE))
    client = shop.client()
    assert client.get(TWO)
    done = shop.publisher.revoke("digits", 2, "bad labels")
    assert client.update().get_targetinfo(TWO) is None
    assert dict(done.moved) == {"stable": 1, "beta": None}
    assert shop.channels.read("digits").channels["stable"].history[-1].reason == "without 2: bad labels"
    assert not list(shop.folder.targets.rglob("*digits-2-android*"))
    assert [to for _, _, to in deltas(_targets(shop))] == ["digits/3/digits-3-android.zip"]
    with pytest.raises(ModelNotFound, match="neither published nor in a channel"):
        shop.publisher.revoke("digits", 2, "")
    assert client.get(ONE)


def test_only_what_is_published_is_promoted(shop: Workshop) -> None:
    shop.publish(1)
    with pytest.raises(ModelNotFound, match="there is digits/1"):
        begin(shop.folder, shop.channels, "digits", 2, "stable", Plan(AT_ONCE))
    with pytest.raises(InvalidInput, match="channel"):
        begin(shop.folder, shop.channels, "digits", 1, "../x", Plan(AT_ONCE))
    assert shop.channels.models() == []


def test_a_channel_s_first_version_needs_no_stages(shop: Workshop) -> None:
    shop.publish(1)
    shop.publish(2)
    stages = (Stage(percent=1), Stage(percent=100))
    assert begin(shop.folder, shop.channels, "digits", 1, "stable", Plan(stages)).current == 1
    second = begin(shop.folder, shop.channels, "digits", 2, "stable", Plan(stages))
    assert (second.current, second.rollout and second.rollout.percent) == (1, 1)


def test_online_keys_refresh_what_has_expired_and_sign_no_target(tmp_path: Path) -> None:
    hands = Hands(utc_now() - timedelta(days=8))
    shop = Workshop(tmp_path, clock=hands)
    shop.make()
    shop.publish(1)
    (tmp_path / "keys" / "offline").rename(tmp_path / "safe")
    with pytest.raises(ExpiredMetadataError):
        shop.client().update()
    done = refresh(shop.edge, Workshop(tmp_path).keys)
    assert (done.snapshot, done.timestamp, done.overdue) == (True, True, ())
    assert shop.client().get(ONE)
    with pytest.raises(NotAllowed, match="must sign targets"):
        Workshop(tmp_path).publish(2)
    again = refresh(shop.edge, Workshop(tmp_path).keys)
    assert (again.snapshot, again.timestamp) == (False, False)


def test_a_refresh_signs_each_role_at_half_of_its_time_and_tells_of_the_others(tmp_path: Path) -> None:
    hands = Hands(utc_now())
    shop = Workshop(tmp_path, clock=hands)
    shop.make()
    signed = []
    for hours in (11, 13, 12 + 7 * 12):
        hands.now += timedelta(hours=hours)
        done = refresh(shop.edge, shop.keys, clock=hands)
        signed.append((done.snapshot, done.timestamp))
    assert signed == [(False, False), (False, True), (True, True)]
    hands.now += timedelta(days=50)
    assert [each.split()[0] for each in refresh(shop.edge, shop.keys, clock=hands).overdue] == ["targets"]
    hands.now += timedelta(days=365)
    assert all("has expired" in each for each in refresh(shop.edge, shop.keys, clock=hands).overdue)


def test_a_role_s_keys_are_its_own(shop: Workshop) -> None:
    roles = shop.folder.read().root.roles
    ids = [keyid for each in roles.values() for keyid in each.keyids]
    assert len(ids) == len(set(ids)) == 4
    forged = Metadata.from_bytes((shop.folder.metadata / "1.targets.json").read_bytes())
    forged.signed.targets["evil"] = TargetFile.from_data("evil", b"evil")
    forged.sign(shop.keys.signers(shop.folder.read().root, "snapshot")[0])
    (shop.folder.metadata / "2.targets.json").write_bytes(forged.to_bytes())
    with pytest.raises(ConfigError, match=r"2\.targets\.json: .*signed"):
        refresh(shop.edge, shop.keys)
    assert shop.client().update().get_targetinfo("evil") is None


def test_metadata_that_was_changed_is_not_built_upon(shop: Workshop) -> None:
    shop.publish(1)
    file = shop.folder.metadata / "2.targets.json"
    data = file.read_bytes()
    for wrong in (data.replace(b'"android"', b'"ios"'), data[:100], b"", b"[]", b'{"signed": {}}'):
        file.write_bytes(wrong)
        with pytest.raises(ConfigError, match="bring it back from a backup"):
            shop.publish(2)
        with pytest.raises(RepositoryError):
            shop.client("fresh").update()
    file.write_bytes(data)
    assert shop.publish(2).new


def test_targets_signed_elsewhere_are_shown_when_all_of_them_are_there(shop: Workshop, tmp_path: Path) -> None:
    shop.publish(1)
    (tmp_path / "keys" / "online").rename(tmp_path / "online")
    shop.publish(2)
    (tmp_path / "online").rename(tmp_path / "keys" / "online")
    file = next(shop.folder.targets.rglob("*digits-2-android.zip"))
    file.rename(tmp_path / "on its way")
    not_signed = file.with_name("a file that is copied before it is signed")
    not_signed.write_bytes(b"soon")
    with pytest.raises(Conflict, match="it is signed, and not there as a whole"):
        refresh(shop.edge, Workshop(tmp_path).keys)
    assert shop.client().get(TWO) is None
    (tmp_path / "on its way").rename(file)
    refresh(shop.edge, Workshop(tmp_path).keys)
    assert shop.client().get(TWO)
    assert not_signed.exists()


def test_a_revocation_signed_elsewhere_deletes_with_the_refresh(shop: Workshop, tmp_path: Path) -> None:
    shop.publish(1)
    (tmp_path / "keys" / "online").rename(tmp_path / "online")
    done = Workshop(tmp_path).publisher.revoke("digits", 1, "")
    assert not done.live
    assert shop.client().get(ONE)
    (tmp_path / "online").rename(tmp_path / "keys" / "online")
    refresh(shop.edge, Workshop(tmp_path).keys)
    assert shop.client().get(ONE) is None
    assert not list(shop.folder.targets.rglob("*.zip"))


def test_one_writer_at_a_time(shop: Workshop) -> None:
    with locked(shop.edge / ".lock"), pytest.raises(Conflict, match="locked by another process"):
        shop.publish(1)
    assert shop.publish(1).new


def test_where_no_repository_is_the_error_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(NotAllowed, match="torii edge init"):
        Workshop(tmp_path).publish(1)
    assert not (tmp_path / "edge").exists()


def test_old_versions_of_the_metadata_go_and_every_root_stays(shop: Workshop) -> None:
    for _ in range(20):
        refresh(shop.edge, shop.keys, force=True)
    assert len(shop.folder.versions("snapshot")) == 16
    assert shop.folder.versions("root") == [1]
    assert shop.client().update()


def test_files_for_everybody_and_keys_for_nobody(shop: Workshop) -> None:
    shop.publish(1)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in shop.keys.folder.rglob("*.pem")}
    assert modes == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (shop.keys.folder, shop.keys.folder / "online")} == {0o700}
    assert all(stat.S_IMODE((shop.edge / each).stat().st_mode) == 0o644 for each in shop.files())
    assert not any(b"PRIVATE" in each for each in shop.files().values())


def test_a_channel_is_only_changed_while_nobody_else_does(shop: Workshop) -> None:
    rollout = Rollout(version=1, percent=100.0, stages=(Stage(percent=100.0),), started=utc_now(), since=utc_now())
    with locked(shop.edge / "channels" / ".lock"), pytest.raises(Conflict):
        shop.channels.change("digits", "stable", lambda _: Channel(rollout=rollout), make=True)
    shop.channels.change("digits", "stable", lambda _: Channel(rollout=rollout), make=True)
    assert shop.channels.read("digits").channel("stable").rollout == rollout
    with pytest.raises(ModelNotFound, match="there is stable"):
        shop.channels.change("digits", "beta", lambda each: each)
    with pytest.raises(ModelNotFound, match="there is digits"):
        shop.channels.change("other", "stable", lambda each: each)
    (shop.edge / "channels" / "digits.json").write_text('{"schema": 2}')
    with pytest.raises(ConfigError, match=r"channels/digits\.json"):
        shop.channels.change("digits", "stable", lambda each: each)
