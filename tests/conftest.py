"""Fixtures that every test may ask for."""

from pathlib import Path

import hypothesis
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc

# Two surfaces below are of one bucket (8 x 16), so that most tests share one compiled fit.
YEARS = np.array([7, 14, 30, 61, 91, 182, 365, 730]) / 365.0

# The same examples on every run and every machine; a compile inside an example must not count as a missed deadline.
hypothesis.settings.register_profile("jaxcal", derandomize=True, deadline=None, max_examples=50, print_blob=False)
hypothesis.settings.load_profile("jaxcal")


@pytest.fixture(scope="session")
def market_data() -> Path:
    """Folder of recorded quotes, beside the project; a test that asks for it is skipped where there is none."""
    folder = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no recorded quotes beside the project (../shared/data)")
    return folder.resolve()


@pytest.fixture(scope="session")
def dax() -> jc.Surface:
    """104 implied volatilities of DAX options on 5 July 2002, in the convention of QuantLib's test suite."""
    return jc.Surface.from_quotes(jc.dax_quotes("quantlib"))


@pytest.fixture(scope="session")
def dax_fit(dax: jc.Surface) -> jc.Fit[jc.Heston]:
    return jc.calibrate(jc.Heston, dax)


@pytest.fixture(scope="session")
def truth() -> jc.Heston:
    return jc.Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)


@pytest.fixture(scope="session")
def options(truth: jc.Heston) -> jc.Surface:
    """120 options without noise: 8 expiries, 15 strikes, S = 100, r = 2 %."""
    forward = 100.0 * np.exp(0.02 * YEARS)
    strike = forward[:, None] * np.exp(np.linspace(-3.0, 2.0, 15) * 0.25 * np.sqrt(YEARS)[:, None])
    vol = jc.model_vol(truth, jnp.asarray(strike), jnp.asarray(YEARS)[:, None], forward=jnp.asarray(forward)[:, None])
    surface = jc.Surface.from_vols(YEARS, strike, vol, forward=forward, discount=np.exp(-0.02 * YEARS))
    assert surface.num_quotes == 120
    return surface
