"""How many parameters the quotes decide."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from tests.small_models import Flat

SURFACE = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.2, 0.2, 0.2]], forward=100.0)


class Towards(jc.AbstractPrior):
    weight: float

    def __call__(self, model: Any):
        return jnp.atleast_1d(self.weight * (model.sigma - 0.3))


@pytest.mark.parametrize("weight", [0.0, 1.0, 3.0])
def test_a_prior_decides_its_share(weight):
    """Three quotes say sigma once each, the prior weight^2 times."""
    fit = jc.calibrate(Flat, SURFACE, prior=Towards(weight))
    assert fit.effective_parameters == pytest.approx(3.0 / (3.0 + weight**2), rel=1e-9)
    assert f"effective parameters  {fit.effective_parameters:>12.1f}" in fit.summary()


def test_without_a_prior_it_is_what_is_free():
    assert jc.calibrate(Flat, SURFACE).effective_parameters == 1.0
    assert jc.calibrate(Flat, SURFACE, bounds={"sigma": (0.3, 1.0)}).effective_parameters == 0.0
    nothing = jc.Surface.from_vols([0.5], [90.0], [[np.nan]], forward=100.0)
    assert np.isnan(jc.calibrate(Flat, nothing).effective_parameters)


def test_smoothness_is_of_the_clock_and_not_of_factors():
    model = jc.ClockedHestonJumps.of(jc.Heston(0.04, 2.0, 0.05, 0.6, -0.7), [0.5, 1.0], [1.0, 2.0], factors=3, jumps=2)
    np.testing.assert_allclose(jc.Smoothness(1.0)(model), [np.log(2.0)], rtol=1e-14)
