"""Many run directories: what is in each, how two differ, and which of them go."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import EVALUATE, FOUND, METRICS, PER_USER, PIPELINE, PREPROCESS
from crossrec_cli.artifacts.store import CURRENT, MANIFEST, Artifact, Manifest, Store, read_manifest
from crossrec_cli.errors import ArtifactError, ConfigError, InputError, LockedError
from crossrec_cli.pipeline.table import BY_NAME

if TYPE_CHECKING:  # SciPy takes a moment to import, which a list of runs can do without
    from crossrec_cli.evaluation.gate import Comparison
    from crossrec_cli.evaluation.significance import Difference

LOCK = {".lock", ".holder"}
OF_A_RUN = {*BY_NAME, "embeddings", "report.html", "charts", "tensorboard", "run.log", "events.jsonl", FOUND}
OF_A_RUN |= {".report.html", str(Path(FOUND).with_suffix(".draft"))}  # of a killed command
"""What crossrec leaves in a run directory."""
UP_TO_EVALUATE = PIPELINE[: PIPELINE.index(EVALUATE) + 1]
DEPTH = 2
"""Runs are looked for so many directories below the one given."""


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path
    manifests: dict[str, Manifest]
    """Of the current artifacts, by stage; those that cannot be read are missing."""
    figures: dict[str, float]
    """crossrec's on test, such as ``ndcg@10``; empty if it was not evaluated."""
    bytes: int
    """Of all that is in it."""

    @property
    def newest(self) -> Manifest:
        """Of the stage that was made last; ids sort by time."""
        return max(self.manifests.values(), key=lambda manifest: manifest.id)

    @property
    def up_to_evaluate(self) -> list[Manifest]:
        """Of the stages that its figures hang on, in their order; those behind may have been run otherwise.

        The newest stage's, if none of these can be read.
        """
        return [self.manifests[stage] for stage in UP_TO_EVALUATE if stage in self.manifests] or [self.newest]

    @property
    def seed(self) -> int:
        """Of its figures."""
        return self.up_to_evaluate[-1].seed

    @classmethod
    def read(cls, path: Path) -> Run | None:
        """What is in a directory; None if it is no run's. Files are not checked against their hashes."""
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
    return sorted(_found(folder, DEPTH + 1), key=lambda run: run.newest.id, reverse=True)


def _found(folder: Path, depth: int) -> Iterator[Run]:
    if run := Run.read(folder):
        yield run
    elif depth:
        try:
            below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        except OSError as error:
            raise InputError(f"{folder}: {error.strerror}") from None
        for path in below:
            if not path.name.startswith("."):
                yield from _found(path, depth - 1)


@dataclass(frozen=True)
class Repeated:
    """A config's runs with the same test that differ in their seed alone; mostly there is one."""

    runs: tuple[Run, ...]

    @property
    def seeds(self) -> list[int]:
        """Each run's."""
        return [run.seed for run in self.runs]

    @cached_property
    def figures(self) -> dict[str, float]:
        """The mean of the runs'."""
        return {name: mean(self._each(name)) for name in self.runs[0].figures}

    @cached_property
    def deviations(self) -> dict[str, float]:
        """The standard deviation between seeds, where there are several."""
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
        together = pa.concat_tables(table.select(keys + names) for table in tables)
        means = together.group_by(keys).aggregate([(name, "mean") for name in names])
        return means.select(keys + [f"{name}_mean" for name in names]).rename_columns(keys + names)

    @property
    def measure(self) -> str:
        """What its runs are compared by."""
        from crossrec_cli.evaluation.gate import deciding  # noqa: PLC0415

        return deciding(self.per_user)

    def beside_others(self) -> list[tuple[str, Difference, float]]:
        """Crossrec beside each other model, and p raised for there being several."""
        from crossrec_cli.evaluation import significance  # noqa: PLC0415

        table = self.per_user.sort_by(c.USER_ID)
        of_model = {
            model: table.filter(pc.equal(table[c.MODEL], model))[self.measure].to_numpy()
            for model in pc.unique(table[c.MODEL]).to_pylist()
        }
        return significance.differences(of_model.pop(c.CROSSREC), of_model)


