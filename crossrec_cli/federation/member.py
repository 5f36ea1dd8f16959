"""One platform of a federation: it answers the coordinator from data that stay at home."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.checkpoint import save_tensors
from crossrec_cli.artifacts.files import CASES, PRETRAIN_ADAPT, USERS
from crossrec_cli.config.schema import Config
from crossrec_cli.errors import ConfigError, InputError, UnavailableError
from crossrec_cli.federation.outgoing import Outgoing
from crossrec_cli.federation.steps import LARGEST_VALUE, FederationStep, PlatformAnswer, Question, spread
from crossrec_cli.federation.text_sums import co_purchases, noisy, text_moments
from crossrec_cli.models.base import TrainingData
from crossrec_cli.models.dataset import load_dataset, texts_of
from crossrec_cli.models.histories import load_cases, tag_vocabulary
from crossrec_cli.models.learner import Learner, of_both, with_user_encoder
from crossrec_cli.models.neural.tower import InterestModel
from crossrec_cli.models.neural.train import fit
from crossrec_cli.models.shared_model import SharedModel
from crossrec_cli.models.whitening import Whitening
from crossrec_cli.pipeline.current import inputs_of
from crossrec_cli.runtime import device
from crossrec_cli.runtime.progress import Reporter
from crossrec_cli.text import cache
from crossrec_cli.text.encoders import FROZEN, identity, open_encoder

FOLDER = "federation"
"""In the run directory."""
SHARED_FILE, AT_HOME_FILE = "shared.safetensors", "at_home.safetensors"


def folder_of(config: Config) -> Path:
    """Where a platform keeps what it sent, what stays, and the shared model."""
    return config.run_path / FOLDER


class Member:
    """A platform. Reads what preprocess left; nothing but its answers leaves it."""

    def __init__(self, config: Config, report: Reporter, folder: Path | None = None) -> None:
        """Check what preprocess left; ``folder`` is where it writes, ``folder_of(config)`` unless it is given.

        Raises:
            ConfigError: if the language model is trained.
            ArtifactError: if preprocess must run first.
        """
        if config.adapt.language_model != FROZEN:
            raise ConfigError([f"adapt.language_model: a federation needs {FROZEN}, so that texts mean the same"])
        self.config, self.report = config, report
        self.folder = folder or folder_of(config)
        self.outgoing = Outgoing(self.folder, config.federate)
        self.inputs = inputs_of(config, PRETRAIN_ADAPT, report)

    def answer(self, question: Question, hidden: bool = False) -> PlatformAnswer:
        """The answer to a question, after it was written to ``outgoing``; ``hidden``: by secure aggregation.

        Raises:
            ConfigError: if this platform does not take part in such a step.
            InputError: if the answer is not fit to be sent.
        """
        if question.encoder not in ("", self.encoder):
            raise ConfigError([f"encoder: the federation reads texts with {question.encoder}, this is {self.encoder}"])
        made = {
            FederationStep.JOIN: self._join,
            FederationStep.MOMENTS: self._moments,
            FederationStep.SUMS: self._sums,
            FederationStep.ROUND: self._round,
            FederationStep.KEEP: self._keep,
        }[question.step](question)
        for array in made.arrays:
            if not np.isfinite(array).all() or abs(array).max(initial=0) > LARGEST_VALUE:
                raise InputError(
                    f"{question.step}: a value is not finite, or beyond {LARGEST_VALUE:g}; nothing is sent"
                )
        count = min(made.count, question.most) if question.most else made.count
        sent = PlatformAnswer(made.arrays, max(count, 1), made.facts)
        self.outgoing.record(question, sent, hidden)
        return sent

    @cached_property
    def _compute(self) -> device.Compute:
        return device.prepare(self.config.runtime, self.config.seed)

    @property
    def data(self) -> TrainingData:
        """What the platform knows, without what is held out."""
        return self._read[0]

    @property
    def encoder(self) -> str:
        """Which encoder read the texts."""
        return self._read[1]

    @cached_property
    def _tags(self) -> list[str]:
        return tag_vocabulary(parquet.read_table(self.inputs[USERS]))

    @cached_property
    def _read(self) -> tuple[TrainingData, str]:
        """The data, and which encoder read the texts."""
        dataset = load_dataset(self.inputs, self._tags)
        texts = texts_of(dataset.items)
        encoder = open_encoder(self.config.encoder, texts, self._compute, self.report)
        embeddings = cache.embed(encoder, texts, self.config.run_path / "embeddings", self.report)
        return TrainingData(dataset.histories, dataset.items, embeddings), identity(encoder, self.config.encoder)

    def _join(self, question: Question) -> PlatformAnswer:
        """What only rounds of weights need, and purchases tell, is said by those alone who take part in them."""
        data, weights = self.data, self.config.federate.weights
        facts: dict[str, str | int | float] = {
            "encoder": self.encoder,
            "user_encoder": self._user_encoder() if weights else "bag",
            "items": int(self._has_text.sum()),
            "users": int((data.histories.training.lengths > 1).sum()),
            "purchases": len(data.histories.training.values) if weights else 0,
            "weights": int(weights),
            "length": float(np.sqrt((data.embeddings[self._has_text] ** 2).sum(axis=1).mean())),
        }
        return PlatformAnswer(facts=facts)

    def _user_encoder(self) -> str:
        valid = load_cases(parquet.read_table(self.inputs[CASES]), c.VALID)
        return with_user_encoder(self.config, self.data, valid, self.config.seed).interest.user_encoder

    @property
    def _has_text(self) -> np.ndarray:
        has_text: np.ndarray = self.data.items[c.TEXT].is_valid().to_numpy()
        return has_text

    def _moments(self, question: Question) -> PlatformAnswer:
        mean, second, items = text_moments(self.data.embeddings / np.float32(question.length), self._has_text)
        return PlatformAnswer([mean.astype(np.float32), (second * spread(len(mean))).astype(np.float32)], items)

    def _sums(self, question: Question) -> PlatformAnswer:
        arrays, chosen = question.named, self.config.federate
        terms = repr((chosen.epsilon, chosen.delta, question.terms.directions)).encode()
        key = hashlib.sha256(b"".join([terms, *(array.tobytes() for array in question.arrays)])).hexdigest()[:16]
        history, following, users = co_purchases(self._in(arrays), question.terms.directions)
        scale = spread(len(history))
        if chosen.epsilon is None:
            return PlatformAnswer([history * scale, following * scale], users)
        kept = self.outgoing.released(key)  # asked again: the same noise, or the budget would be spent twice
        if kept is None:
            deviation = noise_of(chosen.epsilon, chosen.delta)
            self.outgoing.spend(key, question.terms.name)
            kept = noisy((history, following), users, deviation, np.random.default_rng())
            self.outgoing.keep_release(key, kept)
        return PlatformAnswer([np.clip(array * scale, -LARGEST_VALUE, LARGEST_VALUE) for array in kept], users)

    def _in(self, arrays: dict[str, np.ndarray]) -> TrainingData:
        """The data with the whitening of all platforms."""
        data = self.data
        whitening = Whitening(arrays["mean"], arrays["matrix"])
        return TrainingData(data.histories, data.items, data.embeddings, earlier_whitening=whitening)

    def _round(self, question: Question) -> PlatformAnswer:
        if not self.config.federate.weights:
            raise ConfigError(["federate.weights: false: weights stay at home"])
        terms, arrays = question.terms, dict(question.named)
        data = self._in({name: arrays.pop(name) for name in ("mean", "matrix")})
        histories, seed = data.histories, terms.seed + 1000 * question.number
        torch.manual_seed(seed)
        interest = terms.interest_of(question.user_encoder)
        model = InterestModel(interest, data.texts, histories.item_stats, len(self._tags))
        self._restore(model, question.number)
        model.take_over(arrays)
        training = terms.training_of_round(question.number)
        if terms.proximal:
            for weight in model.exchanged().values():
                weight.register_hook(_pull(weight, terms.proximal))  # type: ignore[no-untyped-call]
        config = self.config.model_copy(update={"interest": interest})
        learner = Learner(config, seed, self._compute, self.report, self.folder / "unused")
        sampler = learner.sampler(histories, of_both(histories), training)
        fit(model.to(self._compute.device), sampler, training, seed, self._compute, self.report)
        at_home = {name: p for name, p in model.named_parameters() if name not in model.exchanged()}
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.folder / AT_HOME_FILE, {name: weight.detach().cpu() for name, weight in at_home.items()})
        weights = [np.atleast_1d(weight.detach().float().cpu().numpy()) for weight in model.exchanged().values()]
        return PlatformAnswer(weights, len(histories.training.values))

    def _restore(self, model: InterestModel, number: int) -> None:
        """What stayed at home after the round before: items' own vectors, biases and tags."""
        path = self.folder / AT_HOME_FILE
        if number and path.is_file():
            own, kept = dict(model.named_parameters()), safetensors.torch.load_file(path)
            if all(own[name].shape == weight.shape for name, weight in kept.items()):
                model.load_state_dict(kept, strict=False)

    def _keep(self, question: Question) -> PlatformAnswer:
        arrays = dict(question.named)
        whitening = Whitening(arrays.pop("mean"), arrays.pop("matrix"))
        history, following = arrays.pop("history"), arrays.pop("next")
        kind = question.user_encoder if arrays else ""
        shared = SharedModel(question.encoder, whitening, history, following, arrays, kind)
        draft = self.folder / f".{SHARED_FILE}.{time.monotonic_ns()}"
        self.folder.mkdir(parents=True, exist_ok=True)
        shared.save(draft)
        draft.replace(self.folder / SHARED_FILE)
        return PlatformAnswer()


def noise_of(epsilon: float, delta: float) -> float:
    """The deviation of Gaussian noise that gives a sensitivity of 1 this privacy.

    Balle & Wang 2018, https://arxiv.org/abs/1805.06530.

    Raises:
        UnavailableError: if the package is not installed.
    """
    try:
        from dp_accounting import get_sigma_gaussian  # noqa: PLC0415  an extra
    except ImportError:
        raise UnavailableError.without("dp-accounting", "federated", "federate.epsilon") from None
    return float(get_sigma_gaussian(epsilon, delta))


def _pull(weight: torch.nn.Parameter, strength: float) -> Callable[[Tensor], Tensor]:
    """FedProx (Li et al. 2020, https://arxiv.org/abs/1812.06127): the gradient of µ/2 times the squared distance."""
    start = weight.detach().clone()
    return lambda gradient: gradient + strength * (weight.detach() - start)
