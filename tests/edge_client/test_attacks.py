"""The attacks that TUF is there for, each by a server that its attacker controls: the device keeps what it has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import MetaFile

from tests.edge_client.conftest import factor, make_model
from tests.edge_client.repository import ROLES, EdgeServer, Repository, answer, make_bundle
from torii_edge import EdgeModel, Limits, Offline, Outcome, Refused, Update
from torii_edge.command import _say
from torii_edge.manifest import dtype_of
from torii_edge.offers import _offer

Attack = Callable[[EdgeServer], None]

EVIL = make_bundle(2, b"6.66")


def _keys() -> list[CryptoSigner]:
    return [CryptoSigner.generate_ed25519()]


def _sign_as_attacker(server: EdgeServer, *own: str) -> None:
    """Publish the evil bundle; the attacker has the keys of all roles but of `own`, for which another key stands in."""
    repository = server.repository
    repository.publish(2, EVIL)
    for role in own:
        repository.write(role, _keys())
    server.offered = repository.offer(2)


def other_bytes(server: EdgeServer) -> None:
    repository = server.repository
    server.offered = repository.offer(2)
    path = next(each for each in repository.targets if server.offered["sha256"] in each)
    repository.targets[path] = repository.targets[path].replace(b"2.5", b"6.6")


def other_digest(server: EdgeServer) -> None:
    server.offered = server.repository.offer(2, sha256=server.repository.offer(1)["sha256"][::-1])


def unsigned_target(server: EdgeServer) -> None:
    repository = server.repository
    before = dict(repository.metadata)
    repository.publish(3, make_bundle(3, b"6.66"))
    server.offered = repository.offer(3)
    server.metadata_here = before


def endless_target(server: EdgeServer) -> None:
    server.offered = server.repository.offer(2)
    server.acts["targets/"] = endless


def endless_timestamp(server: EdgeServer) -> None:
    server.acts["timestamp.json"] = endless


def endless_root(server: EdgeServer) -> None:
    server.acts["root.json"] = endless


def endless(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("Transfer-Encoding", "chunked")
    to.end_headers()
    chunk = b"%x\r\n%b\r\n" % (1 << 16, b" " * (1 << 16))
    try:
        for _ in range(1 << 16):
            to.wfile.write(chunk)
    except OSError:
        to.close_connection = True


def extraneous_file(server: EdgeServer) -> None:
    evil = make_bundle(3, b"6.66", write=lambda archive: archive.writestr("sitecustomize.py", b"import os"))
    server.repository.publish(3, evil)
    server.offered = server.repository.offer(3)


def another_models_bundle(server: EdgeServer) -> None:
    server.repository.publish(3, make_bundle(3, b"6.66"), model="others")
    server.offered = server.repository.offer(3)


def another_version_under_this_ones_number(server: EdgeServer) -> None:
    server.offered = server.repository.offer(2, version=7)


def another_model_in_a_signed_bundle(server: EdgeServer) -> None:
    evil = make_bundle(3, b"6.66", change=lambda manifest: manifest.update(model="others"))
    server.repository.publish(3, evil)
    server.offered = server.repository.offer(3)


def mixed_snapshot(server: EdgeServer) -> None:
    """The newest timestamp with the snapshot of another time."""
    repository = server.repository
    repository.publish(2, EVIL)
    version = repository.signed["snapshot"].version
    repository.metadata[f"{version}.snapshot.json"] = repository.metadata[f"{version - 1}.snapshot.json"]
    server.offered = repository.offer(2)


def mixed_targets(server: EdgeServer) -> None:
    repository = server.repository
    repository.publish(2, EVIL)
    version = repository.signed["targets"].version
    repository.metadata[f"{version}.targets.json"] = repository.metadata[f"{version - 1}.targets.json"]
    server.offered = repository.offer(2)


def rolled_back_timestamp(server: EdgeServer) -> None:
    repository = server.repository
    repository.signed["timestamp"].version -= 1
    repository.write("timestamp")


def rolled_back_snapshot(server: EdgeServer) -> None:
    """By an attacker who has the timestamp's key."""
    repository = server.repository
    repository.signed["timestamp"].version += 1
    repository.signed["timestamp"].snapshot_meta = MetaFile(repository.signed["snapshot"].version - 1)
    repository.write("timestamp")


