"""The table of stages: what each reads, and on which config fields it depends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from crossrec_cli import stages
from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.artifacts.files import (
    ADAPTED,
    ADDED,
    ADDITIONS,
    CASES,
    EVALUATE,
    FINETUNE,
    FUSED,
    INTERACTIONS,
    ITEM_TEXT,
    ITEMS,
    LANGUAGE_MODEL,
    LISTINGS,
    PREPROCESS,
    PRETRAIN_ADAPT,
    RECOMMEND,
    SEARCH,
    SHARED_MODEL,
    TAG_NAMES,
    TRANSFER,
    TUNE,
    UPDATED,
    USERS,
)
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.config.declared import covers, only
from crossrec_cli.config.list_fields import Recommend
from crossrec_cli.config.schema import Config, Evaluate
from crossrec_cli.errors import InputError
from crossrec_cli.runtime.interrupts import defer_interrupts
from crossrec_cli.text import find, segment


def _data_files(config: Config) -> dict[str, str]:
    from crossrec_cli.data.raw_files import input_files, is_address  # noqa: PLC0415  pandas and Ibis take a moment to import

    paths = sorted({path for source in config.data.sources for path in input_files(source.path)})
    now = datetime.now(UTC).isoformat()  # files behind an address may change, so they are read each time
    return {path: f"read at {now}" if is_address(path) else hash_file(Path(path)) for path in paths}


def language_model(config: Config) -> dict[str, str]:
    """The current hash of each file of the language model."""
    return {f"{config.encoder.model}/{name}": sha for name, sha in find.language_model(config.encoder).items()}


def _texts_and_shared_model(config: Config) -> dict[str, str]:
    return language_model(config) | _named_files({"adapt.shared": config.adapt.shared})


def _events_and_rules(config: Config) -> dict[str, str]:
    rules = config.recommend.rules
    named = {name: getattr(rules, name) for name in ("in_stock", "allow", "block", "boosts")}
    files = {f"recommend.rules.{name}": path for name, path in named.items()}
    return _named_files({"recommend.events": config.recommend.events} | files)


def _evaluation_files(config: Config) -> dict[str, str]:
    chosen = config.evaluate
    named = {name: getattr(chosen, name) for name in ("external", "feedback", "negatives")}
    return _named_files({f"evaluate.{name}": path for name, path in named.items()})


def _language_model_and_queries(config: Config) -> dict[str, str]:
    files = {"search.queries": config.search.queries, "recommend.events": config.recommend.events}
    splitters = {f"word splitter {name}": version for name, version in segment.splitters().items()}
    return language_model(config) | _named_files(files) | splitters


def _named_files(paths: Mapping[str, str | None]) -> dict[str, str]:
    """The hashes of files that config keys name, where they name one."""
    hashes: dict[str, str] = {}
    for key, path in paths.items():
        try:
            hashes |= {path: hash_file(Path(path))} if path else {}
        except InputError as error:
            raise InputError(f"{key}: {error}") from None
    return hashes


def _nothing(config: Config) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    name: str
    version: int
    """Increased when the same config and inputs give other files than before."""
    reads: tuple[str, ...]
    """The earlier stages' files that it reads, as stage/name."""
    fields: tuple[str, ...]
    """The config fields, dotted, or sections that it depends on; it runs again when one of them changes."""
    outside: Callable[[Config], dict[str, str]] = _nothing
    """Its files from outside the run directory, with the hash of their content; checked when it is to run."""
    sees: tuple[str, ...] = ("run_dir", "runtime")
    """Further fields that it may read, since they do not change what it writes."""
    reads_if_there: tuple[str, ...] = ()
    """Files, as stage/name, that these stages do not always write, or that ``added-items`` may have written."""

    @property
    def files(self) -> tuple[str, ...]:
        """All that it reads in the run directory, as stage/name."""
        return (*self.reads, *self.reads_if_there)

    @property
    def encodes_texts(self) -> bool:
        """Whether it encodes texts, as ``pretrain-adapt`` did before it: with the same language model."""
        return LANGUAGE_MODEL in self.files

    @property
    def upstream(self) -> set[str]:
        """The stages whose files it reads."""
        return {stage_of(file) for file in self.reads}

    def inputs(self, current: Mapping[str, Artifact]) -> dict[str, Artifact]:
        """The artifact of each file that it reads, from the earlier stages' artifacts that exist."""
        files = {file: made for file in self.files if (made := current.get(stage_of(file)))}
        return {file: made for file, made in files.items() if file in self.reads or made.holds(file)}

    def depends_on(self, key: str) -> bool:
        """Whether a config field, given with its index if it is in a list, is among those it depends on."""
        return covers(self.fields, key)

    def run(self, job: Job, **more: Any) -> Summary:
        """Run the stage; ``added-items`` gets further arguments. The stage's code is imported only now.

        The stage gets a config that has the declared fields alone, so reading another one is an error.
        """
        job = replace(job, config=only(job.config, (*self.fields, *self.sees)))
        with defer_interrupts():
            module = import_module(f"{stages.__name__}.{self.name.replace('-', '_')}")
        summary: Summary = module.run(job, **more)
        return summary


