"""Run directories: what is in each, how they differ, and removing old ones."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import (
    AUDIENCE,
    EVALUATE,
    FOUND,
    METRICS,
    PER_USER,
    PIPELINE,
    PREPROCESS,
    RUN_CONFIG,
    SERVED_EVENTS,
    SIMILAR,
)
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Artifact, Manifest, Store, read_manifest
from crossrec_cli.errors import ArtifactError, ConfigError, InputError, LockedError
from crossrec_cli.pipeline.table import BY_NAME

if TYPE_CHECKING:  # SciPy takes a moment to import, and a list of runs does not need it
    from crossrec_cli.evaluation.gate import Comparison
    from crossrec_cli.evaluation.significance import Difference

LOCK = {".lock", ".holder"}
LOGS = ("run.log", "events.jsonl")
RUN_FILES = {*BY_NAME, "embeddings", "report.html", "charts", "tensorboard", *LOGS}
RUN_FILES |= {RUN_CONFIG, FOUND, SIMILAR, AUDIENCE}
RUN_FILES |= {f".{name}" for name in ("report.html", RUN_CONFIG, *LOGS)}  # of a killed command
RUN_FILES |= {f"{SERVED_EVENTS}{end}" for end in ("", "-wal", "-shm")}
"""What crossrec writes to a run directory."""
UP_TO_EVALUATE = PIPELINE[: PIPELINE.index(EVALUATE) + 1]
DEPTH = 2
"""Runs are searched so many directories below the given one."""


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path
    manifests: dict[str, Manifest]
    """Manifests of the current artifacts, by stage; those that cannot be read are missing."""
    figures: dict[str, float]
    """Crossrec's test figures, such as ``ndcg@10``; empty if it was not evaluated."""
    bytes: int
    """Size of all files in the directory."""

    @property
    def newest(self) -> Manifest:
        """The manifest of the newest artifact; ids sort by time."""
        return max(self.manifests.values(), key=lambda manifest: manifest.id)

    @property
    def up_to_evaluate(self) -> list[Manifest]:
        """The manifests of the stages that its figures depend on, in order; later stages may have another config.

        The newest stage's, if none of these can be read.
        """
        return [self.manifests[stage] for stage in UP_TO_EVALUATE if stage in self.manifests] or [self.newest]

    @property
    def seed(self) -> int:
        """The seed of its figures."""
        return self.up_to_evaluate[-1].seed

    @classmethod
    def read(cls, path: Path) -> Run | None:
        """Read a directory; None if it has no run. Files are not checked against their hashes."""
        manifests = {}
        for stage in BY_NAME:
            link = path / stage / CURRENT
            if link.is_symlink():
                try:
                    manifests[stage] = read_manifest(link / MANIFEST)
                except ArtifactError:
                    continue
        if not manifests:
            return None
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
        return cls(path, manifests, _figures(path, manifests), size)


def _figures(path: Path, manifests: dict[str, Manifest]) -> dict[str, float]:
    if EVALUATE not in manifests:
        return {}
    table = parquet.read_table(path / EVALUATE / CURRENT / Path(METRICS).name)
    rows = table.filter(pc.and_(pc.equal(table[c.MODEL], c.CROSSREC), pc.equal(table[c.SEGMENT], c.ALL))).to_pylist()
    return {f"{row[c.METRIC]}@{row[c.K]}" if row[c.K] else row[c.METRIC]: row[c.VALUE] for row in rows}


def runs_in(folder: Path) -> list[Run]:
    """The runs in a directory, in its directories and in theirs, the newest first.

    Raises:
        InputError: if it cannot be read.
    """
    return sorted(_runs_below(folder, DEPTH + 1), key=lambda run: run.newest.id, reverse=True)


def _runs_below(folder: Path, depth: int) -> Iterator[Run]:
    if run := Run.read(folder):
        yield run
    elif depth:
        try:
            subdirectories = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from None
        for path in subdirectories:
            if not path.name.startswith("."):
                yield from _runs_below(path, depth - 1)


@dataclass(frozen=True)
class Repeated:
    """Runs of one config with the same test that differ only in their seed; usually there is one."""

    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """The seed of each run."""
        return [run.seed for run in self.runs]

    @cached_property
    def figures(self) -> dict[str, float]:
        """The mean of each figure over the runs."""
        return {name: mean(self._each(name)) for name in self.runs[0].figures}

    @cached_property
    def deviations(self) -> dict[str, float]:
        """The standard deviation of each figure over the seeds, where there are several."""
        return {name: stdev(self._each(name)) for name in self.runs[0].figures if len(self.runs) > 1}

    def _each(self, name: str) -> list[float]:
        return [run.figures[name] for run in self.runs]

    @cached_property
    def per_user(self) -> pa.Table:
        """Every model's measures for each user, the mean over the seeds.

        Raises:
            ArtifactError: if a run is not evaluated.
        """
        tables = [_per_user(run.path) for run in self.runs]
        keys, names = [c.MODEL, c.USER_ID], [name for name in tables[0].column_names if "@" in name]
        all_rows = pa.concat_tables(table.select(keys + names) for table in tables)
        means = all_rows.group_by(keys).aggregate([(name, "mean") for name in names])
        return means.select(keys + [f"{name}_mean" for name in names]).rename_columns(keys + names)

    @property
    def measure(self) -> str:
        """The measure by which its runs are compared."""
        from crossrec_cli.evaluation.gate import deciding  # noqa: PLC0415

        return deciding(self.per_user)

    def against_others(self) -> list[tuple[str, Difference, float]]:
        """Crossrec compared with each other model, with adjusted p values."""
        from crossrec_cli.evaluation import significance  # noqa: PLC0415

        table = self.per_user.sort_by(c.USER_ID)
        values_of_model = {
            model: table.filter(pc.equal(table[c.MODEL], model))[self.measure].to_numpy()
            for model in pc.unique(table[c.MODEL]).to_pylist()
        }
        return significance.differences(values_of_model.pop(c.CROSSREC), values_of_model)


