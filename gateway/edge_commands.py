"""The command `torii edge`: a signed repository of bundles for devices, and channels that say who gets which."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adapters.errors import ServingError
from gateway.terminal.edge_keys import key_folder
from gateway.terminal.screen import err, fail, out, plain

if TYPE_CHECKING:
    from gateway.edge.channel_file import Channel
    from gateway.edge.promoting import Plan

edge = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Deliver bundles to devices: publish them signed, roll them out in stages, take them back.",
)

Folder = Annotated[Path, typer.Argument(metavar="EDGE_DIR", help="The edge folder, as torii edge init made it")]
Keys = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of the keys, never inside of EDGE_DIR \\[default: EDGE_DIR-keys beside it]"
    ),
]
Version = Annotated[str, typer.Argument(metavar="MODEL/VERSION", help="The version, as digits/2")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The model")]
ChannelName = Annotated[str, typer.Option("--channel", help="The channel")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the channel")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON")]
Words = list[str] | None


@edge.command(
    epilog="Examples:  [b]torii edge init edge[/b]   |   "
    "[b]torii edge init edge --keys /media/stick/keys --threshold root=2/3 --expires timestamp=12h[/b]"
)
def init(
    folder: Folder,
    keys: Keys = None,
    threshold: Annotated[
        Words, typer.Option(metavar="ROLE=SIGN/KEYS", help="root=2/3: two of three keys must sign; repeatable")
    ] = None,
    expires: Annotated[
        Words,
        typer.Option(
            metavar="ROLE=TIME",
            help="How long signatures hold; repeatable \\[default: root=365d targets=90d snapshot=7d timestamp=1d]",
        ),
    ] = None,
) -> None:
    """Make an edge folder and its keys. Clients need its first root: metadata/1.root.json.

    Passphrases come from TORII_EDGE_OFFLINE_PASSPHRASE (root, targets) and TORII_EDGE_ONLINE_PASSPHRASE (snapshot,
    timestamp), or are asked for.
    """
    with _clearly():
        from gateway.edge.making import make
        from gateway.edge.signed import SignedFolder
        from gateway.edge.words import terms

        found = key_folder(folder, keys)
        make(SignedFolder(folder), found, terms(threshold or (), expires or ()))
        _say(f"made {folder}; its keys are in {found.folder}")
        _say(f"keep {found.folder / 'offline'} away from servers: whoever has it can sign models for every device")
        _say(f"clients start from {folder / 'metadata' / '1.root.json'}; next: torii edge publish {folder} BUNDLE.zip")


@edge.command(
    epilog="Examples:  [b]torii edge publish edge digits-2-android.zip digits-2-ios.zip[/b]   |   "
    "[b]torii edge publish edge big-7-android.zip --min-ram-mb 2048 --no-deltas[/b]"
)
def publish(
    folder: Folder,
    bundle: Annotated[list[Path], typer.Argument(metavar="BUNDLE...", help="What torii bundle wrote")],
    min_ram_mb: Annotated[int | None, typer.Option(min=1, help="Memory that a device needs for these, in MiB")] = None,
    no_deltas: Annotated[bool, typer.Option("--no-deltas", help="Make no deltas from older versions")] = False,
    keys: Keys = None,
) -> None:
    """Check bundles, copy them into the folder, and sign them. No device gets one before it is promoted."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.deltas import DeltaLimits, make_delta
        from gateway.edge.publishing import Publisher
        from gateway.edge.signed import SignedFolder

        differ = partial(make_delta, limits=DeltaLimits(most_bytes=0)) if no_deltas else make_delta
        publisher = Publisher(SignedFolder(folder), key_folder(folder, keys), ChannelFolder(folder), differ)
        for each in bundle:
            done = publisher.publish(each, min_ram_mb)
            _say(f"{'published' if done.new else 'is published already:'} {done.bundle.path}")
            for line in done.told:
                _say(f"  {line}")
            if not done.live:
                _say(f"clients do not see it yet: torii edge refresh {folder}, where the online keys are")
        _say(f"next: torii edge promote {folder} {done.bundle.model}/{done.bundle.version}")


