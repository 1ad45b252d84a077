"""The command `torii experiment`: everything that can be asked of experiments, over the control API."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from gateway.terminal import experiment_documents as documents
from gateway.terminal import experiments as tables
from gateway.terminal.asking import CONTROL, Control, ask_control
from gateway.terminal.screen import fail, out, plain

experiment = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="A/B tests of deployments: make, start, watch, change and stop them.",
)

Name = Annotated[str, typer.Argument(metavar="MODEL/NAME", help="The experiment, as digits/onnx-or-tf")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the control API's own answer")]
Key = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Any key, as the file has it; repeatable")]


@experiment.command(
    epilog="Examples:  [b]torii experiment create digits/onnx-or-tf --variant tf=digits/1@tfserving:50 "
    "--variant onnx=digits/1@onnxruntime:50 --metric correct:binary:higher:0.01 --start[/b]"
    "   |   [b]torii experiment create digits/careful --file careful.toml[/b]"
)
def create(
    name: Name,
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=TARGET:PERCENT", help="A variant; the first is control; repeatable"),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:KIND:BETTER:MARGIN",
            help="A metric that is reported as outcomes: mean, binary, quantile or conversion; lower or higher is "
            "better; the difference that matters. Repeatable; latency and errors are there by themselves",
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="An experiment's file, TOML or JSON; options win over it", dir_okay=False)
    ] = None,
    control_variant: Annotated[str | None, typer.Option(metavar="NAME", help="Which variant is control")] = None,
    unit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE", help="What assignment sticks to: header:NAME, parameter:NAME, cookie:NAME; repeatable"
        ),
    ] = None,
    description: Annotated[str | None, typer.Option(help="The question that it answers")] = None,
    owner: Annotated[str | None, typer.Option(help="Who can be asked about it")] = None,
    ramp: Annotated[str | None, typer.Option(metavar="PERCENT,…", help="Steps in which it grows: 1,5,25,50")] = None,
    policy: Annotated[str | None, typer.Option(metavar="KIND:METRIC", help="A bandit: thompson or exp3")] = None,
    shadow: Annotated[
        str | None, typer.Option(metavar="TARGET:PERCENT", help="Whose answers are compared with the callers'")
    ] = None,
    key: Key = None,
    start: Annotated[bool, typer.Option("--start", help="Start it at once")] = False,
    control: Control = CONTROL,
) -> None:
    """Write a new experiment's file into the repository. It is a draft until it is started."""
    with _clearly():
        document = documents.read_file(file) if file else {}
        given = {
            "description": description,
            "owner": owner,
            "control": control_variant,
            "units": unit,
            "variants": documents.variants(variant) if variant else None,
            "metrics": documents.metrics(metric) if metric else None,
            "ramp": documents.ramp(ramp) if ramp else None,
            "policy": documents.policy(policy) if policy else None,
            "shadow": documents.shadow(shadow) if shadow else None,
        }
        documents.add(document, {each: value for each, value in given.items() if value})
        documents.add(document, documents.keys(key or ()))
    url = _url(control, name)
    if not document.get("variants"):
        fail("expected variants: two --variant NAME=TARGET:PERCENT at least, or --file")
    _say("created", ask_control("PUT", url, document, _who()))
    if start:
        _say("started", ask_control("POST", f"{url}/start", None, _who()))
    else:
        out.print(f"it is a draft: torii experiment start {name}", markup=False, highlight=False)


@experiment.command(epilog="Example:  [b]torii experiment start digits/onnx-or-tf[/b]")
def start(name: Name, control: Control = CONTROL) -> None:
    """Begin a run, with evidence of its own. Requests go by it when this returns."""
    _say("started", ask_control("POST", f"{_url(control, name)}/start", None, _who()))


