"""tune: train with other values of some fields, and find those that rank validation best. The test is not used."""

from __future__ import annotations

import time

from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.study import (
    SECONDS,
    STUDY,
    best_so_far,
    finished_trials,
    resume,
    study_name,
    write_trials,
)
from crossrec_cli.evaluation.trial import TuningData, load_optuna, run_trial


def run(job: Job) -> Summary:
    """Train until there are as many trials as configured; write all of them, and the config with the best."""
    optuna = load_optuna()
    config = job.config
    tuning_data = TuningData.of(job)
    if not tuning_data.valid.count:
        raise InputError("no validation case: there is nothing to tune on; check split")
    study = optuna.create_study(
        study_name=study_name(job),
        storage=f"sqlite:///{job.out.parent / STUDY}",
        load_if_exists=True,
        direction="maximize",
    )
    resume(study, job.report)
    remaining = config.tune.trials - len(finished_trials(study))
    study.sampler = optuna.samplers.TPESampler(seed=config.seed + len(study.trials))
    with job.report.progress("tuning", config.tune.trials, "trials") as advance:
        advance(config.tune.trials - max(remaining, 0))
        for _ in range(remaining):
            trial = study.ask()
            began = time.perf_counter()
            state, score = run_trial(tuning_data, config, trial)
            trial.set_user_attr(SECONDS, round(time.perf_counter() - began, 1))
            study.tell(trial, score, state=state)
            job.report.log(f"trial {trial.number + 1}: {state.name.lower()}, {score}, {trial.params}")
            advance(1, best_so_far(study))
    return write_trials(job, study)