@edge.command(
    epilog="Examples:  [b]torii edge promote edge digits/2 --stages 1,5,25,100 --every 1h --min-reports 50 "
    "--max-failed 2%[/b]   |   [b]torii edge promote edge digits/2 --channel beta --at-once[/b]   |   "
    "[b]torii edge promote edge digits/3 --os android --min-app 2.1[/b]"
)
def promote(
    folder: Folder,
    version: Version,
    channel: ChannelName = "stable",
    stages: Annotated[str, typer.Option(metavar="PERCENT,…", help="Shares of the devices")] = "1,5,25,100",
    every: Annotated[str, typer.Option(metavar="TIME", help="How long a stage takes at least: 10m, 1h, 1d")] = "1h",
    min_reports: Annotated[int, typer.Option(min=1, help="Reports that a stage, and the share of failures, need")] = 50,
    max_failed: Annotated[str, typer.Option(metavar="SHARE", help="Failed self-checks above it halt")] = "2%",
    at_once: Annotated[bool, typer.Option("--at-once", help="To everybody now, without stages")] = False,
    os_name: Annotated[Words, typer.Option("--os", help="Only to this system, as android; repeatable")] = None,
    arch: Annotated[Words, typer.Option(help="Only to this architecture, as arm64; repeatable")] = None,
    runtime: Annotated[Words, typer.Option(help="Only to this runtime, as tflite; repeatable")] = None,
    min_app: Annotated[str | None, typer.Option(metavar="VERSION", help="Only to apps from this version on")] = None,
    min_ram_mb: Annotated[int | None, typer.Option(min=1, help="Only to devices with so much memory")] = None,
) -> None:
    """Roll a published version out to a channel, in stages that need time and good reports. Needs no keys.

    A channel that has nothing yet gets it at once. The stages are taken by the edge server, while it runs.
    """
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.devices import Rules
        from gateway.edge.promoting import begin
        from gateway.edge.signed import SignedFolder
        from gateway.edge.words import version_of_model

        rules = Rules(
            os=_several(os_name), arch=_several(arch), runtime=_several(runtime), min_app=min_app, min_ram_mb=min_ram_mb
        )
        plan = _plan("" if at_once else stages, every, min_reports, max_failed, rules)
        model, number = version_of_model(version)
        _show(model, channel, begin(SignedFolder(folder), ChannelFolder(folder), model, number, channel, plan))


@edge.command(epilog='Example:  [b]torii edge halt edge digits --reason "crashes on start"[/b]')
def halt(folder: Folder, model: Model, channel: ChannelName = "stable", reason: Reason = "by hand") -> None:
    """Stop a channel's rollout: no device gets its version any more, and those that have it are sent back."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.channels import halt as halted
        from gateway.edge.signed import utc_now

        changed = ChannelFolder(folder).change(model, channel, lambda each: halted(each, reason, utc_now()))
        _show(model, channel, changed)


@edge.command(epilog='Example:  [b]torii edge rollback edge digits --channel beta --reason "wrong labels"[/b]')
def rollback(folder: Folder, model: Model, channel: ChannelName = "stable", reason: Reason = "by hand") -> None:
    """Send every device of a channel back: from a rollout to the current version, or from that to the one before."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.channels import rollback as back
        from gateway.edge.signed import utc_now

        changed = ChannelFolder(folder).change(model, channel, lambda each: back(each, reason, utc_now()))
        _show(model, channel, changed)


@edge.command(epilog='Example:  [b]torii edge revoke edge digits/2 --reason "trained on the wrong data"[/b]')
def revoke(folder: Folder, version: Version, reason: Reason = "", keys: Keys = None) -> None:
    """Take a version back for good: out of every channel and every signature; its files are deleted."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.publishing import Publisher
        from gateway.edge.signed import SignedFolder
        from gateway.edge.words import version_of_model

        model, number = version_of_model(version)
        publisher = Publisher(SignedFolder(folder), key_folder(folder, keys), ChannelFolder(folder))
        done = publisher.revoke(model, number, reason)
        for name, current in done.moved:
            what = "nothing, for there is no former version" if current is None else f"version {current}"
            _say(f"{model}, channel {name}: everybody gets {what}")
        for path in done.paths:
            _say(f"revoked {path}")
        if not done.live:
            _say(f"clients still see it: torii edge refresh {folder}, where the online keys are")


@edge.command(
    epilog="Examples:  [b]torii edge rotate edge timestamp[/b]   |   [b]torii edge rotate edge root --threshold 2 "
    "--count 3[/b]   |   [b]torii edge rotate edge targets --same-keys[/b]"
)
def rotate(
    folder: Folder,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="root, targets, snapshot or timestamp")],
    same_keys: Annotated[
        bool, typer.Option("--same-keys", help="Keep the keys and sign again, so that it holds longer")
    ] = False,
    threshold: Annotated[int | None, typer.Option(min=1, help="How many keys must sign from now on")] = None,
    count: Annotated[int | None, typer.Option(min=1, max=16, help="How many keys the role has from now on")] = None,
    keys: Keys = None,
) -> None:
    """Give a role new keys; clients follow by themselves. Needs the keys of root, snapshot and timestamp."""
    with _clearly():
        from gateway.edge import rotation
        from gateway.edge.roles import role_name
        from gateway.edge.signed import SignedFolder

        signed, name, found = SignedFolder(folder), role_name(role), key_folder(folder, keys)
        if same_keys:
            rotation.sign_again(signed, found, name)
            _say(f"{name} is signed again by the same keys")
            return
        done = rotation.rotate(signed, found, name, rotation.checked_terms(signed.read(), name, threshold, count))
        _say(f"{name} has new keys, by root {done.root_version}")
        for each in done.useless:
            _say(f"of no use any more, delete it: {each}")


@edge.command(epilog="Example:  [b]torii edge refresh edge --keys /etc/torii/keys[/b]")
def refresh(folder: Folder, keys: Keys = None) -> None:
    """Sign snapshot and timestamp again, by the online keys alone. An edge server that has them does it by itself."""
    with _clearly():
        from gateway.edge.refreshing import refresh as sign

        done = sign(folder, key_folder(folder, keys), force=True)
        _say(f"signed until {done.until:%Y-%m-%d %H:%M} UTC")
        for line in done.overdue:
            _warn(line.replace("EDGE_DIR", str(folder)))


@edge.command(epilog="Example:  [b]torii edge status edge[/b]")
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Show roles, bundles and channels, and what is to be done. Exit code 2 where something is."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.overview import overview
        from gateway.edge.signed import SignedFolder
        from gateway.terminal import edge as tables

        found = overview(SignedFolder(folder), ChannelFolder(folder))
    if as_json:
        _print_json(found)
    else:
        out.print(tables.roles(found["roles"]))
        out.print(tables.bundles(found["bundles"]) if found["bundles"] else "no bundles: torii edge publish adds them")
        out.print(
            tables.channels(found["channels"]) if found["channels"] else "no channels: torii edge promote makes them"
        )
        for line in found["to_do"]:
            _warn(line)
    if found["to_do"]:
        raise typer.Exit(2)


@edge.command(epilog="Example:  [b]torii edge channel edge digits[/b]")
def channel(folder: Folder, model: Model, as_json: AsJson = False) -> None:
    """Show a model's channels: who gets which version, and what happened."""
    with _clearly():
        from gateway.edge.channel_folder import ChannelFolder
        from gateway.edge.overview import of_model
        from gateway.terminal import edge as tables

        found = of_model(ChannelFolder(folder), model)
    if as_json:
        _print_json(found)
        return
    out.print(tables.channels(found))
    for each in found:
        _say(f"{model}, channel {each['channel']}:")
        out.print(tables.history(each["history"]))


