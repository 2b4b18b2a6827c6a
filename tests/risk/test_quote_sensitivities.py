"""Sensitivities of fitted parameters against re-calibration, and what is held, fixed, padded or not fitted."""

# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false, reportArgumentType=false
# pyright: reportOptionalOperand=false, reportCallIssue=false, reportOperatorIssue=false, reportOptionalSubscript=false
# (fields of models are declared as numbers too, and Greeks beyond the order asked for as None)
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.formulas.black import black_vega
from jaxcal.risk.refit import refits

TIGHT = jc.LevenbergMarquardt(xtol=1e-13, ftol=1e-16, gtol=1e-13)
CHAINS = [
    "deribit/single/btc_2025-12-05.csv",
    "deribit/single/btc_2020-05-21.csv",
    "deribit/snapshots/2026-W02.parquet",
    "us/chains/spx_2023-02-03.parquet",
]


def refitted(fit, places, step, many=False, **options):
    """Parameters `[p]` by the quotes at `places`, by central differences with Richardson's step, from `fit` on; and by
    how much one step and two differ, an upper bound on the error.
    """
    options |= {"solver": TIGHT, "pricer": jc.Sinh(96)}
    moves = np.asarray([step, -step, 2.0 * step, -2.0 * step])
    surfaces = [
        eqx.tree_at(lambda s: s.vol, fit.surface, fit.surface.vol.at[place].add(move))
        for place in places
        for move in moves
    ]
    if many:
        # a solver that compares costs stops at half of the digits; the gradient has them all
        moved = list(jc.calibrate_many(fit.model, surfaces, **options))
        found = np.stack([refit.parameters for refit in refits(moved)])
    else:
        again = [jc.calibrate(fit.model, surface, **options).model for surface in surfaces]
        found = np.stack([np.concatenate([np.ravel(getattr(m, name)) for name in fit.free]) for m in again])
    up, down, far_up, far_down = np.moveaxis(found.reshape(len(places), 4, -1), 1, 0)
    fine, coarse = (up - down) / (2.0 * step), (far_up - far_down) / (4.0 * step)
    return (4.0 * fine - coarse) / 3.0, np.abs(fine - coarse)


def compared(fit, places, step, **options):
    """Largest errors of each parameter, in units of its largest sensitivity."""
    found = jc.quote_sensitivities(fit)
    rows = np.stack([np.asarray(getattr(found, name)) for name in fit.free])
    expected, _ = refitted(fit, places, step, many=len(places) > 4, **options)
    error = np.stack([np.abs(rows[:, e, k] - expected[i]) for i, (e, k) in enumerate(places)])
    largest = np.max(np.abs(rows), axis=(1, 2))
    # what is held at its bound has none, and no error either
    return (error / np.where(largest > 0, largest, 1e-9)).max(axis=0)


@pytest.fixture(scope="module")
def dax():
    return jc.calibrate(jc.Heston, jc.Surface.from_quotes(jc.dax_quotes("quantlib")))


def test_against_re_calibration_on_dax(dax):
    assert compared(dax, [(0, 5), (7, 12)], 1e-3).max() <= 1e-4


def test_the_curvature_of_the_residuals_matters(dax):
    """J' J alone is far off on this surface: what the full Hessian is for."""
    found = jc.quote_sensitivities(dax)
    from jaxcal.calibration.objective.calibration_problem import build_problem
    from jaxcal.calibration.objective.residuals import MarketValues
    from jaxcal.models.parameters import to_vector

    surface = dax.surface

    @eqx.filter_jit
    def jacobian_of(model, surface):
        market = MarketValues.of_surface(surface)
        problem = build_problem(model, dax.free, market, surface.weight, jc.ImpliedVolResidual(), jc.Sinh(96))
        return jax.jacfwd(problem.residuals)(to_vector(model, dax.free))

    jacobian = np.asarray(jacobian_of(dax.model, surface))
    plain = np.linalg.solve(jacobian.T @ jacobian, jacobian.T) * np.sqrt(np.asarray(surface.weight)).ravel()
    kappa = np.asarray(found.kappa).ravel()
    assert np.max(np.abs(plain[1] * float(dax.model.kappa) - kappa)) > 0.2 * np.max(np.abs(kappa))


