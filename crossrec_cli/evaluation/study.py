"""The study of all trials: what is left of an earlier run, and the trials as a table with the best one's config."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import TRIALS, TUNED
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.document import masked
from crossrec_cli.config.load import dump_config
from crossrec_cli.config.other_values import with_values
from crossrec_cli.config.training_fields import TUNED as SECTIONS
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation.trial import load_optuna
from crossrec_cli.evaluation.validation import STOP_ON
from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
"""File next to the artifacts: all trials of all studies, which later runs continue."""
SECONDS = "seconds"


def resume(study: optuna.Study, report: Reporter) -> None:
    """Queue again the trials that a killed run left unfinished."""
    optuna = load_optuna()
    stale = [trial for trial in study.trials if trial.state is optuna.trial.TrialState.RUNNING]
    for trial in stale:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    if finished := finished_trials(study):
        report.say(f"continuing after {len(finished)} trials of an earlier run")


def finished_trials(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """All trials except those that a killed run left unfinished."""
    return [trial for trial in study.trials if SECONDS in trial.user_attrs]


def best_so_far(study: optuna.Study) -> str:
    """The best validation NDCG@10, for the progress display."""
    finished = [trial.value for trial in study.trials if trial.value is not None]
    return f"best validation NDCG@10 {max(finished):.4f}" if finished else "none finished yet"


def study_name(job: Job) -> str:
    """A name from all that a trial's score depends on, except the number of trials."""
    config = job.config
    search = config.tune.model_dump(mode="json")["search"]
    basis = [job.code, config.seed, search, config.runtime.precision, config.evaluate.mask_seen]
    basis += [getattr(config, name).model_dump(mode="json") for _, name in SECTIONS]
    inputs = sorted(f"{file} {hashlib.sha256(path.read_bytes()).hexdigest()}" for file, path in job.inputs.items())
    return hashlib.sha256(json.dumps([basis, inputs]).encode()).hexdigest()[:16]


def write_trials(job: Job, study: optuna.Study) -> Summary:
    """The trials as a table, best first, and the config with the best one's values."""
    ordered = sorted(
        finished_trials(study), key=lambda trial: (trial.value is None, -(trial.value or 0.0), trial.number)
    )
    columns = {
        "trial": [trial.number + 1 for trial in ordered],
        "state": [trial.state.name.lower() for trial in ordered],
        "valid_ndcg@10": [trial.value for trial in ordered],
        "seconds": [trial.user_attrs[SECONDS] for trial in ordered],
        "values": [json.dumps(trial.params) for trial in ordered],
        "problem": [trial.user_attrs.get("problem") for trial in ordered],
    }
    parquet.write_table(job.output(TRIALS), schemas.TRIALS, columns)
    best = ordered[0]
    if best.value is None:
        problem = best.user_attrs.get("problem", "no trial finished")
        raise ConfigError([f"tune.search: none of {len(ordered)} trials finished: {problem}"])
    which = f"trial {best.number + 1} of {len(ordered)}, validation NDCG@10 {best.value:.4f}"
    chosen = dump_config(masked(with_values(job.config, best.params)))
    job.output(TUNED).write_text(f"# Written by 'crossrec tune': {which}.\n{chosen}", encoding="utf-8")
    return {"trials": len(ordered), f"valid_{STOP_ON}": best.value, "best": best.params}
