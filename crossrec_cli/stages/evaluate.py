"""evaluate: how well the test purchases are found, for whom, and beside what needs no model."""

from __future__ import annotations

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation.baselines import Shop
from crossrec_cli.evaluation.compared import EXTERNAL, rank_lists, read_lists, tuned_baselines
from crossrec_cli.evaluation.feedback import read_impressions
from crossrec_cli.evaluation.measured import Measured
from crossrec_cli.evaluation.ranked_cases import (
    candidates_of,
    catalogue_of,
    check_candidates,
    drawn,
    measure_all,
    rank_all,
)
from crossrec_cli.models.dataset import after_validation, load_dataset, load_fused, training_data
from crossrec_cli.models.histories import load_cases
from crossrec_cli.runtime import device


def run(job: Job) -> Summary:
    """Rank every target item for every test case by each model, and measure the rankings."""
    config = job.config
    device.prepare(config.runtime, config.seed)
    dataset = load_dataset(job.inputs)
    lists, impressions = read_lists(config.evaluate), read_impressions(config.evaluate, dataset)
    check_candidates(job, len(dataset.target_items))
    fused = load_fused(job.inputs, config.interest)
    cases = {split: load_cases(parquet.read_table(job.inputs[CASES]), split) for split in (c.VALID, c.TEST)}
    asked = drawn(cases[c.TEST], config.evaluate.users, config.split.seed)
    among = candidates_of(job, dataset, asked)
    before = training_data(job.inputs, dataset)
    latest = after_validation(job.inputs, before) if config.finetune.refit else before
    shop = Shop(latest, before, dataset.target_items, cases[c.VALID], config.evaluate.mask_seen, config.seed)
    scorers, settings = tuned_baselines(job, shop)
    scorers[c.CROSSREC] = fused.candidate_scorer(shop.candidates)
    found = rank_all(job, shop, scorers, asked, among)
    if lists is not None:
        found[EXTERNAL] = rank_lists(job, lists, dataset, asked)
    scores = measure_all(job, catalogue_of(shop, dataset), dataset.histories, asked, found)
    measured = Measured(job, dataset, asked, cases[c.TEST], found, scores)
    measured.write_per_user()
    measured.write_metrics()
    measured.write_significance()
    measured.write_examples()
    measured.write_feedback(scorers[c.CROSSREC], impressions)
    users = {"evaluated_users": asked.count, "test_users": cases[c.TEST].count}
    return measured.means() | users | {"settings": settings} | measured.write_accuracy(fused)