def repeated(runs: Sequence[Run]) -> list[Repeated]:
    """The runs, grouped where they differ only in their seed, in the order of each group's first run."""
    groups: dict[tuple[str, int], list[Run]] = {}
    repeats: Counter[tuple[str, int]] = Counter()  # how often each seed was run
    for run in runs:
        preprocess_inputs = [item for item in run.up_to_evaluate[-1].inputs.items() if item[0].startswith(PREPROCESS)]
        basis = repr((sorted((_config(run.up_to_evaluate) | {"seed": None}).items()), sorted(preprocess_inputs)))
        groups.setdefault((basis, repeats[basis, run.seed]), []).append(run)
        repeats[basis, run.seed] += 1
    return [Repeated(tuple(group)) for group in groups.values()]


def compared(configs: Sequence[Repeated]) -> list[Comparison | None]:
    """Each config's ranking compared with the first one's, over test users of both; None if there are none."""
    from crossrec_cli.evaluation.gate import Comparison  # noqa: PLC0415

    first, *others = configs
    comparisons: list[Comparison | None] = []
    for other in others:
        try:
            comparisons.append(Comparison.of(other.per_user, first.per_user, first.measure, 0.0))
        except InputError:
            comparisons.append(None)
    return comparisons


def _per_user(path: Path) -> pa.Table:
    artifact: Artifact | None = Store(path).current(EVALUATE)
    if artifact is None:
        raise ArtifactError(f"{path}: no evaluate artifact; run 'crossrec evaluate' there first")
    return parquet.read_table(artifact.file(PER_USER))


def _config(made: Iterable[Manifest]) -> dict[str, Any]:
    """Every field that these stages declare."""
    return {key: value for manifest in made for key, value in manifest.config.items()}


def differences(groups: Sequence[Repeated]) -> dict[str, list[Any]]:
    """The fields in which configs differ, with each one's value, seed by seed; None where one has no such field."""
    configs = [
        _config(each.runs[0].manifests.values()) | ({"seed": each.seeds} if len(each.seeds) > 1 else {})
        for each in groups
    ]
    keys = sorted({key for config in configs for key in config})
    rows = {key: [config.get(key) for config in configs] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def remove(run: Run) -> bool:
    """Delete what crossrec wrote to a run directory, and the directory if nothing else is in it.

    Returns:
        Whether the directory is gone.

    Raises:
        LockedError: if another process uses the run.
    """
    with Store(run.path).lock():
        drafts = (run.path.glob(f".{file}.*") for file in (FOUND, SIMILAR, AUDIENCE))  # of killed commands
        for path in [*(run.path / name for name in sorted(RUN_FILES)), *chain.from_iterable(drafts)]:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for name in LOCK:
        (run.path / name).unlink(missing_ok=True)
    if any(run.path.iterdir()):
        return False
    run.path.rmdir()
    return True


def busy(run: Run) -> bool:
    """Whether another process uses the run."""
    try:
        with Store(run.path).lock():
            return False
    except LockedError:
        return True


def read_run(path: Path) -> Run:
    """The run in a directory.

    Raises:
        InputError: if there is none.
    """
    if run := Run.read(path):
        return run
    raise InputError(f"{path}: no run directory")


@dataclass(frozen=True)
class RunComparison:
    """How runs compare with the first of them, and how their configs differ; runs of one config are grouped."""

    runs: list[Run]
    configs: list[Repeated]
    """The runs by config."""
    against_first: list[Comparison | None]
    """For each config but the first; None if they have no test user in common."""
    gains: list[list[tuple[str, Difference, float]]]
    """For each config with several seeds, crossrec compared with each other model."""
    differing: dict[str, list[Any]]
    """The fields in which the configs differ, with each one's value."""

    @classmethod
    def of(cls, paths: Sequence[Path]) -> RunComparison:
        """Compare the runs in some directories.

        Raises:
            ConfigError: if there are fewer than two.
            InputError: if one is no run directory.
            ArtifactError: if one has not been evaluated.
        """
        if len(paths) < 2:
            raise ConfigError(["compare: give two run directories or more"])
        runs = [read_run(path) for path in paths]
        configs = repeated(runs)
        against_first = compared(configs)
        gains = [each.against_others() if len(each.runs) > 1 else [] for each in configs]
        return cls(runs, configs, against_first, gains, differences(configs))


class Removal(NamedTuple):
    """What was done with a run that is to be removed."""

    run: Run
    busy: bool
    """Whether another process uses the run, so that it stays."""
    directory_gone: bool
    """Whether its directory is gone, or would be."""


def remove_old(folder: Path, keep: int, dry_run: bool) -> Iterator[Removal]:
    """Remove all runs in a directory and below but the newest, one after another."""
    for run in runs_in(folder)[keep:]:
        if busy(run):
            yield Removal(run, True, False)
        else:
            yield Removal(run, False, dry_run or remove(run))
