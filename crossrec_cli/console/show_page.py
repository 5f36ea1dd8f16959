"""The evaluation's verdict, page and comparison with an earlier run on the terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from crossrec_cli.console.terminal import Console

if TYPE_CHECKING:  # SciPy and charts take a moment to import
    from crossrec_cli.evaluation.gate import AgainstEarlier
    from crossrec_cli.report.page_files import PageFiles


def page(console: Console, files: PageFiles) -> dict[str, Any]:
    """Print the verdict, and where the page is.

    Returns:
        The path of the page and its verdict, for ``--json``.
    """
    console.result(Text(files.verdict, style="bold"), always=False)
    console.remark(f"Page: {files.page}")
    if files.charts:
        console.remark(f"Charts: {files.charts}")
    if files.markdown is not None:
        console.result(Text(files.markdown), always=True)
    document = {"report": str(files.page), "verdict": files.verdict}
    return document | ({} if files.markdown is None else {"markdown": files.markdown})


def against(console: Console, result: AgainstEarlier) -> dict[str, Any]:
    """Print how an evaluation ranks compared with an earlier one, unless it is worse: the caller raises that error.

    Returns:
        The comparison, for ``--json``.
    """
    change, pair = result.comparison.difference, result.comparison
    if not result.same_test:
        console.warn(
            f"--against: {result.run_dir} was tested on other purchases; compared are the {change.users:,} of "
            f"{result.users:,} users that both were tested on"
        )
    if pair.unpaired:
        console.warn(f"{result.unpaired_users}; they are not compared")
    if not pair.lost:
        outcome = "the same evaluation" if result.same_evaluation else "no significant loss"
        console.result(Text(f"{result.sentence}, {outcome}."), always=False)
    return {
        "run_dir": str(result.run_dir),
        "measure": pair.measure,
        "ours": pair.ours,
        "theirs": pair.theirs,
        "unpaired": pair.unpaired,
        "same_test": result.same_test,
        "same_evaluation": result.same_evaluation,
    } | asdict(change)
