"""Every stage through the real command, on a planted shop whose answer is known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Shop, make_shop, needs_gpu

from crossrec_cli.artifacts import schemas
from crossrec_cli.artifacts.files import SEARCH
from crossrec_cli.config.load import load_config
from crossrec_cli.errors import ExitCode
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.ranking.searcher import Searcher

STAGES = ["preprocess", "pretrain-adapt", "finetune", "evaluate", "recommend"]


def stages_that_ran(output: str) -> list[str]:
    return [stage["stage"] for stage in json.loads(output)["stages"] if stage["ran"]]


def books_found(shop: Shop) -> float:
    """Of the test's metal and blues people, who have no book until then: how many find theirs among five?

    Of the 12 books of their taste 5 hit .42 by chance, of the 24 that are not jazz .21, of all 36 .14.
    """
    per_user = shop.table("evaluate", "per_user").query("model == 'crossrec'")
    mine = per_user[per_user["user_id"].str.fullmatch(r"(metal|blues)\d+")]
    assert len(mine) == 80
    return mine["hr@5"].mean()


def test_text_carries_a_taste_from_source_to_target(trained):
    """Metal records and metal books never meet in training; the shared word is all that links them."""
    items = trained.table("preprocess", "items").set_index("item_index")["item_id"]
    interactions = trained.table("preprocess", "interactions")
    train = interactions[interactions["split"] == "train"]
    names = train["item_index"].map(items)
    books, records = (
        set(train.loc[names.str.startswith(f"metal-{kind}"), "user_index"]) for kind in ("book", "record")
    )
    assert books, "metal books are in training"
    assert records, "so are metal records"
    assert not books & records
    cases = trained.table("preprocess", "cases")
    metal_tests = cases[(cases["split"] == "test") & cases["user_index"].isin(records)]
    assert len(metal_tests) == 40
    assert books_found(trained) > 0.3
    lists = trained.table("recommend", "recommendations")
    lists = lists[lists["user_id"].str.fullmatch(r"metal\d+")]
    assert len(lists) == 40 * 5
    assert lists["item_id"].str.startswith("metal").mean() > 0.9, "who has a metal book by now"


def test_without_text_the_taste_does_not_arrive(tmp_path, tiny_bert, crossrec):
    """The same shop with texts that say nothing: the test above really measures the text."""
    shop = make_shop(tmp_path, tiny_bert, text="{kind}")
    assert crossrec("run", shop.path).exit_code == 0
    assert books_found(shop) < 0.21


@pytest.mark.parametrize("encoder", ["sequence", "hybrid"])
def test_the_other_user_encoders_carry_it_too(shop, crossrec, encoder):
    shop.config["interest"]["user_encoder"] = encoder
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert books_found(shop) > 0.3


@needs_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("encoder", ["bag", "hybrid"])
def test_every_stage_runs_on_a_gpu_and_finds_the_taste_there(shop, crossrec, encoder, precision):
    shop.config["runtime"] = {"device": "auto", "precision": precision}
    shop.config["interest"]["user_encoder"] = encoder
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert books_found(shop) > 0.3
    held = shop.table("finetune", "learning_curve")["peak_memory_bytes"]
    assert held.between(1, 2**28).all(), "the GPU's memory, not that of a process with torch in it"


@needs_gpu
@pytest.mark.parametrize("how", ["lora", "full"])
def test_the_language_model_is_adapted_on_a_gpu(shop, crossrec, how):
    shop.config["adapt"] |= {"language_model": how, "text": {"steps": 20}}
    shop.config["runtime"] = {"device": "cuda", "precision": "bf16"}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output


def test_shared_users_alone_carry_a_taste_too(tmp_path, tiny_bert, crossrec):
    """Without text, jazz people still get jazz books: they bought books in training."""
    shop = make_shop(tmp_path, tiny_bert, text="{kind}")
    crossrec("run", shop.path)
    lists = shop.table("recommend", "recommendations")
    jazz = lists[lists["user_id"].str.startswith("jazz")]
    assert jazz["item_id"].str.startswith("jazz").mean() > 0.9


def test_a_user_without_any_purchase_is_known_by_tags(trained):
    """'new' bears the tag of the jazz people."""
    lists = trained.table("recommend", "recommendations").set_index("user_id")
    assert lists.loc["new", "item_id"].str.startswith("jazz").all()


def test_each_stage_by_itself_gives_what_run_gives(shop, crossrec, tmp_path):
    for stage in STAGES:
        done = crossrec(stage, shop.path)
        assert done.exit_code == 0, done.output
    again = shop.run_dir
    shop.config["run_dir"] = str(tmp_path / "again")
    crossrec("run", shop.path)
    for stage in STAGES:
        for file in sorted((again / stage / "current").iterdir()):
            if file.name not in {"manifest.json", "learning_curve.parquet"}:  # they hold times
                twin = shop.run_dir / stage / "current" / file.name
                assert twin.read_bytes() == file.read_bytes(), f"{stage}/{file.name} differs"


def test_tables_hold_what_they_say(trained):
    lists = trained.table("recommend", "recommendations")
    users = trained.table("preprocess", "users")
    items = trained.table("preprocess", "items")
    assert list(lists.columns) == [*schemas.RECOMMENDATIONS.names, *schemas.WHY.names]
    assert set(lists["user_id"]) == set(users["user_id"]), "everybody gets a list, 'new' without a purchase too"
    assert lists["score"].between(0, 1, inclusive="neither").all()
    assert (lists.groupby("user_id")["score"].diff().dropna() <= 0).all()
    assert set(lists["item_id"]) <= set(items.loc[items["domain"] == "target", "item_id"])
    bought = pd.read_parquet(trained.folder / "interactions.parquet")
    assert lists.merge(bought, left_on=["user_id", "item_id"], right_on=["user", "item"]).empty


def parts_add_up(lists: pd.DataFrame) -> None:
    """To the score as log-odds; those of the scorers up to what is added to all scores of a user."""
    odds = np.log(lists["score"] / (1 - lists["score"]))
    whole = lists[["from_source", "from_target", "from_sales", "from_rest"]].sum(axis=1)
    np.testing.assert_allclose(whole, odds, atol=1e-3)
    of_group = odds - lists["by_scorer"].map(lambda parts: sum(part["part"] for part in parts))
    assert (of_group.groupby(lists["user_id"]).max() - of_group.groupby(lists["user_id"]).min()).max() < 1e-3


def test_reasons_name_what_carried_an_item_and_their_parts_add_up_to_its_score(trained):
    """Who bought metal records, and only the other day a metal book, is shown metal books because of these."""
    lists = trained.table("recommend", "recommendations")
    parts_add_up(lists)
    metal = lists[lists["user_id"].str.fullmatch(r"metal\d+") & lists["item_id"].str.startswith("metal")]
    assert metal["reasons"].str[0].map(lambda why: why["item_id"].startswith("metal")).mean() > 0.95
    assert (metal["from_source"] > metal["from_target"]).mean() > 0.95
    assert (metal["from_source"] > 0).all()
    shares = metal["reasons"].map(lambda why: [one["share"] for one in why])
    assert shares.map(lambda some: min(some) > 0 and sum(some) <= 1 + 1e-5).all()
    names = trained.table("preprocess", "items").set_index("item_id")["text"]
    first = metal["reasons"].str[0].map(lambda why: names[why["item_id"]])
    assert all(name in because for name, because in zip(first, metal["because"], strict=True))
    nobody = lists[lists["user_id"] == "new"]
    assert (nobody["reasons"].str.len() == 0).all()
    assert (nobody[["from_source", "from_target"]] == 0).all(axis=None)


def test_reasons_are_left_out_where_none_are_wanted(trained, crossrec):
    before = trained.table("recommend", "recommendations")
    assert crossrec("recommend", trained.path, "--set", "recommend.reasons=0").exit_code == 0
    pd.testing.assert_frame_equal(trained.table("recommend", "recommendations"), before[schemas.RECOMMENDATIONS.names])


def test_metrics_are_means_over_the_users_of_a_segment(trained):
    metrics = trained.table("evaluate", "metrics")
    per_user = trained.table("evaluate", "per_user").set_index("user_id")
    users = trained.table("preprocess", "users").set_index("user_id")
    tags = users["tags"].map(set).reindex(per_user.index)
    parts = {"all": per_user["hr@5"] >= 0, "target history 0": per_user["target_history_length"] == 0}
    parts |= {f"tag {tag}": tags.map(lambda mine, tag=tag: tag in mine) for tag in set().union(*tags)}
    assert len(parts) == 3
    for segment, chosen in parts.items():
        found = metrics[metrics["segment"] == segment]
        assert len(found) > 0 or not chosen.any()
        for row in found[found["metric"] != "coverage"].itertuples():
            mine = per_user.loc[chosen & (per_user["model"] == row.model), f"{row.metric}@{row.k}"].dropna()
            assert row.n == len(mine)
            if row.n:
                assert row.value == pytest.approx(mine.mean())
                assert row.low - 1e-9 <= row.value <= row.high + 1e-9
    (coverage,) = metrics[(metrics["metric"] == "coverage") & (metrics["model"] == "popularity")]["value"]
    assert 5 / 36 <= coverage < 0.5, "everybody gets the same five, but for what they own"


def test_every_model_is_compared_with_crossrec_user_by_user(trained):
    per_user = trained.table("evaluate", "per_user").set_index(["model", "user_id"])
    found = trained.table("evaluate", "significance")
    assert set(found["model"]) == set(per_user.index.levels[0]) - {"crossrec"}
    for row in found.itertuples():
        gain = per_user.loc["crossrec", f"{row.metric}@{row.k}"] - per_user.loc[row.model, f"{row.metric}@{row.k}"]
        assert row.gain == pytest.approx(gain.mean())
        assert row.gain_low <= row.gain <= row.gain_high
        assert row.p_holm >= row.p
    by_chance = found[(found["model"] == "popularity") & (found["metric"] == "ndcg")]
    assert by_chance["p_holm"].item() < 0.001


def test_the_score_is_judged_in_both_domains(trained):
    accuracy = trained.table("evaluate", "accuracy").query("segment == 'all'").set_index("domain")
    assert accuracy.loc["target", "auc"] > 0.7
    assert accuracy.loc["target", "bought"] <= len(trained.table("preprocess", "cases"))
    assert accuracy.loc["target", "pairs"] > 1000


def test_another_systems_lists_are_scored_by_the_same_rules(trained, crossrec):
    """One that knows the future finds everything; its lists may not be ranked among a sample."""
    cases = trained.table("preprocess", "cases").query("split == 'test'")
    users, items = (trained.table("preprocess", name) for name in ("users", "items"))
    future = pd.DataFrame(
        {
            "user_id": users.set_index("user_index").loc[cases["user_index"], "user_id"].to_numpy(),
            "item_id": items.set_index("item_index").loc[cases["item_index"], "item_id"].to_numpy(),
            "rank": 1,
        }
    )
    path = trained.folder / "theirs.csv"
    future.to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert done.exit_code == 0, done.output
    per_user = trained.table("evaluate", "per_user")
    assert (per_user.loc[per_user["model"] == "external", "ndcg@5"] == 1).all()
    found = trained.table("evaluate", "significance").query("model == 'external' and metric == 'ndcg'")
    assert found["gain_high"].item() < 0
    assert "external" in done.stdout
    future.assign(rank="first").to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert (done.exit_code, "row 1: rank 'first' is no whole number" in done.stderr) == (ExitCode.INPUT, True)
    path.unlink()
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert (done.exit_code, f"evaluate.external: {path}: No such file" in done.stderr) == (ExitCode.INPUT, True)
    both = ["--set", f"evaluate.external={path}", "--set", "evaluate.candidates=9"]
    assert crossrec("evaluate", trained.path, *both).exit_code == ExitCode.CONFIG


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("jazz1", "jazz-book1", 0)], "row 1: rank is 0; it must be at least 1"),
        ([("jazz1", "a", 1), ("metal1", "a", 1), ("jazz1", "b", 1)], "row 3: user jazz1 has rank 1 twice"),
        ([("stranger", "a", 1)], "none of its 1 rows has a test user and an item to recommend"),
    ],
)
def test_lists_that_say_nothing_are_an_error_and_change_nothing(rows, told, trained, crossrec):
    before = (trained.run_dir / "report.html").read_bytes()
    path = trained.folder / "theirs.csv"
    pd.DataFrame(rows, columns=["user_id", "item_id", "rank"]).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert (done.exit_code, told in done.stderr) == (ExitCode.INPUT, True), done.stderr
    assert (trained.run_dir / "report.html").read_bytes() == before


def test_lists_that_leave_out_what_was_bought_in_the_test_are_no_fair_comparison(trained, crossrec):
    """crossrec's own, for everything that happened, the test among it."""
    path = trained.folder / "theirs.parquet"
    trained.table("recommend", "recommendations").to_parquet(path)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.external={path}")
    assert done.exit_code == 0
    assert "no list holds what its user bought in the test" in " ".join(done.stderr.split())


