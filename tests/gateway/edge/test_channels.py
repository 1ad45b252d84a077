"""Who gets which version, and how rollouts grow, end and are halted: for all devices and all evidence."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from adapters.errors import InvalidInput
from gateway.config import ConfigError
from gateway.edge.channel_file import Channel, ChannelFile, Evidence, Former, Halt, Rollout, Settled, Stage
from gateway.edge.channels import (
    advance,
    candidates,
    choose,
    complete,
    halt,
    promote,
    rollback,
    too_many_failed,
    without,
)
from gateway.edge.devices import Device, Rules, app_version
from gateway.errors import Conflict, ModelNotFound

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
STAGES = tuple(Stage(percent=each, after_s=3600, min_reports=50) for each in (1.0, 5.0, 25.0, 100.0))
ALL = Rules()
FLEET = [Device(id=f"device-{number}", os="android", runtime="tflite") for number in range(10_000)]


def rolling(percent: float = 1.0, version: int = 2, rules: Rules = ALL, current: int | None = 1) -> Channel:
    stages = (Stage(percent=percent), Stage(percent=100.0)) if percent < 100 else (Stage(percent=100.0),)
    return promote(Channel(current=current), version, stages, rules, Halt(), NOW)


def file(channel: Channel) -> ChannelFile:
    return ChannelFile(model="digits", salt="salt", channels={"stable": channel})


def having(channel: Channel, version: int) -> set[str]:
    return {each.id for each in FLEET if choose(file(channel), "stable", each) == version}


def grown(*evidence: Evidence) -> Channel:
    channel = promote(Channel(current=1), 2, STAGES, ALL, Halt(), NOW)
    for number, each in enumerate(evidence):
        channel = advance(channel, each, NOW + (number + 1) * HOUR)
    return channel


@given(st.text(max_size=40), st.floats(0.01, 100), st.floats(0.01, 100), st.integers(1, 50))
def test_a_device_stays_in_as_the_percent_grows(unit: str, one: float, other: float, version: int) -> None:
    device = Device(id=unit)
    few, many = (file(rolling(each, version + 1, current=version)) for each in sorted((one, other)))
    if choose(few, "stable", device) == version + 1:
        assert choose(many, "stable", device) == version + 1


def test_so_many_devices_get_it_as_the_percent_says_and_none_leaves() -> None:
    before: set[str] = set()
    for percent in (1, 5, 25, 100):
        now = having(rolling(percent), 2)
        expected, deviation = percent * 100, (10_000 * percent / 100 * (1 - percent / 100)) ** 0.5
        assert abs(len(now) - expected) <= 4 * deviation
        assert before <= now
        before = now


def test_each_version_has_other_devices_that_go_first() -> None:
    overlap = having(rolling(5, 2), 2) & having(rolling(5, 3), 3)
    assert len(overlap) < 100


def test_a_device_without_an_id_comes_last() -> None:
    assert choose(file(rolling(99.9)), "stable", Device(os="android")) == 1
    assert choose(file(rolling(100)), "stable", Device(os="android")) == 2


def test_a_channel_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ModelNotFound, match="'beta' of model 'digits' is not there; there is stable"):
        choose(file(Channel()), "beta", Device())
    assert choose(file(Channel()), "stable", Device()) is None


def test_a_halted_rollout_is_nobody_s_and_a_done_one_everybody_s() -> None:
    channel = rolling(25)
    assert having(halt(channel, "bad", NOW), 1) == {each.id for each in FLEET}
    assert having(complete(channel, NOW), 2) == {each.id for each in FLEET}


@pytest.mark.parametrize(
    ("rules", "device"),
    [
        (Rules(os=("ios",)), Device(os="android")),
        (Rules(runtime=("tflite",)), Device(os="android")),
        (Rules(arch=("arm64",)), Device(arch="amd64")),
        (Rules(min_app="2.10"), Device(app="2.9")),
        (Rules(min_app="2.1"), Device(app="2.1-rc1")),
        (Rules(min_app="2.1"), Device()),
        (Rules(min_app="2.1"), Device(app="newest")),
        (Rules(min_ram_mb=512), Device(ram_mb=511)),
        (Rules(min_ram_mb=512), Device()),
    ],
)
def test_a_rule_keeps_a_device_out(rules: Rules, device: Device) -> None:
    assert choose(file(rolling(100, rules=rules)), "stable", device) == 1


@pytest.mark.parametrize(
    ("rules", "device"),
    [
        (Rules(os=("ios", "android")), Device(os="android")),
        (Rules(arch=("aarch64",)), Device(arch="arm64")),
        (Rules(min_app="2.9"), Device(app="2.10")),
        (Rules(min_app="2.1.0"), Device(app="2.1")),
        (Rules(min_app="2.1"), Device(app="v2.1.4 (build 77)")),
        (Rules(min_ram_mb=512), Device(ram_mb=512)),
    ],
)
def test_a_rule_lets_a_device_in(rules: Rules, device: Device) -> None:
    assert choose(file(rolling(100, rules=rules)), "stable", device) == 2


@given(st.text(max_size=200))
def test_a_version_of_an_app_is_read_or_refused(text: str) -> None:
    found = app_version(text)
    assert found is None or found >= app_version("0.dev0")


def test_rules_outlast_their_rollout() -> None:
    done = complete(rolling(5, rules=Rules(os=("android",))), NOW)
    assert choose(file(done), "stable", Device(os="android")) == 2
    assert choose(file(done), "stable", Device(os="ios")) == 1
    third = promote(done, 3, STAGES, ALL, Halt(), NOW)
    assert {choose(file(third), "stable", each) for each in FLEET} == {2, 3}
    everybody = complete(third, NOW)
    assert choose(file(everybody), "stable", Device(os="ios")) == 3
    assert choose(file(rollback(everybody, "", NOW)), "stable", Device(os="android")) == 2
    assert choose(file(rollback(rollback(everybody, "", NOW), "", NOW)), "stable", Device(os="android")) == 1


def test_for_want_of_a_bundle_a_device_may_have_what_it_would_get_otherwise() -> None:
    settled = replace(rolling(100, 4), settled=(Settled(version=3, rules=Rules(os=("android",))),))
    assert candidates(file(settled), "stable", Device(os="android")) == (4, 3, 1)
    assert candidates(file(settled), "stable", Device(os="ios")) == (4, 1)


def test_a_rollout_grows_when_time_and_reports_have_come() -> None:
    channel = promote(Channel(current=1), 2, STAGES, ALL, Halt(), NOW)
    enough = Evidence(reports=50)
    assert advance(channel, enough, NOW + HOUR - timedelta(seconds=1)) is channel
    assert advance(channel, Evidence(reports=49), NOW + 9 * HOUR) is channel
    after = advance(channel, enough, NOW + HOUR)
    assert after.rollout is not None
    assert (after.rollout.percent, after.rollout.since, after.rollout.before) == (5, NOW + HOUR, enough)
    assert advance(after, enough, NOW + 9 * HOUR) is after
    assert advance(after, enough, NOW - HOUR) is after
    done = grown(*(Evidence(reports=50 * number) for number in (1, 2, 3, 4)))
    assert (done.current, done.rollout and done.rollout.state) == (2, "done")
    assert advance(done, Evidence(reports=999, failed=999), NOW + 99 * HOUR) is done
    assert [each.event for each in done.history] == ["promoted", "advanced", "advanced", "advanced", "done"]


@pytest.mark.parametrize(
    ("evidence", "halts"),
    [
        (Evidence(reports=2, failed=2), False),
        (Evidence(reports=3, failed=3), True),
        (Evidence(reports=7, failed=4), True),
        (Evidence(reports=8, failed=4), False),
        (Evidence(reports=49, failed=3), False),
        (Evidence(reports=50, failed=1), False),
        (Evidence(reports=50, failed=2), True),
        (Evidence(reports=1000, failed=20), False),
        (Evidence(reports=1000, failed=21), True),
        (Evidence(reports=2, failed=5), True),
    ],
)
def test_too_many_failures_halt(evidence: Evidence, halts: bool) -> None:
    channel = grown(evidence)
    assert channel.rollout is not None
    assert (channel.rollout.state == "halted") == halts
    assert bool(channel.rollout.reason) == halts
    assert bool(having(channel, 2)) != halts


def test_failures_of_a_later_stage_are_not_hidden_by_the_good_ones_before() -> None:
    good = Evidence(reports=100_000)
    channel = grown(good, Evidence(reports=100_060, failed=9))
    assert channel.rollout is not None
    assert channel.rollout.reason == "9 of 60 reports at 5 % say that it failed: 15.0%, where at most 2.0% may"


def test_a_store_that_forgot_halts_nothing() -> None:
    channel = grown(Evidence(reports=100, failed=1))
    assert channel.rollout is not None
    assert not too_many_failed(channel.rollout, Evidence())
    assert advance(channel, Evidence(reports=60), NOW + 9 * HOUR) is channel


@pytest.mark.parametrize("failing", [0.1, 0.5, 1.0])
def test_a_bad_model_is_halted_before_it_is_at_five_percent(failing: float) -> None:
    chance = random.Random(7)
    channel, seen, failed = rolling(1), 0, 0
    for _ in having(channel, 2):
        seen, failed = seen + 1, failed + (chance.random() < failing)
        channel = advance(channel, Evidence(reports=seen, failed=failed), NOW + seen * HOUR / 60)
        assert channel.rollout is not None
        if channel.rollout.state == "halted":
            break
    assert channel.rollout is not None
    assert (channel.rollout.state, channel.rollout.percent) == ("halted", 1)
    assert having(channel, 2) == set()


def test_one_rollout_at_a_time_and_each_error_says_what_next() -> None:
    channel = rolling(1)
    with pytest.raises(Conflict, match="halt or roll back first"):
        promote(channel, 3, STAGES, ALL, Halt(), NOW)
    with pytest.raises(Conflict, match="what everybody has"):
        promote(Channel(current=2), 2, STAGES, ALL, Halt(), NOW)
    with pytest.raises(Conflict, match="no rollout is running"):
        halt(Channel(current=2), "", NOW)
    with pytest.raises(Conflict, match="no former version"):
        rollback(Channel(current=2), "", NOW)
    again = promote(halt(channel, "", NOW), 2, STAGES, ALL, Halt(), NOW)
    assert again.rollout is not None
    assert again.rollout.state == "running"


def test_a_rollback_goes_to_current_and_then_to_what_was_before() -> None:
    channel = complete(rolling(1, 2), NOW)
    channel = promote(channel, 3, STAGES, ALL, Halt(), NOW)
    channel = rollback(channel, "bad", NOW)
    assert (channel.current, channel.rollout) == (2, None)
    channel = rollback(channel, "bad, too", NOW)
    assert (channel.current, channel.rollout) == (1, None)
    with pytest.raises(Conflict):
        rollback(channel, "", NOW)


def test_the_first_version_of_a_channel_has_none_before_it() -> None:
    first = complete(rolling(100, 1, current=None), NOW)
    with pytest.raises(Conflict, match="no former version"):
        rollback(first, "", NOW)


def test_a_revoked_version_is_nowhere_any_more() -> None:
    channel = complete(rolling(1, 2), NOW)
    channel = promote(channel, 3, STAGES, ALL, Halt(), NOW)
    assert without(channel, [2], "bad", NOW).current == 1
    assert without(channel, [3], "bad", NOW).rollout is None
    assert without(channel, [1, 2, 3], "bad", NOW).current is None
    assert without(channel, [4], "bad", NOW) is channel


steps = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), st.integers(1, 5), st.sampled_from([ALL, Rules(os=("android",))])),
        st.tuples(st.just("advance"), st.integers(0, 400), st.integers(0, 5)),
        st.tuples(st.just("halt")),
        st.tuples(st.just("rollback")),
        st.tuples(st.just("revoke"), st.integers(1, 5)),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_whatever_happens_a_channel_stays_whole(story: list[tuple]) -> None:  # type: ignore[type-arg]
    channel, now, revoked, reports = Channel(current=1), NOW, set[int](), Evidence()
    for what, *given_ in story:
        now += HOUR
        before = channel
        try:
            if what == "promote" and given_[0] not in revoked:
                channel, reports = promote(channel, given_[0], STAGES, given_[1], Halt(), now), Evidence()
            elif what == "advance":
                reports = Evidence(reports=reports.reports + given_[0], failed=reports.failed + min(given_))
                channel = advance(channel, reports, now)
            elif what == "halt":
                channel = halt(channel, "why", now)
            elif what == "rollback":
                channel = rollback(channel, "why", now)
            elif what == "revoke":
                channel, revoked = without(channel, given_, "why", now), revoked | set(given_)
        except Conflict:
            assert channel == before
        assert not channel.versions() & revoked
        assert not {each.current for each in channel.former} & revoked
        if what == "advance" and before.rollout and channel.rollout:
            assert channel.rollout.stage <= before.rollout.stage + 1
        whole = file(channel)
        for device in (Device(id="a", os="android"), Device(id="b", os="ios"), Device()):
            found = choose(whole, "stable", device)
            assert found is None or found in channel.versions()
    assert channel.current is not None or 1 in revoked


@settings(max_examples=50, deadline=None)
@given(steps)
def test_a_file_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, story: list[tuple]) -> None:  # type: ignore[type-arg]
    channel = Channel(current=1)
    for number, (what, *given_) in enumerate(story):
        if what == "promote" and (channel.rollout is None or channel.rollout.state != "running"):
            version = given_[0] + 10 * number + 10
            channel = promote(channel, version, STAGES, given_[1], Halt(), NOW + number * HOUR)
        elif what == "advance":
            channel = advance(channel, Evidence(reports=given_[0]), NOW + number * HOUR)
    path = tmp_path_factory.getbasetemp() / "digits.json"
    path.write_text(file(channel).text())
    assert ChannelFile.read(path) == file(channel)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ('{"model": "digits", "salt": "x", "channel": {}}', "unknown field `channel`"),
        ('{"schema": 2, "model": "digits", "salt": "x"}', "schema"),
        ('{"model": "digits", "salt": "x", "channels": {"stable": {"current": 0}}}', "current"),
        ("[" * 100_000, "digits.json"),
        ('"' + "x" * (1 << 20) + '"', "at most"),
    ],
)
def test_a_wrong_file_is_named_with_its_field(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "digits.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=says) as error:
        ChannelFile.read(path)
    assert "channels/digits.json" in str(error.value)


def test_stages_and_rules_that_make_no_sense_are_refused() -> None:
    for percents in ((), (5.0, 1.0, 100.0), (1.0, 5.0), (5.0, 5.0, 100.0)):
        with pytest.raises(InvalidInput, match="growing percents that end with 100"):
            promote(Channel(), 1, [Stage(percent=each) for each in percents], ALL, Halt(), NOW)
    with pytest.raises(InvalidInput, match="min_app"):
        Rules(min_app="newest")
    with pytest.raises(InvalidInput, match="min_ram_mb"):
        Rules(min_ram_mb=0)
    with pytest.raises(InvalidInput, match="stage 1 at 1 %"):
        Rollout(version=1, percent=1.0, stages=STAGES, stage=1, started=NOW, since=NOW)


def test_history_and_former_versions_do_not_grow_without_end() -> None:
    channel = Channel(current=1)
    for version in range(2, 200):
        channel = complete(promote(channel, version, STAGES, ALL, Halt(), NOW), NOW)
    assert len(channel.history) == 100
    assert channel.former[-1] == Former(current=198)
    assert len(channel.former) == 16
