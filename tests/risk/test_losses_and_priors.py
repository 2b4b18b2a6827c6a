"""Sensitivities of fits with a loss, a prior, a band or a tie, against fits of other quotes."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# (which loss a fit has is what the tests are about)

import equinox as eqx
import numpy as np
import pytest

import jaxcal as jc

TIGHT = jc.LevenbergMarquardt(xtol=1e-12, ftol=1e-16, gtol=1e-13)
STRIKES = np.linspace(80.0, 120.0, 5)


@pytest.fixture(scope="module")
def surface():
    vol = 0.2 + 0.1 * (STRIKES / 100.0 - 1.0) ** 2 + np.asarray([0.0, 0.002, -0.001, 0.03, 0.001])
    return jc.Surface.from_vols([0.5, 1.0], STRIKES, np.stack([vol, vol + 0.01]), forward=100.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": jc.Huber(0.008)},
        {"loss": jc.Cauchy(0.01), "prior": jc.Gaussian({"sigma": 0.25}, std=0.05, strength=0.02)},
        {"weights": "vega", "prior": [jc.Gaussian({"sigma": 0.25}, std=0.02), jc.Gaussian({"sigma": 0.1}, std=0.1)]},
    ],
    ids=["huber", "cauchy, gaussian", "vega, two priors"],
)  # fmt: skip
def test_as_by_differences(surface, settings):
    fit = jc.calibrate(jc.BlackScholes, surface, solver=TIGHT, **settings)
    slopes = np.asarray(jc.quote_sensitivities(fit).sigma)
    weights = fit.surface.weight / surface.weight.at[surface.weight == 0].set(1.0)  # those of the first fit
    fixed = settings | {"weights": np.asarray(weights)}
    for place in ((0, 0), (0, 3), (1, 2)):
        sigma = []
        for step in (1e-4, -1e-4):
            moved = eqx.tree_at(lambda s: s.vol, surface, surface.vol.at[place].add(step))
            sigma.append(float(jc.calibrate(fit.model, moved, solver=TIGHT, **fixed).model.sigma))
        assert slopes[place] == pytest.approx((sigma[0] - sigma[1]) / 2e-4, abs=1e-4 * np.max(np.abs(slopes)))


def test_many_with_scales_of_their_own(surface):
    surfaces = [surface, eqx.tree_at(lambda s: s.vol, surface, 2.0 * surface.vol - 0.2)]
    fits = jc.calibrate_many(jc.BlackScholes, surfaces, loss="huber")
    assert float(fits[0].loss.scale) != pytest.approx(float(fits[1].loss.scale), rel=0.2)
    many = np.asarray(jc.quote_sensitivities(fits).sigma)
    for i in range(2):
        np.testing.assert_allclose(many[i], np.asarray(jc.quote_sensitivities(fits[i]).sigma), atol=1e-9)
