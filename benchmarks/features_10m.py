"""Starter features over generated events on one DuckDB thread: CPU seconds and peak memory.

`python -m benchmarks.features_10m [ROWS]` prints one JSON object. The events are those of a shop: 20 people a thousand
events, half a year, half of the events are product views, a twentieth orders of one to three lines; 25 subjects stand
for 20 people.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = "timestamptz '2026-01-01 00:00:00+00'"
AS_OF = 1_782_864_000_000_000  # 2026-07-01T00:00:00Z
DAYS = 181
MONTHS = 6

_EVENTS = """
copy (
  with draws as (
    select i, hash(i) % {subjects} as person, hash(i + 7) % 100 as kind, hash(i + 13) % 5000 as item,
      {start} + to_microseconds(
        ((i::double + (hash(i + 3) % 1000) / 1000.0) / {rows} * {days} * 86400 * 1000000)::bigint) as moment
    from range({first}, {last}) as numbers(i)
  )
  select i as seq, md5(i::varchar) as message_id,
    case when kind < 18 then 'page' else 'track' end as type,
    case when kind < 18 then '' when kind < 68 then 'Product Viewed' when kind < 76 then 'Product Added'
      when kind < 84 then 'Promotion Viewed' when kind < 89 then 'Promotion Clicked' when kind < 94 then 'Email Opened'
      when kind < 99 then 'Order Completed' else 'Order Refunded' end as name,
    'a:' || md5(person::varchar) as subject, null::varchar as user_id, md5(person::varchar) as anonymous_id,
    moment as occurred_at, moment as received_at, moment + interval 1 millisecond as available_at,
    'shop' as source, kind >= 94 as trusted, false as backfilled, false as quarantined,
    null::varchar as violation, case when kind >= 94 then 'o' || i end as order_id,
    case when kind between 18 and 75 then 'p' || item end as product_id,
    case when kind between 18 and 75 then 'category ' || item % 40 end as category,
    null::varchar as decision_id, null::varchar as offer_id, null::bigint as value,
    case when kind >= 94 then (hash(i + 5) % 20000)::bigint end as revenue, 'EUR' as currency,
    case when kind between 94 and 98 then
      [{{'product_id': 'p' || (item + n) % 5000, 'quantity': 1::bigint, 'unit_price': 10000::bigint,
         'revenue': 100::bigint, 'kind': 'sale', 'row': n::bigint}}
       for n in range((1 + item % 3)::bigint)] end as products,
    case when kind between 94 and 98 and item % 4 = 0 then '{{"discount":5.5,"currency":"EUR"}}'
      else '{{"position":3}}' end as properties, person % 16 as bucket
  from draws order by moment
) to '{path}' (format parquet, compression zstd, row_group_size 122880, partition_by (bucket))
"""
_IDENTITY = """
copy (select 'a:' || md5(n::varchar) as subject, 'person ' || n % {people} as profile_id from range({subjects}) as t(n))
to '{path}' (format parquet)
"""


def generate(folder: Path, rows: int) -> None:
    """Write `rows` events and the identity map into `folder`: six months, each in sixteen buckets, as in the lake."""
    import duckdb

    people, subjects, part = max(rows // 50, 1), max(rows // 40, 1), -(-rows // MONTHS)
    connection = duckdb.connect()
    connection.execute("set threads = 1; set timezone = 'UTC'")
    (folder / "events").mkdir()
    for n in range(MONTHS):
        path = folder / f"events/month={n}"
        first, last = n * part, min((n + 1) * part, rows)
        connection.execute(
            _EVENTS.format(start=START, rows=rows, days=DAYS, first=first, last=last, subjects=subjects, path=path)
        )
    connection.execute(_IDENTITY.format(people=people, subjects=subjects, path=folder / "identity.parquet"))


def compute(folder: str) -> dict[str, Any]:
    """Compute the starter features from the files in `folder` into a Parquet file beside them."""
    import ibis

    from vitrina.understand.features import FeatureSet
    from vitrina.understand.features.batch import batch
    from vitrina.understand.features.commerce import FEATURES, NUMBER

    began_wall, began = time.perf_counter(), time.process_time()
    backend = ibis.duckdb.connect(threads=1, memory_limit="1GB", temp_directory=f"{folder}/spill")
    events, identity = (
        backend.read_parquet(sorted(map(str, Path(folder).glob("events/*/*/*.parquet")))),
        backend.read_parquet(f"{folder}/identity.parquet"),
    )
    features = batch(FeatureSet(FEATURES, NUMBER), events, AS_OF, identity)
    out = f"{folder}/features.parquet"
    backend.raw_sql(f"copy ({backend.compile(features)}) to '{out}' (format parquet)")
    cpu, wall = time.process_time() - began, time.perf_counter() - began_wall
    people = backend.read_parquet(out).count().to_pyarrow().as_py()
    return {
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "people": people,
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def measure(rows: int) -> dict[str, Any]:
    """Generate `rows` events in a temporary folder and compute the starter features in a process of its own.

    Returns:
        rows, people, cpu_s and wall_s of the computation, peak_mb of its process (imports included).
    """
    with tempfile.TemporaryDirectory(prefix="vitrina-features-") as folder:
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            pool.apply(generate, (Path(folder), rows))
        with context.Pool(1) as pool:
            return {"rows": rows, **pool.apply(compute, (folder,))}


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)))