def stage_of(file: str) -> str:
    """The stage that writes a file."""
    return file.partition("/")[0]


_TABLES = (INTERACTIONS, ITEMS, USERS)
_MODEL = (ITEM_TEXT, TAG_NAMES)
_WITH_DATA = ("run_dir", "runtime", "data")
"""A file of newer events is read as the data's interactions are; a change of ``data`` shows in preprocess's tables."""
_MEASURED = tuple(f"evaluate.{name}" for name in Evaluate.model_fields if name != "tolerance")
"""The tolerance judges a finished evaluation."""
_LISTED = tuple(f"recommend.{name}" for name in Recommend.model_fields if name != "to")
"""A database gets finished lists."""
STAGES = (
    Stage(PREPROCESS, 6, (), ("data", "domains", "split"), _data_files, sees=("run_dir", "runtime", "drift")),
    Stage(
        PRETRAIN_ADAPT,
        17,
        (*_TABLES, CASES),
        ("seed", "encoder", "adapt", "interest", "evaluate.mask_seen", "runtime.precision"),
        _texts_and_shared_model,
    ),
    Stage(
        FINETUNE,
        26,
        (*_TABLES, CASES, *_MODEL, ADAPTED),
        ("seed", "finetune", "interest", "evaluate.mask_seen", "runtime.precision"),
        reads_if_there=(SHARED_MODEL,),
    ),
    Stage(
        ADDITIONS,
        5,
        (ITEMS, ITEM_TEXT, *FUSED),
        (),
        sees=("run_dir", "runtime", "seed", "data", "domains", "encoder", "interest"),
        reads_if_there=(LANGUAGE_MODEL, LISTINGS),
    ),
    Stage(
        EVALUATE,
        13,
        (*_TABLES, CASES, *_MODEL, *FUSED),
        ("seed", *_MEASURED, "interest", "finetune.refit", "split.seed"),
        _evaluation_files,
    ),
    Stage(
        RECOMMEND,
        13,
        (*_TABLES, TAG_NAMES, *FUSED),
        (*_LISTED, "interest", "report.language"),
        _events_and_rules,
        sees=(*_WITH_DATA, "drift"),
        reads_if_there=(ADDED, UPDATED),
    ),
    Stage(
        TRANSFER,
        19,
        (*_TABLES, CASES, *_MODEL),
        ("encoder", "adapt", "finetune", "interest", "transfer", "evaluate.mask_seen", "runtime.precision"),
        sees=("run_dir", "runtime", "domains"),
        reads_if_there=(LANGUAGE_MODEL,),
    ),
    Stage(
        TUNE,
        13,
        (*_TABLES, CASES, *_MODEL),
        ("seed", "adapt", "finetune", "interest", "tune", "evaluate.mask_seen", "runtime.precision"),
        reads_if_there=(SHARED_MODEL,),
        sees=tuple(Config.model_fields),  # it writes the whole config with the best values
    ),
    Stage(
        SEARCH,
        9,
        (*_TABLES, TAG_NAMES, *FUSED),
        ("seed", "encoder", "interest", "search.queries", "recommend.events", "runtime.precision"),
        _language_model_and_queries,
        sees=_WITH_DATA,
        reads_if_there=(LANGUAGE_MODEL, ADDED, UPDATED),
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}
SHARED = (PRETRAIN_ADAPT, FINETUNE, EVALUATE, RECOMMEND)
"""Several processes share their work."""
