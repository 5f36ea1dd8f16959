"""What the commands say of a stage's results."""

from __future__ import annotations

from types import SimpleNamespace

from crossrec_cli.artifacts.files import FINETUNE
from crossrec_cli.console import show_stages
from crossrec_cli.console.terminal import Console
from crossrec_cli.pipeline.run import Outcome


def test_what_counts_is_told_the_most_first_and_of_a_model_that_knows_nothing(capsys, tmp_path):
    def told(shares: dict[str, float]) -> str:
        manifest = SimpleNamespace(wall_seconds=1.0, summary={"scorers": shares})
        made = SimpleNamespace(manifest=manifest, path=tmp_path)
        show_stages.outcome(Console(), Outcome(FINETUNE, made, False, "config and inputs unchanged"))
        return " ".join(capsys.readouterr().err.split())

    assert told({"text": 0.245, "words": 0.015, "linear": 0.74}).endswith("what counts: linear 74%, text 24%")
    assert told({"text": 0.0}).endswith("what counts: nothing, as no scorer tells items apart")
