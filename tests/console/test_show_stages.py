"""What the commands print of a stage's results."""

from __future__ import annotations

from types import SimpleNamespace

from crossrec_cli.artifacts.files import FINETUNE
from crossrec_cli.console import show_stages
from crossrec_cli.console.terminal import Console
from crossrec_cli.pipeline.run import Outcome


def test_scorer_shares_are_printed_the_largest_first_and_small_ones_not_at_all(capsys, tmp_path):
    def printed(shares: dict[str, float]) -> str:
        manifest = SimpleNamespace(wall_seconds=1.0, summary={"scorers": shares})
        made = SimpleNamespace(manifest=manifest, path=tmp_path)
        show_stages.outcome(Console(), Outcome(FINETUNE, made, False, "config and inputs unchanged"))
        return " ".join(capsys.readouterr().err.split())

    assert printed({"text": 0.245, "words": 0.015, "linear": 0.74}).endswith(": linear 74%, text 24%")
    assert "text" not in printed({"text": 0.0})
