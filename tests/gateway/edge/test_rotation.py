"""Keys: how they are kept, and how clients follow from old ones to new ones."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from securesystemslib.signer import SSlibKey
from tuf.api.exceptions import RepositoryError

from adapters.errors import InvalidInput
from gateway.edge.keys import KeyFolder, from_environment
from gateway.edge.roles import ROLES, RoleName, Terms
from gateway.edge.rotation import checked_terms, rotate, sign_again
from gateway.errors import Conflict, NotAllowed
from tests.gateway.edge.workshop import COST, Workshop, passphrase

ONE = "digits/1/digits-1-android.zip"


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path)
    made.make()
    made.publish(1)
    return made


@pytest.mark.parametrize("role", ROLES)
def test_clients_follow_a_rotation_of_any_role(shop: Workshop, role: RoleName) -> None:
    client = shop.client()
    assert client.get(ONE)
    old = shop.folder.read().root.roles[role].keyids
    done = rotate(shop.folder, shop.keys, role)
    assert [each.exists() for each in done.useless] == [True]
    for each in done.useless:
        each.unlink()
    assert client.get(ONE)
    assert shop.client("fresh").get(ONE)
    assert not set(old) & set(shop.folder.read().root.roles[role].keyids)
    Workshop(shop.place).publish(2)
    assert client.get("digits/2/digits-2-android.zip")


def test_the_chain_of_roots_leads_a_client_that_slept_over_many_rotations(shop: Workshop) -> None:
    client = shop.client()
    client.update()
    for role in (*ROLES, *ROLES):
        for each in rotate(shop.folder, shop.keys, role).useless:
            each.unlink()
    assert client.get(ONE)
    assert shop.folder.versions("root") == list(range(1, 16))


def test_a_stolen_old_key_signs_nothing_any_more(shop: Workshop) -> None:
    thief = Workshop(shop.place)
    stolen = thief.keys.signers(thief.folder.read().root, "timestamp")
    client = shop.client()
    client.update()
    rotate(shop.folder, shop.keys, "timestamp")
    state = shop.folder.read()
    state.timestamp.metadata.signed.version += 100
    state.timestamp.metadata.sign(stolen[0])
    (shop.folder.metadata / "timestamp.json").write_bytes(state.timestamp.metadata.to_bytes())
    with pytest.raises(RepositoryError):
        client.update()


def test_as_many_keys_as_the_threshold_says_must_sign(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.make(root=Terms(timedelta(days=30), 2, 3), targets=Terms(timedelta(days=30), 2, 2))
    shop.publish(1)
    assert shop.client().get(ONE)
    files = sorted((shop.keys.folder / "offline").glob("root-*.pem"))
    files[0].rename(tmp_path / "lost.pem")
    rotate(shop.folder, shop.keys, "snapshot")
    files[1].rename(tmp_path / "lost too.pem")
    with pytest.raises(NotAllowed, match="2 of 3 keys must sign root, and 1 are in"):
        rotate(shop.folder, shop.keys, "snapshot")
    next((shop.keys.folder / "offline").glob("targets-*.pem")).unlink()
    with pytest.raises(NotAllowed, match="2 of 2 keys must sign targets"):
        shop.publish(2)
    assert shop.client().get(ONE)


@pytest.mark.parametrize(("threshold", "count"), [(2, 3), (1, 1)])
@pytest.mark.parametrize("role", ROLES)
def test_a_rotation_can_change_the_threshold(tmp_path: Path, role: RoleName, threshold: int, count: int) -> None:
    shop = Workshop(tmp_path)
    shop.make(**{role: Terms(timedelta(days=30), 2, 2)})
    client = shop.client()
    client.update()
    rotate(shop.folder, shop.keys, role, checked_terms(shop.folder.read(), role, threshold, count))
    found = shop.folder.read().root.roles[role]
    assert (found.threshold, len(found.keyids)) == (threshold, count)
    assert client.update()
    with pytest.raises(InvalidInput, match="threshold 3"):
        checked_terms(shop.folder.read(), role, 3, 2)


@pytest.mark.parametrize("role", ROLES)
def test_the_same_keys_can_sign_again(shop: Workshop, role: RoleName) -> None:
    before = shop.folder.read()
    sign_again(shop.folder, shop.keys, role)
    after = shop.folder.read()
    assert after.root.roles == before.root.roles
    assert (after.root.version > before.root.version) == (role == "root")
    assert (after.targets.version > before.targets.version) == (role == "targets")
    assert (after.timestamp.version > before.timestamp.version) == (role != "root")
    assert shop.client().get(ONE)


def test_a_rotation_without_the_online_keys_changes_nothing(shop: Workshop) -> None:
    (shop.keys.folder / "online").rename(shop.place / "online")
    before = shop.files()
    with pytest.raises(NotAllowed, match="must sign snapshot"):
        rotate(shop.folder, Workshop(shop.place).keys, "targets")
    assert shop.files() == before


def test_a_repository_is_made_once(shop: Workshop) -> None:
    with pytest.raises(Conflict, match="there already"):
        shop.make()


def test_keys_are_opened_by_their_passphrase_only(shop: Workshop) -> None:
    root = shop.folder.read().root
    wrong = KeyFolder(shop.keys.folder, lambda *_: "another passphrase", COST)
    with pytest.raises(NotAllowed, match="TORII_EDGE_OFFLINE_PASSPHRASE"):
        wrong.signers(root, "targets")
    file = shop.keys.file("targets", root.roles["targets"].keyids[0])
    assert b"ENCRYPTED PRIVATE KEY" in file.read_bytes()
    file.chmod(0o640)
    with pytest.raises(NotAllowed, match="others may read it"):
        Workshop(shop.place).keys.signers(root, "targets")
    file.chmod(0o600)
    file.write_bytes(b"rubbish")
    with pytest.raises(NotAllowed, match="is no encrypted key"):
        Workshop(shop.place).keys.signers(root, "targets")


def test_a_short_passphrase_is_refused_before_a_key_is_made(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    shop.keys = KeyFolder(tmp_path / "keys", lambda *_: "short", COST)
    with pytest.raises(NotAllowed, match="at least 12 characters, got 5"):
        shop.make()
    assert not list((tmp_path / "keys").rglob("*.pem"))


def test_a_key_made_elsewhere_is_taken_if_it_is_encrypted(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    keyid = SSlibKey.from_crypto(private.public_key()).keyid
    folder = tmp_path / "keys" / "offline"
    folder.mkdir(parents=True)
    file = folder / f"root-{keyid[:16]}.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    file.chmod(0o600)
    with pytest.raises(NotAllowed, match="no encrypted key"):
        Workshop(tmp_path).make()
    encryption = BestAvailableEncryption(passphrase("offline", file).encode())
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    shop = Workshop(tmp_path)
    shop.make()
    assert shop.folder.read().root.roles["root"].keyids == [keyid]


def test_passphrases_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TORII_EDGE_ONLINE_PASSPHRASE", raising=False)
    with pytest.raises(NotAllowed, match="set TORII_EDGE_ONLINE_PASSPHRASE"):
        from_environment("online", tmp_path)
    monkeypatch.setenv("TORII_EDGE_ONLINE_PASSPHRASE", "a secret of mine")
    assert from_environment("online", tmp_path) == "a secret of mine"
