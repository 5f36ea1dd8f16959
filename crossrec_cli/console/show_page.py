"""The evaluation's page and its comparison with an earlier run, as people read them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from crossrec_cli.console.terminal import Console

if TYPE_CHECKING:  # SciPy and charts take a moment to import
    from crossrec_cli.evaluation.gate import AgainstEarlier
    from crossrec_cli.report.page_files import PageFiles


def page(console: Console, files: PageFiles) -> dict[str, Any]:
    """Say what the page says first, and where it is.

    Returns:
        Where it is and its verdict, for ``--json``.
    """
    console.result(Text(files.verdict, style="bold"), wanted=False)
    console.remark(f"The page: {files.page}")
    if files.charts:
        console.remark(f"Its charts: {files.charts}")
    if files.markdown is not None:
        console.result(Text(files.markdown), wanted=True)
    told = {"report": str(files.page), "verdict": files.verdict}
    return told | ({} if files.markdown is None else {"markdown": files.markdown})


def against(console: Console, found: AgainstEarlier) -> dict[str, Any]:
    """Say how an evaluation ranks beside an earlier one, unless it ranks worse, which is an error to tell.

    Returns:
        The comparison, for ``--json``.
    """
    change, pair = found.comparison.difference, found.comparison
    if not found.same_test:
        console.warn(
            f"--against: {found.run_dir} was tested on other purchases; compared are {change.users:,} of "
            f"{found.users:,} users, those whom both were tested on"
        )
    if pair.unpaired:
        console.warn(f"{found.unpaired_users}; they are not compared")
    if not pair.lost:
        outcome = "the same evaluation" if found.same_evaluation else "no significant loss"
        console.result(Text(f"{found.sentence}, {outcome}."), wanted=False)
    return {
        "run_dir": str(found.run_dir),
        "measure": pair.measure,
        "ours": pair.ours,
        "theirs": pair.theirs,
        "unpaired": pair.unpaired,
        "same_test": found.same_test,
        "same_evaluation": found.same_evaluation,
    } | asdict(change)
