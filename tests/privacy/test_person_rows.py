"""The rows of people in one file, and everything else to the byte."""

from __future__ import annotations

import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from facts import fails

from crossrec_cli.errors import ArtifactError
from crossrec_cli.privacy.people import People
from crossrec_cli.privacy.person_rows import rows_in, write_without

PEOPLE = People(("jazz3", "1", "=x"))
OTHERS = 'user_id,rank,text\r\n"jazz33",1,"two\r\nlines, and ""jazz3"""\n13,2,\n'


def without(path, tmp_path) -> bytes:
    write_without(path, PEOPLE, tmp_path / f"copy-{path.name}")
    return (tmp_path / f"copy-{path.name}").read_bytes()


@pytest.mark.parametrize("beginning", ["", "\ufeff"])
def test_records_of_csv_go_whole_and_the_others_keep_their_bytes(tmp_path, beginning):
    file = tmp_path / "lists.csv"
    text = beginning + OTHERS + '"jazz3",1,"a\nb, c"\n1,2,x\n 1.0 ,2,x\n"\'=x",1,=\n'
    file.write_bytes(text.encode())
    rows = rows_in(file, PEOPLE)
    assert (rows.rows, rows.ids) == (4, {"jazz3", "1", "=x"})
    assert without(file, tmp_path) == (beginning + OTHERS).encode()


def test_lines_of_json_go_and_the_others_keep_their_bytes(tmp_path):
    file = tmp_path / "lists.jsonl"
    kept = ['{"user_id": "13",  "text": "jazz3"}\n', "\n", '{"user_id": null}\n', '{"user_id": 13.5}\n']
    file.write_text("".join([kept[0], '{"user_id": "jazz3"}\n', *kept[1:], '{"user_id": 1}']))
    assert rows_in(file, PEOPLE).rows == 2
    assert without(file, tmp_path).decode() == "".join(kept)


def test_compressed_files_stay_compressed(tmp_path):
    file = tmp_path / "events-new.csv.gz"
    file.write_bytes(gzip.compress((OTHERS + "jazz3,1,\n").encode()))
    assert gzip.decompress(without(file, tmp_path)).decode() == OTHERS


def test_the_copy_of_events_is_csv_whatever_it_is_called(tmp_path):
    file = tmp_path / "events-new.txt"
    file.write_text(OTHERS + "1,1,\n", newline="")
    assert rows_in(file, PEOPLE).rows == 1
    assert without(file, tmp_path).decode() == OTHERS
    file.rename(tmp_path / "notes.txt")
    assert rows_in(tmp_path / "notes.txt", PEOPLE) is None


def test_row_groups_of_parquet_stay_and_files_without_users_have_no_rows(tmp_path):
    table = pa.table({"user_id": ["a", "1", "b", "jazz3"], "x": [1.0, 2.0, float("nan"), 4.0]})
    pq.write_table(table, tmp_path / "lists.parquet", row_group_size=2)
    assert rows_in(tmp_path / "lists.parquet", PEOPLE).rows == 2
    without(tmp_path / "lists.parquet", tmp_path)
    copy = pq.ParquetFile(tmp_path / "copy-lists.parquet")
    assert copy.num_row_groups == 2
    pd.testing.assert_frame_equal(
        copy.read().to_pandas(), table.to_pandas().iloc[[0, 2]].reset_index(drop=True), check_exact=True
    )
    pq.write_table(pa.table({"item_id": ["jazz3"]}), tmp_path / "items.parquet")
    assert rows_in(tmp_path / "items.parquet", PEOPLE) is None


def test_ids_of_a_parquet_that_somebody_wrote_may_be_numbers(tmp_path):
    for ids, kept in (([1, 13, None], 2), ([1.0, 13.0, None], 2), ([" jazz3", "jazz3 x", None], 2)):
        pd.DataFrame({"user_id": ids}).to_parquet(tmp_path / "events-x.parquet")
        rows = rows_in(tmp_path / "events-x.parquet", PEOPLE)
        assert (rows.rows, rows.ids) == (1, {"jazz3"} if isinstance(ids[0], str) else {"1"})
        without(tmp_path / "events-x.parquet", tmp_path)
        assert len(pd.read_parquet(tmp_path / "copy-events-x.parquet")) == kept


@pytest.mark.parametrize(("name", "text"), [("lists.jsonl", "{"), ("lists.csv", "\xff"), ("lists.parquet", "PAR1")])
def test_a_damaged_file_is_named(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with fails(ArtifactError, tmp_path / name):
        rows_in(tmp_path / name, PEOPLE)


def test_ids_in_messages_are_hidden_and_other_words_and_numbers_stay():
    people = People(("jazz3", "1", "new", 'say "hi"', "ä9"))
    hidden = {
        "no user 'jazz3' in the data": "no user '***' in the data",
        "--user: no user '1' of 1 in 1 s": "--user: no user '***' of 1 in 1 s",
        "user 1 has rank 1 twice": "user *** has rank 1 twice",
        "jazz3: jazz33, jazz-3, a-jazz3": "***: jazz33, jazz-3, a-***",
        "new in the lists: 1": "new in the lists: 1",
        "user 'new'": "user '***'",
    }
    assert {line: people.hidden(line) for line in hidden} == hidden
    for user in ('say "hi"', "ä9"):
        line = json.dumps({"step": 1, "message": f"no user '{user}'"})
        assert json.loads(people.hidden(line)) == {"step": 1, "message": "no user '***'"}
