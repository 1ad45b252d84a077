"""How an experiment stands, for people."""

from __future__ import annotations

import pytest

from gateway.conduct.views import view
from gateway.experiments.outputs import OutputIncrement
from tests.gateway.conduct.world import World


async def test_what_answers_are_like_is_told_by_variant_and_output(world: World) -> None:
    await world.start()
    active = world.active()
    found = OutputIncrement(4, 10.0, 30.0, 1.0, 4.0, {2: 3, 0: 1})
    active.evidence.extras.add_outputs("a", {"y": found, "texts": OutputIncrement(classes={})})
    first, second = view(world.definition(), active, None, ()).variants
    (output,) = first.outputs.values()
    assert (output.values, output.mean, output.least, output.most) == (4, 2.5, 1.0, 4.0)
    assert output.deviation == pytest.approx(1.118, abs=1e-3)
    assert list(output.classes) == [0, 2]
    assert second.outputs == {}
