"""Bachelier prices against 60-digit arithmetic, far in the wings and at the money, with derivatives."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxcal.formulas.bachelier import bachelier_price

# vol, strike, expiry, forward
ROWS = [
    (0.008, -0.002, 2.0, -0.001),
    (0.008, 0.02, 2.0, 0.02),
    (0.008, 0.02 + 1e-13, 2.0, 0.02),
    (1.0, 20.0, 1.0, -15.0),
    (20.0, 130.0, 0.01, 100.0),
    (20.0, 70.0, 0.01, 100.0),
]


def exact(is_call, vol, strike, expiry, forward):
    s = mp.mpf(vol) * mp.sqrt(mp.mpf(expiry))
    d = (mp.mpf(forward) - mp.mpf(strike)) / s
    d = d if is_call else -d
    return s * (mp.npdf(d) + d * mp.ncdf(d))


@pytest.mark.parametrize("is_call", [True, False])
def test_prices_and_derivatives(is_call):
    columns = tuple(jnp.asarray(x) for x in zip(*ROWS, strict=True))

    def price(vol, strike, expiry, forward):
        return bachelier_price(vol, strike, expiry, forward=forward, is_call=is_call)

    with mp.workdps(700):  # Phi(-d) at d = 35 cancels by as much
        np.testing.assert_allclose(price(*columns), [float(exact(is_call, *row)) for row in ROWS], rtol=1e-13)
        found = np.stack(jax.vmap(jax.grad(price, (0, 1, 2, 3)))(*columns), axis=-1)
        h = mp.mpf("1e-30")
        for row, slopes in zip(ROWS, found, strict=True):
            for i, slope in enumerate(slopes):
                up, down = (
                    exact(is_call, *(mp.mpf(x) + sign * h * (j == i) for j, x in enumerate(row))) for sign in (1, -1)
                )
                assert float(slope) == pytest.approx(float((up - down) / (2 * h)), rel=1e-11)


def test_limits():
    np.testing.assert_allclose(bachelier_price(0.0, jnp.asarray([90.0, 100.0, 110.0]), 1.0, forward=100.0), [10, 0, 0])
    assert float(bachelier_price(5.0, 90.0, 0.0, forward=100.0, discount=0.5)) == 5.0
    bad = bachelier_price(jnp.asarray([-1.0, 1.0, jnp.nan]), 90.0, jnp.asarray([1.0, -1.0, 1.0]), forward=100.0)
    assert np.isnan(bad).all()
    assert np.isfinite(jax.grad(lambda v: bachelier_price(v, 100.0, 1.0, forward=100.0))(0.0))