def test_a_sample_of_all_items_is_none(trained, crossrec):
    done = crossrec("evaluate", trained.path, "--set", "evaluate.candidates=999")
    assert (done.exit_code, "999 of the target's 36 items are no sample" in done.stderr) == (ExitCode.CONFIG, True)


def test_figures_among_sampled_items_say_so_and_are_larger(trained, crossrec):
    whole = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    done = crossrec("evaluate", trained.path, "--set", "evaluate.candidates=9")
    assert done.exit_code == 0, done.output
    assert "NDCG AMONG 9@5" in done.stdout
    sampled = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    assert "ndcg" not in sampled.loc["crossrec"]
    for model in ("crossrec", "popularity"):
        assert sampled[model, "hr_among_9"] > whole[model, "hr"]
        assert sampled[model, "coverage"] == whole[model, "coverage"], "the lists are of the whole catalogue"


def test_figures_among_given_items_say_so_and_follow_the_file(trained, crossrec):
    """Among items that nobody wants, the truth comes first; the file's own change is noticed."""
    whole = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    users = trained.table("preprocess", "users")["user_id"]
    books = [f"{taste}-book-{number}" for taste in ("jazz", "metal", "blues") for number in range(12)]
    path = trained.folder / "negatives.csv"
    rows = [(user, book) for user in users for book in books if not user.startswith(book.partition("-")[0])]
    pd.DataFrame([*rows, ("jazz0", "gone")], columns=["user_id", "item_id"]).to_csv(path, index=False)
    wanted = ["--set", f"evaluate.negatives={path}"]
    done = crossrec("evaluate", trained.path, *wanted)
    assert done.exit_code == 0, done.output
    assert f"removed 1 of {len(rows) + 1:,} rows" in " ".join(done.stderr.split())
    assert "NDCG AMONG GIVEN@5" in done.stdout
    found = trained.table("evaluate", "metrics").query("segment == 'all'").set_index(["model", "metric"])["value"]
    assert "ndcg" not in found.loc["crossrec"]
    assert found["crossrec", "hr_among_given"] > max(0.95, whole["crossrec", "hr"])
    assert found["crossrec", "coverage"] == whole["crossrec", "coverage"], "the lists are of the whole catalogue"
    assert stages_that_ran(crossrec("evaluate", trained.path, *wanted, "--json").stdout) == []
    pd.DataFrame([row for row in rows if row[0] != "jazz0"], columns=["user_id", "item_id"]).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, *wanted)
    assert (done.exit_code, "'jazz0', and for 1 of" in done.stderr) == (ExitCode.INPUT, True), done.stderr
    both = [*wanted, "--set", "evaluate.candidates=9"]
    assert crossrec("evaluate", trained.path, *both).exit_code == ExitCode.CONFIG


