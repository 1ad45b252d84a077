"""What is cross-checked: loads, who measures each beside us, and which figures are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.crosscheck.asked import Load
from loadtests.crosscheck.h2load import H2load
from loadtests.crosscheck.loadgen import LoadGen
from loadtests.crosscheck.measured import Statistic
from loadtests.crosscheck.perf_analyzer import PerfAnalyzer
from loadtests.crosscheck.tool import Tool
from loadtests.crosscheck.wrk import Wrk

_BOTH: tuple[Statistic, ...] = ("throughput", "p50")


@dataclass(frozen=True, slots=True)
class Entry:
    """A tool in a scenario, and what of it is compared with ours."""

    tool: Tool
    statistics: tuple[Statistic, ...] = _BOTH


@dataclass(frozen=True, slots=True)
class Scenario:
    """One load and all who measure it."""

    name: str
    load: Load
    entries: tuple[Entry, ...]


def scenarios(rate: float) -> Sequence[Scenario]:
    """All of them; `rate` is that of Poisson arrivals, requests/s."""
    wrk, h2load, analyzer = Entry(Wrk()), Entry(H2load()), Entry(PerfAnalyzer())
    single = Entry(LoadGen("SingleStream"), ("p50", "p90"))
    multiple = Entry(LoadGen("MultiStream"), ("p50", "p99"))
    server = Entry(LoadGen("Server"), ("throughput", "p50", "p99"))
    offline = Entry(LoadGen("Offline"), ("throughput",))
    return (
        Scenario("V2 binary, 1 connection", Load("v2-binary", 1), (wrk, h2load, analyzer, single)),
        Scenario("V2 binary, 8 connections", Load("v2-binary", 8), (wrk, h2load, analyzer)),
        Scenario("V2 JSON, 8 connections", Load("v2-json", 8), (wrk, h2load)),
        Scenario("V2 gRPC, 1 connection", Load("v2-grpc", 1), (h2load, analyzer)),
        Scenario("V2 gRPC, 8 connections", Load("v2-grpc", 8), (h2load, analyzer)),
        Scenario("queries of 8 samples, 1 connection", Load("v2-binary", 1, rows=8), (multiple,)),
        Scenario("evenly 100/s, 1 connection", Load("v2-binary", 1, rate=100.0, arrival="uniform"), (h2load,)),
        Scenario(f"Poisson, {rate:g}/s", Load("v2-binary", 16, rate=rate), (server, analyzer)),
        Scenario(f"Poisson, {rate:g}/s, gRPC", Load("v2-grpc", 16, rate=rate), (analyzer,)),
        Scenario("32 samples a request, 4 connections", Load("v2-binary", 4, rows=32), (offline,)),
    )
