"""preprocess: raw exports to clean, split, numbered tables."""

from __future__ import annotations

from crossrec_cli.artifacts import tables as t
from crossrec_cli.data import engine
from crossrec_cli.data.clean import clean
from crossrec_cli.data.split import split
from crossrec_cli.errors import InputError
from crossrec_cli.stages import CASES, INTERACTIONS, ITEMS, QUALITY, USERS, Job, Summary


def run(job: Job) -> Summary:
    """Read, clean, split, write."""
    with engine.connect(job.out / ".scratch", job.config.runtime) as connection:
        rows, items, users, funnel = clean(connection, job.config)
        rows, cases, items, users = split(connection, rows, items, users, job.config.split)
        engine.write(connection, rows, job.output(INTERACTIONS), t.INTERACTIONS)
        engine.write(connection, items, job.output(ITEMS), t.ITEMS)
        engine.write(connection, users, job.output(USERS), t.USERS)
        engine.write(connection, cases, job.output(CASES), t.CASES)
        t.write_table(
            job.output(QUALITY), t.QUALITY, {name: [r[name] for r in funnel.rows] for name in t.QUALITY.names}
        )
        by_domain = rows.group_by(t.DOMAIN).aggregate(n=rows.count(), items=rows[t.ITEM_ID].nunique())
        domains = {row[t.DOMAIN]: row for row in by_domain.to_pyarrow().to_pylist()}
        held_out = cases.group_by(t.SPLIT).aggregate(users=cases[t.USER_INDEX].nunique()).to_pyarrow().to_pylist()
    if t.TEST not in {row[t.SPLIT] for row in held_out}:
        raise InputError("split: holds out no test interaction; look at its dates and at data.min_interactions")
    return {
        "source_interactions": domains[t.SOURCE]["n"],
        "source_items": domains[t.SOURCE]["items"],
        "target_interactions": domains[t.TARGET]["n"],
        "target_items": domains[t.TARGET]["items"],
        **{f"{row[t.SPLIT]}_users": row["users"] for row in held_out},
    }
