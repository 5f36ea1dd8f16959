"""What readers of finished stages look at: artifacts and the config, and nothing that only an earlier stage reads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from crossrec_cli.config.load import load_config
from crossrec_cli.data import engine
from crossrec_cli.errors import ArtifactError, InputError
from crossrec_cli.pipeline.current import inputs_of, up_to_date
from crossrec_cli.pipeline.plan import RUNS, plan
from crossrec_cli.pipeline.table import STAGES
from crossrec_cli.reporting import Silent
from crossrec_cli.serving.events import Events
from crossrec_cli.serving.live import Service
from crossrec_cli.stages import ADDITIONS, EVALUATE, FINETUNE, PIPELINE, PREPROCESS, RECOMMEND, SEARCH, TRANSFER

READERS = [stage.name for stage in STAGES if stage.upstream]
ENCODE_TEXTS = {ADDITIONS, TRANSFER, SEARCH}


def test_a_finished_chain_is_enough_for_all_that_reads_it(trained):
    config = load_config(trained.path)
    model = Path(config.encoder.model)
    kept = model.rename(trained.folder / "away")
    for raw in trained.folder.glob("*.parquet"):
        raw.write_bytes(b"rubbish")
    try:
        for stage in READERS:
            if stage not in ENCODE_TEXTS:
                assert inputs_of(config, stage)
        assert up_to_date(config, EVALUATE, Silent()).manifest.stage == EVALUATE
        service = Service(config, None, Silent(), Events(9))
        assert service.live.recommend("jazz1", (), (), 3)
    finally:
        kept.rename(model)
    with pytest.raises(InputError, match=r"items\.parquet|interactions\.parquet|users\.parquet"):
        plan(config, PIPELINE, force=True)