def test_a_sample_of_the_test_users_is_evaluated_and_said(trained, crossrec):
    everybody = trained.table("evaluate", "per_user").set_index(["model", "user_id"])
    some, total = ["--set", "evaluate.users=30"], everybody.index.get_level_values("user_id").nunique()
    done = crossrec("evaluate", trained.path, *some, "--json")
    assert done.exit_code == 0, done.output
    (told,) = (step["summary"] for step in json.loads(done.stdout)["stages"] if step["stage"] == "evaluate")
    assert (told["evaluated_users"], told["test_users"]) == (30, total)
    drawn = trained.table("evaluate", "per_user").set_index(["model", "user_id"])
    pd.testing.assert_frame_equal(drawn, everybody.loc[drawn.index])
    assert drawn.index.get_level_values("user_id").nunique() == 30
    metrics = trained.table("evaluate", "metrics")
    assert (metrics.query("segment == 'all' and metric == 'ndcg'")["n"] == 30).all()
    said = f"30 of {total:,} test users, drawn at random"
    assert said in (trained.run_dir / "report.html").read_text()
    assert said in crossrec("evaluate", trained.path, *some).stdout
    for users in ("null", total):
        assert "drawn at random" not in crossrec("evaluate", trained.path, "--set", f"evaluate.users={users}").stdout
    other = ["--set", "seed=8", "--set", "adapt.epochs=1", "--set", "finetune.epochs=1"]
    assert crossrec("run", trained.path, *some, *other, "--to", "evaluate").exit_code == 0
    again = trained.table("evaluate", "per_user").set_index(["model", "user_id"])
    assert set(again.index) == set(drawn.index), "another seed's figures are of the same users"