@experiment.command(
    name="set",
    epilog="Examples:  [b]torii experiment set digits/onnx-or-tf tf=90 onnx=10[/b]"
    "   |   [b]torii experiment set digits/onnx-or-tf --key guardrails.p99_ratio=1.5 --drop ramp[/b]",
)
def change(
    name: Name,
    weights: Annotated[
        list[str] | None, typer.Argument(metavar="[VARIANT=PERCENT]...", help="Weights; all together 100")
    ] = None,
    overrides: Annotated[
        bool | None, typer.Option("--overrides/--no-overrides", help="Whether the header torii-variant chooses")
    ] = None,
    promote_by_itself: Annotated[
        bool | None, typer.Option("--promote/--no-promote", help="Whether a better variant is promoted by itself")
    ] = None,
    key: Key = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="KEY", help="Take a key out; repeatable")] = None,
    control: Control = CONTROL,
) -> None:
    """Change weights or other keys of the file. Comments in it stay, and the run goes on."""
    with _clearly():
        changes = documents.keys(key or (), drop or ())
        if weights:
            changes["weights"] = documents.weights(weights)
    switches = {"overrides": overrides, "promote": promote_by_itself}
    changes |= {each: value for each, value in switches.items() if value is not None}
    if not changes:
        fail("expected something to change: VARIANT=PERCENT for each variant, --key KEY=VALUE, --drop KEY or a switch")
    _say("changed", ask_control("PATCH", _url(control, name), changes, _who()))


@experiment.command(epilog='Example:  [b]torii experiment stop digits/onnx-or-tf --reason "the sale begins"[/b]')
def stop(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it is kept with the experiment")] = "",
    control: Control = CONTROL,
) -> None:
    """End the run: its traffic goes where it went without it. It can be started again."""
    _say("stopped", ask_control("POST", f"{_url(control, name)}/stop", {"reason": reason}, _who()))


@experiment.command(epilog="Example:  [b]torii experiment promote digits/onnx-or-tf onnx[/b]")
def promote(
    name: Name,
    variant: Annotated[str, typer.Argument(help="The variant whose version is to be served from now on")],
    control: Control = CONTROL,
) -> None:
    """End the run, and have the experiment's label (`stable`) name the variant's version."""
    _say("promoted", ask_control("POST", f"{_url(control, name)}/promote", {"variant": variant}, _who()))


@experiment.command(epilog="Example:  [b]torii experiment status digits/onnx-or-tf[/b]")
def status(name: Name, as_json: AsJson = False, control: Control = CONTROL) -> None:
    """Show how it stands: traffic, metrics with intervals that hold at every look, problems, and the verdict."""
    view = ask_control("GET", f"{_url(control, name)}/status")
    if as_json:
        _print_json(view)
        return
    for each in tables.status(view):
        out.print(each, soft_wrap=not hasattr(each, "columns"))


@experiment.command(
    name="list", epilog="Examples:  [b]torii experiment list[/b]   |   [b]torii experiment list digits[/b]"
)
def listed(
    model: Annotated[str | None, typer.Argument(help="Of this model only")] = None,
    as_json: AsJson = False,
    control: Control = CONTROL,
) -> None:
    """List experiments, and mistakes in their files. Exit code 2 where there are mistakes."""
    answer = ask_control("GET", _query(f"{control}/v1/experiments", model=model))
    if as_json:
        _print_json(answer)
    elif answer["experiments"]:
        out.print(tables.experiments(answer["experiments"]))
    else:
        out.print("no experiments; torii experiment create --help says how to make one", highlight=False)
    if answer["problems"]:
        for problem in () if as_json else answer["problems"]:
            out.print("[yellow]problem[/yellow] " + plain(problem), highlight=False, soft_wrap=True)
        raise typer.Exit(2)


@experiment.command(epilog="Example:  [b]torii experiment remove digits/onnx-or-tf[/b]")
def remove(name: Name, control: Control = CONTROL) -> None:
    """Delete the file of an experiment that does not run. What was measured and changed stays in the record."""
    ask_control("DELETE", _url(control, name), None, _who())
    out.print(f"{name} is removed", markup=False, highlight=False)


