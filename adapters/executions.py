"""What executions cost: one call's share of one, and the sums over many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import msgspec

from adapters.histograms import Histogram

_SIZES_TOLD_APART = 1024


class Execution(msgspec.Struct, frozen=True, gc=False):
    """One call's share of the execution of its batch; times in nanoseconds.

    `queue_ns` is the call's own, from the gateway's sending it until its batch was taken. The others are the whole
    batch's: gathering the inputs, running the model, scattering and encoding the outputs, and its rows. `first` is
    set for one call of each batch, so that batches can be counted.
    """

    queue_ns: int = 0
    input_ns: int = 0
    run_ns: int = 0
    output_ns: int = 0
    batch_rows: int = 0
    first: bool = False


@dataclass(slots=True)
class Costs:
    """How often something was done, and the sums of its times in nanoseconds."""

    count: int = 0
    queue_ns: int = 0
    input_ns: int = 0
    run_ns: int = 0
    output_ns: int = 0

    def add(self, execution: Execution) -> None:
        """Add one more."""
        self.count += 1
        self.queue_ns += execution.queue_ns
        self.input_ns += execution.input_ns
        self.run_ns += execution.run_ns
        self.output_ns += execution.output_ns


@dataclass(slots=True)
class Executions:
    """Sums over the executions of a deployment: of `calls` each with all that its batch took, of `batches` by rows.

    The queue of a batch is that of its first call. `queue` has the calls' waits, `input`, `run` and `output` the times
    of batches.
    """

    calls: Costs = field(default_factory=Costs)
    batches: dict[int, Costs] = field(default_factory=dict)
    queue: Histogram = field(default_factory=Histogram)
    input: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)
    output: Histogram = field(default_factory=Histogram)

    def add(self, execution: Execution, answered: bool = True) -> None:
        """Count one call; its batch ran though nobody waits for this answer any more (`answered` is False)."""
        if answered:
            self.calls.add(execution)
            self.queue.add(execution.queue_ns)
        if execution.first:
            rows = execution.batch_rows
            if rows > _SIZES_TOLD_APART:
                rows = 1 << (rows - 1).bit_length()  # rows are the callers', and there would be no end to their sizes
            batches = self.batches.get(rows)
            if batches is None:
                batches = self.batches[rows] = Costs()
            batches.add(execution)
            self.input.add(execution.input_ns)
            self.run.add(execution.run_ns)
            self.output.add(execution.output_ns)


@runtime_checkable
class TellsExecutions(Protocol):
    """A servable whose answers tell what they cost: it adds that to `executions`, which may be replaced."""

    executions: Executions