def test_a_score_is_a_probability_on_validation(trained):
    """Summed over the books not yet bought, the scores of a user's next purchase come to about one."""
    trained.config["recommend"] = {"k": 36, "exclude_seen": True}
    lists = trained.table("recommend", "recommendations")
    assert 0.02 < lists["score"].mean() < 0.4


def test_popularity_stands_beside_and_loses_on_the_planted_shop(trained):
    metrics = trained.table("evaluate", "metrics")
    ndcg = metrics.query("metric == 'ndcg' and segment == 'all'").set_index("model")["value"]
    assert ndcg["crossrec"] > ndcg["popularity"] > 0


def test_mask_seen_and_exclude_seen_can_be_turned_off(trained, crossrec):
    before = trained.table("evaluate", "metrics")
    crossrec("run", trained.path, "--set", "evaluate.mask_seen=false", "--set", "recommend.exclude_seen=false")
    bought = pd.read_parquet(trained.folder / "interactions.parquet")
    lists = trained.table("recommend", "recommendations")
    assert not lists.merge(bought, left_on=["user_id", "item_id"], right_on=["user", "item"]).empty
    assert not trained.table("evaluate", "metrics").equals(before)


def sold(shop: Shop) -> list[int]:
    """How often each item was bought in what the scorers learned from."""
    return np.expm1(shop.table("finetune", "item_vectors")["popularity_vector"].str[0]).round().astype(int).tolist()


def test_refit_learns_from_validation_too_and_keeps_the_weights(trained, crossrec):
    """What validation alone held back teaches; what the test asks for is still asked for."""
    folder = trained.run_dir / "finetune" / "current"
    refitted = {name: (folder / name).read_bytes() for name in ("item_vectors.parquet", "scorers.safetensors")}
    weights, of_all, neural = (
        trained.table("finetune", "fusion"),
        sold(trained),
        np.stack(trained.table("finetune", "item_vectors")["neural_vector"]),
    )
    assert crossrec("finetune", trained.path, "--set", "finetune.refit=false").exit_code == 0
    gained = (trained.table("preprocess", "interactions")["split"] == "valid").sum()
    assert 0 < gained == sum(of_all) - sum(sold(trained))
    pd.testing.assert_frame_equal(trained.table("finetune", "fusion"), weights)
    assert not np.allclose(np.stack(trained.table("finetune", "item_vectors")["neural_vector"]), neural)
    assert crossrec("finetune", trained.path).exit_code == 0
    assert {name: (folder / name).read_bytes() for name in refitted} == refitted


@pytest.mark.parametrize(
    "split",
    [
        {"strategy": "time", "valid_from": "2024-01-10", "test_from": "2024-01-20"},
        {"strategy": "cold_users", "share": 0.2},
    ],
    ids=lambda split: split["strategy"],
)
def test_refit_learns_from_users_without_test_cases(shop, crossrec, split):
    """They like one book; half of them bought it before the validation period, a third in it, the others in the test.

    Some others bought any other book, early.
    """
    rows = [
        (f"u{user}", item, pd.Timestamp("2024-01-01") + pd.Timedelta(days=day))
        for user in range(120)
        for item, day in (
            (f"jazz-record-{user % 40}", 0),
            (f"metal-record-{user % 37}", 1),
            ("blues-book-7", (5, 12, 25)[(user >= 60) + (user >= 100)]),
        )
    ]
    rows += [(f"other{book}", f"{taste}-book-{book}", rows[0][2]) for taste in ("jazz", "metal") for book in range(12)]
    pd.DataFrame(rows, columns=["user", "item", "time"]).to_parquet(shop.folder / "interactions.parquet")
    shop.config["split"] = split
    shop.config["adapt"]["epochs"], shop.config["finetune"] = 1, {"epochs": 1}
    done = crossrec("run", shop.path, "--to", "finetune")
    assert done.exit_code == 0, done.output
    rows, cases = (shop.table("preprocess", name) for name in ("interactions", "cases"))
    tested = set(cases.loc[cases["split"] == "test", "user_index"])
    teaching = rows[rows["split"] != "held_out"]
    gained = teaching[(teaching["split"] == "valid") & ~teaching["user_index"].isin(tested)]
    assert len(gained) == {"time": 40, "cold_users": 24}[split["strategy"]]
    assert sold(shop) == np.bincount(teaching["item_index"], minlength=len(shop.table("preprocess", "items"))).tolist()


def test_a_second_run_does_nothing_and_says_so(trained, crossrec):
    done = crossrec("run", trained.path)
    assert done.stderr.count("up to date, config and inputs unchanged") == len(STAGES)
    assert stages_that_ran(crossrec("run", trained.path, "--json").stdout) == []


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("data.repeats=keep", ["preprocess"]),  # the planted shop has no repeats: the tables stay, and all that follows
        ("data.min_interactions.user=8", STAGES),
        ("adapt.epochs=2", STAGES[1:]),
        ("evaluate.k=[1]", ["evaluate"]),
        ("recommend.k=2", ["recommend"]),
        ("runtime.num_threads=2", []),
        ("seed=8", STAGES[1:]),
    ],
)
def test_exactly_what_depends_on_a_field_runs_again(trained, crossrec, override, expected):
    assert stages_that_ran(crossrec("run", trained.path, "--json", "--set", override).stdout) == expected