@experiment.command(
    epilog="Examples:  [b]torii experiment events[/b]   |   [b]torii experiment events digits/onnx-or-tf[/b]"
)
def events(
    name: Annotated[str | None, typer.Argument(metavar="[MODEL[/NAME]]", help="Of these only")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most, the newest")] = 100,
    as_json: AsJson = False,
    control: Control = CONTROL,
) -> None:
    """Show what was changed, by whom and why, the newest first."""
    model, _, one = (name or "").partition("/")
    answer = ask_control("GET", _query(f"{control}/v1/events", model=model, experiment=one, limit=limit))
    if as_json:
        _print_json(answer)
    else:
        out.print(tables.events(answer["events"]))


@experiment.command(
    epilog="Examples:  [b]torii experiment plan --rate 0.95 --effect 0.01[/b]"
    "   |   [b]torii experiment plan --p50 12 --p95 30 --effect=-0.1 --per-s 20[/b]"
)
def plan(
    effect: Annotated[
        float,
        typer.Option(help="The smallest difference that matters: 0.01 is one point of a rate, 1 % of a mean or of p95"),
    ],
    rate: Annotated[float | None, typer.Option(help="Control's share of ones, from 0 to 1")] = None,
    mean: Annotated[float | None, typer.Option(help="Control's mean, with --deviation")] = None,
    deviation: Annotated[float | None, typer.Option(help="The standard deviation of its single values")] = None,
    p50: Annotated[
        float | None, typer.Option(help="Control's median latency, with --p95, whose change is looked for")
    ] = None,
    p95: Annotated[float | None, typer.Option(help="Control's p95")] = None,
    confidence: Annotated[float, typer.Option(help="The experiment's")] = 0.95,
    power: Annotated[float, typer.Option(help="How probable it is to find the effect by then")] = 0.8,
    share: Annotated[float, typer.Option(help="The variant's part of the traffic of variant and control")] = 0.5,
    comparisons: Annotated[int, typer.Option(help="Metrics times variants other than control")] = 1,
    design_effect: Annotated[
        float, typer.Option(help="How many times the variance grows by dependence in units")
    ] = 1.0,
    per_s: Annotated[float | None, typer.Option(help="Values per second, to say how long it takes", min=1e-9)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print numbers only")] = False,
) -> None:
    """Say how many values an experiment takes to find a difference. Asks no gateway."""
    from gateway.terminal import planning

    with _clearly():
        found = planning.find(
            planning.baseline(rate, mean, deviation, p50, p95),
            effect,
            confidence=confidence,
            power=power,
            share=share,
            comparisons=comparisons,
            design_effect=design_effect,
        )
    if as_json:
        _print_json({"variant": found.variant, "control": found.control, "total": found.total})
        return
    for line in planning.words(found, per_s):
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _url(control: str, name: str) -> str:
    model, slash, one = name.partition("/")
    if not model or not slash or not one or "/" in one:
        fail(f"{plain(name)}: expected MODEL/NAME, as digits/onnx-or-tf; torii experiment list says what there is")
    return f"{control}/v1/models/{quote(model, safe='')}/experiments/{quote(one, safe='')}"


def _query(url: str, **given: object) -> str:
    wanted = {key: value for key, value in given.items() if value}
    return f"{url}?{urlencode(wanted)}" if wanted else url


def _who() -> dict[str, bytes]:
    """Who changes something, for the record."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container's user may have no name
        user = "somebody"
    return {"torii-who": f"{user[:60]} by command line".encode()}


@contextmanager
def _clearly() -> Iterator[None]:
    try:
        yield
    except documents.Unclear as error:
        fail(plain(str(error)))


def _say(what: str, definition: Any) -> None:
    weights = ", ".join(f"{name} {tables.number(each['weight'])} %" for name, each in definition["variants"].items())
    reason = f" ({definition['reason']})" if definition.get("reason") else ""
    text = f"{what} {definition['model']}/{definition['name']}: {definition['state']}, {weights}{reason}"
    out.print(text, markup=False, highlight=False, soft_wrap=True)


def _print_json(answer: object) -> None:
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