def rolled_back_targets(server: EdgeServer) -> None:
    """By an attacker who has the timestamp's and the snapshot's keys: targets that were signed once, and taken back."""
    repository = server.repository
    for role in ("snapshot", "timestamp"):
        repository.signed[role].version += 1
    repository.signed["snapshot"].meta["targets.json"] = MetaFile(repository.signed["targets"].version - 1)
    repository.signed["timestamp"].snapshot_meta = MetaFile(repository.signed["snapshot"].version)
    repository.write("snapshot")
    repository.write("timestamp")


def wrong_key(*roles: str) -> Attack:
    def attack(server: EdgeServer) -> None:
        _sign_as_attacker(server, *roles)

    attack.__name__ = f"without_the_key_of_{'_'.join(roles)}"
    return attack


def wrong_root(server: EdgeServer) -> None:
    """A next root that the present one's key did not sign."""
    repository = server.repository
    repository.signers["root"] = _keys()
    repository.signed["root"].version += 1
    for role in ROLES:
        repository.signed["root"].roles[role].keyids = []  # type: ignore[attr-defined]
        repository.signers[role] = _keys()
        repository.signed["root"].add_key(repository.signers[role][0].public_key, role)  # type: ignore[attr-defined]
    repository.write("root")
    repository.publish(2, EVIL)
    server.offered = repository.offer(2)


def expired(role: str) -> Attack:
    def attack(server: EdgeServer) -> None:
        repository = server.repository
        repository.signed[role].expires = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        if role == "root":
            repository.signed["root"].version += 1
            repository.write("root")
        repository.write_all(bump=True)
        server.offered = repository.offer(2)

    attack.__name__ = f"expired_{role}"
    return attack


def no_json(server: EdgeServer) -> None:
    server.acts["timestamp.json"] = lambda to: answer(to, 200, b"[" * 15_000)


REFUSED: list[Attack] = [
    other_bytes,
    other_digest,
    unsigned_target,
    endless_target,
    endless_timestamp,
    endless_root,
    extraneous_file,
    another_models_bundle,
    another_version_under_this_ones_number,
    another_model_in_a_signed_bundle,
    mixed_snapshot,
    mixed_targets,
    rolled_back_timestamp,
    rolled_back_snapshot,
    rolled_back_targets,
    wrong_key("timestamp"),
    wrong_key("snapshot"),
    wrong_key("targets"),
    wrong_key("targets", "snapshot"),
    wrong_key("timestamp", "snapshot", "targets"),
    wrong_root,
    *(expired(role) for role in ROLES),
    no_json,
]


@pytest.mark.parametrize("attack", REFUSED, ids=lambda attack: attack.__name__)
def test_an_attack_is_refused_and_the_model_stays(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel], attack: Attack
) -> None:
    attack(server)
    update = model.update()
    assert (update.outcome, update.version, factor(model)) == (Outcome.REFUSED, 1, 1.5), update.detail
    again = device()
    assert not again.update().outcome.good
    assert factor(again) == 1.5


def test_a_device_that_has_nothing_yet_installs_nothing_of_an_attacker(
    server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    wrong_key("timestamp", "snapshot", "targets")(server)
    fresh = device()
    assert (fresh.update().outcome, fresh.version) == (Outcome.REFUSED, None)


def test_after_an_attack_the_honest_server_is_believed_again(model: EdgeModel, server: EdgeServer) -> None:
    repository = server.repository
    honest = dict(repository.metadata)
    mixed_targets(server)
    assert model.update().outcome is Outcome.REFUSED
    repository.metadata = honest
    repository.publish(2, make_bundle(2, b"2.5"))
    server.offered = repository.offer(2)
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 2.5)


def test_versions_run_ahead_by_stolen_online_keys_are_overcome_by_new_keys(
    model: EdgeModel, server: EdgeServer
) -> None:
    repository = server.repository
    honest = {role: repository.signed[role].version for role in ("snapshot", "timestamp")}
    for role in honest:
        repository.signed[role].version = 1 << 40
    repository.signed["timestamp"].snapshot_meta = MetaFile(1 << 40)
    repository.write("snapshot")
    repository.write("timestamp")
    assert model.update().outcome is Outcome.UP_TO_DATE
    for role, version in honest.items():
        repository.signed[role].version = version
    repository.publish(2, make_bundle(2, b"2.5"))
    server.offered = repository.offer(2)
    assert model.update().outcome is Outcome.REFUSED, "older than what was seen"
    repository.rotate("snapshot", "timestamp")
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 2.5)


