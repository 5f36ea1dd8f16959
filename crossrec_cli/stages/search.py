"""search: index the items' words, and fit the weights of text and interest on purchases after queries."""

from __future__ import annotations

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import BLEND
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.evaluation.search_weights import tuned_weights, weights_row
from crossrec_cli.models.dataset import load_items
from crossrec_cli.ranking.search_score import DEFAULT, Words


def run(job: Job) -> Summary:
    """Index the words; then, where there are pairs of a query and a purchase, fit the weights on most of them."""
    items = load_items(job.inputs)
    columns = (items[name].to_pylist() for name in (c.TEXT, c.ITEM_ID))
    words = Words.of([f"{text or ''} {item}" for text, item in zip(*columns, strict=True)])
    words.save(job.out)
    rows = tuned_weights(job, words) if job.config.search.queries else [weights_row("default", DEFAULT, used=True)]
    parquet.write_table(
        job.output(BLEND), schemas.BLEND, {name: [row[name] for row in rows] for name in schemas.BLEND.names}
    )
    return {"items": items.num_rows, "blends": rows}