def test_per_price_is_per_vol_over_vega():
    fit = jc.calibrate(jc.BlackScholes, small(extra=0.02))
    per_vol, per_price = jc.quote_sensitivities(fit), jc.quote_sensitivities(fit, wrt="price")
    s = fit.surface
    wide = (x[:, None] for x in (s.expiry, s.forward, s.discount))
    expiry, forward, discount = wide
    bump = 1e-4
    prices = [
        jc.black_price(s.vol + h, s.strike, expiry, forward=forward, discount=discount, is_call=s.is_call)
        for h in (bump, -bump)
    ]
    vega = np.asarray((prices[0] - prices[1]) / (2.0 * bump))
    used = np.asarray(s.weight) > 0
    np.testing.assert_allclose((per_price.sigma * vega)[used], per_vol.sigma[used], rtol=1e-4, atol=1e-9)
    assert (np.asarray(per_price.sigma)[~used] == 0.0).all()


def small(level=0.2, extra=0.0):
    strikes = [80.0, 90.0, 100.0, 110.0, 120.0]
    vols = [[level + 0.1 * (1.0 - k / 100.0) + extra * (k == 90.0) for k in strikes]] * 2
    return jc.Surface.from_vols([0.25, 1.0], strikes, vols, forward=100.0)


def test_a_bound_is_held_and_the_others_move_without_it(dax):
    options = {"bounds": {"sigma": (0.05, 2.5)}}
    fit = jc.calibrate(dax.model, dax.surface, **options)
    assert fit.converged
    assert np.asarray(fit.at_bound).tolist() == [False, False, False, True, False]
    found, place = jc.quote_sensitivities(fit), (3, 6)
    np.testing.assert_array_equal(found.sigma, 0.0)
    assert (np.asarray(found.v0)[np.asarray(dax.surface.weight) == 0] == 0.0).all()
    expected, _ = refitted(fit, [place], 1e-3, **options)
    for i, name in enumerate(fit.free):
        rows = np.asarray(getattr(found, name))
        assert abs(rows[place] - expected[0, i]) <= 1e-4 * np.max(np.abs(rows)), name
    # held, it is another derivative
    assert abs(float(found.kappa[place]) - float(jc.quote_sensitivities(dax).kappa[place])) > 0.1


class NearMean(jc.AbstractPrior):
    """A belief about the volatility."""

    def __call__(self, model):
        return jnp.atleast_1d(2.0 * (model.sigma - 0.25))


def test_a_prior_weighs_against_the_quotes():
    """Flat volatility: (sum of quotes + 4 x 0.25) / (quotes + 4) is the minimum."""
    surface = small()
    found = jc.quote_sensitivities(jc.calibrate(jc.BlackScholes, surface, prior=NearMean()))
    np.testing.assert_allclose(np.asarray(found.sigma)[np.asarray(surface.weight) > 0], 1.0 / 14.0, rtol=1e-6)


class Bent(jc.AbstractVolModel):
    """A line in log-moneyness for each expiry, with a bend that is held unless it is asked for."""

    alpha: Float[Array, "..."] | float
    rho: Float[Array, "..."] | float
    bend: Float[Array, "..."] | float
    bounds = {  # noqa: RUF012
        "alpha": jc.Interval(0.01, 2.0, "log"),
        "rho": jc.Interval(-1.0, 1.0),
        "bend": jc.Interval(-1.0, 1.0),
    }
    per_expiry = True
    held = frozenset({"bend"})

    def vol(self, strike, expiry, forward):
        x = jnp.log(strike / forward)
        return self.alpha + self.rho * x + self.bend * x * x + 0.0 * expiry


