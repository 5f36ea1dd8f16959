"""Whether crossrec tells when the source helps and when it does harm."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossrec_cli.evaluation import controls
from crossrec_cli.evaluation.controls import CONTROLS, CROSSREC, SCRATCH, row
from crossrec_cli.evaluation.segments import segments
from crossrec_cli.evaluation.significance import interval
from crossrec_cli.models.histories import Cases, Histories, ItemStats
from crossrec_cli.models.ragged import Ragged


def test_on_the_planted_shop_the_text_of_the_source_is_what_helps(shop, crossrec):
    """Metal people have metal records and no metal book; the shared word alone leads from one to the other."""
    shop.config["transfer"] = {"seeds": [1]}
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    done = crossrec("transfer", shop.path)
    assert done.exit_code == 0, done.output
    found = shop.table("transfer", "transfer").set_index(["segment", "control"])
    new = found.loc["cold user"]
    assert new.loc[CROSSREC.name, "gain_low"] > 0
    assert new.loc[CROSSREC.name, "ndcg@10"] > new.loc["without texts", "ndcg@10"] + 0.1
    assert new["n"].tolist() == [80] * 4, "forty metal and forty blues people"
    assert (found.xs(SCRATCH.name, level="control")["gain"] == 0).all()
    again = json.loads(crossrec("transfer", shop.path, "--json").stdout)["stages"][0]
    assert not again["ran"]
    assert again["summary"]["negative_transfer"] == []


def test_a_control_that_would_be_another_one_is_left_out(shop, crossrec):
    """Where nothing is trained, that nothing is trained is no control."""
    shop.config["transfer"] = {"seeds": [1]}
    shop.config["interest"]["scorers"] = ["text", "popularity", "linear"]
    shop.config["adapt"]["epochs"] = 1
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    assert crossrec("transfer", shop.path).exit_code == 0
    found = shop.table("transfer", "transfer").set_index(["control", "segment"])
    assert set(found.index.levels[0]) == {SCRATCH.name, "without texts", CROSSREC.name}
    columns = ["hr@10", "ndcg@10", "gain"]
    assert not found.loc["without texts", columns].equals(found.loc[CROSSREC.name, columns])


def test_no_training_goes_on_from_anothers_checkpoint(shop, crossrec):
    shop.config["transfer"] = {"seeds": [1, 2]}
    shop.config["adapt"]["epochs"], shop.config["finetune"]["epochs"] = 1, 1
    shop.config["interest"]["scorers"] = ["text", "neural"]
    assert crossrec("run", shop.path, "--to", "pretrain-adapt").exit_code == 0
    assert crossrec("transfer", shop.path).exit_code == 0
    found = shop.table("transfer", "transfer")
    assert (found["seeds"] == 2).all()
    often = crossrec("transfer", shop.path, "--set", "runtime.checkpoint_every=1 steps", "--force")
    assert often.exit_code == 0, often.output
    assert "continuing with" not in often.output
    assert shop.table("transfer", "transfer").equals(found)


def test_an_interrupt_in_the_last_training_repeats_no_other(trained, crossrec, monkeypatch):
    trained.config["transfer"] = {"seeds": [1, 2, 3]}
    tried: list[tuple[int, str]] = []

    def train(control, learner, problem):
        tried.append((learner.seed, control.name))
        if len(tried) == 12:
            raise KeyboardInterrupt
        found = np.full(problem.test.count, len(tried) / 100)
        return {name: found.copy() for name in ("hr@10", "ndcg@10", "mrr@10")}

    monkeypatch.setattr(controls, "train", train)
    assert crossrec("transfer", trained.path).exit_code != 0
    done = crossrec("transfer", trained.path)
    assert done.exit_code == 0, done.output
    assert len(set(tried)) == 12
    assert tried[11] == tried[12] == (3, CROSSREC.name)
    assert len(tried) == 13
    found = trained.table("transfer", "transfer").query("segment == 'all'").set_index("control")
    assert found.loc[SCRATCH.name, "ndcg@10"] == pytest.approx((1 + 5 + 9) / 300)
    assert found.loc[CROSSREC.name, "ndcg@10"] == pytest.approx((4 + 8 + 13) / 300)
    assert not list(trained.run_dir.glob("transfer/.checkpoint-*"))


def test_harm_is_named():
    scores = {control: {"hr@10": [np.ones(40)], "ndcg@10": [np.full(40, 0.5)]} for control in CONTROLS}
    scores[CROSSREC]["ndcg@10"] = [np.linspace(0.1, 0.5, 40), np.linspace(0.1, 0.5, 40) - 0.1]
    chosen = np.arange(20)
    found = row(CROSSREC, "cold user", chosen, scores)
    expected = np.linspace(0.1, 0.5, 40)[:20] - 0.05
    assert found["ndcg@10"] == pytest.approx(expected.mean())
    assert found["gain"] == pytest.approx(expected.mean() - 0.5)
    assert found["gain_low"] < found["gain"] < found["gain_high"] < 0
    assert (found["n"], found["seeds"]) == (20, 2)


def test_segments_by_hand():
    """Items 0 to 3 are the target; nobody has item 3 in training."""
    item_stats = ItemStats(np.arange(8) < 4, (np.arange(8) != 3).astype(int))
    items = Ragged.of([[4, 0, 1], [4, 5, 0], [0, 1, 2, 3], [5, 6], [3]])
    histories = Histories(items, np.array([2, 2, 3, 2, 0]), Ragged.of([[]] * 5), item_stats)
    cases = Cases(np.array([0, 1, 2, 4]), np.array([2, 2, 3, 0]), Ragged.of([[1], [0], [3], [3]]))
    found = {segment: chosen.tolist() for segment, chosen in segments(histories, cases).items()}
    assert found == {
        "all": [0, 1, 2, 3],
        "warm": [0],
        "cold user": [1, 3],
        "cold item": [2, 3],
        "target history 0": [1, 3],
        "target history 1-2": [0],
        "target history 3-5": [2],
    }


def test_the_target_alone_asks_the_same():
    item_stats = ItemStats(np.arange(8) < 4, np.ones(8, int))
    items = Ragged.of([[4, 0, 5, 1], [4, 5], [2, 6, 0, 3]])
    histories = Histories(items, np.array([3, 2, 1]), Ragged.of([[]] * 3), item_stats)
    cases = Cases(np.array([0, 2]), np.array([3, 2]), Ragged.of([[1], [0]]))
    alone = histories.of_target()
    assert alone.items.values.tolist() == [0, 1, 2, 0, 3]
    assert alone.items.lengths.tolist() == [2, 0, 3]
    assert alone.train_lengths.tolist() == [1, 0, 1]
    assert histories.in_target(cases).history_lengths.tolist() == [1, 1]
    assert alone.item_stats.trained.tolist() == [True] * 4 + [False] * 4


def test_an_interval_holds_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        low, high = interval(rng.exponential(size=80), seed=trial)
        held += low <= 1 <= high
    assert 0.88 < held / 200 < 0.99
    assert all(np.isnan(interval(np.array([np.nan]))))
