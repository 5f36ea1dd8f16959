"""The table of stages: what each reads, on which config fields it depends, and whether it has to run."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Final

from crossrec_cli import distributed, stages
from crossrec_cli.artifacts.store import (
    FORMAT_VERSION,
    Artifact,
    Manifest,
    Store,
    describe_files,
    hash_file,
    new_id,
)
from crossrec_cli.config.schema import Config
from crossrec_cli.encoder.locate import fingerprint, locate
from crossrec_cli.errors import ArtifactError, InputError
from crossrec_cli.interrupts import whole
from crossrec_cli.reporting import Reporter, Silent, mask, peak_memory
from crossrec_cli.stages import (
    ADAPTED,
    ADDED,
    ADDITIONS,
    CASES,
    EVALUATE,
    FINETUNE,
    FINETUNED,
    INTERACTIONS,
    ITEM_TEXT,
    ITEMS,
    LANGUAGE_MODEL,
    PREPROCESS,
    PRETRAIN_ADAPT,
    RECOMMEND,
    SEARCH,
    TAG_NAMES,
    TRANSFER,
    TUNE,
    USERS,
    Job,
)

LIBRARIES = ("crossrec", "torch", "transformers", "duckdb", "ibis-framework", "pyarrow", "numpy")


def _data_files(config: Config) -> dict[str, str]:
    from crossrec_cli.data.engine import input_files, is_address  # noqa: PLC0415  pandas and Ibis take a moment to import

    paths = sorted({path for source in config.data.sources for path in input_files(source.path)})
    now = datetime.now(UTC).isoformat()  # what a network holds may change unseen, so it is read again each time
    return {path: f"read at {now}" if is_address(path) else hash_file(Path(path)) for path in paths}


def _language_model(config: Config) -> dict[str, str]:
    return {f"{config.encoder.model}/{name}": sha for name, sha in fingerprint(locate(config.encoder)).items()}


def _events_and_rules(config: Config) -> dict[str, str]:
    rules = config.recommend.rules
    named = {name: getattr(rules, name) for name in ("in_stock", "allow", "block", "boosts")}
    files = {f"recommend.rules.{name}": path for name, path in named.items()}
    return _named_files({"recommend.events": config.recommend.events} | files)


def _handed_in(config: Config) -> dict[str, str]:
    chosen = config.evaluate
    return _named_files({"evaluate.external": chosen.external, "evaluate.feedback": chosen.feedback})


def _language_model_and_queries(config: Config) -> dict[str, str]:
    return _language_model(config) | _named_files({"search.queries": config.search.queries})


def _named_files(paths: Mapping[str, str | None]) -> dict[str, str]:
    """The hashes of files that config keys name, where they name one."""
    found: dict[str, str] = {}
    for key, path in paths.items():
        try:
            found |= {path: hash_file(Path(path))} if path else {}
        except InputError as error:
            raise InputError(f"{key}: {error}") from None
    return found


def _nothing(config: Config) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    name: str
    version: int
    """Goes up when the same config and inputs give other files than before."""
    reads: tuple[str, ...]
    """The earlier stages' files that it reads, as stage/name."""
    fields: tuple[str, ...]
    """The config fields, dotted, or sections that it depends on."""
    outside: Callable[[Config], dict[str, str]] = _nothing
    """Its files from outside the run directory, with the hash of their content."""
    reads_if_there: tuple[str, ...] = ()
    """Files, as stage/name, that the same earlier stages do not always write, or that ``items`` has perhaps left."""

    @property
    def upstream(self) -> set[str]:
        """The stages whose files it reads."""
        return {stage_of(file) for file in self.reads}

    def inputs(self, current: Mapping[str, Artifact]) -> dict[str, Artifact]:
        """The artifact of each file that it reads, from those of the earlier stages that are there."""
        files = {file: made for file in (*self.reads, *self.reads_if_there) if (made := current.get(stage_of(file)))}
        return {file: made for file, made in files.items() if file in self.reads or made.holds(file)}

    def run(self, job: Job, **more: Any) -> stages.Summary:
        """Do the work; ``items`` is told more than its job. Only now is the stage's code imported."""
        with whole():
            module = import_module(f"{stages.__name__}.{self.name.replace('-', '_')}")
        summary: stages.Summary = module.run(job, **more)
        return summary


def stage_of(file: str) -> str:
    """The stage that writes a file."""
    return file.partition("/")[0]