def test_another_finetune_reruns_what_follows_only_if_its_weights_changed(trained, crossrec):
    weights = trained.run_dir / "finetune" / "current" / "scorers.safetensors"
    before = weights.read_bytes()
    ran = stages_that_ran(crossrec("run", trained.path, "--json", "--set", "finetune.lr=0.5").stdout)
    assert ran == (["finetune"] if weights.read_bytes() == before else STAGES[2:])


def test_a_comment_reruns_nothing_and_force_reruns(trained, crossrec):
    path = trained.path
    path.write_text("# a comment\n" + path.read_text())
    assert stages_that_ran(crossrec("run", path, "--json").stdout) == []
    assert stages_that_ran(crossrec("evaluate", path, "--json", "--force").stdout) == ["evaluate"]


def test_changed_input_bytes_rerun_and_touching_does_not(trained, crossrec):
    path = trained.folder / "interactions.parquet"
    path.touch()
    assert stages_that_ran(crossrec("run", trained.path, "--json").stdout) == []
    pd.read_parquet(path).iloc[:-4].to_parquet(path)
    done = json.loads(crossrec("run", trained.path, "--json").stdout)
    assert done["stages"][0]["reason"] == f"input {path} changed"
    assert stages_that_ran(json.dumps(done)) == STAGES


def test_a_stage_needs_those_before_it(shop, crossrec):
    done = crossrec("finetune", shop.path)
    assert done.exit_code == ExitCode.ARTIFACT
    assert done.stderr.strip() == f"error: {shop.run_dir}: no preprocess artifact yet; run 'crossrec preprocess' first"


def test_a_stage_refuses_what_was_made_with_another_config(trained, crossrec):
    done = crossrec("recommend", trained.path, "--set", "interest.dim=8")
    assert done.exit_code == ExitCode.ARTIFACT
    assert "out of date (config interest.dim changed from 16 to 8); run 'crossrec pretrain-adapt' first" in done.stderr


@pytest.mark.parametrize(
    "file", ["scorers.safetensors", "item_vectors.parquet", "learning_curve.parquet", "manifest.json"]
)
def test_a_damaged_artifact_stops_its_readers_and_is_made_again(trained, crossrec, file):
    path = trained.run_dir / "finetune" / "current" / file
    path.write_bytes(path.read_bytes()[:-10])
    done = crossrec("recommend", trained.path)
    assert done.exit_code == ExitCode.ARTIFACT
    assert len(done.stderr.splitlines()) == 1
    assert f"{file}: damaged" in done.stderr
    assert stages_that_ran(crossrec("run", trained.path, "--json").stdout) == ["finetune"]
    assert crossrec("recommend", trained.path).exit_code == 0


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("data.platforms[0].items.path=no.parquet", ExitCode.INPUT, "no.parquet: no such file"),
        ("data.platforms[0].items.columns.category=knd", ExitCode.INPUT, "has no column 'knd'"),
        ("domains.target.category=[boook]", ExitCode.INPUT, "did you mean 'book'?"),
        ("data.min_interactions.item=1000", ExitCode.INPUT, "no interaction is left after"),
        ("adapt.epochs=-1", ExitCode.CONFIG, "greater than or equal to 0"),
    ],
)
def test_wrong_input_is_one_line_with_its_code_and_writes_nothing(shop, crossrec, override, code, message):
    done = crossrec("run", shop.path, "--set", override)
    assert done.exit_code == code
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list(shop.run_dir.glob("preprocess/*"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("runtime.device=cuda:9", "runtime.device: there is no 'cuda:9' here; there is cpu"),
        ("encoder.model=./no-such-model", "is no packaged model, folder or hub id"),
        ("runtime.precision=fp16", "runtime.precision: a CPU has no fast fp16"),
    ],
)
def test_an_unavailable_device_or_model_has_its_code(shop, crossrec, override, message):
    done = crossrec("run", shop.path, "--set", override, "--quiet")
    assert done.exit_code == ExitCode.UNAVAILABLE
    assert message in done.stderr
    assert not list(shop.run_dir.glob("pretrain-adapt/*"))


def test_a_failing_rerun_keeps_the_previous_artifact(trained, crossrec):
    before = trained.table("preprocess", "interactions")
    (trained.folder / "items.parquet").write_bytes(b"rubbish")
    assert crossrec("run", trained.path).exit_code == ExitCode.INPUT
    assert trained.table("preprocess", "interactions").equals(before)


def test_one_users_list(trained, crossrec):
    done = crossrec("recommend", trained.path, "--user", "new", "--user", "metal3")
    lines = done.stdout.splitlines()
    assert lines[0] == "User new:"
    assert lines[1].startswith("   1. 0.")
    assert "User metal3:" in lines
    assert "book" in lines[1]
    document = json.loads(crossrec("recommend", trained.path, "--user", "new", "--json").stdout)
    assert [row["rank"] for row in document["lists"]["new"]] == [1, 2, 3, 4, 5]
    assert lines[1].split()[2] == document["lists"]["new"][0]["item_id"]
    assert lines[1].endswith(document["lists"]["new"][0]["text"])


def test_an_unknown_user_is_an_input_error(trained, crossrec):
    done = crossrec("recommend", trained.path, "--user", "nobody")
    assert done.exit_code == ExitCode.INPUT
    assert "nobody" in done.stderr
    done = crossrec("recommend", trained.path, "--set", "recommend.users=[jazz1, nobody]")
    assert done.exit_code == ExitCode.INPUT


def test_listed_users_alone_are_served(trained, crossrec):
    crossrec("recommend", trained.path, "--set", "recommend.users=[new, jazz1]")
    assert set(trained.table("recommend", "recommendations")["user_id"]) == {"new", "jazz1"}


