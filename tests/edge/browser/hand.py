"""Digits as a hand draws them: strokes of points from 0 to 1, x to the right, y down."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Stroke = npt.NDArray[np.float64]
"""Shape (points, 2)."""

_POINTS = 7
_FRAME, _PLACE = 0.55, (0.2, 0.25)


def _line(*corners: tuple[float, float]) -> Stroke:
    return np.concatenate([np.linspace(one, other, _POINTS) for one, other in pairwise(corners)])


def _arc(centre: tuple[float, float], radii: tuple[float, float], begin: float, end: float) -> Stroke:
    """Degrees: 0 is to the right, 90 down."""
    turns = np.radians(np.linspace(begin, end, 3 * _POINTS))
    return np.array(centre) + np.array(radii) * np.stack([np.cos(turns), np.sin(turns)], axis=1)


def _joined(*parts: Stroke) -> Stroke:
    return np.concatenate(parts)


_DIGITS: dict[int, list[Stroke]] = {
    0: [_arc((0.5, 0.5), (0.33, 0.48), -80, 290)],
    1: [_line((0.32, 0.24), (0.52, 0.02), (0.52, 0.98))],
    2: [_joined(_arc((0.5, 0.28), (0.3, 0.26), -170, 35), _line((0.72, 0.45), (0.2, 0.97), (0.82, 0.95)))],
    3: [_joined(_arc((0.45, 0.26), (0.28, 0.24), -150, 90), _arc((0.45, 0.74), (0.32, 0.25), -90, 150))],
    4: [_line((0.38, 0.02), (0.15, 0.6), (0.85, 0.6)), _line((0.66, 0.3), (0.62, 0.98))],
    5: [
        _joined(_line((0.3, 0.03), (0.26, 0.45)), _arc((0.45, 0.68), (0.32, 0.29), -120, 140)),
        _line((0.3, 0.03), (0.8, 0.03)),
    ],
    6: [_joined(_arc((0.72, 0.52), (0.5, 0.52), -105, -180), _arc((0.5, 0.72), (0.28, 0.26), 180, -170))],
    7: [_line((0.15, 0.04), (0.82, 0.04), (0.42, 0.98)), _line((0.35, 0.5), (0.75, 0.5))],
    8: [
        _joined(
            _arc((0.5, 0.26), (0.24, 0.24), -60, -270),
            _arc((0.5, 0.74), (0.28, 0.25), -90, 270),
            _arc((0.5, 0.26), (0.24, 0.24), 90, -60),
        )
    ],
    9: [_joined(_arc((0.5, 0.28), (0.28, 0.26), -10, -360), _line((0.78, 0.28), (0.74, 0.6), (0.66, 0.98)))],
}


def drawn(digit: int, seed: int = 0) -> list[Stroke]:
    """A digit somewhere on the canvas, a little slanted and unsteady: otherwise for each seed."""
    rng = np.random.default_rng([digit, seed])
    slant, width, turn = rng.uniform(0, 0.2), rng.uniform(0.65, 0.95), rng.uniform(-0.08, 0.08)
    shape = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) @ np.array([[1, 0], [-slant, 1]])
    return [
        np.clip((_unsteady(each, rng) - 0.5) * [width, 1] @ shape * _FRAME + 0.5 * _FRAME + _PLACE, 0.02, 0.98)
        for each in _DIGITS[digit]
    ]


def _unsteady(stroke: Stroke, rng: np.random.Generator) -> Stroke:
    along = np.linspace(0, 1, len(stroke))[:, None]
    waves: Iterable[Stroke] = (
        rng.normal(0, 0.012 / count, 2) * np.sin(2 * np.pi * count * along + rng.uniform(0, 6, 2))
        for count in (1, 2, 3)
    )
    return stroke + sum(waves) + rng.normal(0, 0.008, 2)
