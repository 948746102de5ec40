"""Runs SQL on DuckDB and prints the rows as JSON. Input: {"sql": ..., "s3": {...} or null} as the one argument."""
import datetime
import decimal
import glob
import json
import os
import sys

import duckdb
import duckdb_extension_httpfs

job = json.loads(sys.argv[1])
db = duckdb.connect()
db.execute("SET TimeZone='UTC'")
if job["s3"]:
    base = list(duckdb_extension_httpfs.__path__)[0]
    extension = glob.glob(os.path.join(base, "extensions", "v" + duckdb.__version__, "httpfs.duckdb_extension"))
    db.execute(f"LOAD '{extension[0]}'")
    s = job["s3"]
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{s['key']}', SECRET '{s['secret']}', REGION '{s['region']}', "
        f"ENDPOINT '{s['endpoint']}', USE_SSL false, URL_STYLE 'path')"
    )


def plain(value):
    """Bytes as lower-case hex, times as ISO text in UTC, decimals as text; the rest as JSON has it."""
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


answer = db.execute(job["sql"])
names = [column[0] for column in answer.description]
print(json.dumps([dict(zip(names, map(plain, row))) for row in answer.fetchall()]))
