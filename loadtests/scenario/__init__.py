"""Scenarios: what is to be measured, as a TOML file says it and the command line changes it."""

from loadtests.scenario.base import ALL_THERE_IS, AS_SERVED
from loadtests.scenario.kinds import (
    KINDS,
    AbSplit,
    ColdStart,
    Frameworks,
    Load,
    MultiStream,
    Offline,
    Overload,
    RollingUpdate,
    Scenario,
    Server,
    SingleStream,
)
from loadtests.scenario.reading import FOLDER, BadScenario, names, read
from loadtests.scenario.tables import Bound, PricesTable, ShapeTable

__all__ = [
    "ALL_THERE_IS", "AS_SERVED", "FOLDER", "KINDS", "AbSplit", "BadScenario", "Bound", "ColdStart", "Frameworks",
    "Load", "MultiStream", "Offline", "Overload", "PricesTable", "RollingUpdate", "Scenario", "Server", "ShapeTable",
    "SingleStream", "names", "read",
]  # fmt: skip