_TABLES = (INTERACTIONS, ITEMS, USERS)
_MODEL = (ITEM_TEXT, TAG_NAMES)
STAGES = (
    Stage(PREPROCESS, 2, (), ("data", "domains", "split"), _data_files),
    Stage(PRETRAIN_ADAPT, 10, _TABLES, ("seed", "encoder", "adapt", "interest", "runtime.precision"), _language_model),
    Stage(ADDITIONS, 1, (ITEMS, ITEM_TEXT), (), reads_if_there=(LANGUAGE_MODEL,)),
    Stage(FINETUNE, 9, (*_TABLES, CASES, *_MODEL, ADAPTED), ("seed", "finetune", "interest", "runtime.precision")),
    Stage(EVALUATE, 6, (*_TABLES, CASES, *_MODEL, FINETUNED), ("seed", "evaluate", "interest"), _handed_in),
    Stage(RECOMMEND, 4, (*_TABLES, *_MODEL, FINETUNED), ("recommend", "interest"), _events_and_rules, (ADDED,)),
    Stage(
        TRANSFER,
        8,
        (*_TABLES, CASES, *_MODEL),
        ("encoder", "adapt", "finetune", "interest", "transfer", "evaluate.mask_seen", "runtime.precision"),
        reads_if_there=(LANGUAGE_MODEL,),
    ),
    Stage(
        TUNE,
        4,
        (*_TABLES, CASES, *_MODEL),
        ("seed", "adapt", "finetune", "interest", "tune", "runtime.precision"),
    ),
    Stage(
        SEARCH,
        2,
        (*_TABLES, *_MODEL, FINETUNED),
        ("seed", "encoder", "interest", "search.queries", "runtime.precision"),
        _language_model_and_queries,
        (LANGUAGE_MODEL, ADDED),
    ),
)
BY_NAME = {stage.name: stage for stage in STAGES}
SHARED = (PRETRAIN_ADAPT, FINETUNE, RECOMMEND)
"""Several processes share their work."""


@dataclass(frozen=True)
class Outcome:
    """What became of a stage."""

    stage: str
    artifact: Artifact
    ran: bool
    reason: str
    """Why it ran, or why it did not need to."""


def run_stages(
    config: Config,
    wanted: Collection[str],
    report: Reporter,
    force: bool = False,
    exported: Artifact | None = None,
) -> Iterator[Outcome]:
    """Bring stages up to date, in order. The caller holds the run directory's lock.

    Args:
        config: the whole config.
        wanted: names of the stages to run; what they read beside each other must be there.
        report: told what happens.
        force: run them even if they are up to date.
        exported: holds all that they read of the others, in place of the run directory.

    Raises:
        ArtifactError: if a stage that is read but not wanted is missing, damaged or out of date.
    """
    store = Store(config.run_path)
    current: dict[str, Artifact] = {}
    read = {name for stage in wanted for name in BY_NAME[stage].upstream}
    for stage in STAGES:
        if stage.name in wanted:
            report.begin(stage.name)
            outcome = _bring_up_to_date(store, stage, config, current, report, force)
            current[stage.name] = outcome.artifact
            yield outcome
        elif exported:
            current[stage.name] = exported
        elif stage.name in read:
            current[stage.name] = _require(store, stage, config, current)
        elif stage.name == ADDITIONS and any(ADDED in BY_NAME[name].reads_if_there for name in wanted):
            current |= _additions(store, config, current, report)


@dataclass(frozen=True)
class _Task:
    """What the processes that follow are called to."""

    stage: str
    inputs: Mapping[str, Path]
    checkpoint: Path


def follow(config: Config) -> None:
    """In a process that follows: a share of each stage that the leader calls to, until it calls no more."""
    for task in distributed.tasks():
        BY_NAME[task.stage].run(Job(config, task.inputs, Path(os.devnull), Silent(), task.checkpoint))


RUNS: Final = "runs"
MAY_RUN: Final = "may run"
UP_TO_DATE: Final = "up to date"


@dataclass(frozen=True)
class Step:
    """What a run would do with a stage."""

    stage: str
    does: str
    """``RUNS``, ``MAY_RUN`` where that depends on what an earlier one gives, or ``UP_TO_DATE``."""
    reasons: tuple[str, ...]


