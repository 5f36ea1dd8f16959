from __future__ import annotations

from dataclasses import replace

import numpy as np
import shops

from crossrec_cli.evaluation.baselines import Shop
from crossrec_cli.interest.batches import Ragged
from crossrec_cli.models.base import TrainingData
from crossrec_cli.stages.evaluate import _different


def test_a_baseline_that_is_another_one_on_these_data_is_left_out():
    data, valid, _ = shops.shop("text", users=20)
    names = ["popularity", "tag_popularity", "ease_target", "ease"]

    def different(data: TrainingData) -> list[str]:
        return _different(names, Shop(data, np.flatnonzero(data.is_target), valid, True, 0))

    assert different(data) == ["popularity", "ease_target", "ease"], "nobody has a tag"
    tagged = replace(data, histories=replace(data.histories, tags=Ragged.of([[0]] * 20)))
    assert different(tagged) == names
