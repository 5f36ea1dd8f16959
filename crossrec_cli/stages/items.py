"""items: what is for sale since training, read by the same language model; nothing is trained again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli import runtime
from crossrec_cli.artifacts import tables as t
from crossrec_cli.artifacts.store import hash_file
from crossrec_cli.config.data import Data
from crossrec_cli.config.schema import Config
from crossrec_cli.data import engine
from crossrec_cli.data.catalogue import more_items
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.errors import ConfigError
from crossrec_cli.stages import ADDED, ITEMS, Job, Summary
from crossrec_cli.stages.language import load_encoder
from crossrec_cli.stages.load import texts_of


def run(job: Job, file: Path, platform: str | None) -> Summary:
    """Write the items added before and those of a file; what the catalogue has is left out.

    Args:
        job: its inputs have the earlier additions, where these are of the same catalogue.
        file: in the shape of the platform's items file.
        platform: whose they are; None where there is one.

    Raises:
        ConfigError: if it is not clear whose they are.
        InputError: if the file cannot be used.
    """
    config = job.config
    index, sha256 = _place(config.data, platform), hash_file(file)
    compute = runtime.prepare(config.runtime, config.seed)
    known = t.read_table(job.inputs[ITEMS], [t.ITEM_ID])[t.ITEM_ID]
    given, left_out = _read(job, index, file, known)
    encoder = load_encoder(config.encoder, job.inputs, compute)
    texts = texts_of(given)
    with job.report.progress("reading item texts", len(set(texts)), "texts") as advance:
        read = encoder.embed(texts, advance)
    before = _Additions.load(job.inputs[ADDED]) if ADDED in job.inputs else _Additions.none(encoder.width)
    added = before.followed_by(given, read)
    columns = dict(zip(given.column_names, added.items.columns, strict=True)) | {
        t.ITEM_INDEX: np.arange(len(known), len(known) + added.items.num_rows),
        t.EMBEDDING: t.vector_column(added.embeddings),
    }
    t.write_table(job.output(ADDED), t.added_items(encoder.width), columns)
    domains = given[t.DOMAIN].to_pylist()
    return {
        "file": str(file),
        "sha256": sha256,
        **{name: domains.count(name) for name in (t.SOURCE, t.TARGET)},
        "left_out": left_out,
        "added_in_all": added.items.num_rows,
    }


def _place(data: Data, platform: str | None) -> int:
    """Which of the config's platforms is meant."""
    names = [shop.name for shop in data.platforms]
    if platform is None and len(names) == 1:
        return 0
    if platform not in names:
        wrong = "name one" if platform is None else f"there is no '{platform}'"
        raise ConfigError([f"--platform: {wrong}; the config has {', '.join(names)}"])
    return names.index(platform)


def _read(job: Job, index: int, file: Path, known: pa.ChunkedArray) -> tuple[pa.Table, dict[str, int]]:
    """The file's items that the catalogue lacks, as rows of ``tables.ITEMS``, and how many were left out and why."""
    config: Config = job.config
    with engine.connect(config.data.engine, job.out / ".scratch", config.runtime) as tables:
        ledger = Ledger(tables, config.data.clean)
        found = tables.fetch(
            more_items(tables, config.data, config.domains, index, str(file), ledger).order_by(t.ITEM_ID)
        )
    left_out = {reason: int(count) for measure, reason, _, count in ledger.measures if measure == "removed"}
    tests = {
        "already in the catalogue": pc.is_in(found[t.ITEM_ID], known.combine_chunks()),
        "outside the domains": pc.is_null(found[t.DOMAIN]),
    }
    if config.data.clean.items_without_text != "keep":
        tests["item without text"] = pc.is_null(found[t.TEXT])
    kept = pa.chunked_array([np.ones(found.num_rows, bool)])
    for reason, met in tests.items():
        left_out[reason] = pc.sum(pc.and_(kept, met)).as_py() or 0
        kept = pc.and_not(kept, met)
    found = found.filter(kept)
    nothing = {t.ITEM_INDEX: pa.nulls(found.num_rows), t.PRICE_BAND: pa.nulls(found.num_rows)}
    columns = dict(zip(found.column_names, found.columns, strict=True)) | nothing
    return pa.table(columns).select(t.ITEMS.names).cast(t.ITEMS), left_out


@dataclass(frozen=True)
class _Additions:
    """Items that came after training."""

    items: pa.Table
    """Rows of ``tables.ITEMS``."""
    embeddings: npt.NDArray[np.float32]
    """(items, width)."""

    @classmethod
    def none(cls, width: int) -> _Additions:
        return cls(t.ITEMS.empty_table(), np.empty((0, width), np.float32))

    @classmethod
    def load(cls, path: Path) -> _Additions:
        return cls(t.read_table(path, t.ITEMS.names), t.read_embeddings(path))

    def followed_by(self, items: pa.Table, embeddings: npt.NDArray[np.float32]) -> _Additions:
        """These and further ones, which take the place of those with the same ids."""
        stay = t.places(self.items[t.ITEM_ID], items[t.ITEM_ID]) < 0
        kept = self.items.filter(pa.array(stay))
        return _Additions(pa.concat_tables([kept, items]), np.concatenate([self.embeddings[stay], embeddings]))