def test_events_since_training_give_a_list_to_users_never_seen(trained, crossrec):
    """Three metal records, bought by somebody who was not there: metal books lead the list, and nothing is trained."""
    records = [f"metal-record-{number}" for number in range(3)]
    strange = "who-knows,no-such-item\n"
    events = trained.folder / "events.csv"
    events.write_text("user_id,item_id\n" + "".join(f"007,{item}\n" for item in records) + strange)
    done = crossrec("recommend", trained.path, "--events", events, "--user", "007")
    assert done.exit_code == 0, done.output
    assert "1 events are with items that are not in the data" in done.stderr
    assert done.stdout.splitlines()[1].split()[2].startswith("metal-book")
    assert crossrec("recommend", trained.path, "--events", events).exit_code == 0
    lists = trained.table("recommend", "recommendations")
    assert set(lists["user_id"]) > {"007", "jazz1", "who-knows"}
    again = crossrec("recommend", trained.path, "--events", events, "--json")
    assert not json.loads(again.stdout)["stages"][0]["ran"]
    events.write_text("user_id,item_id\n007,blues-record-1\n007,blues-record-2\n")
    done = crossrec("recommend", trained.path, "--events", events, "--user", "007")
    assert done.stdout.splitlines()[1].split()[2].startswith("blues-book")


def test_events_are_the_newest_of_a_known_users_history(trained, crossrec):
    owned = trained.table("preprocess", "interactions").query("original_user_id == 'jazz1'")["original_item_id"]
    offered = trained.table("recommend", "recommendations").query("user_id == 'jazz1'")["item_id"]
    events = pd.DataFrame({"user_id": ["jazz1"], "item_id": [offered.iloc[0]], "when": [1]})
    events.to_parquet(trained.folder / "events.parquet")
    done = crossrec("recommend", trained.path, "--events", trained.folder / "events.parquet")
    assert done.exit_code == 0, done.output
    now = trained.table("recommend", "recommendations").query("user_id == 'jazz1'")["item_id"]
    assert offered.iloc[0] not in set(now), "bought meanwhile"
    assert not set(now) & set(owned), "what was bought before stays bought"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "o such file"),
        ("user_id,thing\nada,1\n", "no column 'item_id'; there is user_id, thing"),
        ("user_id,item_id\nada,1\n,2\n", "row 2: 1 of 2 rows are unusable (missing user id 1)"),
        ("user_id,item_id\nada,1,3\n", "cannot be read"),
    ],
)
def test_events_that_cannot_be_read_say_why(content, told, trained, crossrec):
    events = trained.folder / "events.csv"
    if content:
        events.write_text(content)
    done = crossrec("recommend", trained.path, "--events", events)
    assert done.exit_code == ExitCode.INPUT
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_quiet_and_json_keep_stdout_clean(trained, crossrec):
    done = crossrec("run", trained.path, "--quiet", "--force")
    assert done.stdout == done.stderr == ""
    done = crossrec("run", trained.path, "--json", "--force")
    assert json.loads(done.stdout)["stages"][3]["summary"]["crossrec_ndcg@5"] > 0
    assert "finetune: done" in done.stderr
    failed = crossrec("run", trained.path, "--json", "--set", "seed=x")
    assert json.loads(failed.stdout)["exit_code"] == ExitCode.CONFIG


def test_the_log_file_holds_every_epoch(trained):
    log = (trained.run_dir / "run.log").read_text()
    assert "pretrain-adapt: epoch 30, loss" in log
    assert "finetune runs: not run yet" in log


def test_a_split_by_time_runs_to_the_end(shop, crossrec):
    shop.config["split"] = {"strategy": "time", "valid_from": "2024-01-21", "test_from": "2024-01-23"}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    interactions = shop.table("preprocess", "interactions")
    assert interactions.loc[interactions["split"] == "train", "timestamp"].max() < pd.Timestamp("2024-01-21")


@pytest.mark.parametrize("epochs", [0, 2])
def test_without_validation_every_epoch_is_trained_and_the_scorers_count_as_usual(shop, crossrec, epochs):
    hour = {"valid_from": "2024-01-22T01:00:00", "test_from": "2024-01-22T02:00:00"}  # they buy at midnight
    shop.config["split"] = {"strategy": "time", **hour}
    shop.config["finetune"] |= {"epochs": epochs}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert "warning: no validation purchase" in done.stderr
    assert shop.table("finetune", "learning_curve")["epoch"].tolist() == list(range(1, epochs + 1))
    summary = json.loads(crossrec("finetune", shop.path, "--json").stdout)["stages"][0]["summary"]
    assert summary["valid_ndcg@10"] is None
    assert summary["scorers"]["linear"] > 0


def test_two_platforms_run_to_the_end(shop, crossrec):
    platform = shop.config["data"]["platforms"][0]
    shop.config["data"]["platforms"] = [platform, {**platform, "name": "other"}]
    assert crossrec("run", shop.path).exit_code == 0
    users = set(shop.table("recommend", "recommendations")["user_id"])
    assert {"shop:new", "other:new"} <= users


def test_quick_leaves_the_trained_scorer_out(shop, crossrec):
    assert crossrec("run", shop.path, "--quick").exit_code == 0
    scorers = set(shop.table("finetune", "fusion")["scorer"].dropna())
    assert scorers == {"text", "words", "attributes", "popularity", "neighbours", "linear"}
    assert shop.table("finetune", "learning_curve").empty
    found = shop.table("evaluate", "metrics").query("segment == 'all' and metric == 'ndcg'").groupby("model")["value"]
    assert found.max()["crossrec"] > found.max()["popularity"]


