"""The whole config, and the fields of evaluation, transfer, tuning and the run: meaning, unit, bound, default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from crossrec_cli.config.data_fields import Data, Domains, Split
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
from crossrec_cli.config.list_fields import Recommend, Search
from crossrec_cli.config.training_fields import TUNED, Adapt, Encoder, Finetune, Interest


class Evaluate(Section):
    """How the test is scored."""

    k: Annotated[tuple[Count, ...], AfterValidator(at_least_one), AfterValidator(distinct)] = (5, 10, 50)
    mask_seen: bool = True
    """Items already in the history are not ranked, neither in validation nor in the test."""
    baselines: tuple[BaselineName, ...] = BASELINES
    """What crossrec is compared with. ``text`` is the cosine of texts, ``words`` that of tf-idf, ``text_knn`` tf-idf
    and item-kNN together; later purchases count more in all three and in ``ease_text``, EASE with texts.
    ``ease_target`` learns from target purchases alone, and in ``ease_weighted`` a source purchase counts three tenths
    of a target one; ``ials`` needs the extra ``crossrec[ials]``. Settings of theirs are chosen on validation."""
    external: FilePath | None = None
    """A Parquet or CSV file with ``user_id``, ``item_id`` and ``rank`` from 1: another system's lists, to be scored by
    the same rules."""
    feedback: FilePath | None = None
    """A Parquet or CSV file of impressions: ``user_id`` and ``item_id``, at least one of ``click``, ``purchase`` and
    ``rating``, and either ``rank`` or ``propensity``. It tells what users would think of crossrec's lists."""
    candidates: Count | None = None
    """Rank the true items among so many sampled ones instead of all, as some papers do; their figures are larger."""
    negatives: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``: rank each test user's true items among the items that it
    names for that user, instead of all. Each test user needs some; the true items need not be among them."""
    users: Count | None = 20_000
    """Where there are more test users, so many of them are evaluated, drawn by ``split.seed`` and so the same whatever
    ``seed`` is; null: all."""
    tolerance: Fraction = 0.05
    """The share of an earlier run's NDCG that may be lost before ``--against`` fails; another seed may cost so much."""

    @model_validator(mode="after")
    def _lists_are_whole(self) -> Evaluate:
        if self.candidates and self.negatives:
            raise ValueError("'candidates' and 'negatives' both say what the true items are ranked among; give one")
        if self.external and (self.candidates or self.negatives):
            key = "candidates" if self.candidates else "negatives"
            raise ValueError(f"lists of 'external' rank all items; they cannot be ranked among those of '{key}'")
        return self


class Transfer(Section):
    """Whether the source helps: the same training with and without it."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], AfterValidator(at_least_one)] = (1, 2, 3)


class Dimension(Section):
    """What a field may be: any number from ``low`` to ``high``, or one of ``choices``."""

    low: int | float | None = None
    high: int | float | None = None
    """With ``low``; where both are written without a point, whole numbers alone."""
    log: bool = False
    """Whether 0.001 to 0.01 is as wide as 0.01 to 0.1, which suits learning rates."""
    choices: tuple[int | float | bool | str, ...] = ()

    @model_validator(mode="after")
    def _says_one_thing(self) -> Dimension:
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
    known = [name for section, prefix in TUNED for name in _tunable(section, prefix)]
    for name in value.keys() - set(known):
        close = get_close_matches(name, known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "fields of adapt, finetune and interest are"
        raise ValueError(f"{name!r} is not to be tuned; {hint}")
    return value


class Tune(Section):
    """tune: try other values of some fields, and keep those that rank validation best."""

    trials: Count = 20
    """So many trainings at most, those of earlier runs of ``tune`` with the same fields and data among them."""
    search: Annotated[dict[str, Dimension], AfterValidator(_known_fields)] = Field(default_factory=dict)
    """Fields of adapt, finetune and interest, dotted, as in ``finetune.lr: {low: 1e-4, high: 1e-2, log: true}``."""


def _devices(value: tuple[str, ...]) -> tuple[str, ...]:
    for device in value:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError(f"{device!r} is no device; there are auto, cpu, mps, cuda, cuda:0 and so on")
        if len(value) > 1 and ":" not in device:
            raise ValueError(f"a list is one of GPUs by number, such as [cuda:0, cuda:1], and {device!r} is none")
    return value


class Runtime(Section):
    """Where and how it computes. None of it changes what is computed, beyond rounding."""

    device: Annotated[OneOrMany, AfterValidator(distinct), AfterValidator(_devices)] = ("auto",)
    """``auto``, ``cpu``, ``mps``, ``cuda``, ``cuda:1``, or a list of GPUs, each with a process of its own."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    num_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: as many as this process may use cores."""
    checkpoint_every: Annotated[str, Field(pattern=r"^[1-9]\d* (steps?|minutes?)$")] = "5 minutes"
    """How much of its training a killed run loses, as in ``5 minutes`` or ``100 steps``."""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")] | None = None
    """Memory that preprocess's tables may take before they spill to disk, as in ``4GB``."""