def plan(config: Config, wanted: Collection[str], force: bool = False) -> list[Step]:
    """What ``run_stages`` would do. Nothing is written, and nothing held.

    Args:
        config: the whole config.
        wanted: names of the stages to run; what they read beside each other must be there.
        force: whether they would run even if they are up to date.

    Raises:
        ArtifactError: if a stage that is read but not wanted is missing, damaged or out of date.
    """
    store, current, steps = Store(config.run_path), dict[str, Artifact](), dict[str, Step]()
    read = {name for stage in wanted for name in BY_NAME[stage].upstream}
    for stage in STAGES:
        if stage.name in wanted:
            try:
                artifact, damage = store.current(stage.name), None
            except ArtifactError as error:
                artifact, damage = None, str(error)
            before = [name for name in stage.upstream if name in steps and steps[name].does != UP_TO_DATE]
            steps[stage.name] = _step(stage, config, current, artifact, damage, sorted(before), force)
            current |= {stage.name: artifact} if artifact else {}
        elif stage.name in read:
            current[stage.name] = _require(store, stage, config, current)
        elif stage.name == ADDITIONS and any(ADDED in BY_NAME[name].reads_if_there for name in wanted):
            current |= _additions(store, config, current, Silent())
    return list(steps.values())


def _step(
    stage: Stage,
    config: Config,
    current: Mapping[str, Artifact],
    artifact: Artifact | None,
    damage: str | None,
    before: Sequence[str],
    force: bool,
) -> Step:
    """What would become of a stage, of which those ``before`` that it reads are to run as well."""
    if artifact is None:
        return Step(stage.name, RUNS, (damage or "not run yet",))
    changes = [
        change
        for change in _changes(stage, artifact, _basis(stage, config, current))
        if not any(change.startswith(f"input {name}/") for name in before)
    ]
    if changes or force:
        return Step(stage.name, RUNS, tuple(changes or ["--force"]))
    if before:
        return Step(stage.name, MAY_RUN, (f"if {' or '.join(before)} gives other files than before",))
    return Step(stage.name, UP_TO_DATE, ("config and inputs unchanged",))


def add_items(config: Config, file: Path, platform: str | None, report: Reporter) -> Artifact:
    """Add a file's items to those that are recommended. The caller holds the run directory's lock.

    Args:
        config: the whole config.
        file: in the shape of the platform's items file.
        platform: whose they are; None where there is one.
        report: told what happens.

    Raises:
        ArtifactError: if preprocess or pretrain-adapt is missing, damaged or out of date.
    """
    store, adding = Store(config.run_path), BY_NAME[ADDITIONS]
    current: dict[str, Artifact] = {}
    for stage in STAGES:
        if stage.name in adding.upstream:
            current[stage.name] = _require(store, stage, config, current)
    report.begin(adding.name)
    before = _additions(store, config, current, report).get(ADDITIONS)
    inputs = adding.inputs(current) | ({ADDED: before} if before else {})
    basis = _basis(adding, config, current)
    return _make(store, adding, config, inputs, basis, report, file=file, platform=platform)


def _additions(store: Store, config: Config, current: Mapping[str, Artifact], report: Reporter) -> dict[str, Artifact]:
    """The items that were added since training, by their stage's name, if they fit the catalogue in use."""
    stage, folder = BY_NAME[ADDITIONS], store.run_dir / ADDITIONS
    try:
        artifact = store.current(stage.name)
        stale = artifact and _out_of_date(stage, artifact, _basis(stage, config, current))
    except ArtifactError as error:
        artifact, stale = None, str(error)
    if stale:
        report.begin(stage.name)
        report.warn(
            f"the items added to an earlier catalogue are passed over ({stale}); give those that are still missing to "
            f"'crossrec items add' again, or remove {folder}"
        )
    return {stage.name: artifact} if artifact and not stale else {}


def read_by(config: Config, stage: str, report: Reporter) -> dict[str, Artifact]:
    """The artifacts of the earlier stages that a stage reads, by their names.

    Args:
        config: the whole config.
        stage: which.
        report: told of added items that are passed over.

    Raises:
        ArtifactError: if one of these stages is missing, damaged or out of date.
    """
    store, current = Store(config.run_path), dict[str, Artifact]()
    for earlier in STAGES:
        if earlier.name in BY_NAME[stage].upstream:
            current[earlier.name] = _require(store, earlier, config, current)
    if ADDED in BY_NAME[stage].reads_if_there:
        current |= _additions(store, config, current, report)
    return current


def inputs_of(
    config: Config, stage: str, report: Reporter | None = None, exported: Artifact | None = None
) -> dict[str, Path]:
    """The earlier stages' files that a stage reads, by stage/name; see ``read_by``, and ``run_stages`` for exports."""
    every = {earlier.name: exported for earlier in STAGES} if exported else read_by(config, stage, report or Silent())
    return {file: made.file(file) for file, made in BY_NAME[stage].inputs(every).items()}