def test_probabilities_are_measured_by_target_history_and_for_items_nobody_bought(shop, crossrec):
    assert crossrec("run", shop.path, "--quick").exit_code == 0
    found = shop.table("evaluate", "accuracy")
    target = found[found["domain"] == "target"].set_index("segment")
    parts = target[[name.startswith("target history") for name in target.index]]
    assert parts["bought"].sum() == target.loc["all", "bought"]
    assert (target["log_loss"] < 2 * target["base_log_loss"]).all()


def test_a_target_without_training_purchases_warns_and_still_recommends(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    books = rows[rows["item"].str.contains("book")].drop_duplicates("user", keep="last")
    records = rows[rows["item"].str.contains("record")]
    pd.concat([records, books[books["user"].isin(records["user"])]]).to_parquet(path)
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert "warning: no target purchase is left to train on" in done.stderr
    found = shop.table("evaluate", "metrics").query("segment == 'cold item' and metric == 'hr'").set_index("model")
    assert found.loc["crossrec", "value"] > 0.3, "5 of 12 cold books of a taste, which their text tells"
    assert found.loc["popularity", "value"] < 0.15


def test_a_split_before_all_data_is_an_input_error(shop, crossrec):
    shop.config["split"] = {"strategy": "time", "valid_from": "2001-01-01", "test_from": "2024-01-23"}
    done = crossrec("run", shop.path)
    assert done.exit_code == ExitCode.INPUT
    assert "no source purchase is before the held-out ones" in done.stderr


def test_an_item_bought_twice_in_the_test_is_one_item_to_find(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows.assign(time=rows["time"] + pd.Timedelta(hours=1))]).to_parquet(path)
    shop.config["data"]["repeats"] = "keep"
    shop.config["split"] = {"strategy": "time", "valid_from": "2024-01-21", "test_from": "2024-01-23"}
    shop.config["evaluate"] = {"mask_seen": False, "k": [1, 5]}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    scores = shop.table("evaluate", "per_user").filter(regex="(hr|recall|precision|ndcg|mrr|map)@")
    assert scores.max().max() <= 1


def test_one_target_item_that_everybody_owns(shop, crossrec):
    path = shop.folder / "interactions.parquet"
    rows = pd.read_parquet(path)
    rows["item"] = rows["item"].where(rows["item"].str.contains("record"), "jazz-book-0")
    rows.to_parquet(path)
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert np.isfinite(shop.table("recommend", "recommendations")["score"]).all()


def test_control_characters_in_texts_do_not_reach_the_terminal(shop, crossrec):
    path = shop.folder / "items.parquet"
    items = pd.read_parquet(path)
    items["title"] = "\x1b[31m" + items["title"] + "\nline"
    items.to_parquet(path)
    shop.config["data"]["clean"] = {"control_characters": False}
    done = crossrec("run", shop.path)
    assert "\x1b" not in done.stdout
    assert "\\x1b[31m" in done.stdout
    assert "\\nline" in done.stdout


def test_learning_is_written_down(trained):
    for stage, epochs in (("pretrain-adapt", 30), ("finetune", 10)):
        learning = trained.table(stage, "learning_curve")
        assert learning["epoch"].tolist() == list(range(1, epochs + 1))
        assert np.isfinite(learning["loss"]).all()
        assert learning["loss"].iloc[-1] < learning["loss"].iloc[0]
        assert learning["learning_rate"].is_monotonic_decreasing


def test_a_manifest_tells_what_an_artifact_was_made_from(trained):
    manifest = json.loads((trained.run_dir / "finetune" / "current" / "manifest.json").read_text())
    assert manifest["config"]["finetune.epochs"] == 10
    assert {"preprocess/cases.parquet", "pretrain-adapt/model.safetensors"} <= set(manifest["inputs"])
    assert manifest["files"]["learning_curve.parquet"]["rows"] == 10
    assert manifest["versions"]["torch"]
    assert manifest["wall_seconds"] > 0
    assert manifest["peak_memory_bytes"] > 10**7
    assert Path(trained.run_dir / "finetune" / "current").is_symlink()


def test_an_adapted_language_model_is_kept_where_it_ranks_the_source_better(shop, crossrec):
    """Sixty numbers drown the one word of a text that says who buys it; only who buys what tells which word counts."""
    rng = np.random.default_rng(0)
    items = pd.read_parquet(shop.folder / "items.parquet")
    noise = [" ".join(map(str, rng.integers(0, 100, 60))) for _ in range(len(items))]
    items["title"] = items["title"].str.split().str[0] + " " + noise
    items.to_parquet(shop.folder / "items.parquet")
    rows = pd.read_parquet(shop.folder / "interactions.parquet")
    more = [
        {"user": f"more{user}", "item": f"{('jazz', 'metal', 'blues')[user % 3]}-record-{number}", "time": time}
        for user in range(3000)
        for number, time in zip(rng.choice(40, 8, replace=False), pd.date_range("2024-01-01", periods=8), strict=True)
    ]
    pd.concat([rows, pd.DataFrame(more)]).to_parquet(shop.folder / "interactions.parquet")
    text = {"steps": 200, "batch_size": 32, "lr": 5e-3}
    shop.config["adapt"] |= {"epochs": 1, "language_model": "full", "text": text}
    assert crossrec("preprocess", shop.path).exit_code == 0
    done = crossrec("pretrain-adapt", shop.path)
    assert done.exit_code == 0, done.output
    assert "the adapted language model is kept" in done.output, done.output
    assert (shop.run_dir / "pretrain-adapt/current/language_model.safetensors").exists()
    done = crossrec("transfer", shop.path, "--set", "transfer.seeds=[1]", "--set", "finetune.epochs=2")
    assert done.exit_code == 0, done.output
    found = shop.table("transfer", "transfer").set_index(["segment", "control"])["hr@10"]["cold user"]
    assert found["crossrec"] > found["frozen texts"] + 0.2
    assert crossrec("finetune", shop.path).exit_code == 0
    text = pd.read_parquet(shop.run_dir / "preprocess/current/items.parquet")["text"]
    assert crossrec("search", shop.path).exit_code == 0
    config = load_config(shop.path)
    inputs = inputs_of(config, SEARCH)
    searcher = Searcher.load(config, inputs, shop.run_dir / SEARCH / "current")
    query = searcher.encoder.embed(list(text[:5]), lambda *_: None)
    read = shop.table("pretrain-adapt", "item_text")["embedding"]
    np.testing.assert_allclose(query, np.stack(read[:5]), atol=1e-4)


