"""The config: one frozen section per stage. Each field's meaning, unit, bound and default stand here alone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Section(BaseModel):
    """A part of the config: immutable, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _one_or_many(value: Any) -> Any:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:  # not Field(min_length=1): pydantic then also calls a list with one wrong entry too short
        raise ValueError("needs at least one entry")
    return value


def _template(value: str) -> str:
    fields = template_fields(value)  # raises ValueError on an unbalanced brace
    if not fields:
        raise ValueError("names no column; write columns in braces, as in '{brand} {title}'")
    literals = [literal for literal, *_ in Formatter().parse(value)]
    plain = "".join(literals) + "".join(f"{{{field}}}" for field in fields)
    if not all(fields) or sorted(plain) != sorted(value):
        raise ValueError("takes plain column names in braces, nothing else")
    return value


def template_fields(template: str) -> list[str]:
    """The column names in a text template, in order of appearance."""
    return [field for _, field, _, _ in Formatter().parse(template) if field is not None]


def _moment(value: Any) -> Any:
    """ISO 8601 text, a date alone among it, to a time in UTC without a zone, as the tables hold it."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is no date or time in ISO 8601, such as 2024-05-01") from None


OneOrMany = Annotated[tuple[str, ...], BeforeValidator(_one_or_many), AfterValidator(_some)]
Template = Annotated[str, AfterValidator(_template)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]


class InteractionColumns(Section):
    """Which columns of the file mean what."""

    user_id: str
    item_id: str
    timestamp: str | None = None
    order: str | None = None
    """An order within one user and category, where no time is known."""
    event: str | None = None
    value: str | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> InteractionColumns:
        if (self.timestamp is None) == (self.order is None):
            raise ValueError("needs exactly one of 'timestamp' and 'order'")
        return self


class ItemColumns(Section):
    """Which columns of the file mean what."""

    item_id: str
    category: str
    brand: str | None = None
    price: str | None = None
    language: str | None = None


class UserColumns(Section):
    """Which columns of the file mean what."""

    user_id: str


class Interactions(Section):
    """Who bought what, when."""

    path: FilePath
    """Parquet, CSV, TSV or JSON lines; a glob; ``.gz`` and ``.zst`` for the text formats."""
    columns: InteractionColumns


class Items(Section):
    """What is for sale."""

    path: FilePath
    columns: ItemColumns
    text: Template
    """What the language model reads; ``{column}`` is replaced, and an empty one drops its punctuation."""


class Users(Section):
    """What is known of the users beside their purchases."""

    path: FilePath
    columns: UserColumns
    tags: tuple[str, ...] = ()
    """Columns whose values say something of the user; each distinct value is one tag."""


class Platform(Section):
    """A shop or app with its own ids."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    interactions: Interactions
    items: Items
    users: Users | None = None


class MinInteractions(Section):
    """Users and items with fewer are left out, repeated until none is left to leave out."""

    user: Annotated[int, Field(ge=0, lt=2**31)] = 5
    item: Annotated[int, Field(ge=0, lt=2**31)] = 5


class Data(Section):
    """The raw files and how they are cleaned."""

    platforms: Annotated[tuple[Platform, ...], AfterValidator(_some)]
    repeats: Literal["first", "keep"] = "first"
    """``first``: a user's later purchases of the same item are dropped."""
    min_interactions: MinInteractions = MinInteractions()

    @model_validator(mode="after")
    def _platforms_agree(self) -> Data:
        names = [platform.name for platform in self.platforms]
        if len(set(names)) < len(names):
            raise ValueError("two platforms have the same name")
        if len({platform.interactions.columns.timestamp is None for platform in self.platforms}) > 1:
            raise ValueError("either every platform has a timestamp or every platform has an order")
        return self


class Domain(Section):
    """A set of categories."""

    category: OneOrMany
    """Category names, or ``"*"`` for all that are not in the target."""


