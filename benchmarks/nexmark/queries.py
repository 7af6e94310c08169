"""The queries of Nexmark in the streaming language, and those that it cannot say."""

from __future__ import annotations

from benchmarks.nexmark import groups, joins, selections, tops
from benchmarks.nexmark.query import Missing, Query

QUERIES: tuple[Query, ...] = tuple(
    sorted((*selections.QUERIES, *groups.QUERIES, *joins.QUERIES, *tops.QUERIES), key=lambda query: int(query.name[1:]))
)

MISSING: tuple[Missing, ...] = ()