def up_to_date(config: Config, stage: str, report: Reporter) -> Artifact:
    """A stage's artifact.

    Raises:
        ArtifactError: if it, or one that it was made from, is missing, damaged or out of date.
    """
    return _require(Store(config.run_path), BY_NAME[stage], config, read_by(config, stage, report))


@dataclass(frozen=True)
class _Basis:
    """All that a stage's files depend on."""

    config: dict[str, Any]
    inputs: dict[str, str]

    @property
    def digest(self) -> str:
        """A hash of it all."""
        return hashlib.sha256(json.dumps([self.config, self.inputs], sort_keys=True).encode()).hexdigest()


def _basis(stage: Stage, config: Config, current: Mapping[str, Artifact]) -> _Basis:
    leaves = dict(_leaves(config.model_dump(mode="json")))
    declared = {
        key: mask(value) if isinstance(value, str) else value
        for key, value in leaves.items()
        if any(key == field or key.startswith((f"{field}.", f"{field}[")) for field in stage.fields)
    }
    outside = {mask(file): sha for file, sha in stage.outside(config).items()}
    return _Basis(declared, {file: made.sha256(file) for file, made in stage.inputs(current).items()} | outside)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, child in enumerate(value):
            yield from _leaves(child, f"{path}[{index}]")
    else:
        yield path, value


def _require(store: Store, stage: Stage, config: Config, current: Mapping[str, Artifact]) -> Artifact:
    """The artifact of a stage that is read, which must be there and fit the config."""
    artifact = store.current(stage.name)
    if artifact is None:
        raise ArtifactError(f"{store.run_dir}: no {stage.name} artifact yet; run 'crossrec {stage.name}' first")
    if reason := _out_of_date(stage, artifact, _basis(stage, config, current)):
        raise ArtifactError(f"{artifact.path}: out of date ({reason}); run 'crossrec {stage.name}' first")
    return artifact


def _out_of_date(stage: Stage, artifact: Artifact, basis: _Basis) -> str | None:
    """Why an artifact is not what its stage would make now; None if it is."""
    return next(iter(_changes(stage, artifact, basis)), None)


def _changes(stage: Stage, artifact: Artifact, basis: _Basis) -> Iterator[str]:
    """All that is not as it was when an artifact was made."""
    manifest = artifact.manifest
    if manifest.stage_version != stage.version:
        yield f"made by version {manifest.stage_version} of the stage, now {stage.version}"
    for kind, before, now in (
        ("config", manifest.config, basis.config),
        ("input", manifest.inputs, basis.inputs),
    ):
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                change = f" from {before.get(key)} to {now.get(key)}" if kind == "config" else ""
                yield f"{kind} {key} changed{change}"


def _bring_up_to_date(
    store: Store, stage: Stage, config: Config, current: Mapping[str, Artifact], report: Reporter, force: bool
) -> Outcome:
    basis = _basis(stage, config, current)
    try:
        artifact = store.current(stage.name)
        reason = _out_of_date(stage, artifact, basis) if artifact else "not run yet"
    except ArtifactError as error:
        artifact, reason = None, str(error)
    if artifact and not reason and not force:
        return Outcome(stage.name, artifact, False, "config and inputs unchanged")
    reason = reason or "--force"
    report.log(f"{stage.name} runs: {reason}")
    return Outcome(stage.name, _make(store, stage, config, stage.inputs(current), basis, report), True, reason)


def _make(
    store: Store,
    stage: Stage,
    config: Config,
    inputs: Mapping[str, Artifact],
    basis: _Basis,
    report: Reporter,
    **more: Any,
) -> Artifact:
    """Run a stage and commit what it leaves."""
    started, wall, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    with store.draft(stage.name) as draft:
        paths = {file: made.file(file) for file, made in inputs.items()}
        checkpoint = store.checkpoint(stage.name, basis.digest)
        with distributed.together(_Task(stage.name, paths, checkpoint)) if stage.name in SHARED else nullcontext():
            summary = stage.run(Job(config, paths, draft, report, checkpoint), **more)
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            stage=stage.name,
            stage_version=stage.version,
            id=new_id(basis.digest),
            config=basis.config,
            inputs=basis.inputs,
            files=describe_files(draft),
            summary=summary,
            versions={"python": python_version()} | {library: version(library) for library in LIBRARIES},
            seed=config.seed,
            started=started.isoformat(timespec="seconds"),
            wall_seconds=round(time.perf_counter() - wall, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            peak_memory_bytes=peak_memory(),
        )
        return store.commit(draft, manifest)
