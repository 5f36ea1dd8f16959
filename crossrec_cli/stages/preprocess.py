"""preprocess: raw exports to clean, split, numbered tables."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts import parquet, schemas
from crossrec_cli.artifacts.files import (
    CASES,
    INTERACTIONS,
    ITEM_LINKS,
    ITEMS,
    LISTINGS,
    QUALITY,
    QUALITY_PAGE,
    REJECTED,
    USERS,
)
from crossrec_cli.artifacts.job import Job, Summary
from crossrec_cli.config.identity_fields import Identity
from crossrec_cli.data import engine, leaks, quality_measures
from crossrec_cli.data.clean import clean
from crossrec_cli.data.ledger import Ledger
from crossrec_cli.data.split import split
from crossrec_cli.evaluation.drift import Drift, Snapshot, judged
from crossrec_cli.report.quality_page import page


def run(job: Job) -> Summary:
    """Read, clean, split and write the tables, then check them for leaks."""
    data = job.config.data
    with engine.connect(data.engine, job.out / ".scratch", job.config.runtime) as tables:
        ledger = Ledger(tables, data.clean)
        cleaned = clean(tables, job.config, ledger)
        done = split(tables, cleaned, job.config, ledger)
        for warning in ledger.warnings:
            job.report.warn(warning)
        tables.write(done.interactions, job.output(INTERACTIONS), schemas.INTERACTIONS)
        tables.write(done.items, job.output(ITEMS), schemas.ITEMS)
        tables.write(done.users, job.output(USERS), schemas.USERS)
        tables.write(done.cases, job.output(CASES), schemas.CASES)
        ledger.write(job.output(REJECTED))
        if cleaned.item_links is None:
            parquet.write_table(
                job.output(ITEM_LINKS), schemas.ITEM_LINKS, schemas.ITEM_LINKS.empty_table().to_pydict()
            )
        else:
            tables.write(cleaned.item_links, job.output(ITEM_LINKS), schemas.ITEM_LINKS)
        if len(data.platforms) > 1 or data.identity != Identity():
            ids = cleaned.item_ids.inner_join(done.items.select(c.ITEM_KEY, c.ITEM_INDEX), c.ITEM_KEY)
            ids = ids.order_by(c.ITEM_INDEX, c.PLATFORM, c.PLATFORM_ITEM_ID)
            tables.write(ids, job.output(LISTINGS), schemas.LISTINGS)
        interactions, cases, items = (job.output(name) for name in (INTERACTIONS, CASES, ITEMS))
        for warning in leaks.check(tables, interactions, cases, items, job.config.split):
            job.report.warn(warning)
        measured = quality_measures.measure(tables, done, data, ledger)
    parquet.write_table(job.output(QUALITY), schemas.QUALITY, measured.to_pydict())
    drift = None
    if job.earlier:
        files = Snapshot(interactions, items, job.output(USERS))
        drift = Drift.of(files, Snapshot.of(job.earlier))
    job.output(QUALITY_PAGE).write_text(page(measured, drift), encoding="utf-8")
    summary = _summary(measured, parquet.read_table(job.output(CASES), [c.SPLIT, c.USER_INDEX]))
    return summary | (judged(drift, job.config.drift, job.report) if drift else {})


def _summary(measured: pa.Table, cases: pa.Table) -> Summary:
    sizes = {(row[c.MEASURE], row[c.LABEL]): row[c.VALUE] for row in measured.to_pylist()}
    pairs = [(domain, name) for domain in (c.SOURCE, c.TARGET) for name in ("interactions", "items")]
    summary = {f"{domain}_{name}": int(sizes.get((name, domain), 0)) for domain, name in pairs}
    for name in (c.VALID, c.TEST):
        users = cases.filter(pc.equal(cases[c.SPLIT], name))[c.USER_INDEX]
        summary[f"{name}_users"] = pc.count_distinct(users).as_py()
    return summary
