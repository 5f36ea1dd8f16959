"""The five stages. Each is one function ``run(job)`` that loads, computes and leaves its files in ``job.out``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crossrec_cli.runtime.progress import Reporter

if TYPE_CHECKING:
    from crossrec_cli.config.schema import Config

PREPROCESS: Final = "preprocess"
PRETRAIN_ADAPT: Final = "pretrain-adapt"
FINETUNE: Final = "finetune"
EVALUATE: Final = "evaluate"
RECOMMEND: Final = "recommend"
TRANSFER: Final = "transfer"
SEARCH: Final = "search"
TUNE: Final = "tune"
ADDITIONS: Final = "items"
PIPELINE: Final = (PREPROCESS, PRETRAIN_ADAPT, FINETUNE, EVALUATE, RECOMMEND)
"""What ``crossrec run`` runs."""

# Every file that a stage writes, as stage/name.
INTERACTIONS: Final = "preprocess/interactions.parquet"
ITEMS: Final = "preprocess/items.parquet"
USERS: Final = "preprocess/users.parquet"
CASES: Final = "preprocess/cases.parquet"
QUALITY: Final = "preprocess/quality.parquet"
QUALITY_PAGE: Final = "preprocess/quality.html"
REJECTED: Final = "preprocess/rejected.parquet"
ITEM_LINKS: Final = "preprocess/item_links.parquet"
LISTINGS: Final = "preprocess/listings.parquet"
ITEM_TEXT: Final = "pretrain-adapt/item_text.parquet"
LANGUAGE_MODEL: Final = "pretrain-adapt/language_model.safetensors"
TAG_NAMES: Final = "pretrain-adapt/tags.parquet"
ADAPTED: Final = "pretrain-adapt/model.safetensors"
ADAPT_LEARNING: Final = "pretrain-adapt/history.parquet"
ADDED: Final = "items/added_items.parquet"
UPDATED: Final = "items/updated_items.parquet"
ITEM_VECTORS: Final = "finetune/item_vectors.parquet"
FUSION: Final = "finetune/fusion.parquet"
WEIGHTS: Final = "finetune/scorers.safetensors"
TERMS: Final = "finetune/terms.parquet"
FUSED: Final = (ITEM_VECTORS, FUSION, WEIGHTS, TERMS)
FINETUNE_LEARNING: Final = "finetune/history.parquet"
METRICS: Final = "evaluate/metrics.parquet"
SIGNIFICANCE: Final = "evaluate/significance.parquet"
EXAMPLES: Final = "evaluate/examples.parquet"
FEEDBACK: Final = "evaluate/feedback.parquet"
ACCURACY: Final = "evaluate/accuracy.parquet"
CALIBRATION: Final = "evaluate/calibration.parquet"
PER_USER: Final = "evaluate/per_user.parquet"
TRANSFER_TABLE: Final = "transfer/transfer.parquet"
RECOMMENDATIONS: Final = "recommend/recommendations.parquet"
RECOMMENDATIONS_CSV: Final = "recommend/recommendations.csv"
RECOMMENDATIONS_JSONL: Final = "recommend/recommendations.jsonl"
BLEND: Final = "search/blend.parquet"
TRIALS: Final = "tune/trials.parquet"
TUNED: Final = "tune/best.yaml"
FOUND: Final = "found.parquet"
"""In the run directory itself: what the queries of a file found."""

Summary = dict[str, Any]
"""A stage's own figures, as JSON values, for the manifest and the screen."""


@dataclass(frozen=True)
class Job:
    """What a stage is given."""

    config: Config
    inputs: Mapping[str, Path]
    """The files that the pipeline's table says it reads, by stage/name; it can reach no others."""
    out: Path
    """An empty directory for its files; what is in it when it returns becomes the artifact."""
    report: Reporter
    checkpoint: Path
    """Where training keeps what a killed run goes on from; gone once the stage is done."""
    code: str = ""
    """The versions of crossrec and of the stage: what other code has begun is not continued."""

    def output(self, file: str) -> Path:
        """Where to write one of its own files."""
        return self.out / Path(file).name
