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
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
BaselineName = Literal["popularity", "tag_popularity", "text", "item_knn", "ease_target", "ease", "ials"]
FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]


class InteractionColumns(Section):
    """Which columns of the file mean what."""

    user_id: str
    item_id: str
    timestamp: str | None = None
    order: str | None = None
    """An order within one user and category, where no time is known."""
    event: str | None = None
    quantity: str | None = None
    """How many; below zero it is a return."""
    rating: str | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> InteractionColumns:
        if (self.timestamp is None) == (self.order is None):
            raise ValueError("needs exactly one of 'timestamp' and 'order'")
        return self


class ItemColumns(Section):
    """Which columns of the file mean what."""

    item_id: str
    category: str
    """A name, a list from wide to narrow, or a path such as ``Food > Fruit`` or ``Food|Fruit``."""
    brand: str | None = None
    price: str | None = None
    language: str | None = None


class UserColumns(Section):
    """Which columns of the file mean what."""

    user_id: str


class Csv(Section):
    """How a text file with delimiters is written, where its name does not say it."""

    delimiter: Annotated[str, Field(min_length=1, max_length=4)] = ","
    quote: Annotated[str, Field(max_length=1)] = '"'
    """Doubled inside a quoted value; empty where quotes mean nothing."""
    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"
    names: tuple[str, ...] = ()
    """The columns of a file without a header."""


class Source(Section):
    """Files of one form."""

    path: FilePath
    """Parquet, CSV, TSV, JSON lines or RecBole's atomic files; a glob, a folder of Parquet parts, or an address that
    the engine can read; ``.gz`` and ``.zst`` for the text forms."""
    csv: Csv | None = None


class Event(Section):
    """What one word in the event column is worth."""

    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """How much it counts in a user's interest and in training, beside the others."""
    at_least: float | None = None
    """Ratings below this are left out."""
    returns: bool = False
    """It takes an earlier purchase back."""


class Interactions(Source):
    """Who bought what, when."""

    columns: InteractionColumns
    events: dict[str, Event] = {}
    """Words of the event column; those not named are left out. None named: all count 1. Without an event column every
    row is a ``rating`` where there is a rating column, else a ``purchase``."""

    @model_validator(mode="after")
    def _events_occur(self) -> Interactions:
        only = "rating" if self.columns.rating else "purchase"
        if self.columns.event is None and (unheard := set(self.events) - {only}):
            raise ValueError(
                f"events: without columns.event every row is a {only!r}, so {sorted(unheard)} never occurs"
            )
        if self.columns.rating is None and any(event.at_least is not None for event in self.events.values()):
            raise ValueError("events: at_least needs columns.rating")
        return self


class Items(Source):
    """What is for sale."""

    columns: ItemColumns
    text: Template
    """What the language model reads; ``{column}`` is replaced, and an empty one drops its punctuation."""


class Users(Source):
    """What is known of the users beside their purchases."""

    columns: UserColumns
    tags: tuple[str, ...] = ()
    """Columns whose values say something of the user; each distinct value is one tag."""


class Platform(Section):
    """A shop or app with its own ids."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    interactions: Interactions
    items: Items
    users: Users | None = None


class LinkEnd(Section):
    """One side of a mapping table."""

    platform: str
    id: str
    """The column with that platform's id."""


class Links(Source):
    """A mapping table: in each row, the two ids mean the same. Two columns of one platform join its devices."""

    left: LinkEnd
    right: LinkEnd


class ItemMatch(Section):
    """Items of different platforms whose texts share their rare words."""

    propose: Annotated[float, Field(gt=0, le=1)] = 0.6
    """Pairs from this confidence on are written to item_links.parquet."""
    apply: Annotated[float, Field(gt=0, le=1)] | None = None
    """Pairs from this confidence on become one item; null: none does."""


class Identity(Section):
    """Which ids of different platforms or devices mean the same person or item."""

    users: tuple[Links, ...] = ()
    items: tuple[Links, ...] = ()
    conflicts: Literal["apart", "merge", "fail"] = "apart"
    """When links would join two ids of one platform that no table of that platform joins: leave all of them
    unjoined, join them all the same, or stop."""
    match_items: ItemMatch | None = None


DropOrFail = Literal["drop", "fail"]
DropOrKeep = Literal["drop", "keep"]
AnyAction = Literal["drop", "keep", "fail"]


