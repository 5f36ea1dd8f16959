"""What readers of finished stages look at: artifacts and the config, and nothing that only an earlier stage reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from facts import fails

from crossrec_cli.artifacts.files import ADDITIONS, EVALUATE, FINETUNE, PIPELINE, PREPROCESS, SEARCH, TRANSFER
from crossrec_cli.artifacts.job import Job
from crossrec_cli.config.load import load_config
from crossrec_cli.data import raw_files
from crossrec_cli.errors import ArtifactError
from crossrec_cli.pipeline import changes
from crossrec_cli.pipeline.changes import basis_of
from crossrec_cli.pipeline.current import inputs_of, read_by, up_to_date
from crossrec_cli.pipeline.plan import MAY_RUN, RUNS, UP_TO_DATE, plan
from crossrec_cli.pipeline.table import BY_NAME, STAGES
from crossrec_cli.runtime.progress import Silent
from crossrec_cli.serving.event_store import Events
from crossrec_cli.serving.live import Service
from crossrec_cli.text import find

READERS = [stage.name for stage in STAGES if stage.upstream]


def test_a_finished_chain_is_enough_for_all_that_reads_it(trained):
    config = load_config(trained.path)
    model = Path(config.encoder.model)
    kept = model.rename(trained.folder / "away")
    for raw in trained.folder.glob("*.parquet"):
        raw.write_bytes(b"rubbish")
    try:
        for stage in READERS:
            if not BY_NAME[stage].encodes_texts:
                assert inputs_of(config, stage)
        assert up_to_date(config, EVALUATE, Silent()).manifest.stage == EVALUATE
        service = Service(config, None, Silent(), Events(9))
        assert service.live.recommend("jazz1", (), (), 3)
    finally:
        kept.rename(model)
    changed = plan(config, PIPELINE)[0]
    assert (changed.stage, changed.does, len(changed.reasons)) == (PREPROCESS, RUNS, 3)


def test_what_was_read_from_a_network_counts_until_it_is_read_again(trained, monkeypatch):
    """No two looks at a network are the same, so each run reads it; what has been read stays good for all others."""
    config = load_config(trained.path)
    monkeypatch.setattr(raw_files, "is_address", lambda path: True)
    for stage in READERS:
        assert inputs_of(config, stage)
    does = {step.stage: step.does for step in plan(config, PIPELINE)}
    assert does == {PREPROCESS: RUNS} | dict.fromkeys(PIPELINE[1:], MAY_RUN)
    assert {step.does for step in plan(config, PIPELINE[1:])} == {UP_TO_DATE}


def test_who_encodes_texts_needs_the_language_model_that_read_the_items(trained, monkeypatch):
    config = load_config(trained.path)
    assert {stage.name for stage in STAGES if stage.encodes_texts} == {ADDITIONS, TRANSFER, SEARCH}
    monkeypatch.setattr(find, "fingerprint", lambda *_: {"config.json": "of another model"})
    for stage in READERS:
        if BY_NAME[stage].encodes_texts:
            with fails(ArtifactError, "crossrec pretrain-adapt"):
                inputs_of(config, stage)
        else:
            assert inputs_of(config, stage)


@pytest.mark.parametrize(("field", "runs"), [("evaluate.tolerance=0.2", False), ("evaluate.k=[3]", True)])
def test_the_tolerance_of_a_comparison_does_not_evaluate_again(trained, field, runs):
    config = load_config(trained.path, [field])
    (step,) = (step for step in plan(config, PIPELINE) if step.stage == EVALUATE)
    assert (step.does == RUNS) is runs


def test_a_stage_cannot_read_a_field_that_it_does_not_declare(trained):
    config = load_config(trained.path)
    stage = replace(BY_NAME[EVALUATE], fields=("evaluate", "interest", "split.seed"))  # without the seed
    job = Job(config, inputs_of(config, EVALUATE), trained.folder, Silent(), trained.folder / "checkpoint")
    with pytest.raises(AttributeError, match="seed"):
        stage.run(job)


def test_other_code_does_not_continue_what_was_begun(trained, monkeypatch):
    """The name of a checkpoint, and of the parts of lists, is this digest."""
    config, stage = load_config(trained.path), BY_NAME[FINETUNE]
    current = read_by(config, FINETUNE, Silent())
    digests = {basis_of(stage, config, current).digest, basis_of(stage, config, current).digest}
    digests.add(basis_of(replace(stage, version=stage.version + 1), config, current).digest)
    monkeypatch.setattr(changes, "__version__", "99.0.0")
    digests.add(basis_of(stage, config, current).digest)
    assert len(digests) == 3
