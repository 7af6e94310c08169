"""RANDOM_CUT_FOREST: how unlike a row is to those before it, by AWS's own implementation of the forest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from krcf import RandomCutForest

from analytics.operators.work import Shape

SEED = 20_151_008
"""The forest's randomness: the same rows have the same scores, in another run and after a crash."""


@dataclass(slots=True)
class Forest:
    """`columns` are the names that an explanation uses. A row with a NULL has the score 0, and nothing is learnt from it."""

    columns: Sequence[str]
    trees: int = 100
    sample: int = 256
    decay: int = 100_000
    shingle: int = 1
    explained: bool = False
    directed: bool = False
    _forest: RandomCutForest = field(init=False)
    _seen: int = 0

    def __post_init__(self) -> None:
        options: Any = {
            "dimensions": len(self.columns),
            "shingle_size": self.shingle,
            "num_trees": self.trees,
            "sample_size": self.sample,
            "output_after": self.sample,
            "lambda": 1 / self.decay,
            "random_seed": SEED,
            "internal_shingling": True,
        }
        self._forest = RandomCutForest(options)

    @property
    def results(self) -> Shape:
        score = (("ANOMALY_SCORE", "DOUBLE"),)
        return (*score, ("ANOMALY_EXPLANATION", "VARCHAR")) if self.explained else score

    def load(self, state: bytes) -> None:
        self._seen = int.from_bytes(state[:8], "big")
        self._forest = RandomCutForest.from_msgpack(state[8:])

    def dump(self) -> bytes:
        return self._seen.to_bytes(8, "big") + self._forest.to_msgpack()

    def learn(self, points: np.ndarray) -> list[pa.Array]:
        scores, explanations = [], []
        for point in points:
            known = not np.isnan(point).any()
            ready = known and self._seen >= self.sample
            scores.append(self._forest.score(point) if ready else 0.0)
            if self.explained:
                explanations.append(self._explained(point) if ready else self._nothing())
            if known:
                self._forest.update(point)
                self._seen += 1
        results = [pa.array(scores, pa.float64())]
        return [*results, pa.array(explanations, pa.string())] if self.explained else results

    def _explained(self, point: np.ndarray) -> str:
        """What each column has to do with the score; the attributions add up to it."""
        found = self._forest.attribution(point)
        count = len(self.columns)
        high, low = (np.array(found[side]).reshape(-1, count).sum(axis=0) for side in ("high", "low"))
        return self._written(high, low)

    def _nothing(self) -> str:
        zero = np.zeros(len(self.columns))
        return self._written(zero, zero)

    def _written(self, high: np.ndarray, low: np.ndarray) -> str:
        parts = {}
        for name, up, down in zip(self.columns, high.tolist(), low.tolist(), strict=True):
            total = up + down
            part = {"ATTRIBUTION_SCORE": f"{total:.4f}"}
            if self.directed:
                strength = abs(up - down) / total if total else 0.0
                part = {"DIRECTION": "HIGH" if up >= down else "LOW", "STRENGTH": f"{strength:.4f}", **part}
            parts[name] = part
        return json.dumps(parts, ensure_ascii=False)
