-- into D
SELECT k AS "K", list_sum(list_transform(v, lambda e: e.v * 2 ** (-(at - e.at) / 10000.0))) / list_sum(list_transform(v, lambda e: 2 ** (-(at - e.at) / 10000.0))) AS "AVERAGE",
  CASE WHEN own IS NULL THEN v[-1].v ELSE v[-2].v END AS "EARLIER", before_that AS "BEFORE_THAT", v[1].v AS "FIRST", v[-1].v AS "LAST", rows[3].v AS "THIRD",
  list_stddev_samp([e.v for e in v]) AS "DEVIATION", list_var_samp([e.v for e in v]) AS "SPREAD"
FROM (
  SELECT a.k, a.at, a.v AS own, a.before_that, list({'v': b.v, 'at': b.at} ORDER BY b."OFFSET") AS rows,
    coalesce(list({'v': b.v, 'at': b.at} ORDER BY b."OFFSET") FILTER (b.v IS NOT NULL), []) AS v
  FROM (SELECT k, v, "OFFSET", epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at, LAG(v, 2, 0) OVER (ORDER BY "OFFSET") AS before_that FROM s) AS a
  JOIN (SELECT k, v, "OFFSET", epoch_ms(CAST("ROWTIME" AS TIMESTAMP)) AS at FROM s) AS b
  ON a.k = b.k AND b."OFFSET" <= a."OFFSET" AND b.at >= a.at - 60000
  GROUP BY a."OFFSET", a.k, a.at, a.v, a.before_that)

-- into UNPARTITIONED
SELECT COUNT(b.v) FILTER (b.at >= a.at - INTERVAL 20 SECOND) AS "N", COUNT(DISTINCT b.k) FILTER (b."OFFSET" >= a."OFFSET" - 2) AS "KINDS", bool_or(b.v > 3) FILTER (b.at = a.at) AS "BIG"
FROM (SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM s) AS a JOIN (
  SELECT *, CAST("ROWTIME" AS TIMESTAMP) AS at FROM s) AS b ON b."OFFSET" <= a."OFFSET"
GROUP BY a."OFFSET"
