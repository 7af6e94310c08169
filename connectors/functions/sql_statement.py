"""A SQL ``SELECT`` over the records of a batch, typed and vectorised: ``SELECT city, km / 1.6 AS miles FROM records WHERE km > 0``.

`records` has the columns that are declared, each the key of that name in the record's JSON, and the record itself as text
in `record`. Every record makes one row or none, so the statement is a SELECT from `records` with a WHERE at most: no
groups, no joins, no order. The row comes out as a JSON object, or as it is where its only column is `record`.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp

from connectors.formats.json import decode_json, encode_json
from connectors.formats.schema import Column
from connectors.functions.errors import StatementError

TABLE = "records"
WHOLE = "record"
_ROW = "headrace row"
_MEMORY = "1GB"

_NOT_A_ROW = (
    exp.AggFunc,
    exp.Window,
    exp.Subquery,
    exp.Unnest,
    exp.Explode,
)
_CLAUSES = {
    "joins": "JOIN",
    "laterals": "LATERAL",
    "group": "GROUP BY",
    "having": "HAVING",
    "distinct": "DISTINCT",
    "qualify": "QUALIFY",
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "with_": "WITH",
    "with": "WITH",
    "sample": "SAMPLE",
}


class SqlStatement:
    """`columns` are names and DuckDB's types: ``city VARCHAR, km DOUBLE``. Raises `StatementError`."""

    def __init__(self, text: str, columns: str = "") -> None:
        self._connection = duckdb.connect(
            config={"enable_external_access": "false", "threads": 1, "memory_limit": _MEMORY}
        )
        self._connection.execute("SET TimeZone = 'UTC'; SET python_enable_replacements = false")
        self._columns = self._declared(columns)
        self._names = [column.name for column in self._columns]
        self._sql = _checked(text)
        # Looked at without the optimizer, which would compute what is constant here and now, however large.
        self._connection.execute("PRAGMA disable_optimizer")
        self._run_rows(self._rows(pa.array([], pa.binary()))[0])
        self._connection.execute("PRAGMA enable_optimizer; SET lock_configuration = true")

    def run(self, data: Sequence[bytes]) -> tuple[dict[int, bytes], dict[int, str]]:
        """What became of each of `data` by its index: the bytes that it makes, or why it fails; of others nothing is left.
        Blocks."""
        rows, failed = self._rows(pa.array(data, pa.binary()))
        made: dict[int, bytes] = {}
        waiting = [rows]
        while waiting:
            part = waiting.pop()
            try:
                result = self._run_rows(part)
            except duckdb.Error as error:
                # One row can fail a whole query: halves are tried until it stands alone.
                if part.num_rows == 1:
                    failed[part.column(_ROW)[0].as_py()] = str(error).partition("\n")[0]
                else:
                    half = part.num_rows // 2
                    waiting += [part.slice(half), part.slice(0, half)]
                continue
            made.update(zip(*_encoded(result), strict=True))
        return made, failed

    def close(self) -> None:
        self._connection.close()

    def _declared(self, columns: str) -> list[Column]:
        if not columns.strip():
            return []
        try:
            self._connection.execute(f"CREATE TABLE declared ({columns})")
            schema = self._connection.sql("SELECT * FROM declared").to_arrow_table().schema
        except duckdb.Error as error:
            raise StatementError(f"columns {columns!r}: {str(error).partition(chr(10))[0]}") from error
        if WHOLE in schema.names:
            raise StatementError(f"columns {columns!r}: {WHOLE} is the record itself")
        return [Column(field.name, _read_as(field.type)) for field in schema]

    def _rows(self, data: pa.Array) -> tuple[pa.Table, dict[int, str]]:
        """The rows of `records`, with the index of each, and the records that are none."""
        decoded = decode_json(data, self._columns)
        texts = data.take(decoded.source).cast(pa.string())
        table = pa.table([*decoded.rows.columns, texts, decoded.source], names=[*self._names, WHOLE, _ROW])
        return table, {fault.index: f"{fault.code}: {fault.message}" for fault in decoded.faults}

    def _run_rows(self, rows: pa.Table) -> pa.Table:
        try:
            self._connection.register(TABLE, rows)
            return self._connection.sql(self._sql).to_arrow_table()
        except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
            if rows.num_rows:
                raise
            raise StatementError(str(error).partition("\n")[0]) from error
        finally:
            self._connection.unregister(TABLE)


def _encoded(result: pa.Table) -> tuple[list[int], list[bytes]]:
    """The index of each row, and its bytes."""
    index = result.column(_ROW).to_pylist()
    plain = result.drop_columns([_ROW])
    if plain.column_names == [WHOLE]:
        return index, [b"" if text is None else text.encode() for text in plain.column(0).cast(pa.string()).to_pylist()]
    if not plain.num_rows:
        return [], []
    batch = plain.combine_chunks().to_batches()[0]
    return index, encode_json(batch).to_pylist()


def _read_as(kind: pa.DataType) -> pa.DataType:
    """What JSON is read as, for a column of DuckDB's."""
    if pa.types.is_timestamp(kind):
        return pa.timestamp("ms")
    if pa.types.is_large_string(kind):
        return pa.string()
    return kind


def _checked(text: str) -> str:
    """The statement with the number of each row among its columns. Raises `StatementError`."""
    try:
        parsed = sqlglot.parse(text, read="duckdb")
    except sqlglot.errors.ParseError as error:
        where = error.errors[0] if error.errors else {}
        told = where.get("description", str(error))
        raise StatementError(f"line {where.get('line', 1)}, column {where.get('col', 1)}: {told}") from error
    if len(parsed) != 1 or not isinstance(parsed[0], exp.Select):
        raise StatementError(f"a statement is one SELECT … FROM {TABLE} WHERE …")
    select = parsed[0]
    for name, clause in _CLAUSES.items():
        if select.args.get(name):
            raise StatementError(f"{clause}: a record makes one row or none, so a statement has a WHERE at most")
    source = select.args.get("from_") or select.args.get("from")
    if source is None or not isinstance(source.this, exp.Table) or source.this.name != TABLE or source.this.db:
        raise StatementError(f"a statement selects from {TABLE}")
    for node in select.walk():
        if isinstance(node, _NOT_A_ROW) or (isinstance(node, exp.Select) and node is not select):
            raise StatementError(f"{node.sql('duckdb')}: a record makes one row or none")
    alias = source.this.alias or TABLE
    star = [one for one in select.expressions if isinstance(one, exp.Star)]
    if star:
        # A star means the columns that were declared, not the record and its number beside them.
        hidden = [exp.to_identifier(one, quoted=True) for one in (WHOLE, _ROW)]
        for one in star:
            one.set("except_", [*(one.args.get("except_") or one.args.get("except") or []), *hidden])
    return select.select(exp.column(_ROW, table=alias, quoted=True)).sql("duckdb")