class Clean(Section):
    """What happens to rows and texts that are not as they should be. Every rule counts what it meets."""

    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Stop when more than this share of a file's rows is unusable: the first six rules below."""
    missing_ids: DropOrFail = "drop"
    unreadable: DropOrFail = "drop"
    """Times, quantities and ratings that are there and cannot be read, and times that are missing."""
    future: AnyAction = "drop"
    latest: Moment | None = None
    """What comes later is the future; null: a day from now."""
    unknown_events: DropOrFail = "drop"
    """Words that ``events`` does not name."""
    unknown_items: DropOrFail = "drop"
    """Interactions with items that are not in the items file."""
    duplicates: DropOrKeep = "drop"
    """Rows alike in user, item, time, event, quantity and rating."""
    near_duplicates: Annotated[int, Field(ge=0, lt=2**31)] = 5
    """Seconds after an event within which the same one on the same item is dropped as a double click; 0: none."""
    returns: Literal["cancel", "drop", "keep"] = "cancel"
    """``cancel``: who gave back as many as they bought never bought; ``drop``: the return alone goes; ``keep``: a
    return is an interaction like others."""
    bots: Count | None = 1000
    """Users with more interactions than this on some day are left out; null: nobody is a bot."""
    markup: bool = True
    """Take HTML tags and entities out of texts."""
    control_characters: bool = True
    """Take control characters out of texts, and squeeze white space."""
    nfkc: bool = True
    """Write texts in Unicode's compatibility form, so that ﬁ is fi; scripts and emoji stay."""
    items_without_text: DropOrKeep = "drop"


class MinInteractions(Section):
    """Users and items with fewer are left out, repeated until none is left to leave out."""

    user: Annotated[int, Field(ge=0, lt=2**31)] = 5
    item: Annotated[int, Field(ge=0, lt=2**31)] = 5


class Data(Section):
    """The raw files and how they are cleaned."""

    engine: Literal["duckdb", "spark"] = "duckdb"
    """``duckdb`` runs in this process and spills to disk; ``spark`` is for data that has outgrown one machine."""
    platforms: Annotated[tuple[Platform, ...], AfterValidator(_some)]
    identity: Identity = Identity()
    clean: Clean = Clean()
    repeats: Literal["strongest", "first", "last", "sum", "keep"] = "strongest"
    """What a user's several interactions with one item become: the one with the largest weight (the earliest of
    them), the first, the last, the first with all weights times quantities added up, or all of them."""
    half_life_days: Annotated[float, Field(gt=0)] | None = None
    """Weights halve with every so many days before the newest interaction; null: they do not."""
    detect_language: bool = True
    """Tell each item's language from its text where the items file does not."""
    min_interactions: MinInteractions = MinInteractions()

    @model_validator(mode="after")
    def _platforms_agree(self) -> Data:
        names = [platform.name for platform in self.platforms]
        if len(set(names)) < len(names):
            raise ValueError("two platforms have the same name")
        if len({platform.interactions.columns.timestamp is None for platform in self.platforms}) > 1:
            raise ValueError("either every platform has a timestamp or every platform has an order")
        if self.half_life_days and self.platforms[0].interactions.columns.timestamp is None:
            raise ValueError("half_life_days needs interactions with a timestamp, not an order")
        for links in (*self.identity.users, *self.identity.items):
            for end in (links.left, links.right):
                if end.platform not in names:
                    raise ValueError(f"identity names the platform {end.platform!r}; there are {', '.join(names)}")
        return self

    @property
    def sources(self) -> list[Source]:
        """Everything that is read."""
        parts = [part for shop in self.platforms for part in (shop.interactions, shop.items, shop.users) if part]
        return [*parts, *self.identity.users, *self.identity.items]


class Domain(Section):
    """A set of categories."""

    category: OneOrMany
    """Category names or paths, each with all below it, or ``"*"`` for all that are not in the target."""


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

    strategy: Literal["leave_last_out", "time", "cold_users", "cold_items"] = "leave_last_out"
    """``leave_last_out``: each user's last target interaction is the test, the one before it validation.
    ``time``: target interactions from ``valid_from`` on are validation, from ``test_from`` on test.
    ``cold_users``: a share of the target's users, whose whole target history is hidden.
    ``cold_items``: a share of the target's items, which nobody buys in training."""
    valid_from: Moment | OpenFraction | None = None
    """A date, or the share of all interactions that lies before it."""
    test_from: Moment | OpenFraction | None = None
    share: Annotated[float, Field(gt=0, le=0.4)] | None = None
    """Of the target's users or items: so many for the test, and as many for validation."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Of the choice of cold users or items."""

    @model_validator(mode="after")
    def _fields_fit(self) -> Split:
        times, cold = (self.valid_from, self.test_from), self.strategy.startswith("cold")
        if self.strategy != "time" and times != (None, None):
            raise ValueError("valid_from and test_from go with 'strategy: time'")
        if cold == (self.share is None):
            raise ValueError("share goes with 'strategy: cold_users' and 'strategy: cold_items', and they need it")
        if self.strategy == "time":
            self._check_times()
        return self

    def _check_times(self) -> None:
        valid, test = self.valid_from, self.test_from
        if valid is None or test is None:
            raise ValueError("'strategy: time' needs valid_from and test_from")
        if isinstance(valid, float) != isinstance(test, float):
            raise ValueError("valid_from and test_from are either both dates or both shares")
        if not valid < test:  # type: ignore[operator]
            raise ValueError("valid_from must be before test_from")


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
    batch_size: Count = 64


