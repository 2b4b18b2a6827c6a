"""Sensitivities of fits with a loss, a prior, a band or a tie, and in float32, against fits of other quotes."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# (which loss a fit has is what the tests are about)

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxcal as jc
from tests.small_models import Flat, Parabola

# next to undamped: a first step that is short by 1e-3 leaves less to gain than rounding shows
TIGHT = jc.LevenbergMarquardt(xtol=1e-12, ftol=1e-16, gtol=1e-13, damping=1e-9)
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
    fit = jc.calibrate(Flat, surface, solver=TIGHT, **settings)
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


def test_within_a_band(surface):
    """Quotes whose band holds the model pull by a little; those it does not, by themselves."""
    half = np.asarray([0.002, 0.001, 0.0005, 0.0005, 0.001])
    sides = (np.asarray(surface.vol[:, :5]) - half, np.asarray(surface.vol[:, :5]) + half)
    full = [np.full(surface.vol.shape, np.nan) for _ in sides]
    for side, values in zip(full, sides, strict=True):
        side[:, :5] = values
    banded = eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), surface, tuple(map(np.asarray, full)))
    settings = {"residual": jc.BidAskResidual(inside=0.1), "solver": TIGHT}
    fit = jc.calibrate(Flat, banded, **settings)
    slopes = np.asarray(jc.quote_sensitivities(fit).sigma)
    outside = np.abs(float(fit.model.sigma) - np.asarray(surface.vol[:, :5])) > half
    assert outside.any()
    assert not outside.all()
    for place in ((0, 0), (0, 3), (1, 2)):
        sigma = []
        for step in (2e-4, -2e-4):
            # the band is where the quote is: both sides stay, the middle moves
            moved = eqx.tree_at(lambda s: s.vol, banded, banded.vol.at[place].add(step))
            sigma.append(float(jc.calibrate(fit.model, moved, **settings).model.sigma))
        assert slopes[place] == pytest.approx((sigma[0] - sigma[1]) / 4e-4, abs=1e-4 * np.max(np.abs(slopes)))


def test_of_tied_fields():
    strikes, expiry = np.linspace(70.0, 130.0, 7), np.asarray([0.25, 0.5, 1.0])
    x = np.log(strikes / 100.0)
    vol = np.stack([0.2 - 0.1 * x + 0.5 * x * x] * 3)
    vol = vol + 0.01 * np.sin(np.arange(vol.size)).reshape(vol.shape)
    tied = jc.Surface.from_vols(expiry, strikes, vol, forward=100.0)
    settings = {"bounds": {"theta": "kappa"}, "solver": TIGHT}
    fit = jc.calibrate(Parabola, tied, **settings)
    found = jc.quote_sensitivities(fit)
    for place in ((0, 1), (2, 5)):
        ends = [
            jc.calibrate(fit.model, eqx.tree_at(lambda s: s.vol, tied, tied.vol.at[place].add(step)), **settings).model
            for step in (1e-4, -1e-4)
        ]
        for name in Parabola.bounds:
            slopes = np.asarray(getattr(found, name))
            expected = float(getattr(ends[0], name) - getattr(ends[1], name)) / 2e-4
            assert slopes[place] == pytest.approx(expected, abs=1e-3 * np.max(np.abs(slopes)))


def test_single_precision(surface):
    """Quotes in float32 give sensitivities in float32, as close to those of float64 as the digits of the fit are."""
    single = jax.tree.map(lambda x: x.astype(np.float32) if x.dtype == np.float64 else x, surface)
    fit = jc.calibrate(Flat, single)
    slopes = jc.quote_sensitivities(fit).sigma
    assert slopes.dtype == np.float32
    double = np.asarray(jc.quote_sensitivities(jc.calibrate(Flat, surface)).sigma)
    np.testing.assert_allclose(slopes, double, atol=1e-3 * np.max(np.abs(double)))