class Domains(Section):
    """The categories that teach, and the categories to recommend."""

    source: Domain = Domain(category=("*",))
    target: Domain

    @model_validator(mode="after")
    def _disjoint(self) -> Domains:
        if "*" in self.target.category:
            raise ValueError("the target names its categories; '*' is for the source")
        if shared := set(self.source.category) & set(self.target.category):
            raise ValueError(f"{sorted(shared)} is both source and target")
        return self


class Split(Section):
    """What is held out. Nothing at or after a user's held-out interaction trains."""

    strategy: Literal["leave_last_out", "time"] = "leave_last_out"
    """``leave_last_out``: each user's last target interaction is the test, the one before it validation.
    ``time``: target interactions from ``valid_from`` on are validation, from ``test_from`` on test."""
    valid_from: Moment | None = None
    test_from: Moment | None = None

    @model_validator(mode="after")
    def _dates(self) -> Split:
        dates = (self.valid_from, self.test_from)
        if self.strategy == "leave_last_out":
            if dates != (None, None):
                raise ValueError("valid_from and test_from go with 'strategy: time'")
        elif self.valid_from is None or self.test_from is None:
            raise ValueError("'strategy: time' needs valid_from and test_from")
        elif self.valid_from >= self.test_from:
            raise ValueError("valid_from must be before test_from")
        return self


class Encoder(Section):
    """The pretrained language model that reads the item texts."""

    model: str = "all-MiniLM-L6-v2"
    """A packaged model's name, a folder, or a hub id."""
    revision: str = "main"
    """Commit or tag of a hub id; pin a commit and tomorrow's run reads the same weights."""
    offline: bool = False
    """Never ask a hub, use its local cache alone."""
    max_tokens: Annotated[int, Field(ge=4, le=8192)] = 48
    pooling: Literal["mean", "cls", "last"] = "mean"
    batch_size: Count = 64


class Training(Section):
    """One run of the training loop."""

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 20
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate at the start; it falls to zero along a straight line."""
    batch_size: Count = 256
    """Users per step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Adapt(Training):
    """pretrain-adapt: learn from what the source domain's buyers buy."""

    language_model: Literal["frozen"] = "frozen"


class Finetune(Training):
    """finetune: go on with what the buyers of the target domain buy there."""

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 40
    lr: Annotated[float, Field(gt=0, le=1)] = 5e-4
    patience: Count = 10
    """Epochs without a better validation NDCG@10 before it stops; the best epoch's weights are kept."""


class Interest(Section):
    """The interest model: item tower, user encoder, score."""

    user_encoder: Literal["bag", "sequence", "hybrid"] = "hybrid"
    dim: Annotated[int, Field(ge=4, le=4096)] = 128
    loss: Literal["softmax"] = "softmax"
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


class Evaluate(Section):
    """How the test is scored."""

    k: Annotated[tuple[Count, ...], AfterValidator(_some)] = (5, 10, 50)
    mask_seen: bool = True
    """Items already in the history are not ranked."""


class Recommend(Section):
    """What is recommended to whom."""

    k: Count = 10
    users: OneOrMany = ("all",)
    """``all``, or user ids."""
    exclude_seen: bool = True


class Runtime(Section):
    """Where and how it computes. None of it changes what is computed, beyond rounding."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    num_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: as many as this process may use cores."""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")] | None = None
    """Memory that preprocess's tables may take before they spill to disk, as in ``4GB``."""


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
    recommend: Recommend = Recommend()
    runtime: Runtime = Runtime()

    @model_validator(mode="after")
    def _time_needs_timestamps(self) -> Config:
        if self.split.strategy == "time" and self.data.platforms[0].interactions.columns.timestamp is None:
            raise ValueError("'strategy: time' needs interactions with a timestamp, not an order")
        return self

    @property
    def run_path(self) -> Path:
        """``run_dir`` as a path."""
        return Path(self.run_dir)
