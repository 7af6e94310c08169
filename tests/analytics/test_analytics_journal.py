"""The journal of an application's commits: whatever is committed, made, rolled back and opened again, it says what is due."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import journal
from analytics.journal import LAYOUT, OVER_MAX, TABLE, Entry, Journal, Place

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.just("rolled back"), st.integers(0, 3), st.integers(0, 4)),
        st.tuples(st.just("opened again"), st.just(0), st.just(0)),
    ),
    max_size=60,
)
"""What happens, how many deliveries become due, how many of those that are due have been made."""


@settings(max_examples=60, deadline=None)
@given(ACTIONS, st.sampled_from([2, 5, OVER_MAX]), st.sampled_from([10, 1 << 20]))
def test_what_is_due_is_what_was_committed_and_not_made(
    actions: list[tuple[str, int, int]], over_max: int, size_max: int
) -> None:
    with pytest.MonkeyPatch.context() as patch, duckdb.connect() as connection:
        patch.setattr(journal, "OVER_MAX", over_max)
        patch.setattr(journal, "OVER_SIZE_MAX", size_max)
        connection.execute(LAYOUT)
        found = Journal(connection)
        found.load()
        due: list[Entry] = []
        at = last = commits = 0
        for what, more, fewer in actions:
            if what == "opened again":
                found = Journal(connection)
                found.load()
            else:
                new = [Entry(last + 1 + n, 1, at + 3 * n, b"abc") for n in range(more)]
                connection.execute("BEGIN")
                found.progress.places = {"in": {"0": Place(last + more, None, 0)}}
                found.write(new, [each.id for each in due[:fewer]])
                if what == "commit":
                    connection.execute("COMMIT")
                    due, last, at, commits = [*due[fewer:], *new], last + more, at + 3 * more, commits + 1
                else:
                    connection.execute("ROLLBACK")
                    found.load()
            assert found.outbox() == due
            assert found.progress.commit == commits
            assert found.progress.outputs == ({1: (at, last)} if last else {})
            assert found.progress.places == ({"in": {"0": Place(last, None, 0)}} if commits else {})
            ((rows,),) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchall()
            assert rows <= len(due) + over_max + 4, "what is over goes"
