"""The whole config, and the fields of evaluation, transfer, tuning and the run: meaning, unit, bound, default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.data_fields import Data
from crossrec_cli.config.federation_fields import Federate
from crossrec_cli.config.field_types import (
    BASELINES,
    BaselineName,
    Count,
    FilePath,
    Fraction,
    OneOrMany,
    Section,
    at_least_one,
    distinct,
)
from crossrec_cli.config.list_fields import Recommend, Search, Serve
from crossrec_cli.config.task_fields import Domains, Split
from crossrec_cli.config.training_fields import TUNED, Adapt, Encoder, Finetune, Interest


class Evaluate(Section):
    """How test lists are scored."""

    k: Annotated[tuple[Count, ...], AfterValidator(at_least_one), AfterValidator(distinct)] = (5, 10, 50)
    mask_seen: bool = True
    """Items in the history are not ranked, in validation and in the test."""
    baselines: tuple[BaselineName, ...] = BASELINES
    """The models that crossrec is compared with. ``text`` is the cosine of texts, ``words`` the cosine of tf-idf,
    ``text_knn`` tf-idf and item-kNN together; later purchases count more in all three and in ``ease_text``, EASE with
    texts. ``ease_target`` learns from target purchases only. In ``ease_weighted`` a source purchase counts three tenths
    of a target purchase. ``ials`` needs the extra ``crossrec[ials]``. Their settings are chosen on validation."""
    external: FilePath | None = None
    """A Parquet or CSV file with ``user_id``, ``item_id`` and ``rank`` from 1: another system's lists, scored by the
    same rules."""
    feedback: FilePath | None = None
    """A Parquet or CSV file of impressions, such as ``crossrec feedback`` writes: ``user_id`` and ``item_id``, at least
    one of ``click``, ``purchase`` and ``rating``, and ``rank``, ``propensity`` or both. From it the reward of
    crossrec's lists is estimated."""
    candidates: Count | None = None
    """Rank the true items among so many sampled items instead of all, as some papers do; this gives larger figures."""
    negatives: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``: rank each test user's true items among the items of
    that user in the file, instead of all. Each test user needs some; the true items may be missing there."""
    users: Count | None = 20_000
    """At most so many test users are evaluated, drawn by ``split.seed``, so they are the same for every ``seed``; null:
    all."""
    tolerance: Fraction = 0.05
    """``--against`` fails if more than this share of the earlier run's NDCG is lost; another seed alone may lose so
    much."""

    @model_validator(mode="after")
    def _one_set_of_candidates(self) -> Evaluate:
        if self.candidates and self.negatives:
            raise ValueError("'candidates' and 'negatives' both set what the true items are ranked among; give one")
        if self.external and (self.candidates or self.negatives):
            key = "candidates" if self.candidates else "negatives"
            raise ValueError(f"lists of 'external' rank all items; they cannot be combined with '{key}'")
        return self


class DriftLimits(Section):
    """``preprocess`` and ``recommend`` compare their files with those that they replace, as ``crossrec data drift``."""

    warn: Annotated[float, Field(ge=0)] | None = 0.25
    """A warning where a population stability index is above this: 0.1 is moderate, 0.25 large; null: none."""
    fail: Annotated[float, Field(ge=0)] | None = None
    """Where one is above this, the stage ends with exit code 7 and the earlier files stay; null: never."""


class Transfer(Section):
    """Measures whether the source helps: the same training with and without it."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], AfterValidator(at_least_one)] = (1, 2, 3)


class Dimension(Section):
    """The values of a field to try: any number from ``low`` to ``high``, or one of ``choices``."""

    low: int | float | None = None
    high: int | float | None = None
    """With ``low``; if both are integers, only integers."""
    log: bool = False
    """Draw on a logarithmic scale, for example for learning rates."""
    choices: tuple[int | float | bool | str, ...] = ()

    @model_validator(mode="after")
    def _range_or_choices(self) -> Dimension:
        if bool(self.choices) == (self.low is not None and self.high is not None):
            raise ValueError("needs either low and high or choices")
        if self.choices and (self.log or self.low is not None or self.high is not None):
            raise ValueError("low, high and log do not go with choices")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise ValueError(f"low ({self.low:g}) must be below high ({self.high:g})")
        if self.log and self.low is not None and self.low <= 0:
            raise ValueError("log needs low above 0")
        return self


