"""How evaluate draws, compares and measures."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import shops
from conftest import ONE_EPOCH
from facts import check_failed, lacking

from crossrec_cli.errors import ExitCode
from crossrec_cli.evaluation.baselines import BaselineInputs
from crossrec_cli.evaluation.compared import _without_duplicates
from crossrec_cli.evaluation.measured import _source_cases
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import Dataset
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged


def test_a_baseline_that_is_another_one_on_these_data_is_left_out():
    data, valid, _ = shops.shop("text", users=20)
    names = ["popularity", "tag_popularity", "ease_target", "ease"]

    def different(data: TrainingData) -> list[str]:
        return _without_duplicates(names, BaselineInputs(data, data, np.flatnonzero(data.is_target), valid, True, 0))

    assert different(data) == ["popularity", "ease_target", "ease"], "nobody has a tag"
    tagged = replace(data, histories=replace(data.histories, tags=Ragged.of([[0]] * 20)))
    assert different(tagged) == names


def test_so_many_cases_are_drawn_alike_each_time_and_others_by_another_seed():
    cases = Cases(np.arange(50) * 2, np.arange(50), Ragged.of([[number, number + 1] for number in range(50)]))
    assert cases.sample(None, 0) is cases
    assert cases.sample(50, 0) is cases
    some, again, others = (cases.sample(20, seed) for seed in (0, 0, 1))
    assert some.count == 20
    assert (np.diff(some.users) > 0).all()
    assert some.users.tolist() == again.users.tolist() != others.users.tolist()
    assert some.history_lengths.tolist() == (some.users // 2).tolist()
    assert some.truth.values[::2].tolist() == (some.users // 2).tolist()


def test_what_trains_is_not_asked_of_the_source_though_it_comes_later():
    bought, trains = Ragged.of([[0, 1, 2, 0, 1], [1, 0]]), np.array([1, 0, 0, 1, 1, 1, 0], bool)
    domain = ItemStats(np.array([False, False, True, True]), np.ones(4, int))
    histories = Histories(bought, np.array([1, 1]), Ragged.of([[], []]), domain, trains)
    cases, candidates = _source_cases(Dataset(None, None, histories), 0)
    assert candidates.tolist() == [0, 1]
    assert cases.users.tolist() == [0, 1]
    assert cases.history_lengths.tolist() == [1, 1]
    assert (cases.truth.values.tolist(), cases.truth.lengths.tolist()) == ([1, 0], [1, 1])


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


def test_a_sample_of_all_items_is_none(trained, crossrec):
    done = crossrec("evaluate", trained.path, "--set", "evaluate.candidates=999")
    check_failed(done, ExitCode.CONFIG, "evaluate.candidates", 999, 36)


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
    said = f"30 of {total:,}"
    assert not lacking((trained.run_dir / "report.html").read_text(), said)
    assert not lacking(crossrec("evaluate", trained.path, *some).stdout, said)
    for users in ("null", total):
        shown = crossrec("evaluate", trained.path, "--set", f"evaluate.users={users}").stdout
        assert lacking(shown, f"of {total:,}"), "all of them are no sample"
    assert crossrec("run", trained.path, *some, "--set", "seed=8", *ONE_EPOCH, "--to", "evaluate").exit_code == 0
    again = trained.table("evaluate", "per_user").set_index(["model", "user_id"])
    assert set(again.index) == set(drawn.index), "another seed's figures are of the same users"


def test_probabilities_are_measured_by_target_history_and_for_items_nobody_bought(quick):
    found = quick.table("evaluate", "accuracy")
    target = found[found["domain"] == "target"].set_index("segment")
    parts = target[[name.startswith("target history") for name in target.index]]
    assert parts["bought"].sum() == target.loc["all", "bought"]
    assert (target["log_loss"] < 2 * target["base_log_loss"]).all()
