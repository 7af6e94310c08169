"""A stream with a WATERMARK: what pumps insert goes to a hidden stream; `operators.watermark` judges its rows, and two pumps
part them, those in time into the stream, the others into the stream of its late rows."""

from __future__ import annotations

from analytics.errors import Place, SqlError
from analytics.operators.reached import Reached
from analytics.operators.watermark import JUDGED, WATERMARKED, Watermarked
from analytics.plan import Pump, RowQuery
from analytics.relation import Relation
from analytics.stages.base import TIME, Stages
from analytics.watermarks import Bound


def lowered(stages: Stages, stream: Relation, late: Relation, bound: Bound) -> Relation:
    """The hidden stream that pumps fill in the place of `stream`, with the time of each row in `WATERMARKED`."""
    columns = [(each.name, each.duck) for each in stream.fields]
    given = stages.stream(columns, [(WATERMARKED, TIME)])
    judged = stages.stream(columns, [(WATERMARKED, TIME), *JUDGED])
    buffer = stages.buffer([*((each.physical, each.duck) for each in given.fields), (WATERMARKED, TIME)])
    stages.pump = stream.name
    stages.operate(Watermarked(buffer, Reached(stages.table()), bound.late_ms), judged, given)
    values = tuple((each.physical, f"t0.{each.physical}") for each in stream.fields)
    on_time = RowQuery((("rt", f"t0.{WATERMARKED}"), *values), "", "NOT t0.late")
    behind = (*values, (f"c{len(values)}", f"t0.{WATERMARKED}"))
    too_late = RowQuery((("rt", "t0.reached"), *behind), "", "t0.late")
    stages.pumps.append(Pump(stream.name, judged.physical, stream.physical, on_time))
    stages.pumps.append(Pump(stream.name, judged.physical, late.physical, too_late))
    return given


def time_of(bound: Bound, stream: str, promoted: str | None, values: dict[int, str], place: Place | None) -> str:
    """The SQL of a row's time; `promoted` is that of AS ROWTIME, `values` those of the columns by number."""
    if bound.column is None:
        return promoted or "t0.rt"
    if promoted is not None:
        raise SqlError(f"the ROWTIME of {stream} is the column of its WATERMARK", place, expected="no AS ROWTIME")
    if bound.column not in values:
        raise SqlError(f"the pump leaves out the column that is the time of {stream}", place)
    return values[bound.column]
