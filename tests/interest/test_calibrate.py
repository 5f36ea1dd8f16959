import numpy as np
from scipy.special import expit

from crossrec_cli.interest.calibrate import fit_platt


def test_a_planted_line_is_found():
    rng = np.random.default_rng(0)
    logits = rng.normal(3, 2, 200_000)
    bought = (rng.random(len(logits)) < expit(0.7 * logits - 5)).astype(float)
    scale, shift = fit_platt(logits, bought)
    assert abs(scale - 0.7) < 0.03
    assert abs(shift + 5) < 0.15


def test_a_ranking_never_turns_round():
    logits = np.linspace(-1, 1, 1000)
    scale, shift = fit_platt(logits, (logits < 0).astype(float))
    assert scale > 0
    assert abs(expit(scale * logits + shift).mean() - 0.5) < 0.01


def test_nobody_bought_anything():
    scale, shift = fit_platt(np.arange(10.0), np.zeros(10))
    assert np.isfinite([scale, shift]).all()


def test_logits_that_say_nothing_get_the_base_rate():
    scale, shift = fit_platt(np.full(1000, 0.3), np.repeat([1.0, 0.0], [200, 800]))
    assert abs(expit(scale * 0.3 + shift) - 0.2) < 0.01
    assert abs(expit(scale * 0.3001 + shift) - 0.2) < 0.01
