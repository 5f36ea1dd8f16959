"""A stage's view of the config."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossrec_cli.config.declared import only
from crossrec_cli.config.load import load_config

CONFIG = load_config(Path(__file__).parents[2] / "configs/demo.yaml")


def test_only_the_declared_fields_can_be_read():
    view = only(CONFIG, ("seed", "interest", "evaluate.mask_seen"))
    assert view.seed == CONFIG.seed
    assert view.interest == CONFIG.interest
    assert view.evaluate.mask_seen == CONFIG.evaluate.mask_seen
    for undeclared in (lambda: view.split, lambda: view.evaluate.k, lambda: view.finetune.refit):
        with pytest.raises(AttributeError):
            undeclared()


def test_the_config_itself_keeps_all_fields():
    only(CONFIG, ("seed",))
    assert CONFIG.evaluate.k
