"""Trials of other values of some fields, and their study."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import CASES, TAG_NAMES, TRIALS, TUNED
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.document import masked
from crossrec_cli.config.load import dump_config
from crossrec_cli.config.schema import Config, Dimension
from crossrec_cli.config.training_fields import TUNED as SECTIONS
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation.validation import STOP_ON, ndcg
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import load_dataset, target_of, training_data
from crossrec_cli.models.histories import Cases, load_cases
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Reporter, Silent

if TYPE_CHECKING:
    import optuna


STUDY = "study.db"
"""File next to the artifacts: all trials of all studies, which later runs continue."""
SECONDS = "seconds"


@dataclass
class TuningData:
    """The data that all trials share."""

    data: TrainingData
    valid: Cases
    tags: int
    compute: device.Compute
    adapted: dict[str, InterestModel] = field(default_factory=dict)
    """The model of the last trial's training on both domains, by the fields that it depends on."""

    @classmethod
    def of(cls, job: Job) -> TuningData:
        """From the files that tune reads."""
        compute = device.prepare(job.config.runtime, job.config.seed)
        valid = load_cases(parquet.read_table(job.inputs[CASES]), c.VALID)
        tags = parquet.read_table(job.inputs[TAG_NAMES]).num_rows
        return cls(training_data(job.inputs, load_dataset(job.inputs)), valid, tags, compute)

    def start(self, learner: Learner) -> InterestModel:
        """The model that finetune starts from: trained on both domains, or untrained."""
        config, histories = learner.config, self.data.histories
        sections = (config.adapt.model_dump(mode="json"), config.interest.model_dump(mode="json"), config.finetune.init)
        key = json.dumps(sections)
        if key not in self.adapted:
            device.prepare(config.runtime, learner.seed)
            model = InterestModel(config.interest, self.data.texts, histories.item_stats, self.tags)
            model.to(self.compute.device)
            if config.finetune.init == "adapted":
                learner.from_both(model, histories)
            self.adapted = {key: model}
        return self.adapted[key]


def run_trial(
    tuning_data: TuningData, config: Config, trial: optuna.Trial
) -> tuple[optuna.trial.TrialState, float | None]:
    """One trial's final state, and its validation NDCG@10."""
    optuna = load_optuna()
    try:
        chosen = with_values(
            config, {name: _suggested(trial, name, dimension) for name, dimension in config.tune.search.items()}
        )
        return optuna.trial.TrialState.COMPLETE, _score(tuning_data, chosen)
    except ConfigError as error:  # values that are invalid together, or with which training fails
        trial.set_user_attr("problem", str(error))
        return optuna.trial.TrialState.FAIL, None


def _score(tuning_data: TuningData, config: Config) -> float:
    """Validation NDCG@10 of all scorers fused; they are not refitted, as the test is not used."""
    data, valid = tuning_data.data, tuning_data.valid
    config = with_user_encoder(config, data, valid, config.seed)
    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(config, config.seed, tuning_data.compute, Silent(), Path(folder) / "checkpoint.safetensors")
        fused, _ = learner.fused(tuning_data.start(learner), data, valid)
    scorer = fused.candidate_scorer(target_of(data.histories))
    return ndcg(scorer, data.histories, valid, config.evaluate.mask_seen) or 0.0


def _suggested(trial: optuna.Trial, name: str, dimension: Dimension) -> object:
    if dimension.choices:
        return trial.suggest_categorical(name, dimension.choices)
    low, high = dimension.low or 0, dimension.high or 0
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=dimension.log)
    return trial.suggest_float(name, low, high, log=dimension.log)


def with_values(config: Config, values: Mapping[str, object]) -> Config:
    """A config with other values of some fields, given by their dotted names.

    Raises:
        ConfigError: if they are not allowed, or not together.
    """
    data = config.model_dump(mode="json")
    for name, value in values.items():
        *sections, last = name.split(".")
        section = data
        for part in sections:
            section = section[part]
        section[last] = value
    try:
        return Config.model_validate_json(json.dumps(data))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise ConfigError([f"{where}: {problem['msg'].removeprefix('Value error, ')}"]) from None


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


def load_optuna() -> Any:
    """The package optuna, which logs warnings only."""
    import optuna  # noqa: PLC0415  an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
