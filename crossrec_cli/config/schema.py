"""The whole config, and what all stages but preprocess take of it. Each field's meaning, unit, bound and default."""

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
    SCORERS,
    BaselineName,
    Count,
    FilePath,
    Fraction,
    OneOrMany,
    ScorerName,
    Section,
    at_least_one,
    distinct,
)


class Encoder(Section):
    """The pretrained language model that reads the item texts."""

    model: str = "all-MiniLM-L6-v2"
    """A packaged model's name, a folder, or a hub id."""
    revision: str = "main"
    """Commit or tag of a hub id; pin a commit and tomorrow's run reads the same weights."""
    offline: bool = False
    """Never ask a hub, use its local cache alone."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 48
    pooling: Literal["auto", "mean", "cls", "last"] = "auto"
    """How the tokens' vectors become the text's; ``auto``: as the model's folder says, else the last token's of a
    causal model, which alone has read the whole text, and the mean for others."""
    trust_remote_code: bool = False
    """Run the Python code that a model brings along. It can do all that you can: read it, and pin a revision."""
    allow_pickle_weights: bool = False
    """Read a model without safetensors from ``pytorch_model.bin``, a pickle. Torch lets it make tensors alone, and so
    keeps it from running code; safetensors can hold nothing else."""
    batch_size: Count = 64


class Rates(Section):
    """How fast the parts of the neural scorer learn, each a multiple of ``lr``; 0: it stays as it is."""

    text: Annotated[float, Field(ge=0)] = 1.0
    """The map from texts to item vectors."""
    ids: Annotated[float, Field(ge=0)] = 1.0
    """The items' own vectors and biases."""
    users: Annotated[float, Field(ge=0)] = 1.0
    """User encoders and tags."""

    @model_validator(mode="after")
    def _something_learns(self) -> Rates:
        if not (self.text or self.ids or self.users):
            raise ValueError("all are 0: nothing would learn")
        return self


class Training(Section):
    """One run of the training loop."""

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 15
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate at the start; it falls to zero along a straight line."""
    batch_size: Count = 128
    """Users per step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Count = 1
    """Batches whose gradients make one step of the optimizer: memory of one batch, steps as with a larger one."""
    rates: Rates = Rates()
    candidates: Count = 4096
    """Items of a domain scored in a step. Where there are more to choose from, those asked for in the step and a random
    sample of the others, each of which then counts for as many as it stands for."""


class TextTraining(Section):
    """How the language model learns that the same people buy two things."""

    objective: Literal["pairs", "history"] = "pairs"
    """``pairs``: of two things that somebody bought each finds the other; ``history``: what somebody bought before, up
    to four things, finds what came next."""
    steps: Count = 300
    batch_size: Annotated[int, Field(ge=2, le=65536)] = 64
    """Users a step, one question each; the others' items are the negatives."""
    accumulate: Count = 1
    """Batches whose gradients make one step; the negatives stay those of a batch."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises; then it falls to zero."""
    frozen_layers: Annotated[int, Field(ge=0, le=1024)] = 0
    """With ``full``: so many layers from below stay as they are; the word embeddings always do."""
    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """With ``lora``: of its matrices."""


class Adapt(Training):
    """pretrain-adapt: the neural scorer learns from what is bought in source and target."""

    language_model: Literal["frozen", "lora", "full"] = "frozen"
    """Whether the language model itself learns from the source. What it learned is kept only where it ranks the source
    purchases of users that it did not see better than before."""
    text: TextTraining = TextTraining()


class Finetune(Training):
    """finetune: the neural scorer goes on with both domains, which count alike; then all scorers are weighed."""

    init: Literal["adapted", "scratch"] = "adapted"
    """Start from what both domains taught, or untrained."""
    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 10
    refit: bool = True
    """Once the scorers are weighed, have all of them learn from what validation held back as well: the newest that a
    shop has. The baselines of ``evaluate`` do the same."""