@edge.command(epilog="Example:  [b]torii edge serve edge --keys /etc/torii/keys[/b]")
def serve(
    folder: Folder,
    host: Annotated[str | None, typer.Option(help="Address to listen on \\[default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on \\[default: 8003]")] = None,
    keys: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder with the online keys: snapshot and timestamp are signed in time"),
    ] = None,
    store: Annotated[str | None, typer.Option(help="Where reports are kept, as torii serve's store")] = None,
    demo: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The browser's demo page, edge/browser/dist, to serve at /edge/v1/demo/"),
    ] = None,
    log_level: Annotated[str | None, typer.Option(help="debug, info, warning or error \\[default: info]")] = None,
) -> None:
    """Serve devices until SIGTERM or Ctrl-C; what changes in the folder is taken up. `torii serve --edge` does it too.

    Settings are those of torii serve: edge_token is TORII_EDGE_TOKEN.
    """
    from gateway.config import read_settings
    from gateway.edge.server.alone import serve_alone
    from gateway.ports import PortTaken

    with _clearly():
        settings = read_settings(
            edge=folder,
            edge_host=host,
            edge_port=port,
            edge_keys=keys,
            store=store,
            edge_demo=demo,
            log_level=log_level,
        )
        try:
            serve_alone(settings, lambda url: err.print(f"serving {plain(str(folder))} to devices at {url}"))
        except PortTaken as error:
            fail(plain(str(error)))


@contextmanager
def _clearly() -> Iterator[None]:
    """Whatever goes wrong is said in one line, with what to do about it."""
    from gateway.config import ConfigError

    try:
        yield
    except ModuleNotFoundError as error:
        fail(f"{plain(str(error.name))} is not installed: pip install 'torii-gateway\\[edge]'")
    except (ServingError, ConfigError) as error:
        fail(plain(str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        fail(plain(f"{where}{error.strerror or error}; nothing was changed half: mend that and repeat the command"))


def _plan(stages: str, every: str, min_reports: int, max_failed: str, rules: Any) -> Plan:
    from gateway.edge.channel_file import Halt, Stage
    from gateway.edge.promoting import Plan
    from gateway.edge.words import duration, percents, share

    after_s = duration(every, "--every").total_seconds()
    found = [
        Stage(percent=each, after_s=after_s, min_reports=min_reports) for each in (percents(stages) if stages else ())
    ]
    return Plan(found, rules, Halt(max_failed=share(max_failed, "--max-failed"), min_reports=min_reports))


def _several(given: Words) -> tuple[str, ...]:
    return tuple(part for each in given or () for part in each.split(",") if part)


def _show(model: str, name: str, changed: Channel) -> None:
    current = f"version {changed.current}" if changed.current is not None else "nothing"
    rollout = changed.rollout
    more = f"; version {rollout.version} is {rollout.state}, at {rollout.percent:g} %" if rollout else ""
    kept = "".join(f"; those with {each.rules} keep version {each.version}" for each in changed.settled)
    _say(f"{model}, channel {name}: everybody gets {current}{more}{kept}")


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _warn(text: str) -> None:
    err.print("[yellow]to do:[/yellow] " + plain(text), highlight=False, soft_wrap=True)


def _print_json(found: object) -> None:
    sys.stdout.write(json.dumps(found, indent=2, default=_written) + "\n")


def _written(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
