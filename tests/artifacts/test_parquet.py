from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crossrec_cli.artifacts import parquet
from crossrec_cli.errors import ArtifactError


@pytest.mark.parametrize("values", [["u1"], ["u7", "u0"], ["u3", "nobody"], ["nobody"], []])
def test_rows_with_some_values_come_from_the_row_groups_that_have_them(tmp_path, monkeypatch, values):
    ids = [f"u{row // 3}" for row in range(30)]
    table = pa.table({"user_id": ids, "rank": list(range(30))})
    pq.write_table(table, tmp_path / "lists.parquet", row_group_size=5)  # a list may begin in one and end in the next
    groups, read = [], pq.ParquetFile.read_row_groups
    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", lambda file, some: groups.extend(some) or read(file, some))
    found = parquet.read_rows(tmp_path / "lists.parquet", "user_id", values)
    expected = [row for row, user in enumerate(ids) if user in values]
    assert found == table.take(pa.array(expected, pa.int64()))
    assert groups == sorted({row // 5 for row in expected})


def test_a_file_that_is_no_table_is_named(tmp_path):
    (tmp_path / "lists.parquet").write_text("no table")
    with pytest.raises(ArtifactError, match=r"lists\.parquet: cannot be read"):
        parquet.read_rows(tmp_path / "lists.parquet", "user_id", ["u1"])