MOST_EXAMPLES = 100
"""So many test users evaluate writes down, for a page to show some of them."""


class Report(Section):
    """What the page report.html shows of people."""

    examples: Annotated[int, Field(ge=0, le=MOST_EXAMPLES)] = 0
    """So many test users' purchases and lists, drawn at random. They are real people's: mind who reads the page."""
    ids: Literal["pseudonyms", "real"] = "pseudonyms"
    """Whether these users bear running numbers or the ids of the data."""


class Tracking(Section):
    """Where an evaluation's config, figures and page are sent as well."""

    mlflow: Annotated[str, Field(min_length=1)] | None = None
    """The address of an MLflow server; needs the extra ``crossrec[mlflow]``."""
    experiment: Annotated[str, Field(min_length=1)] = "crossrec"
    """MLflow's."""
    tensorboard: bool = False
    """Write ``tensorboard/`` in the run directory; needs the extra ``crossrec[tensorboard]``."""


class Config(Section):
    """The whole config file."""

    run_dir: FilePath
    """Where artifacts go. This and every other relative path starts at the current directory."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 7
    data: Data
    domains: Domains
    split: Split = Split()
    encoder: Encoder = Encoder()
    adapt: Adapt = Adapt()
    finetune: Finetune = Finetune()
    interest: Interest = Interest()
    evaluate: Evaluate = Evaluate()
    transfer: Transfer = Transfer()
    recommend: Recommend = Recommend()
    search: Search = Search()
    tune: Tune = Tune()
    runtime: Runtime = Runtime()
    report: Report = Report()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _target_can_be_told(self) -> Config:
        if not self.domains.same and all(shop.items.columns.category is None for shop in self.data.platforms):
            raise ValueError(
                "no platform's items.columns maps a category: map one, or recommend the whole catalogue with "
                "'domains: {target: {category: \"*\"}}'"
            )
        if self.domains.same and self.split.strategy == "cold_users":
            raise ValueError(
                "'strategy: cold_users' tests who bought in the source alone; a target of '*' is the whole catalogue"
            )
        return self

    @model_validator(mode="after")
    def _split_fits_the_columns(self) -> Config:
        columns = [platform.interactions.columns for platform in self.data.platforms]
        if self.split.strategy == "time" and columns[0].timestamp is None:
            raise ValueError("'strategy: time' needs interactions with a timestamp, not an order")
        if self.split.ties == "strict" and any(each.orders_ties for each in columns):
            raise ValueError("an 'order' beside a 'timestamp' decides between equal times; set 'split.ties: order'")
        return self

    @model_validator(mode="after")
    def _rebuying_needs_the_latest_time(self) -> Config:
        key = "recommend.rules.rebuy_after_days"
        if self.recommend.rules.rebuy_after_days is None:
            return self
        if self.data.platforms[0].interactions.columns.timestamp is None:
            raise ValueError(f"{key} needs interactions with a timestamp, not an order")
        if self.data.repeats not in ("last", "keep"):
            raise ValueError(f"{key} needs 'data.repeats: last' or keep; {self.data.repeats} forgets later purchases")
        return self

    @property
    def run_path(self) -> Path:
        """``run_dir`` as a path."""
        return Path(self.run_dir)