def test_a_server_that_stands_still_is_noticed_when_its_metadata_expire(
    model: EdgeModel, server: EdgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.update().outcome is Outcome.UP_TO_DATE

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=31)

    monkeypatch.setattr("tuf.ngclient._internal.trusted_metadata_set.datetime.datetime", Later)
    update = model.update()
    assert (update.outcome, factor(model)) == (Outcome.REFUSED, 1.5)
    assert "out of date, or this clock is wrong" in update.detail


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_a_stolen_online_key_signs_no_model_and_new_keys_lock_it_out(
    model: EdgeModel, server: EdgeServer, role: str
) -> None:
    """Targets are signed by a key that is not on the server: who has its keys can at most keep old versions alive."""
    repository = server.repository
    stolen = repository.signers[role]
    _sign_as_attacker(server, "targets")
    assert (model.update().outcome, factor(model)) == (Outcome.REFUSED, 1.5)
    repository.publish(2, make_bundle(2, b"2.5"))
    repository.rotate("snapshot", "timestamp")
    server.offered = repository.offer(2)
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 2.5)
    repository.signed[role].version += 1
    if role == "snapshot":
        repository.signed["timestamp"].version += 1
        repository.signed["timestamp"].snapshot_meta = MetaFile(repository.signed["snapshot"].version)
        repository.write("timestamp")
    repository.write(role, stolen)
    assert model.update().outcome is Outcome.REFUSED


def test_a_stolen_targets_key_alone_changes_nothing(model: EdgeModel, server: EdgeServer) -> None:
    repository = server.repository
    stolen = repository.signers["targets"]
    _sign_as_attacker(server, "snapshot", "timestamp")
    assert (model.update().outcome, factor(model)) == (Outcome.REFUSED, 1.5)
    repository.publish(2, make_bundle(2, b"2.5"))
    repository.rotate("targets", "snapshot", "timestamp")
    server.offered = repository.offer(2)
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 2.5)
    repository.publish(3, make_bundle(3, b"6.66"))
    repository.write("targets", stolen)
    server.offered = repository.offer(3)
    assert (model.update().outcome, factor(model)) == (Outcome.REFUSED, 2.5)


def test_keys_of_all_roles_but_root_can_lie_until_root_takes_them_away(model: EdgeModel, server: EdgeServer) -> None:
    """The one who has all three can install a model: root, which is kept elsewhere, ends it."""
    repository = server.repository
    stolen = {role: repository.signers[role] for role in ROLES[1:]}
    _sign_as_attacker(server)
    assert model.update().outcome is Outcome.INSTALLED
    assert factor(model) == pytest.approx(6.66)
    repository.publish(3, make_bundle(3, b"3.5"))
    repository.rotate(*ROLES[1:])
    server.offered = repository.offer(3)
    assert (model.update().outcome, factor(model)) == (Outcome.INSTALLED, 3.5)
    repository.publish(4, make_bundle(4, b"6.66"))
    for role, signers in stolen.items():
        repository.write(role, signers)
    server.offered = repository.offer(4)
    assert (model.update().outcome, factor(model)) == (Outcome.REFUSED, 3.5)


def test_one_of_two_root_keys_is_not_enough(tmp_path: Path) -> None:
    repository = Repository(root_threshold=2)
    repository.publish(1, make_bundle(1, b"1.5"))
    with EdgeServer.running(repository) as server:
        server.offered = repository.offer(1)
        model = make_model(server, tmp_path / "device")
        assert model.update().outcome is Outcome.INSTALLED
        honest, stolen = repository.signers["root"], repository.signers["root"][:1]
        repository.signed["root"].version += 1
        repository.write("root", stolen)
        assert model.update().outcome is Outcome.REFUSED
        repository.write("root", honest)
        assert model.update().outcome is Outcome.UP_TO_DATE