class Rates(Section):
    """How fast the parts of the interest model learn, each a multiple of ``lr``; 0: it stays as it is."""

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

    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 20
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Learning rate at the start; it falls to zero along a straight line."""
    batch_size: Count = 256
    """Users per step."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    accumulate: Count = 1
    """Batches whose gradients make one step of the optimizer: memory of one batch, steps as with a larger one."""
    rates: Rates = Rates()
    candidates: Count = 16_384
    """Items scored in a step. Where there are more to choose from, those asked for in the step and a random sample of
    the others, each of which then counts for as many as it stands for."""


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
    """pretrain-adapt: learn from what the source domain's buyers buy."""

    language_model: Literal["frozen", "lora", "full"] = "frozen"
    """Whether the language model itself learns from the source. What it learned is kept only where it ranks the source
    purchases of users that it did not see better than before."""
    text: TextTraining = TextTraining()


class Finetune(Training):
    """finetune: go on with what the buyers of the target domain buy there."""

    init: Literal["adapted", "scratch"] = "adapted"
    """Start from what the source taught, or from nothing but the texts."""
    epochs: Annotated[int, Field(ge=0, lt=2**31)] = 40
    lr: Annotated[float, Field(gt=0, le=1)] = 5e-4
    patience: Count = 10
    """Epochs without a better validation NDCG@10 before it stops; the best epoch's weights are kept."""
    refit: bool = False
    """Train once more from the start, up to the epoch that validation liked best, on validation's purchases too: the
    newest a shop has. The score keeps the first training's calibration."""


class Interest(Section):
    """The interest model: item tower, user encoder, score."""

    user_encoder: Literal["bag", "sequence", "hybrid"] = "hybrid"
    dim: Annotated[int, Field(ge=4, le=4096)] = 128
    loss: Literal["softmax", "bce", "gbce"] = "softmax"
    """``softmax`` over the candidates; ``bce``: each purchase against one that was not made, each alone; ``gbce``: the
    same against all sampled candidates, with the overconfidence that this brings taken back."""
    dropout: Fraction = 0.3
    id_dropout: Fraction = 0.1
    """Share of items that must do without their id in a step, so that text alone finds its place."""
    max_sequence: Annotated[int, Field(ge=2, le=4096)] = 50
    """Latest interactions that the sequence encoder reads; the bag reads all."""
    layers: Count = 2
    heads: Count = 2
    members: Count = 1
    """So many models, each trained with other chance, whose mean interest is taken: it ranks better and varies less, at
    so many times the cost."""

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
    baselines: tuple[BaselineName, ...] = ("popularity", "tag_popularity", "text", "item_knn", "ease_target", "ease")
    """What crossrec is compared with. ``ease_target`` learns from target purchases alone; ``ials`` needs the extra
    ``crossrec[ials]``. Settings of theirs are chosen on validation."""
    external: FilePath | None = None
    """A Parquet or CSV file with ``user_id``, ``item_id`` and ``rank`` from 1: another system's lists, to be scored by
    the same rules."""
    feedback: FilePath | None = None
    """A Parquet or CSV file of impressions: ``user_id`` and ``item_id``, at least one of ``click``, ``purchase`` and
    ``rating``, and either ``rank`` or ``propensity``. It tells what users would think of crossrec's lists."""
    candidates: Count | None = None
    """Rank the true items among so many sampled ones instead of all, as some papers do; their figures are larger."""
    tolerance: Fraction = 0.05
    """The share of an earlier run's NDCG that may be lost before ``--against`` fails; another seed may cost so much."""

    @model_validator(mode="after")
    def _lists_are_whole(self) -> Evaluate:
        if self.candidates and self.external:
            raise ValueError("external lists rank all items; they cannot be ranked among sampled candidates")
        return self


class Transfer(Section):
    """Whether the source helps: the same training with and without it."""

    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], AfterValidator(_some)] = (1, 2, 3)


class Recommend(Section):
    """What is recommended to whom."""

    k: Count = 10
    users: OneOrMany = ("all",)
    """``all``, or user ids."""
    events: FilePath | None = None
    """A Parquet or CSV file with ``user_id`` and ``item_id``, oldest first: what happened since the data were read.
    It changes the lists at once, and users in it who were never seen get one too."""
    exclude_seen: bool = True


class Runtime(Section):
    """Where and how it computes. None of it changes what is computed, beyond rounding."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    num_threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """0: as many as this process may use cores."""
    compile: bool = False
    """Have torch.compile make a faster sequence encoder: it takes a minute, and on a CPU a C++ compiler."""
    checkpoint_every: Annotated[str, Field(pattern=r"^[1-9]\d* (steps?|minutes?)$")] = "5 minutes"
    """How much of its training a killed run loses, as in ``5 minutes`` or ``100 steps``."""
    memory_limit: Annotated[str, Field(pattern=r"^\d+(\.\d+)?\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$")] | None = None
    """Memory that preprocess's tables may take before they spill to disk, as in ``4GB``."""


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
    runtime: Runtime = Runtime()
    tracking: Tracking = Tracking()

    @model_validator(mode="after")
    def _time_needs_timestamps(self) -> Config:
        if self.split.strategy == "time" and self.data.platforms[0].interactions.columns.timestamp is None:
            raise ValueError("'strategy: time' needs interactions with a timestamp, not an order")
        return self

    @property
    def run_path(self) -> Path:
        """``run_dir`` as a path."""
        return Path(self.run_dir)
