"""The grids of a fit: where it begins, when it goes on, and which of several fits is kept."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
import jaxcal.calibration.engine.one_surface as module
from jaxcal.calibration.engine.grid_fit import GridFit
from jaxcal.calibration.engine.grid_refinement import is_better, is_worth_contours, is_worth_refining
from jaxcal.calibration.engine.readable import num_unreadable
from jaxcal.pricing.sinh import Sinh

YEARS = np.array([1.0, 2.0, 3.0, 7.0, 30.0, 182.0]) / 365.0
STRIKE = 100.0 * np.exp(np.linspace(-6.0, 2.0, 12) * 0.2 * np.sqrt(YEARS)[:, None])
MONTHS, STRIKES = np.array([0.25, 1.0]), np.linspace(70.0, 130.0, 12)
INDEX = jc.Heston(v0=0.043, kappa=6.5, theta=0.087, sigma=2.9, rho=-0.75)  # as of an index on a nervous day
SMILES = jc.model_vol(INDEX, STRIKES, MONTHS[:, None], forward=100.0) + 0.01 * np.cos(STRIKES / 10.0)[None]


def ended(cost: float, *, moved: bool) -> GridFit:
    return GridFit(
        model=INDEX, residuals=jnp.zeros((1, 1)), model_vol=jnp.full((1, 1), 0.2), information=jnp.eye(5),
        cost=jnp.asarray(cost), rmse_vol=jnp.asarray(0.01), gradient=jnp.asarray(0.0), num_steps=jnp.asarray(5),
        outcome=jnp.asarray(0), at_bound=jnp.zeros(5, bool), moved=jnp.asarray(moved),
    )  # fmt: skip


@pytest.fixture(scope="module")
def short_dated() -> jc.Surface:
    """Expiries of days, far wings and a jump, beside months."""
    truth = jc.Bates(**vars(INDEX), jump_intensity=0.5, jump_mean=-0.1, jump_std=0.05)
    vol = jc.model_vol(truth, STRIKE, YEARS[:, None], forward=100.0)
    return jc.Surface.from_vols(YEARS, STRIKE, vol, forward=100.0)


@pytest.mark.parametrize(
    ("found", "best", "better"),
    [
        (ended(1.0, moved=False), ended(2.0, moved=False), True),
        (ended(2.0, moved=False), ended(1.0, moved=False), False),
        (ended(1.0, moved=False), ended(1.0, moved=False), False),
        (ended(2.0, moved=False), ended(1.0, moved=True), True),  # what no finer grid confirms may be no fit at all
        (ended(1.0, moved=True), ended(2.0, moved=False), False),
        (ended(1.0, moved=True), ended(2.0, moved=True), True),
        (ended(1.0, moved=True), ended(np.nan, moved=False), True),
        (ended(np.nan, moved=False), ended(np.nan, moved=True), False),
        (ended(np.nan, moved=False), ended(2.0, moved=True), False),
    ],
)
def test_which_is_better(found, best, better):
    assert is_better(found, best) == better


def test_a_tie_goes_to_what_a_person_can_read():
    """Of fits within a percent of the cost: few parameters at bounds, or outside what markets have shown."""

    def of(kappa: float, cost: float, at_bound: int = 0) -> GridFit:
        model = jc.Heston(0.04, kappa, 0.04, 0.5, -0.5)
        found = eqx.tree_at(lambda fit: fit.model, ended(cost, moved=False), model)
        return eqx.tree_at(lambda fit: fit.at_bound, found, np.arange(5) < at_bound)

    assert num_unreadable(of(100.0, 1.0)) == 1
    assert num_unreadable(of(3.0, 1.0, at_bound=2)) == 2
    assert is_better(of(3.0, 1.008), of(100.0, 1.0))
    assert not is_better(of(100.0, 1.0), of(3.0, 1.008))
    assert not is_better(of(3.0, 1.02), of(100.0, 1.0))  # no tie
    assert is_better(of(3.0, 1.008), of(3.0, 1.0, at_bound=1))
    both = jax.tree.map(lambda *leaves: np.stack(leaves), of(100.0, 1.0), of(3.0, 1.0, at_bound=2))
    assert num_unreadable(both).tolist() == [1, 2]


def test_only_what_moved_and_is_not_behind_goes_on():
    best = ended(1.0, moved=False)
    assert is_worth_refining(ended(1.05, moved=True), best)
    assert not is_worth_refining(ended(1.05, moved=False), best)
    assert not is_worth_refining(ended(1.2, moved=True), best)


def test_contours_of_a_quotes_own_are_for_what_is_lower():
    best = ended(1.0, moved=False)
    assert is_worth_contours(ended(0.9, moved=True), best)
    assert not is_worth_contours(ended(0.9, moved=False), best)
    assert not is_worth_contours(ended(1.05, moved=True), best)
    assert is_worth_contours(ended(1.0, moved=True), ended(np.nan, moved=True))


def test_a_larger_model_begins_where_the_simpler_one_ended(monkeypatch):
    rounds, solve_on_grid = [], module.solve_on_grid

    def recorded(names, method, target, start):
        result = solve_on_grid(names, method, target, start)
        rounds.append((type(start), method.pricer))
        return result

    monkeypatch.setattr(module, "solve_on_grid", recorded)
    surface = jc.Surface.from_vols(MONTHS, STRIKES, SMILES, forward=100.0)
    fit = jc.calibrate(jc.Bates, surface, pricer=Sinh(8))
    assert fit.converged, fit.status
    assert [pricer for model, pricer in rounds if model is jc.Heston] == [Sinh(8), Sinh(64)]
    larger = [pricer for model, pricer in rounds if model is jc.Bates]
    assert larger[0] == Sinh(64)
    assert Sinh(8) not in larger


@pytest.mark.slow
def test_surfaces_of_many_end_where_each_does_alone(short_dated):
    surfaces = [jc.Surface.from_vols(MONTHS, STRIKES, SMILES, forward=100.0), short_dated]
    fits = jc.calibrate_many(jc.Bates, surfaces)
    for fit, surface in zip(fits, surfaces, strict=True):
        alone = jc.calibrate(jc.Bates, surface)
        assert fit.converged
        assert alone.converged
        np.testing.assert_allclose(fit.rmse_vol, alone.rmse_vol, rtol=1e-6, atol=1e-9)


def test_fine_shared_grids_see_rare_large_jumps():
    """At expiries of days these change `phi` at z near 1 only, where the grids begin at 1 / total_vol, say 100."""
    model = jc.Bates(0.0447, 4.0, 0.08, 1.67, -0.77, jump_intensity=0.0034, jump_mean=-2.0, jump_std=1.07)
    years, k = jnp.full(9, 3.0 / 365.0), jnp.linspace(-0.5, 0.05, 9)
    exact, error = jax.jit(jc.Saddle(512).value)(model, years, k)
    assert np.max(error) < 1e-12
    grid = jax.jit(Sinh(128).grid)(model, years[:1], k[None], jnp.asarray([0.0127]))
    np.testing.assert_allclose(grid.value(model)[0], exact, rtol=0, atol=1e-12)