@pytest.mark.parametrize(
    ("model", "held"),
    [(Bent(0.2, -0.1, 0.05), "bend"), pytest.param(jc.SABR, "beta", marks=pytest.mark.slow)],
    ids=["lines", "SABR"],
)
def test_expiries_fitted_by_themselves_do_not_mix(model, held):
    surface = small(extra=0.01)
    fit = jc.calibrate(model, surface, pricer=jc.Sinh(96))  # as in `refitted`: one program
    found = jc.quote_sensitivities(fit)
    assert found.alpha.shape == surface.vol.shape
    np.testing.assert_array_equal(getattr(found, held), 0.0)
    expected, _ = refitted(fit, [(1, 1)], 1e-3)
    # every parameter by expiry; those of the other do not move
    assert len(fit.free) > 1
    for name, moved in zip(fit.free, expected[0].reshape(len(fit.free), -1), strict=True):
        rows = np.asarray(getattr(found, name))
        assert abs(moved[0]) <= 1e-6 * np.max(np.abs(rows))
        assert abs(rows[1, 1] - moved[1]) <= 1e-4 * np.max(np.abs(rows[1]))
    level = jc.through_fit(lambda model: jnp.sum(model.alpha**2), fit)
    np.testing.assert_allclose(level, 2.0 * fit.model.alpha[:, None] * found.alpha, rtol=1e-9)


def test_many_fits_and_one_that_is_none():
    surfaces = {"a": small(), "b": small(0.3, 0.02), "c": small(0.25)}
    weights = {key: np.full(s.vol.shape, np.nan if key == "c" else 1.0) for key, s in surfaces.items()}
    fits = jc.calibrate_many(jc.BlackScholes, surfaces, weights=weights)
    found = jc.quote_sensitivities(fits)
    assert found.sigma.shape == (3, *surfaces["a"].vol.shape)
    for i, key in enumerate("ab"):
        np.testing.assert_allclose(found.sigma[i], jc.quote_sensitivities(fits[key]).sigma, rtol=1e-9)
    assert np.isnan(found.sigma[2]).all()
    both = jc.through_fit(lambda model: {"var": model.sigma**2, "pair": jnp.stack([model.sigma] * 2)}, fits)
    np.testing.assert_allclose(both["var"][0], 2.0 * fits.model.sigma[0] * found.sigma[0], rtol=1e-9)
    assert both["pair"].shape == (3, 2, *surfaces["a"].vol.shape)


def test_through_a_fit_forward_and_reverse():
    surface = small(extra=0.02)
    fit = jc.calibrate(jc.BlackScholes, surface)

    def exotic(model):
        """Prices of several options that are not quoted."""
        return jc.black_price(model.sigma, np.asarray([85.0, 105.0]), 0.5, forward=100.0)

    back, ahead = (jc.through_fit(exotic, fit, mode=mode) for mode in ("reverse", "forward"))
    assert back.shape == (2, *surface.vol.shape)
    np.testing.assert_allclose(back, ahead, rtol=1e-9, atol=1e-9)
    vega = np.asarray(black_vega(fit.model.sigma, np.asarray([85.0, 105.0]), 0.5, forward=100.0))
    slopes = np.asarray(jc.quote_sensitivities(fit).sigma)
    np.testing.assert_allclose(back, vega[:, None, None] * slopes, rtol=1e-6, atol=1e-9)


@jax.custom_jvp
def square_outside_jit(x):
    """As a price that takes a finer grid: not known inside jit."""
    return x * jnp.nan if isinstance(x, jax.core.Tracer) else x * x


@square_outside_jit.defjvp
def _(primals, tangents):
    (x,), (move,) = primals, tangents
    return square_outside_jit(x), 2.0 * x * move


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_through_a_fit_what_is_known_outside_jit_only(mode):
    fit = jc.calibrate(jc.BlackScholes, small(extra=0.02))
    assert np.isnan(jax.jit(square_outside_jit)(fit.model.sigma))
    found = jc.through_fit(lambda model: square_outside_jit(model.sigma), fit, mode=mode)
    expected = 2.0 * float(fit.model.sigma) * np.asarray(jc.quote_sensitivities(fit).sigma)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.abs(expected).max() > 0.01


