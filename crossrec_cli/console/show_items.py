"""What became of a file of new items, as people read it."""

from __future__ import annotations

from typing import Any

from crossrec_cli.artifacts import columns as c
from crossrec_cli.artifacts.store import Artifact
from crossrec_cli.console.terminal import Console


def added(console: Console, artifact: Artifact) -> dict[str, Any]:
    """Say what became of the rows of a file of new items.

    Returns:
        The same for ``--json``.
    """
    told = artifact.manifest.summary
    parts = [(what, domain) for what in ("new", "existing") for domain in (c.SOURCE, c.TARGET)]
    rows = [(f"{what}, in the {domain}", told[what][domain]) for what, domain in parts]
    rows += [(f"  with another {name}", count) for name, count in told["changed"].items()]
    rows += [("existing as another listing, which stays", told["linked"])]
    rows += [(f"left out: {reason}", count) for reason, count in told["left_out"].items()]
    shown = [(label, f"{count:,}") for label, count in rows if count]
    shown += [("added in all, with earlier ones", f"{told['added_in_all']:,}")]
    console.table("Items of the file", ["", "items"], shown)
    if count := told["new"][c.TARGET]:
        console.say(f"new in the lists of 'crossrec recommend' from now on: {count:,}")
    if count := told["new"][c.SOURCE]:
        console.say(f"new in the source, so that searches find them and no list holds them: {count:,}")
    return {"path": str(artifact.path), "summary": told}
