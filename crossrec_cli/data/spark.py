"""The engine for data that is too large for one machine: the same expressions on Spark.

It uses the master of ``spark-submit`` or of a Spark configuration; without one, Spark runs in this process.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq

from crossrec_cli.config.schema import Runtime
from crossrec_cli.data.engine import FILE, Engine
from crossrec_cli.data.raw_files import SOURCE_ROW, RawFiles
from crossrec_cli.errors import CrossrecError, InputError, UnavailableError

try:
    import py4j.protocol
    import pyspark.errors
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import DataFrame, SparkSession, functions
except ImportError as error:
    raise UnavailableError(f"data.engine: spark is not installed: pip install 'crossrec[spark]' ({error})") from None

IN_PARTITION = 2**33
"""Spark's increasing ids have so many values for each partition."""
EVERY_CORE = "local[*]"
"""Spark's name for a master in this process."""
FAILURES = (pyspark.errors.PySparkException, py4j.protocol.Py4JError)


@contextmanager
def connect(scratch: Path, runtime: Runtime) -> Iterator[Engine]:
    """A Spark session with its tables and temporary files in ``scratch``."""
    if shutil.which("java") is None and not {"JAVA_HOME", "PYSPARK_GATEWAY_PORT"} & os.environ.keys():
        raise UnavailableError("data.engine: spark needs Java 17 or newer, and there is no 'java' on the PATH")
    scratch.mkdir(parents=True, exist_ok=True)
    logging.getLogger("py4j").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    session = None
    try:
        session = _session(scratch.absolute(), runtime)
        yield SparkEngine(ibis.pyspark.connect(session), scratch.absolute())
    except FAILURES as error:
        raise CrossrecError(f"spark: {_cause(error)}") from None
    finally:
        if session is not None:
            session.stop()
        shutil.rmtree(scratch, ignore_errors=True)


def _session(scratch: Path, runtime: Runtime) -> SparkSession:
    given = _given(runtime)
    settings = {
        "spark.local.dir": str(scratch),
        "spark.sql.warehouse.dir": str(scratch / "tables"),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "false",  # what cannot be read is null, as in DuckDB's TRY_CAST
        "spark.sql.legacy.javaCharsets": "true",  # among them windows-1252
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.log.level": "ERROR",
        "spark.ui.showConsoleProgress": "false",
    }
    if given.get("spark.master", EVERY_CORE) == EVERY_CORE:  # also Spark's default
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not the first python3 on the PATH
        settings["spark.master"] = f"local[{runtime.num_threads or '*'}]"
        local = {
            "spark.ui.enabled": "false",
            "spark.sql.shuffle.partitions": "8",  # not 200 tiny tasks on one machine
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
        }
        settings |= {key: value for key, value in local.items() if not given.contains(key)}
    builder = SparkSession.builder.appName("crossrec")
    for key, value in settings.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _given(runtime: Runtime) -> SparkConf:
    """The settings of ``spark-submit`` and Spark's configuration files; Python has them only once Java runs."""
    memory = SparkConf()
    if runtime.memory_limit:
        memory.set("spark.driver.memory", _java_size(runtime.memory_limit))
    SparkContext._ensure_initialized(conf=memory)
    return SparkConf()


def _java_size(limit: str) -> str:
    """A size in Java's format, which has no fractions and no KiB: 1.5GB is 1500m."""
    number, unit = limit[:-2].strip().rstrip("KMGTi"), limit.strip().lower()
    megabytes = {"k": 1e-3, "m": 1.0, "g": 1e3, "t": 1e6}[next(c for c in unit if c in "kmgt")]
    return f"{max(int(float(number) * megabytes), 512)}m"


