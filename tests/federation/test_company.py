"""Among how many a platform lets secure aggregation hide its answer."""

from __future__ import annotations

import pytest

from crossrec_cli.config.federation_fields import Federate
from crossrec_cli.errors import ConfigError

flower = pytest.importorskip("crossrec_cli.federation.flower", exc_type=ImportError)


def asked(sample: int, shares: int, threshold: int) -> dict[str, int]:
    return {flower.Key.SAMPLE_NUMBER: sample, flower.Key.SHARE_NUMBER: shares, flower.Key.THRESHOLD: threshold}


@pytest.mark.parametrize("settings", [(1, 1, 1), (2, 2, 2), (6, 6, 2), (6, 3, 4)])
def test_too_few_platforms_or_shares_hide_nothing(settings):
    federate = Federate(platforms=5)
    with pytest.raises(ConfigError, match="secure"):
        flower._check_company(asked(*settings), federate)
    flower._check_company(asked(*settings), Federate(platforms=5, secure=False))


def test_two_thirds_of_the_platforms_are_enough():
    flower._check_company(asked(4, 4, 3), Federate(platforms=5))
    flower._check_company(asked(2, 2, 2), Federate(platforms=3))
