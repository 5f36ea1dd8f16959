"""A run's artifacts as the page needs them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pyarrow as pa

from crossrec_cli import __version__
from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet
from crossrec_cli.artifacts.files import (
    ACCURACY,
    ADAPT_LEARNING,
    CALIBRATION,
    EVALUATE,
    EXAMPLES,
    FEEDBACK,
    FINETUNE,
    FINETUNE_LEARNING,
    FUSION,
    ITEMS,
    METRICS,
    PREPROCESS,
    PRETRAIN_ADAPT,
    QUALITY,
    RECOMMEND,
    SIGNIFICANCE,
    SOURCE_SHARE,
    TRANSFER,
    TRANSFER_TABLE,
)
from crossrec_cli.artifacts.store import Artifact, Manifest
from crossrec_cli.config.schema import Report
from crossrec_cli.evaluation.drift import Drift
from crossrec_cli.ranking.reason_sentences import language_of
from crossrec_cli.report.translator import IN_ENGLISH, TRANSLATORS, Translator

CROSSREC = c.CROSSREC
SHOWN = (PREPROCESS, PRETRAIN_ADAPT, FINETUNE, EVALUATE, RECOMMEND)
Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What a run's artifacts hold."""

    metrics: pa.Table
    significance: pa.Table
    accuracy: pa.Table
    calibration: pa.Table
    examples: pa.Table
    feedback: pa.Table
    """Empty where there is no feedback file."""
    source_share: pa.Table
    """Empty where source and target are the same items."""
    quality: pa.Table
    shown: Report
    """What the page may show of people."""
    fusion: pa.Table
    learning: Mapping[str, pa.Table]
    """learning_curve.parquet of each training stage."""
    transfer: pa.Table | None
    """None unless ``crossrec transfer`` was run with the settings and inputs of this run's training."""
    transfer_is_stale: str | None
    """How its settings or inputs differ from this run's training; None if they do not, or if it was not run."""
    manifests: Sequence[Manifest]
    """One for each stage that was run, in the order of the stages."""
    digest: str
    """A hash of all of them: a page of the same facts is the same."""
    translate: Translator
    """Into the page's language."""

    @property
    def in_english(self) -> Facts:
        """The same, for what is English in every shop: the terminal, ``--json``, Markdown and the model card."""
        return replace(self, translate=IN_ENGLISH)

    @property
    def evaluated(self) -> Manifest:
        """The evaluation's manifest."""
        return next(manifest for manifest in self.manifests if manifest.stage == EVALUATE)

    @property
    def same_items(self) -> bool:
        """Whether the target is the whole catalogue, so that source and target are the same items."""
        preprocessed = next(manifest for manifest in self.manifests if manifest.stage == PREPROCESS)
        return list(preprocessed.config["domains.target.category"]) == ["*"]

    @cached_property
    def drifts(self) -> list[Drift]:
        """How far preprocess's and recommend's files are from those that they replaced, where they replaced some."""
        return [drift for manifest in self.manifests if (drift := Drift.of_summary(manifest.summary))]

    @cached_property
    def k(self) -> int:
        """The list length that the page reports: 10 where it was measured, else the largest."""
        ks = sorted(set(self.metrics[c.K].to_pylist()))
        return 10 if 10 in ks else int(ks[-1])

    @cached_property
    def ndcg(self) -> str:
        """NDCG's name in the tables; it has the number of sampled candidates, if there are any."""
        names: list[str] = self.metrics[c.METRIC].to_pylist()
        return next(name for name in names if name.startswith("ndcg"))

    @cached_property
    def figures(self) -> dict[tuple[str, str, str], Row]:
        """The rows of metrics.parquet at ``k``, by segment, model and metric."""
        rows = self.metrics.to_pylist()
        return {(row[c.SEGMENT], row[c.MODEL], row[c.METRIC]): row for row in rows if row[c.K] == self.k}

    @cached_property
    def gains(self) -> dict[str, Row]:
        """Crossrec's gain in NDCG over each other model."""
        rows = self.significance.to_pylist()
        return {row[c.MODEL]: row for row in rows if row[c.K] == self.k and row[c.METRIC] == self.ndcg}

    @cached_property
    def scorer_shares(self) -> dict[int, dict[str, float]]:
        """Each scorer's share in the ranking, by length of target history."""
        sizes: dict[int, dict[str, float]] = {}
        for row in self.fusion.to_pylist():
            if row[c.SCORER]:
                at_length = sizes.setdefault(row[c.TARGET_HISTORY_LENGTH], {})
                size = abs(row[c.WEIGHT] * row[c.SPREAD])
                at_length[row[c.SCORER]] = at_length.get(row[c.SCORER], 0.0) + size
        return {length: _shares(at_length) for length, at_length in sorted(sizes.items())}

    @classmethod
    def of(cls, artifacts: Mapping[str, Artifact], shown: Report, transfer_is_stale: str | None) -> Facts:
        """The facts of a run whose evaluation is up to date; see ``pipeline.evaluated.read_facts``.

        Args:
            artifacts: its artifacts, by stage.
            shown: what the page may show of people.
            transfer_is_stale: how transfer's settings or inputs differ from this run's training.

        Raises:
            ArtifactError: if one of its artifacts is damaged.
        """

        def table(file: str) -> pa.Table:
            return parquet.read_table(artifacts[file.partition("/")[0]].file(file))

        items = parquet.read_table(artifacts[PREPROCESS].file(ITEMS), [c.DOMAIN, c.LANGUAGE])
        ids = {stage: artifact.manifest.id for stage, artifact in artifacts.items()}
        sources = repr((__version__, ids, shown, transfer_is_stale))
        return cls(
            metrics=table(METRICS),
            significance=table(SIGNIFICANCE),
            accuracy=table(ACCURACY),
            calibration=table(CALIBRATION),
            examples=table(EXAMPLES),
            feedback=table(FEEDBACK),
            source_share=table(SOURCE_SHARE),
            quality=table(QUALITY),
            shown=shown,
            fusion=table(FUSION),
            learning={PRETRAIN_ADAPT: table(ADAPT_LEARNING), FINETUNE: table(FINETUNE_LEARNING)},
            transfer=table(TRANSFER_TABLE) if TRANSFER in artifacts and not transfer_is_stale else None,
            transfer_is_stale=transfer_is_stale,
            manifests=[artifacts[stage].manifest for stage in SHOWN if stage in artifacts],
            digest=hashlib.sha256(sources.encode()).hexdigest(),
            translate=TRANSLATORS[language_of(shown.language, items)],
        )


def _shares(sizes: Mapping[str, float]) -> dict[str, float]:
    """Each size as a share of their sum; 0 if all are 0."""
    total = sum(sizes.values()) or 1.0
    return {name: size / total for name, size in sizes.items()}