class Interest(Section):
    """What a score is made of, and the sizes of its trained part."""

    scorers: Annotated[tuple[ScorerName, ...], AfterValidator(at_least_one), AfterValidator(distinct)] = SCORERS
    """What is fused. ``neural`` alone is trained by gradients; ``crossrec run --quick`` leaves it out."""
    user_encoder: Literal["auto", "bag", "sequence", "hybrid"] = "auto"
    """How ``neural`` reads a history: as a set, in its order, or both; ``auto``: in its order where later purchases
    tell more, else as a set."""
    dim: Annotated[int, Field(ge=4, le=4096)] = 128
    dropout: Fraction = 0.3
    id_dropout: Fraction = 0.1
    """Share of items that must do without their id in a step, so that text alone finds its place."""
    max_sequence: Annotated[int, Field(ge=2, le=4096)] = 50
    """Latest interactions that the sequence encoder reads; the bag reads all."""
    layers: Count = 2
    heads: Count = 2

    @model_validator(mode="after")
    def _divisible(self) -> Interest:
        if self.dim % self.heads:
            raise ValueError(f"dim ({self.dim}) must be a multiple of heads ({self.heads})")
        return self


TUNED: tuple[tuple[type[Section], str], ...] = ((Adapt, "adapt"), (Finetune, "finetune"), (Interest, "interest"))
"""Sections whose fields may be tuned, with their names."""


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


class PriceRange(Section):
    """From and up to what an item may cost, in the currency of the items file."""

    min: Annotated[float, Field(ge=0)] | None = None
    max: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _some_price_fits(self) -> PriceRange:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min ({self.min:g}) is above max ({self.max:g}): no price fits")
        return self


class Rules(Section):
    """What a shop wants of its lists, beyond what users want. All of it is off unless given."""

    rebuy_after_days: Annotated[float, Field(gt=0)] | None = None
    """What a user bought longer ago than this, counted from the newest time in the data, may be shown again, where
    ``exclude_seen`` alone would never show it again."""
    in_stock: FilePath | None = None
    """This and the other files are Parquet or CSV, with ``item_id``. No list holds anything that this one lacks."""
    allow: FilePath | None = None
    """The same: nothing else is recommended."""
    block: FilePath | None = None
    """Items that are never recommended."""
    price: PriceRange = PriceRange()
    """Both ends may be had. Items without a price are left out where either is given: they may cost anything."""
    per_category: Count | None = None
    """At most so many items of a category in a list: of the widest level of the path at which the target's items
    differ, as in a target that is one category the widest of all would end every list there."""
    per_brand: Count | None = None
    """At most so many items of a brand in a list."""
    min_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """The least probability that an item is shown with."""
    diversity: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much it counts that an item's text is unlike those above it, beside how much the user wants it."""
    boosts: FilePath | None = None
    """A file with ``item_id`` and ``factor`` above 0: for the ranking the odds of these items are multiplied by it. The
    score that is shown, and that ``min_score`` is held against, stays the probability."""
    new_items: Count | None = None
    """So many places of a list are kept for items that nobody had in training, if it does not hold as many anyway."""


class Recommend(Section):
    """What is recommended to whom."""

    k: Count = 10
    users: OneOrMany = ("all",)
    """``all``, or user ids."""
    events: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``: what happened since the data were read, oldest first
    where it has no ``timestamp``. It changes the lists at once, and users in it who were never seen get one too.
    ``event``, ``quantity`` and ``rating`` count as in the interactions."""
    exclude_seen: bool = True
    also: tuple[Literal["csv", "jsonl"], ...] = ()
    """Write the lists as CSV or JSON lines as well, beside Parquet."""
    reasons: Annotated[int, Field(ge=0, le=100)] = 0
    """So many history items are named for each entry of a list, those that carried it; 0: no reasons. What ``neural``
    adds in a sequence is found by reading the history once more without each of its items, which takes longer than
    ranking; all else is exact."""
    rules: Rules = Rules()

    @model_validator(mode="after")
    def _rules_fit(self) -> Recommend:
        if self.rules.rebuy_after_days and not self.exclude_seen:
            raise ValueError("rules.rebuy_after_days says when 'exclude_seen: true' ends; with false it never begins")
        if (self.rules.new_items or 0) > self.k:
            raise ValueError(f"rules.new_items ({self.rules.new_items}) is more than a list has places, k ({self.k})")
        return self


class Search(Section):
    """What a search finds: text and interest in one ranking."""

    k: Count = 10
    queries: FilePath | None = None
    """A Parquet or CSV file of ``query`` and ``item_id``, what was bought after it, and optionally ``user_id``: the
    weights of text and interest are tuned on it. They should be purchases that training does not have."""


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