class SparkEngine(Engine):
    """Tables are Parquet files in Spark's warehouse."""

    def __init__(self, connection: Any, scratch: Path) -> None:
        super().__init__(scratch)
        self.connection = connection
        self._names = (f"table_{number}" for number in count())
        connection.raw_sql(
            "CREATE TEMPORARY FUNCTION epoch_ms(number BIGINT) RETURNS TIMESTAMP RETURN timestamp_millis(number)"
        )
        connection.raw_sql(
            "CREATE TEMPORARY FUNCTION rewritten(text STRING, pattern STRING, form STRING) RETURNS STRING "
            "RETURN regexp_replace(text, pattern, form)"
        )
        self._spark: SparkSession = connection._session

    def _scan(self, files: RawFiles, offset: int, limit: int | None) -> ir.Table:
        try:
            rows = self._parquet(files, offset) if files.form == "parquet" else self._texts(files, offset)
            name = next(self._names)
            (rows if limit is None else rows.limit(limit)).createOrReplaceTempView(name)
        except FAILURES as error:
            raise InputError(f"{files.paths[0]}: cannot be read: {_cause(error)}") from None
        return self.connection.table(name)

    def _parquet(self, files: RawFiles, offset: int) -> DataFrame:
        base = {"basePath": files.folder} if files.folder else {}
        rows = self._spark.read.options(mergeSchema="true", **base).parquet(*files.paths)
        row = functions.col("_metadata.row_index") + 1
        if len(files.paths) == 1:
            return rows.select("*", (row + offset).alias(SOURCE_ROW))
        # Spark escapes paths as in addresses, so as_uri() is needed to match them.
        numbers = {Path(path).absolute().as_uri(): offset + FILE * nth for nth, path in enumerate(files.paths)}
        offsets = self._spark.createDataFrame(list(numbers.items()), "file_uri string, file_offset bigint")
        uri = functions.regexp_replace("_metadata.file_path", "^file:/+", "file:///")
        rows = rows.select("*", uri.alias("file_uri"), row.alias("row_in_file"))
        rows = rows.join(functions.broadcast(offsets), "file_uri")
        return rows.withColumn(SOURCE_ROW, rows["row_in_file"] + rows["file_offset"]).drop(
            "file_uri", "file_offset", "row_in_file"
        )

    def _texts(self, files: RawFiles, offset: int) -> DataFrame:
        parts = [self._text(files, path, offset + FILE * nth) for nth, path in enumerate(files.paths)]
        rows = parts[0]
        for part in parts[1:]:
            rows = rows.union(part)
        return rows

    def _text(self, files: RawFiles, path: str, offset: int) -> DataFrame:
        """A file's rows, numbered by Spark's ids within a partition and by the rows of the partitions before."""
        reader = self._spark.read
        if files.columns:
            reader = reader.schema(", ".join(f"`{name}` string" for name in files.columns))
        if files.form == "json":
            rows = reader.json(path, mode="FAILFAST")
        else:
            layout = files.csv
            rows = reader.csv(
                path,
                sep=layout.delimiter,
                quote=layout.quote,
                escape=layout.quote,
                encoding=layout.encoding.replace("latin-1", "iso-8859-1"),
                header=files.has_header,
                multiLine=True,
                mode="FAILFAST",
            )
        rows = rows.withColumn("number", functions.monotonically_increasing_id())
        partition = (functions.col("number") / IN_PARTITION).cast("bigint")
        sizes = sorted(rows.groupBy(partition.alias("partition")).count().collect())
        before = accumulate((size for _, size in sizes), initial=0)
        starts = [(number, offset + start + 1) for (number, _), start in zip(sizes, before, strict=False)]
        first_rows = self._spark.createDataFrame(starts, "partition bigint, start bigint")
        rows = rows.withColumn("partition", partition).join(functions.broadcast(first_rows), "partition")
        row = functions.col("start") + functions.col("number") % IN_PARTITION
        return rows.withColumn(SOURCE_ROW, row).drop("number", "partition", "start")

    def keep(self, table: ir.Table, reading: str) -> ir.Table:
        """As ``Engine.keep``."""
        name = next(self._names)
        try:
            kept = self.connection.create_table(name, table)
        except FAILURES as error:
            raise InputError(f"{reading}: cannot be read: {_cause(error)}") from None
        self._kept.add(name)
        return kept

    def _drop(self, name: str) -> None:
        self.connection.raw_sql(f"DROP TABLE {name}")

    def fetch(self, table: ir.Table) -> pa.Table:
        """As ``Engine.fetch``, without pandas, of which Spark needs an old version."""
        self.connection._run_pre_execute_hooks(table)
        return _without_zones(self._spark.sql(self.connection.compile(table)).toArrow())

    def write(self, table: ir.Table, path: Path, schema: pa.Schema) -> None:
        """As ``Engine.write``: Spark writes parts, which are in order; they are joined into one file."""
        parts = self._scratch / next(self._names)
        columns = table.select(*schema.names).cast(ibis.Schema.from_pyarrow(schema))
        self.connection.to_parquet(columns, str(parts))
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for part in sorted(parts.glob("*.parquet")):
                for batch in pq.ParquetFile(part).iter_batches():
                    writer.write_table(_without_zones(pa.Table.from_batches([batch])).cast(schema))
        shutil.rmtree(parts)


def _without_zones(table: pa.Table) -> pa.Table:
    """Times with the zone UTC as times without a zone."""
    zoned = [pa.types.is_timestamp(field.type) and field.type.tz is not None for field in table.schema]
    fields = [
        pa.field(field.name, pa.timestamp("us")) if has_zone else field
        for field, has_zone in zip(table.schema, zoned, strict=True)
    ]
    return table.cast(pa.schema(fields)) if any(zoned) else table


def _cause(error: Exception) -> str:
    """Spark's message on one line, without Java's stack trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith("at ")]
    causes = [line for line in lines if line.startswith(("Caused by", "[", "org.apache", "java."))]
    return (causes[-1] if causes else lines[0] if lines else type(error).__name__)[:300]
