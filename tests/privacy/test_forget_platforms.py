"""``crossrec forget`` where people have ids on several platforms."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import small
from facts import check_failed, lacking
from traces import command

from crossrec_cli.errors import ExitCode


def test_one_of_two_people_with_the_same_id_on_two_platforms(tmp_path, crossrec):
    rows = small.table("user item time", small.BASE)
    shops = {name: (rows.assign(user="17"), small.kinds("r0", "b0", "b1")) for name in ("here", "there")}
    shop = small.write(tmp_path, **shops)
    command("preprocess", shop.path)
    check_failed(crossrec("forget", shop.path, "17"), ExitCode.INPUT, "'17'")
    document = json.loads(crossrec("forget", shop.path, "here:17", "--json").stdout)
    left = shop.table("preprocess", "interactions")
    assert set(left["platform"]) == {"there"}
    assert set(left["original_user_id"]) == {"17"}
    (raw,) = document["raw_files"]
    assert raw == shop.config["data"]["platforms"][0]["interactions"]["path"]


def test_all_ids_of_a_person_on_several_platforms(tmp_path, crossrec):
    rows, items = small.table("user item time", small.BASE), small.kinds("r0", "b0", "b1")
    others = pd.concat([rows, rows.assign(user="other-id"), rows.assign(user="base-2")])
    shop = small.write(tmp_path, here=(others, items), there=(rows.assign(user="its"), items))
    pd.DataFrame({"a": ["other-id", "base"], "b": ["its", "none"]}).to_csv(tmp_path / "links.csv", index=False)
    ends = {"left": {"platform": "here", "id": "a"}, "right": {"platform": "there", "id": "b"}}
    shop.config["data"]["identity"] = {"users": [{"path": str(tmp_path / "links.csv"), **ends}]}
    command("preprocess", shop.path)
    document = json.loads(crossrec("forget", shop.path, "here:other-id", "--json").stdout)
    assert set(shop.table("preprocess", "interactions")["original_user_id"]) == {"base", "base-2"}
    by_name = {Path(file).name: count for file, count in document["raw_files"].items()}
    assert by_name == {"here-interactions.parquet": 3, "there-interactions.parquet": 3, "links.csv": 1}
    (tmp_path / "here-interactions.parquet").unlink()
    left = json.loads(crossrec("forget", shop.path, "here:base", "--json").stdout)
    assert [Path(file).name for file in left["raw_files"]] == ["links.csv"]
    assert not lacking(left["unread"][0], tmp_path / "here-interactions.parquet")
