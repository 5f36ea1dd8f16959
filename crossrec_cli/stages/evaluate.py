"""evaluate: how well test purchases are ranked, by segment, compared with baselines."""

from __future__ import annotations

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation.baselines import BaselineInputs
from crossrec_cli.evaluation.compared import EXTERNAL, rank_lists, read_lists, tuned_baselines
from crossrec_cli.evaluation.feedback import read_impressions
from crossrec_cli.evaluation.measured import Measured
from crossrec_cli.evaluation.ranked_cases import (
    candidates_of,
    catalogue_of,
    check_candidates,
    measure_all,
    rank_all,
)
from crossrec_cli.evaluation.source_share import write_source_share
from crossrec_cli.models.dataset import after_validation, load_dataset, load_fused, training_data
from crossrec_cli.models.histories import load_cases
from crossrec_cli.runtime import device, distributed


def run(job: Job) -> Summary:
    """Rank every target item for every test case by each model, and measure the rankings."""
    config = job.config
    device.prepare(config.runtime, config.seed)
    dataset = load_dataset(job.inputs)
    lists, impressions = read_lists(config.evaluate), read_impressions(config.evaluate, dataset, job.report)
    check_candidates(job, len(dataset.target_items))
    fused = load_fused(job.inputs, config.interest)
    cases = {split: load_cases(parquet.read_table(job.inputs[CASES]), split) for split in (c.VALID, c.TEST)}
    test_cases = cases[c.TEST].sample(config.evaluate.users, config.split.seed)
    candidates = candidates_of(job, dataset, test_cases)
    before = training_data(job.inputs, dataset)
    latest = after_validation(job.inputs, before) if config.finetune.refit else before
    inputs = BaselineInputs(
        latest, before, dataset.target_items, cases[c.VALID], config.evaluate.mask_seen, config.seed, fused.scorers
    )
    scorers, settings = tuned_baselines(job, inputs)
    scorers[c.CROSSREC] = fused.candidate_scorer(inputs.candidates)
    ranks = rank_all(job, inputs, scorers, test_cases, candidates)
    if not distributed.leads():
        return {}
    if lists is not None:
        ranks[EXTERNAL] = rank_lists(job, lists, dataset, test_cases)
    scores = measure_all(job, catalogue_of(inputs, dataset), dataset.histories, test_cases, ranks)
    measured = Measured(job, dataset, test_cases, cases[c.TEST], ranks, scores)
    measured.write_per_user()
    measured.write_metrics()
    measured.write_significance()
    measured.write_examples()
    measured.write_feedback(scorers[c.CROSSREC], impressions)
    of_source = write_source_share(job, fused, dataset, test_cases, ranks[c.CROSSREC].lists)
    users = {"evaluated_users": test_cases.count, "test_users": cases[c.TEST].count}
    return measured.means() | users | {"settings": settings} | measured.write_accuracy(fused) | of_source
