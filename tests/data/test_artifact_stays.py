"""A stage that was done stays done, whatever comes next."""

from __future__ import annotations


def test_an_artifact_that_is_there_stays_when_the_next_input_is_damaged(shop, crossrec):
    assert crossrec("preprocess", shop.path).exit_code == 0
    before = sorted((shop.run_dir / "preprocess" / "current").iterdir())
    path = shop.folder / "interactions.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert crossrec("preprocess", shop.path).exit_code == 3
    assert sorted((shop.run_dir / "preprocess" / "current").iterdir()) == before
