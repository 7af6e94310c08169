"""HOTSPOTS: where the last rows lie close together. Two rows are neighbours if they are not further apart than the radius; rows
that neighbours connect are a hotspot, if they are enough."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from analytics.operators.work import Shape

_EMPTY = '{"hotspots": []}'


@dataclass(slots=True)
class Hotspots:
    """Over the last `window` rows. A row with a NULL takes no part."""

    dimensions: int
    window: int
    radius: float
    least: int
    _points: np.ndarray = field(init=False)
    _near: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self._points = np.empty((0, self.dimensions))
        self._near = np.empty((0, 0), bool)

    @property
    def results(self) -> Shape:
        return (("HOTSPOTS_RESULT", "VARCHAR"),)

    def load(self, state: bytes) -> None:
        self._points = np.frombuffer(state).reshape(-1, self.dimensions).copy()
        distances = np.linalg.norm(self._points[:, None] - self._points[None], axis=2)
        self._near = distances <= self.radius

    def dump(self) -> bytes:
        return self._points.tobytes()

    def learn(self, points: np.ndarray) -> list[pa.Array]:
        results = []
        for point in points:
            if not np.isnan(point).any():
                self._add(point)
            results.append(self._found())
        return [pa.array(results, pa.string())]

    def _add(self, point: np.ndarray) -> None:
        """Neighbours are kept, so that a row costs as much as the window is long."""
        if len(self._points) == self.window:
            self._points, self._near = self._points[1:], self._near[1:, 1:]
        near = np.linalg.norm(self._points - point, axis=1) <= self.radius
        size = len(self._points)
        grown = np.ones((size + 1, size + 1), bool)
        grown[:size, :size], grown[:size, size], grown[size, :size] = self._near, near, near
        self._near, self._points = grown, np.vstack([self._points, point])

    def _found(self) -> str:
        left = self._near.sum(axis=1) > 1
        hotspots = []
        while left.any():
            reached = np.zeros(len(left), bool)
            reached[np.flatnonzero(left)[0]] = True
            edge = reached
            while edge.any():
                grown = reached | self._near[edge].any(axis=0)
                edge = grown & ~reached
                reached = grown
            left &= ~reached
            if reached.sum() >= self.least:
                inside = self._points[reached]
                hotspots.append(
                    {
                        "density": round(len(inside) / len(self._points), 6),
                        "minValues": inside.min(axis=0).tolist(),
                        "maxValues": inside.max(axis=0).tolist(),
                    }
                )
        return json.dumps({"hotspots": hotspots}) if hotspots else _EMPTY
