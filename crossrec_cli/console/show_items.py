"""The result of ``crossrec items add`` on the terminal."""

from __future__ import annotations

from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.console.terminal import Console


def added(console: Console, artifact: Artifact) -> dict[str, Any]:
    """Print how many rows of a file of new items were added, changed or removed.

    Returns:
        The same for ``--json``.
    """
    summary = artifact.manifest.summary
    parts = [(state, domain) for state in ("new", "existing") for domain in (c.SOURCE, c.TARGET)]
    rows = [(f"{state}, in the {domain}", summary[state][domain]) for state, domain in parts]
    rows += [(f"  with a changed {name}", count) for name, count in summary["changed"].items()]
    rows += [("existing as another platform's item, not changed", summary["linked"])]
    rows += [(f"removed: {reason}", count) for reason, count in summary["left_out"].items()]
    shown = [(label, f"{count:,}") for label, count in rows if count]
    shown += [("added in total, with earlier files", f"{summary['added_in_all']:,}")]
    console.table("Items of the file", ["", "items"], shown)
    if count := summary["new"][c.TARGET]:
        console.say(f"new in the lists of 'crossrec recommend' from now on: {count:,}")
    if count := summary["new"][c.SOURCE]:
        console.say(f"new in the source, for searches but not for lists: {count:,}")
    return {"path": str(artifact.path), "summary": summary}
