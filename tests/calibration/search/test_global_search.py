"""A global search finds every optimum of a problem whose optima are known, says which start reached which, and takes
what `calibrate` takes.
"""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportOperatorIssue=false
# pyright: reportOptionalMemberAccess=false
# (fields that may be numbers are arrays here)

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.calibration.search import rough_fits as many_starts
from jaxcal.calibration.search.optima import same
from jaxcal.calibration.search.start_ranges import find_ranges

STRIKES = np.asarray([90.0, 95.0, 100.0, 105.0, 110.0])
OTHER = 0.5 * (-1.0 - np.sqrt(0.92))  # where (x - 1) (0.04 x (x + 1) + 0.0008) = 0, beside 1 and a maximum


class TwoValleys(jc.AbstractVolModel):
    """Volatilities 0.2 at (1, 0); the cost of flat ones at 0.2 has another minimum at (OTHER, 0); none from an x on."""

    x: Float[Array, "..."] | float
    y: Float[Array, "..."] | float
    end: Float[Array, "..."] | float = 9.0
    held = frozenset({"end"})
    bounds = {  # noqa: RUF012
        "x": jc.Interval(-3.0, 3.0, "linear"),
        "y": jc.Interval(-0.1, 0.1, "linear"),
        "end": jc.Interval(-9.0, 27.0, "linear"),
    }

    def vol(self, strike, expiry, forward):
        low, high = 0.1 * (self.x**2 - 1.0), 0.02 * (self.x - 1.0)
        hole = jnp.where(self.x < self.end, 0.0, jnp.nan)
        return 0.2 + jnp.where(strike < 95.0, low, jnp.where(strike > 105.0, high, self.y)) + 0.0 * expiry + hole


def flat(vol: float = 0.2) -> jc.Surface:
    return jc.Surface.from_vols([0.5], STRIKES, np.full((1, 5), vol), forward=100.0)


@pytest.fixture(scope="module")
def optima() -> jc.Optima[TwoValleys]:
    return jc.global_search(TwoValleys, flat(), num_starts=32)


def test_both_optima_are_reported_the_better_first(optima):
    assert len(optima) == 2
    assert [fit.converged for fit in optima] == [True, True]
    np.testing.assert_allclose([float(fit.model.x) for fit in optima], [1.0, OTHER], atol=1e-6)
    assert optima.best is optima[0]
    assert float(optima.best.cost) < 1e-12 < float(optima[1].cost)
    # one quote of five misses by 0.1 (OTHER^2 - 1), one by 0.02 (OTHER - 1)
    misfit = np.hypot(0.1 * (OTHER**2 - 1.0), 0.02 * (OTHER - 1.0)) / np.sqrt(5.0)
    np.testing.assert_allclose(float(optima[1].rmse_vol), misfit, rtol=1e-6)


def test_every_start_has_the_optimum_it_reached(optima):
    x = np.asarray(optima.ends.x)
    assert optima.num_starts == len(x) == 33  # and the middle of the bounds
    np.testing.assert_array_equal(optima.optimum, np.where(x > 0, 0, 1))
    np.testing.assert_allclose(optima.share.sum(), 1.0)
    assert 0.2 < optima.share[0] < 0.8
    starts = np.asarray(optima.starts.x)
    assert starts.min() < -2.5
    assert starts.max() > 2.5


def test_what_a_person_reads(optima):
    table = optima.to_frame()
    assert table["starts"].tolist() == [int(np.sum(optima.optimum == i)) for i in range(2)]
    np.testing.assert_allclose(table["x"], [1.0, OTHER], atol=1e-6)
    text = str(optima)
    assert "2 distinct optima from 33 starts (sobol), 5 quotes" in text
    assert f"{optima.share[0]:.1%}" in text
    assert "Rough fits: 33 converged." in text


def test_starts_that_end_elsewhere_are_counted():
    optima = jc.global_search(TwoValleys, flat(), num_starts=32, num_polished=1)
    assert len(optima) == 1
    lost = int(np.sum(optima.optimum < 0))
    assert lost > 5
    assert f"{lost} ended at none of these" in str(optima)


def test_the_seed_decides_and_nothing_compiles_again(optima):
    again = jc.global_search(TwoValleys, flat(), num_starts=32)
    size = many_starts._fitted.num_programs()
    np.testing.assert_array_equal(again.cost, optima.cost)
    other = jc.global_search(TwoValleys, flat(0.21), num_starts=32, seed=1, bounds={"x": (-2.0, 2.0)})
    assert not np.array_equal(other.starts.x, optima.starts.x)
    assert float(np.max(np.abs(np.asarray(other.ends.x)))) <= 2.0
    assert many_starts._fitted.num_programs() == size


def test_a_population_gathers_in_the_best():
    optima = jc.global_search(TwoValleys, flat(), method="differential_evolution", num_starts=32, num_polished=4)
    assert optima.num_starts == 8
    assert len(optima) == 1
    np.testing.assert_allclose(float(optima.best.model.x), 1.0, atol=1e-6)
    assert "differential_evolution" in str(optima)


def test_ranges_say_where_starts_are_drawn():
    optima = jc.global_search(TwoValleys(-0.9, 0.0), flat(), num_starts=32, ranges={"x": (-3.0, -0.5)})
    assert len(optima) == 1
    np.testing.assert_allclose(float(optima.best.model.x), OTHER, atol=1e-6)
    assert float(np.max(np.asarray(optima.starts.x))) <= -0.5


