"""One trial: a training with other values of some fields, and its figure on validation."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, TAG_NAMES
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.other_values import with_values
from crossrec_cli.config.schema import Config, Dimension
from crossrec_cli.errors import ConfigError
from crossrec_cli.evaluation.validation import ndcg
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import load_dataset, target_of, training_data
from crossrec_cli.models.histories import Cases, load_cases
from crossrec_cli.models.learner import Learner, with_user_encoder
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Silent

if TYPE_CHECKING:
    import optuna


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


def load_optuna() -> Any:
    """The package optuna, which logs warnings only."""
    import optuna  # noqa: PLC0415  an extra

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
