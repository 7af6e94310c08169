-- Functions in Python, by row and over Arrow arrays; what they raise is the fault of the row.
CREATE FUNCTION ratio (part INTEGER, whole INTEGER) RETURNS DOUBLE LANGUAGE PYTHON CALLED ON NULL INPUT AS $$
    # A comment; with a "quote", it's fine: 7 // 2
    def ratio(part, whole):
        if part is None:
            return -1
        return part / whole
$$;
CREATE FUNCTION "shout" (word VARCHAR(8), times INTEGER) RETURNS VARCHAR(6) LANGUAGE PYTHON RETURNS NULL ON NULL INPUT AS
'def shout(word, times):
    return word.upper() + "!" * times';
CREATE FUNCTION rounded (x DOUBLE) RETURNS DECIMAL(6,2) LANGUAGE PYTHON AS $$
from decimal import Decimal
def rounded(x):
    return Decimal(x) if x < 90 else "many"
$$;
CREATE FUNCTION plus (a INTEGER, b INTEGER) RETURNS BIGINT LANGUAGE ARROW AS $$
import pyarrow.compute as pc
def plus(a, b):
    return pc.add_checked(a.cast("int64"), b.cast("int64"))
$$;
CREATE FUNCTION inverse (a DOUBLE) RETURNS DOUBLE LANGUAGE ARROW RETURNS NULL ON NULL INPUT AS $$
import pyarrow.compute as pc
def inverse(a):
    assert a.null_count == 0
    if pc.any(pc.equal(a, 0.0)).as_py():
        raise ZeroDivisionError("nothing to divide by")
    return pc.divide(1.0, a)
$$;
CREATE STREAM rows (id INTEGER, r DOUBLE, word VARCHAR(6), d DECIMAL(6,2));
CREATE PUMP p AS INSERT INTO rows SELECT STREAM id, ratio(id, n), "shout"(word, 2), rounded(n) FROM s;
CREATE STREAM arrays (id INTEGER, total BIGINT, inverse DOUBLE);
CREATE PUMP q AS INSERT INTO arrays SELECT STREAM id, plus(id, n), inverse(n * 1.0) FROM s WHERE plus(id, 1) <> 3;
CREATE STREAM grouped (n INTEGER, total BIGINT, r DOUBLE);
CREATE PUMP g AS INSERT INTO grouped
SELECT STREAM COUNT(*), SUM(plus(id, 0)), ratio(COUNT(*), 0 + 4) FROM s GROUP BY STEP(s.ROWTIME BY INTERVAL '1' HOUR);