def test_a_prior_may_make_another_optimum_the_best_and_what_is_fixed_stays():
    prior = jc.Gaussian({"x": -1.0}, std=0.1, strength=0.003)
    optima = jc.global_search(TwoValleys(0.0, 0.01), flat(), num_starts=32, free=["x"], prior=prior)
    assert len(optima) == 2
    assert float(optima.best.model.x) < -0.9
    assert float(optima[1].model.x) > 0.9
    assert optima.best.prior is not None
    assert [float(fit.model.y) for fit in optima] == [0.01, 0.01]


def test_a_loss_gets_its_scale_from_the_data_and_keeps_it():
    surface = eqx.tree_at(lambda s: s.vol, flat(), flat().vol + jnp.asarray([[0.0, 1e-3, -1e-3, 0.03, 0.0, 0, 0, 0]]))
    optima = jc.global_search(TwoValleys, surface, num_starts=32, loss="cauchy")
    scales = {float(fit.loss.scale) for fit in optima}
    assert len(scales) == 1
    assert abs(float(optima.best.model.x) - 1.0) < 0.05
    assert abs(float(optima.best.model.y)) < 1e-3  # of three quotes of y the bad one counts for little


def test_starts_without_a_price_are_drawn_to_where_there_is_one():
    optima = jc.global_search(TwoValleys(0.0, 0.0, end=2.0), flat(), num_starts=32)
    assert not np.any(optima.outcome == jc.Outcome.NOT_FINITE)
    assert float(np.max(np.asarray(optima.starts.x))) < 2.0
    assert len(optima) == 2


def test_what_cannot_be_fitted_is_a_status():
    nothing = jc.global_search(TwoValleys(0.0, 0.0, end=-8.0), flat(), num_starts=32)
    assert nothing.best.status == jc.Outcome.NOT_FINITE
    assert "without a finite price" in str(nothing)
    one_quote = eqx.tree_at(lambda s: s.weight, flat(), flat().weight.at[:, 1:].set(0.0))
    none = jc.global_search(TwoValleys, one_quote, num_starts=32)
    assert none.best.status == jc.Outcome.TOO_FEW_QUOTES
    assert "no optimum from" in str(none)
    assert "Not fitted" in str(none)
    assert none.to_frame()["share"].isna().all()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"method": "annealing"}, "method 'annealing' is none of sobol, differential_evolution"),
        ({"num_starts": 0}, "num_starts is 0: it must be positive"),
        ({"num_starts": -5}, "num_starts is -5"),
        ({"num_polished": 0}, "num_polished is 0"),
        ({"generations": -1}, "generations is -1"),
        ({"bounds": {"x": (1.0, -1.0)}}, "bounds of x are"),
        ({"bounds": {"z": (0.0, 1.0)}}, "'z', which is not a parameter"),
        ({"ranges": {"z": (0.0, 1.0)}}, "ranges name 'z', which is not searched"),
        ({"ranges": {"x": (1.0, 0.0)}}, "the range of x is"),
        ({"ranges": {"x": (5.0, 6.0)}}, "is outside its bounds"),
        ({"free": ["x"], "ranges": {"y": (0.0, 0.01)}}, "ranges name 'y'"),
        ({"loss": "sharp"}, "sharp"),
    ],
)
def test_bad_input_is_a_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        jc.global_search(TwoValleys, flat(), **settings)


def test_a_model_of_each_expiry_has_no_global_search():
    with pytest.raises(ValueError, match="SVI is fitted expiry by expiry"):
        jc.global_search(jc.SVI, flat())


def test_fits_are_one_optimum_where_quotes_cannot_tell_them_apart():
    residual = np.asarray([[0.0, 1.0], [0.005, 1.0], [0.0, -1.0], [0.0, 1.02], [np.nan, 1.0]])
    assert same(residual, residual[0], 0.01).tolist() == [True, True, False, False, False]
    # where nothing is missed, rounding does not make two of one
    assert same(np.asarray([[1e-9, 0.0]]), np.asarray([0.0, 1e-10]), 0.01).tolist() == [True]


@pytest.mark.parametrize("model", [jc.Bates, jc.SVCJ, jc.DoubleHeston, jc.Kou, jc.NIG, jc.CGMY, jc.VarianceGamma])
@pytest.mark.parametrize("level", [0.01, 0.2, 3.0])
def test_ranges_are_inside_the_bounds_and_follow_the_level(model, level):
    names = tuple(model.bounds)
    found = find_ranges(model, names, model.bounds, None, None, level)
    for name, interval in found.items():
        bound = model.bounds[name]
        assert bound.lower <= interval.lower < interval.upper <= bound.upper, name
    assert found != find_ranges(model, names, model.bounds, None, None, 1.1 * level)


@pytest.mark.slow
def test_the_traps_of_bates_on_the_dax():
    surface = jc.Surface.from_quotes(jc.dax_quotes())
    for method in ("sobol", "differential_evolution"):
        optima = jc.global_search(jc.Bates, surface, method=method, num_starts=64)
        assert optima.best.converged
        np.testing.assert_allclose(100.0 * float(optima.best.rmse_vol), 0.632756, atol=1e-5)
        if method == "sobol":
            assert len(optima) > 1  # the fit of Heston's model, with jumps that do nothing, is one
            np.testing.assert_allclose(100.0 * float(optima[1].rmse_vol), 1.3, atol=0.05)
            assert 0.3 < optima.share[0] < 0.9