def repeated(runs: Sequence[Run]) -> list[Repeated]:
    """The runs, those that differ in their seed alone together, in the order in which each first comes."""
    found: dict[tuple[str, int], list[Run]] = {}
    times: Counter[tuple[str, int]] = Counter()  # that a seed was run
    for run in runs:
        read = [item for item in run.up_to_evaluate[-1].inputs.items() if item[0].startswith(PREPROCESS)]
        alike = repr((sorted((_config(run.up_to_evaluate) | {"seed": None}).items()), sorted(read)))
        found.setdefault((alike, times[alike, run.seed]), []).append(run)
        times[alike, run.seed] += 1
    return [Repeated(tuple(some)) for some in found.values()]


def compared(tried: Sequence[Repeated]) -> list[Comparison | None]:
    """Each config's ranking beside the first one's, for the users whom both were tested on; None if there are none."""
    from crossrec_cli.evaluation.gate import Comparison  # noqa: PLC0415

    first, *others = tried
    found: list[Comparison | None] = []
    for other in others:
        try:
            found.append(Comparison.of(other.per_user, first.per_user, first.measure, 0.0))
        except InputError:
            found.append(None)
    return found


def _per_user(path: Path) -> pa.Table:
    artifact: Artifact | None = Store(path).current(EVALUATE)
    if artifact is None:
        raise ArtifactError(f"{path}: no evaluate artifact; run 'crossrec evaluate' there first")
    return parquet.read_table(artifact.file(PER_USER))


def _config(made: Iterable[Manifest]) -> dict[str, Any]:
    """Every field that these stages declare."""
    return {key: value for manifest in made for key, value in manifest.config.items()}


def differences(tried: Sequence[Repeated]) -> dict[str, list[Any]]:
    """The fields in which configs differ, with each one's value, seed by seed; None where one has no such field."""
    configs = [
        _config(each.runs[0].manifests.values()) | ({"seed": each.seeds} if len(each.seeds) > 1 else {})
        for each in tried
    ]
    keys = sorted({key for config in configs for key in config})
    rows = {key: [config.get(key) for config in configs] for key in keys}
    return {key: row for key, row in rows.items() if any(value != row[0] for value in row)}


def remove(run: Run) -> bool:
    """Delete what crossrec left in a run directory, and the directory if nothing else is in it.

    Returns:
        Whether the directory is gone.

    Raises:
        LockedError: if somebody works there.
    """
    with Store(run.path).lock():
        for path in [run.path / name for name in sorted(OF_A_RUN)]:
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
    """Whether somebody works there."""
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
    """How runs rank beside the first of them, and what in their configs differs; those of one config are one."""

    runs: list[Run]
    tried: list[Repeated]
    """The runs by config."""
    beside_first: list[Comparison | None]
    """Of each config but the first; None if they have no test user in common."""
    gains: list[list[tuple[str, Difference, float]]]
    """Of each config with several seeds, crossrec beside each other model."""
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
        tried = repeated(runs)
        beside_first = compared(tried)
        gains = [each.beside_others() if len(each.runs) > 1 else [] for each in tried]
        return cls(runs, tried, beside_first, gains, differences(tried))


class Removal(NamedTuple):
    """What became of a run that is to be removed."""

    run: Run
    busy: bool
    """Another process works there, so it stays."""
    whole: bool
    """Whether nothing is left of its directory, or would be."""


def remove_old(folder: Path, keep: int, dry_run: bool) -> Iterator[Removal]:
    """Remove all runs in a directory and below but the newest, one after another."""
    for run in runs_in(folder)[keep:]:
        if busy(run):
            yield Removal(run, True, False)
        else:
            yield Removal(run, False, dry_run or remove(run))