def put_with_jumps(model, pricer=None):
    """Of jumps of nearly one size, which the default grid does not price."""
    law = jc.Merton(model.sigma, 0.5, -0.3, 0.002)
    return jc.price(law, 75.0, 0.1, forward=100.0, is_call=False, pricer=pricer)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_through_a_fit_whose_prices_need_a_finer_grid(mode):
    fit = jc.calibrate(jc.BlackScholes, small(0.08, 0.01))
    assert np.isnan(jax.jit(put_with_jumps)(fit.model))
    sigma, used = float(fit.model.sigma), np.asarray(fit.surface.weight) > 0
    up, down = (float(put_with_jumps(jc.BlackScholes(sigma + step), jc.Series())) for step in (1e-4, -1e-4))
    chained = (up - down) / 2e-4 * np.asarray(jc.quote_sensitivities(fit).sigma)
    found = np.asarray(jc.through_fit(put_with_jumps, fit, mode=mode))
    np.testing.assert_allclose(found[used], chained[used], rtol=1e-4, atol=1e-9)
    assert np.abs(found[used]).max() > 0.01


@pytest.mark.parametrize(
    ("unknown", "level"),
    [
        (lambda model: jnp.where(model.sigma > 0.0, jnp.nan, model.sigma), 0.2),
        pytest.param(jax.jit(put_with_jumps), 0.08, marks=pytest.mark.slow),
    ],
    ids=["a number", "a price"],
)
def test_what_is_not_known_has_no_derivative(unknown, level):
    """That of NaN, as of no price, is 0 by JAX."""
    fit = jc.calibrate(jc.BlackScholes, small(level, 0.01))
    used = np.asarray(fit.surface.weight) > 0
    assert np.isnan(unknown(fit.model))
    assert jax.grad(unknown)(fit.model).sigma == 0.0
    found = np.asarray(jc.through_fit(unknown, fit))
    assert np.isnan(found[used]).all()
    assert (found[~used] == 0.0).all()


def test_no_minimum_no_sensitivity(dax):
    short = eqx.tree_at(lambda f: f.outcome, dax, jnp.asarray(int(jc.Outcome.STEP_LIMIT), jnp.int32))
    used = np.asarray(dax.surface.weight) > 0
    found = np.asarray(jc.quote_sensitivities(short).v0)
    assert np.isnan(found[used]).all()
    assert (found[~used] == 0.0).all()


def test_what_cannot_be_asked_for(dax):
    with pytest.raises(Exception, match="vol"):  # run-time types of the tests, or a ValueError without them
        jc.quote_sensitivities(dax, wrt="delta")
    with pytest.raises(Exception, match="reverse"):
        jc.through_fit(lambda model: model.v0, dax, mode="sideways")


@pytest.mark.slow
def test_every_quote_of_dax(dax):
    places = [tuple(place) for place in np.argwhere(np.asarray(dax.surface.weight) > 0).tolist()]
    assert compared(dax, places, 2e-3).max() <= 1e-4


@pytest.mark.slow
@pytest.mark.market_data
@pytest.mark.parametrize("name", CHAINS)
def test_quotes_of_a_recorded_chain(market_data, name):
    path = market_data / name
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    surface = list(jc.surfaces_from_quotes(jc.read_quotes(path)).values())[-1]  # of a series the last: ETH
    fit = jc.calibrate(jc.Heston, surface)
    assert fit.converged
    places = [tuple(place) for place in np.argwhere(np.asarray(surface.weight) > 0).tolist()]
    places = places[:: 1 if len(places) < 1000 else len(places) // 100]  # four refits each
    assert compared(fit, places, 2e-3).max() <= 1e-4
