"""added-items: items that came after training, embedded by the same language model, without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.file_hashes import hash_file
from crossrec_cli.artifacts.files import ADDED, FUSED, ITEMS, UPDATED
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.data.items_file import ItemChange, platform_index, read_items_file
from crossrec_cli.models.additions import Additions
from crossrec_cli.models.dataset import load_fused, texts_of, with_rows
from crossrec_cli.models.saved import write_vectors
from crossrec_cli.runtime import device
from crossrec_cli.text.encoders import load_encoder


def run(job: Job, file: Path, platform: str | None) -> Summary:
    """Write the items added earlier and those of a file, and its changes of existing items.

    Args:
        job: its inputs have the earlier additions, where these are of the same catalogue.
        file: in the shape of the platform's items file.
        platform: the platform of the items; None where there is only one.

    Raises:
        ConfigError: if the platform is not clear.
        InputError: if the file cannot be used.
    """
    config, inputs = job.config, job.inputs
    index, sha256 = platform_index(config.data, platform), hash_file(file)
    compute = device.prepare(config.runtime, config.seed)
    catalogue = parquet.read_table(inputs[ITEMS], schemas.ITEMS.names).cast(schemas.ITEMS)
    updated = parquet.read_table(inputs[UPDATED]) if UPDATED in inputs else schemas.ITEMS.empty_table()
    encoder = load_encoder(config.encoder, inputs, compute)
    fused = load_fused({file: inputs[file] for file in FUSED}, config.interest)
    earlier_additions = Additions.load(inputs[ADDED], fused) if ADDED in inputs else Additions.none(fused)
    items_read, rejected, linked = read_items_file(job, index, file, catalogue)
    items_before = pa.concat_tables([with_rows(catalogue, updated), earlier_additions.items])
    change = ItemChange.of(items_read, items_before, rejected, keep=config.data.clean.items_without_text == "keep")
    of_catalogue = pc.less(change.rows[c.ITEM_INDEX], len(catalogue))
    items_read = pa.concat_tables([change.rows.filter(pc.invert(of_catalogue)), change.new])
    texts = texts_of(items_read)
    with job.report.progress("reading item texts", len(set(texts)), "texts") as advance:
        embeddings = encoder.embed(texts, advance)
    added = earlier_additions.followed_by(items_read, fused.new_vectors(items_read, embeddings))
    item_indices = pa.array(np.arange(len(catalogue), len(catalogue) + added.items.num_rows), pa.int32())
    column = added.items.column_names.index(c.ITEM_INDEX)
    write_vectors(job.output(ADDED), added.items.set_column(column, c.ITEM_INDEX, item_indices), added.vectors)
    catalogue_changes = change.rows.filter(of_catalogue)
    unchanged = parquet.row_indices(updated[c.ITEM_INDEX], catalogue_changes[c.ITEM_INDEX]) < 0
    updated = pa.concat_tables([updated.filter(pa.array(unchanged)), catalogue_changes]).sort_by(c.ITEM_INDEX)
    pq.write_table(updated, job.output(UPDATED), compression="zstd")
    return {
        "file": str(file),
        "sha256": sha256,
        "new": _by_domain(change.new),
        "existing": _by_domain(change.existing),
        "changed": change.changed,
        "linked": linked,
        "left_out": rejected,
        "added_in_all": added.items.num_rows,
        "changed_in_all": updated.num_rows,
    }


def _by_domain(items: pa.Table) -> dict[str, int]:
    domains = items[c.DOMAIN].to_pylist()
    return {name: domains.count(name) for name in (c.SOURCE, c.TARGET)}