def test_an_adapted_language_model_that_ranks_no_better_is_not_kept(tmp_path, tiny_bert, crossrec):
    """Texts that all read the same cannot tell anything apart, whatever is learned."""
    shop = make_shop(tmp_path, tiny_bert, text="{kind}")
    shop.config["adapt"] |= {"epochs": 1, "language_model": "full", "text": {"steps": 2}}
    shop.config["finetune"] |= {"epochs": 1}
    done = crossrec("run", shop.path)
    assert done.exit_code == 0, done.output
    assert "is not kept" in done.output
    assert not (shop.run_dir / "pretrain-adapt/current/language_model.safetensors").exists()
    frozen = shop.table("pretrain-adapt", "item_text")
    assert crossrec("run", shop.path, "--set", "adapt.language_model=frozen").exit_code == 0
    assert shop.table("pretrain-adapt", "item_text")["embedding"].map(list).equals(frozen["embedding"].map(list))


def test_a_worse_ranking_than_an_earlier_run_ends_with_7(trained, crossrec):
    worse = trained.folder / "worse"
    lazy = ["--set", f"run_dir={worse}", "--set", "interest.scorers=[attributes]"]  # they tell nothing here
    assert crossrec("run", trained.path, *lazy).exit_code == 0
    better = crossrec("evaluate", trained.path, "--against", worse, "--json")
    assert better.exit_code == 0
    assert json.loads(better.stdout)["against"]["mean"] > 0
    done = crossrec("evaluate", trained.path, *lazy, "--against", trained.run_dir)
    assert done.exit_code == ExitCode.REGRESSION
    assert re.search(r"error: ndcg@5 0\.\d+, 0\.\d+ in .*: -0\.\d+ \(.*\) over 180 users, worse by more", done.stderr)
    told = json.loads(crossrec("evaluate", trained.path, *lazy, "--against", trained.run_dir, "--json").stdout)
    assert told["exit_code"] == ExitCode.REGRESSION
    assert told["against"]["mean"] < 0
    itself = crossrec("evaluate", trained.path, "--against", trained.run_dir, "--json")
    assert itself.exit_code == 0, "a night in which nothing changed"
    assert {"same_evaluation": True, "mean": 0, "users": 180}.items() <= json.loads(itself.stdout)["against"].items()
    again = crossrec("evaluate", trained.path, "--against", trained.run_dir, "--set", "evaluate.baselines=[]", "--json")
    assert again.exit_code == 0, "the same place's earlier evaluation"
    assert json.loads(again.stdout)["against"]["same_evaluation"] is False
    nowhere = crossrec("evaluate", trained.path, "--against", trained.folder / "nowhere")
    assert (nowhere.exit_code, "run 'crossrec evaluate' there first" in nowhere.stderr) == (ExitCode.ARTIFACT, True)


def test_another_test_is_compared_with_a_warning(trained, crossrec):
    other = ["--set", f"run_dir={trained.folder / 'other'}", "--set", "adapt.epochs=1", "--set", "finetune.epochs=2"]
    split = "split={strategy: time, valid_from: 2024-01-21, test_from: 2024-01-23}"
    assert crossrec("run", trained.path, *other, "--set", split).exit_code == 0
    found = crossrec("evaluate", trained.path, "--against", trained.folder / "other", "--json")
    assert json.loads(found.stdout)["against"]["same_test"] is False
    assert "was tested on other purchases" in found.stderr


def test_feedback_tells_what_users_would_think_of_these_lists(trained, crossrec):
    """Users who click on every book of their taste and on no other: crossrec's lists would bring more than chance."""
    users, items = (trained.table("preprocess", name) for name in ("users", "items"))
    books = items.loc[items["domain"] == "target", "item_id"]
    jazz = [user for user in users["user_id"] if user.startswith("jazz")]
    rows = pd.DataFrame([(user, book, float(book.startswith("jazz"))) for user in jazz for book in books])
    path = trained.folder / "impressions.csv"
    rows.set_axis(["user_id", "item_id", "click"], axis=1).assign(propensity=0.5).to_csv(path, index=False)
    done = crossrec("evaluate", trained.path, "--set", f"evaluate.feedback={path}")
    assert done.exit_code == 0, done.output
    found = trained.table("evaluate", "feedback").query("segment == 'all'").set_index("measure")
    assert found.loc["logged", "value"] == pytest.approx(1 / 3)
    assert found.loc["snips", "low"] > 0.6
    assert 0 < found.loc["snips", "effective"] < found.loc["logged", "effective"]
    assert "click, all" in (trained.run_dir / "report.html").read_text()
    whole = trained.table("evaluate", "feedback")
    crossrec("evaluate", trained.path, "--set", f"evaluate.feedback={path}", "--set", "evaluate.users=5")
    assert trained.table("evaluate", "feedback").equals(whole), (
        "it is of all users, however many are ranked for the test"
    )
    crossrec("evaluate", trained.path)
    assert "evaluate.feedback" in (trained.run_dir / "report.html").read_text()