def _tunable(section: type[Section], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _tunable(field.annotation, f"{prefix}.{name}")
        else:
            yield f"{prefix}.{name}"


def _known_fields(value: dict[str, Dimension]) -> dict[str, Dimension]:
    tunable = [name for section, prefix in TUNED for name in _tunable(section, prefix)]
    for name in value.keys() - set(tunable):
        close = get_close_matches(name, tunable, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "fields of adapt, finetune and interest are"
        raise ValueError(f"{name!r} cannot be tuned; {hint}")
    return value


class Tune(Section):
    """tune: try other values of some fields, and keep those with the best ranking on validation."""

    trials: Count = 20
    """The most trainings, including those of earlier runs of ``tune`` with the same fields and data."""
    search: Annotated[dict[str, Dimension], AfterValidator(_known_fields)] = Field(default_factory=dict)
    """Fields of adapt, finetune and interest, dotted, as in ``finetune.lr: {low: 1e-4, high: 1e-2, log: true}``."""


def _devices(value: tuple[str, ...]) -> tuple[str, ...]:
    for device in value:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"{device!r} is not a device; there are auto, cpu, mps, cuda, cuda:0 and so on")
        if len(value) > 1 and ":" not in device:
            raise ValueError(f"a list has GPUs by number, such as [cuda:0, cuda:1], and {device!r} is not one")
    return value


class Runtime(Section):
    """Device, precision, threads and memory. They change results only by rounding."""

    device: Annotated[OneOrMany, AfterValidator(distinct), AfterValidator(_devices)] = ("auto",)
    """``auto``, ``cpu``, ``mps``, ``cuda``, ``cuda:1``, or a list of GPUs with one process each."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    num_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: the number of cores that this process may use."""
    checkpoint_every: Annotated[str, Field(pattern=r"^[1-9]\d* (steps?|minutes?)$")] = "5 minutes"
    """How often a training saves its state: a killed run loses at most so much; ``5 minutes`` or ``100 steps``."""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")] | None = None
    """The memory for preprocess's tables before they spill to disk, such as ``4GB``."""


MOST_EXAMPLES = 100
"""The number of test users that evaluate writes to examples.parquet."""


class Report(Section):
    """Which users the page report.html shows, and the language of page and reasons."""

    language: Literal["auto", "en", "de", "zh"] = "auto"
    """Of the page report.html, and of the sentences that say why an item is listed; ``auto``: that of most of the
    target's items, English where that is another one."""

    examples: Annotated[int, Field(ge=0, le=MOST_EXAMPLES)] = 0
    """The number of test users, drawn at random, whose purchases and lists are shown. They are real people's data: take
    care who reads the page."""
    ids: Literal["pseudonyms", "real"] = "pseudonyms"
    """Whether these users have running numbers or the ids of the data."""


class Tracking(Section):
    """Where else an evaluation's config, figures and page are sent."""

    mlflow: Annotated[str, Field(min_length=1)] | None = None
    """The address of an MLflow server; needs the extra ``crossrec[mlflow]``."""
    experiment: Annotated[str, Field(min_length=1)] = "crossrec"
    """The name of MLflow's experiment."""
    tensorboard: bool = False
    """Write ``tensorboard/`` in the run directory; needs the extra ``crossrec[tensorboard]``."""


class Config(Section):
    """The whole config file."""

    run_dir: FilePath
    """The directory of all artifacts. This and every other relative path starts at the current directory."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    data: Data
    domains: Domains
    split: Split = Split()
    encoder: Encoder = Encoder()
    adapt: Adapt = Adapt()
    finetune: Finetune = Finetune()
    interest: Interest = Interest()
    evaluate: Evaluate = Evaluate()
    drift: DriftLimits = DriftLimits()
    transfer: Transfer = Transfer()
    federate: Federate = Federate()
    recommend: Recommend = Recommend()
    search: Search = Search()
    serve: Serve = Serve()
    tune: Tune = Tune()
    runtime: Runtime = Runtime()
    report: Report = Report()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _target_has_categories(self) -> Config:
        if not self.domains.same and not any(shop.items.has_categories for shop in self.data.platforms):
            raise ValueError(
                "no platform's items.columns maps a category: map one, set items.categories, or recommend the whole "
                "catalogue with 'domains: {target: {category: \"*\"}}'"
            )
        if self.domains.same and self.split.strategy == "cold_users":
            raise ValueError(
                "'strategy: cold_users' needs users of the source only; a target of '*' is the whole catalogue"
            )
        return self

    @model_validator(mode="after")
    def _split_fits_the_columns(self) -> Config:
        columns = [platform.interactions.columns for platform in self.data.platforms]
        if self.split.strategy == "time" and columns[0].timestamp is None:
            raise ValueError("'strategy: time' needs interactions with a timestamp, not an order")
        if self.split.ties == "strict" and any(each.orders_ties for each in columns):
            raise ValueError("an 'order' next to a 'timestamp' decides between equal times; set 'split.ties: order'")
        return self

    @model_validator(mode="after")
    def _rebuying_needs_the_latest_time(self) -> Config:
        key = "recommend.rules.rebuy_after_days"
        if self.recommend.rules.rebuy_after_days is None:
            return self
        if self.data.platforms[0].interactions.columns.timestamp is None:
            raise ValueError(f"{key} needs interactions with a timestamp, not an order")
        if self.data.repeats not in ("last", "keep"):
            raise ValueError(f"{key} needs 'data.repeats: last' or keep; {self.data.repeats} drops later purchases")
        return self

    @property
    def run_path(self) -> Path:
        """``run_dir`` as a path."""
        return Path(self.run_dir)