def test_a_root_key_is_rotated_by_the_old_and_the_new_one(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel]
) -> None:
    repository = server.repository
    for _ in range(3):
        repository.rotate("root")
    server.offered = repository.offer(2)
    fresh = device()
    assert (fresh.update().outcome, factor(fresh)) == (Outcome.INSTALLED, 2.5)


@pytest.mark.parametrize("part", ["/check", "timestamp.json", "targets/"])
@pytest.mark.parametrize("where", ["head", "body"])
def test_a_server_that_sends_ever_so_slowly_is_given_up(
    model: EdgeModel, server: EdgeServer, device: Callable[..., EdgeModel], part: str, where: str
) -> None:
    over = Event()

    def trickle(to: BaseHTTPRequestHandler) -> None:
        if where == "body":
            to.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n")
        try:
            for _ in range(500):
                to.wfile.write(b"H")
                if over.wait(0.02):
                    break
        except OSError:
            to.close_connection = True

    server.offered = server.repository.offer(2)
    server.acts[part] = trickle
    hasty = device(limits=Limits(silence_s=30, patience_s=0.4, slowest=1 << 20))
    update = hasty.update()
    over.set()
    assert (update.outcome, update.version, factor(hasty)) == (Outcome.OFFLINE, 1, 1.5)
    assert "took longer than" in update.detail
    del server.acts[part]
    assert model.update().outcome is Outcome.INSTALLED


HUGE = b"9" * 400


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        ("/check", b'{"version": 2, "target": "a/b", "sha256": "", "poll_s": ' + HUGE + b"}"),
        ("/check", b'{"version": ' + HUGE + b', "target": "a/b", "sha256": ""}'),
        ("/check", b'{"version": 2, "target": "a/b", "sha256": "", "delta": {"target": 1}}'),
        ("/check", b"[" * 100_000),
        ("/check", b'{"version": 2, "target": "\\ud800/x", "sha256": "\\ud800"}'),
        ("timestamp.json", b'{"signatures": [], "signed": {"_type": "timestamp", "version": ' + HUGE + b"}}"),
        ("timestamp.json", b'{"signatures": "x", "signed": {"_type": "timestamp"}}'),
        ("root.json", b'{"signatures": [{"keyid": 1, "sig": []}], "signed": {"_type": "root", "keys": [[]]}}'),
    ],
)
def test_whatever_a_server_says_an_update_ends_in_order(
    model: EdgeModel, server: EdgeServer, part: str, sent: bytes
) -> None:
    server.offered = server.repository.offer(2)
    server.acts[part] = lambda to: answer(to, 200, sent)
    update = model.update()
    assert not update.outcome.good
    assert (update.version, factor(model)) == (1, 1.5)


def test_what_is_nested_too_deep_to_be_shown_is_refused_in_order() -> None:
    nested: list[object] = []
    for _ in range(2 * sys.getrecursionlimit()):
        nested = [nested]
    with pytest.raises(Offline, match="version: the server answered"):
        _offer({"version": nested})
    with pytest.raises(Refused, match="datatype"):
        dtype_of(nested)


def test_what_a_server_says_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _say(Update(Outcome.OFFLINE, 1, "503 \x1b[2J\x9b1m\rdone\nünder way"))
    told = capsys.readouterr().out
    assert told == "offline: version 1 is in use (503 \ufffd[2J\ufffd1m\ufffddone\ufffdünder way)\n"


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 206 P\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"F" * 5000 + b"\r\nx",
        b"HTTP/1.1 999 \xff\xfe\r\n\xff: \xff\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
)
@pytest.mark.parametrize("part", ["/check", "timestamp.json", "targets/", "reports"])
def test_whatever_comes_instead_of_http_an_update_ends_in_order(
    model: EdgeModel, server: EdgeServer, tmp_path: Path, part: str, head: bytes
) -> None:
    def act(to: BaseHTTPRequestHandler) -> None:
        to.wfile.write(head)
        to.close_connection = True

    server.offered = server.repository.offer(2)
    (tmp_path / "device" / "incoming" / f"{server.offered['sha256']}.part").write_bytes(b"PK")  # it asks for the rest
    server.acts[part] = act
    update = model.update()
    assert update.outcome.good is (part == "reports")
    assert (update.version, factor(model)) == ((2, 2.5) if part == "reports" else (1, 1.5))
