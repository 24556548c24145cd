"""Results as Parquet, one row a job: its files, how it ended, and every pooled score as a column `NAME.STATISTIC`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vqmeter.batch.journal import read
from vqmeter.errors import OutputError, UsageError
from vqmeter.writers import whole

_ROWS = 4096  # written at a time
_FACTS = {"distorted": "string", "reference": "string", "command": "string", "frames": "int64", "truncated": "bool_",
          "error_code": "int64", "error": "string", "seconds": "float64", "vqmeter": "string", "job": "string"}  # fmt: skip


def check() -> None:
    """
    Raises
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(".parquet needs pyarrow; pip install 'vqmeter[parquet]', or write .ndjson") from None


def write(journal: str, path: str) -> None:
    """The results in the file `journal` as `path`, whole or not at all; never all of them in memory.

    Raises
        OutputError: the disk is full, or the place cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict(_FACTS)
    for document in read(journal):
        for key, value in _row(document).items():
            kinds.setdefault(key, "string" if isinstance(value, str) else "float64")
    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in kinds.items()])
    try:
        with whole(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for rows in _lots(journal):
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    except pa.ArrowException as error:
        raise OutputError(f"{path}: {error}") from None


def _lots(journal: str) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for document in read(journal):
        rows.append(_row(document))
        if len(rows) == _ROWS:
            yield rows
            rows = []
    yield rows


def _row(document: Mapping[str, Any]) -> dict[str, Any]:
    [result] = document["results"]
    error, inputs = result["error"] or {}, result["inputs"]
    row = {
        "distorted": inputs["distorted"]["path"], "reference": inputs.get("reference", {}).get("path"),
        "command": document["command"], "frames": result["validity"]["frames_compared"], "truncated": result["truncated"],
        "error_code": error.get("code"), "error": error.get("message"), "seconds": result["timing"].get("seconds"),
        "vqmeter": document["vqmeter"], "job": result["settings"].get("batch", {}).get("job"),
    }  # fmt: skip
    return row | {f"{name}.{stat}": value for name, stats in result["pooled"].items() for stat, value in stats.items()}
