"""Whether a run ranks worse than an earlier one by more than chance and another seed explain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import CASES, PER_USER
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.errors import InputError
from crossrec_cli.evaluation.significance import Difference


def deciding(per_user: pa.Table) -> str:
    """The measure by which runs are compared: NDCG@10, or NDCG at another length where there is none at 10."""
    names = [name for name in per_user.column_names if name.startswith("ndcg")]
    chosen: str = next((name for name in names if name.endswith("@10")), names[-1])
    return chosen


@dataclass(frozen=True)
class Comparison:
    """Two runs' rankings for the users who have a figure in both."""

    measure: str
    ours: float
    theirs: float
    difference: Difference
    tolerance: float
    unpaired: int
    """Users of both runs who have a figure in only one of them; they are in no mean."""

    @property
    def lost(self) -> bool:
        """Whether all of the 95 % interval is below the loss that the tolerance allows."""
        return self.difference.high < -self.tolerance * self.theirs

    @classmethod
    def of(cls, ours: pa.Table, theirs: pa.Table, measure: str, tolerance: float) -> Comparison:
        """Compare two per_user.parquet.

        Args:
            ours: this run's.
            theirs: the earlier run's.
            measure: such as ``ndcg@10``.
            tolerance: the share of the earlier figure that may be lost.

        Raises:
            InputError: if no user has a figure in both, or the earlier run lacks the measure.
        """
        if measure not in theirs.column_names:
            raise InputError(
                f"--against: the earlier run has no {measure}; evaluate it with the same evaluate.k, candidates and "
                "negatives"
            )
        tables = [
            table.filter(pc.equal(table[c.MODEL], c.CROSSREC))
            .select([c.USER_ID, measure])
            .rename_columns([c.USER_ID, name])
            for table, name in ((ours, "ours"), (theirs, "theirs"))
        ]
        joined = tables[0].join(tables[1], c.USER_ID, join_type="inner").sort_by(c.USER_ID)
        if not joined.num_rows:
            raise InputError("--against: the two runs have no test user in common")
        now, earlier = (joined[name].to_numpy() for name in ("ours", "theirs"))
        has_value = np.isfinite(np.stack([now, earlier]))
        paired = has_value.all(axis=0)
        if not paired.any():
            raise InputError(f"--against: no test user has {measure} in both runs")
        now, earlier = now[paired], earlier[paired]
        means = float(now.mean()), float(earlier.mean())
        return cls(
            measure, *means, Difference.of(now, earlier), tolerance, int((has_value.any(axis=0) & ~paired).sum())
        )


@dataclass(frozen=True)
class AgainstEarlier:
    """An evaluation compared with an earlier run's."""

    run_dir: Path
    """Directory of the earlier run."""
    comparison: Comparison
    users: int
    """The number of this run's test users."""
    same_test: bool
    same_evaluation: bool

    @classmethod
    def of(cls, ours: Artifact, theirs: Artifact, run_dir: Path, tolerance: float) -> AgainstEarlier:
        """Compare two artifacts of evaluate.

        Args:
            ours: this run's.
            theirs: the earlier run's.
            run_dir: the earlier run's directory.
            tolerance: the share of the earlier figure that may be lost.

        Raises:
            InputError: if they cannot be compared.
        """
        now, earlier = (parquet.read_table(artifact.file(PER_USER)) for artifact in (ours, theirs))
        result = cls(
            run_dir,
            Comparison.of(now, earlier, deciding(now), tolerance),
            len(now[c.USER_ID].unique()),
            ours.manifest.inputs[CASES] == theirs.manifest.inputs[CASES],
            ours.manifest.id == theirs.manifest.id,
        )
        if result.comparison.unpaired and result.same_test:
            raise InputError(
                f"{result.unpaired_users}, on the same test; evaluate both with the same evaluate.mask_seen, or retrain"
            )
        return result

    @property
    def unpaired_users(self) -> str:
        """How many users have a figure in only one of the runs."""
        pair = self.comparison
        return (
            f"--against: {pair.unpaired:,} of {pair.difference.users + pair.unpaired:,} users have {pair.measure} in "
            f"only one of this run and {self.run_dir}"
        )

    @property
    def sentence(self) -> str:
        """Both figures, and the difference with its 95 % interval."""
        pair, change = self.comparison, self.comparison.difference
        return (
            f"{pair.measure} {pair.ours:.4f}, {pair.theirs:.4f} in {self.run_dir}: {change.mean:+.4f} "
            f"({change.low:+.4f} to {change.high:+.4f}) over {change.users:,} users"
        )

    @property
    def loss(self) -> str:
        """The sentence of a run that ranks worse."""
        share = f"{self.comparison.tolerance:.0%}"
        return f"{self.sentence}, worse by more than chance and the {share} of evaluate.tolerance"
