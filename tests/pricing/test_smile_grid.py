"""SmileGrid: the prices of a smile model are Black's at its volatilities, row by row."""

import jax.numpy as jnp
import numpy as np

import jaxcal as jc
from jaxcal.pricing.smile_grid import SmileGrid

GRID = SmileGrid(
    expiry=jnp.asarray([0.1, 1.0]),
    forward=jnp.asarray([100.0, 103.0]),
    strike=jnp.asarray([[70.0, 100.0, 120.0], [60.0, 103.0, 150.0]]),
)


def black(vol, row):
    forward, strike = float(GRID.forward[row]), GRID.strike[row]
    value = jc.black_price(vol, strike, float(GRID.expiry[row]), forward=forward, is_call=strike >= forward)
    return np.asarray(value) / forward


def test_one_model_for_the_surface():
    model = jc.SSVI(jnp.asarray([0.5, 2.0]), jnp.asarray([0.04, 0.06]), rho=-0.5, eta=1.0, gamma=0.4)
    found = GRID.value(model)
    for row in range(2):
        vol = model.vol(GRID.strike[row], float(GRID.expiry[row]), float(GRID.forward[row]))
        np.testing.assert_allclose(found[row], black(vol, row), rtol=1e-13)


def test_a_model_for_each_expiry():
    """Fields of shape `[e]`: each row has its own; numbers beside them are shared."""
    alpha, rho, nu = (jnp.asarray(x) for x in ([0.2, 0.3], [-0.5, -0.3], [2.0, 0.8]))
    models = jc.SABR(alpha=alpha, beta=1.0, rho=rho, nu=nu)
    found = GRID.value(models)
    for row in range(2):
        one = jc.SABR(float(alpha[row]), 1.0, float(rho[row]), float(nu[row]))
        vol = one.vol(GRID.strike[row], float(GRID.expiry[row]), float(GRID.forward[row]))
        np.testing.assert_allclose(found[row], black(vol, row), rtol=1e-13)
