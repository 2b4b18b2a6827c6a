"""Covariances, intervals, profiles, bootstrap and diagnostics against formulas that are known."""

# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportIndexIssue=false, reportOperatorIssue=false
# (fields that may be numbers are arrays here)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal.uncertainty.intervals import degrees_of_freedom
from jaxcal.uncertainty.student_t import t_quantile

YEARS = [0.25, 0.5, 0.75, 1.0]
STRIKES = np.linspace(80.0, 120.0, 8)
WIDE = jc.Interval(-1e6, 1e6, "linear")


class Line(jc.AbstractVolModel):
    """Linear in its parameters: what least squares say about them is in every textbook."""

    level: Float[Array, "..."] | float
    slope: Float[Array, "..."] | float
    bounds = {"level": WIDE, "slope": WIDE}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.level + self.slope * jnp.log(strike / forward) + 0.0 * expiry


class Product(jc.AbstractVolModel):
    """Two positive parameters of which only the product is seen."""

    first: Float[Array, "..."] | float
    second: Float[Array, "..."] | float
    bounds = {"first": jc.Interval(1e-3, 10.0, "log"), "second": jc.Interval(1e-3, 10.0, "log")}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        return self.first * self.second + 0.0 * strike * expiry


class Level(jc.AbstractVolModel):
    """One level an expiry."""

    sigma: Float[Array, "..."] | float
    bounds = {"sigma": jc.Interval(0.01, 3.0, "log")}  # noqa: RUF012
    per_expiry = True

    def vol(self, strike, expiry, forward):
        return self.sigma + 0.0 * strike * expiry


def surface_of(vol: np.ndarray) -> jc.Surface:
    return jc.Surface.from_vols(YEARS, STRIKES, vol, forward=100.0)


def noisy(seed: int, size: float | np.ndarray = 0.005) -> np.ndarray:
    exact = 0.2 - 0.1 * np.log(STRIKES / 100.0) * np.ones((4, 1))
    return exact + size * np.random.default_rng(seed).standard_normal(exact.shape)


@pytest.fixture(scope="module")
def design() -> np.ndarray:
    return np.stack([np.ones(32), np.tile(np.log(STRIKES / 100.0), 4)], axis=1)


@pytest.fixture(scope="module")
def line() -> jc.Fit[Line]:
    fit = jc.calibrate(Line(0.3, 0.0), surface_of(noisy(0)))
    assert fit.converged
    return fit


@pytest.fixture(scope="module")
def ols(line, design) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Estimates, residuals and (X'X)^-1."""
    vol = noisy(0).ravel()
    estimate, *_ = np.linalg.lstsq(design, vol, rcond=None)
    np.testing.assert_allclose([float(line.model.level), float(line.model.slope)], estimate, rtol=1e-6)
    return estimate, design @ estimate - vol, np.linalg.inv(design.T @ design)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_student_t(level):
    for dof in (1, 2, 3, 4, 7, 30, 115, 400, 401, 9000):
        assert t_quantile(level, dof) == pytest.approx(scipy.stats.t.ppf(0.5 + 0.5 * level, dof), rel=1e-11)
    assert np.isnan(t_quantile(level, 0))


@pytest.mark.parametrize("kind", ["gauss_newton", "hessian"])
def test_covariance_of_a_linear_model(line, ols, kind):
    _, residuals, inverse = ols
    expected = residuals @ residuals / 30 * inverse
    np.testing.assert_allclose(jc.covariance(line, kind).matrix, expected, rtol=1e-5)
    errors = jc.covariance(line, kind).standard_errors(line.model)
    assert float(errors.slope) == pytest.approx(float(line.standard_errors.slope), rel=1e-5)


def test_sandwich_of_a_linear_model(line, ols, design):
    _, residuals, inverse = ols
    leverage = np.einsum("mi,ij,mj->m", design, inverse, design)
    score = design * (residuals / (1.0 - leverage))[:, None]
    np.testing.assert_allclose(jc.covariance(line, "sandwich").matrix, inverse @ score.T @ score @ inverse, rtol=1e-5)
    sums = (design * residuals[:, None]).reshape(4, 8, 2).sum(axis=1)
    expected = 4 / 3 * 31 / 30 * inverse @ sums.T @ sums @ inverse
    np.testing.assert_allclose(jc.covariance(line, "sandwich", clusters="expiry").matrix, expected, rtol=1e-4)


def test_intervals_of_a_linear_model(line, ols):
    """Both methods give the textbook's."""
    estimate, residuals, inverse = ols
    half = scipy.stats.t.ppf(0.95, 30) * np.sqrt(residuals @ residuals / 30 * np.diagonal(inverse))
    for method in ("wald", "profile"):
        found = jc.confidence_intervals(line, 0.9, method)
        assert (found.level, found.method) == (0.9, method)
        for i, name in enumerate(("level", "slope")):
            assert float(getattr(found.lower, name)) == pytest.approx(estimate[i] - half[i], rel=1e-4)
            assert float(getattr(found.upper, name)) == pytest.approx(estimate[i] + half[i], rel=1e-4)


def test_profile_of_a_linear_model(line, ols):
    estimate, residuals, inverse = ols
    found = jc.profile(line, "slope")
    assert found.converged.all()
    assert not found.lower_found
    t = (np.asarray(found.values) - estimate[1]) / np.sqrt(residuals @ residuals / 30 * inverse[1, 1])
    np.testing.assert_allclose(found.t, t, atol=2e-3)
    assert len(found.to_frame()) == len(found.values)
    figure = jc.plot_profiles(jc.profiles(line, ("level", "slope")))
    assert [axes.get_xlabel() for axes in figure.axes] == ["level", "slope"]


@pytest.mark.slow
def test_covariance_of_a_robust_fit(design):
    """The sandwich of an M-estimate by its definition; Huber's is near the inverse of the curvature."""
    vol = noisy(3)
    vol[1, 2] += 0.1
    fit = jc.calibrate(Line(0.2, 0.0), surface_of(vol), loss=jc.Huber(0.008))
    residuals = np.asarray(fit.residuals).ravel()
    pull, bend = np.clip(residuals, -0.008, 0.008), (np.abs(residuals) < 0.008).astype(float)
    hessian = design.T @ (design * bend[:, None])
    inverse = np.linalg.inv(hessian)
    leverage = bend * np.einsum("mi,ij,mj->m", design, inverse, design)
    score = design * (pull / (1.0 - leverage))[:, None]
    np.testing.assert_allclose(jc.covariance(fit, "sandwich").matrix, inverse @ score.T @ score @ inverse, rtol=1e-4)
    spread = np.var(bend)
    variance = (1 + 2 / 32 * spread / bend.mean() ** 2) ** 2 * np.sum(pull**2) / 30 / bend.mean()
    np.testing.assert_allclose(jc.covariance(fit, "hessian").matrix, variance * inverse, rtol=1e-4)


def test_covariance_of_heston_by_finite_differences(dax, dax_fit):
    """The full Hessian of the cost on the search scales, then to natural parameters."""
    used = np.asarray(dax.weight) > 0
    names = dax_fit.free

    def residuals(y):
        model = jc.Heston(*(float(v) for v in (*np.exp(y[:4]), y[4])))
        vol = jc.model_vol(model, dax.strike, dax.expiry[:, None], forward=dax.forward[:, None])
        return np.asarray(vol - dax.vol)[used]

    y = np.asarray([*np.log([dax_fit.parameters[name] for name in names[:4]]), dax_fit.parameters["rho"]])
    step, moves = 2e-3, np.eye(5)

    def cost(y):
        return 0.5 * np.sum(residuals(y) ** 2)

    middle, hessian = cost(y), np.empty((5, 5))
    ends = {(i, s): cost(y + s * step * moves[i]) for i in range(5) for s in (-1, 1)}
    for i in range(5):
        hessian[i, i] = (ends[i, 1] - 2 * middle + ends[i, -1]) / step**2
        for j in range(i):
            both = cost(y + step * (moves[i] + moves[j])) + cost(y - step * (moves[i] + moves[j]))
            single = ends[i, 1] + ends[i, -1] + ends[j, 1] + ends[j, -1]
            hessian[i, j] = hessian[j, i] = (both - single + 2 * middle) / (2 * step**2)
    natural = np.asarray([*np.exp(y[:4]), 1.0])
    expected = 2 * middle / 99 * np.linalg.inv(hessian) * natural[:, None] * natural[None, :]
    found = np.asarray(jc.covariance(dax_fit, "hessian").matrix)
    size = np.sqrt(np.diagonal(expected))
    np.testing.assert_allclose(found / np.outer(size, size), expected / np.outer(size, size), atol=0.01)
    plain = jc.covariance(dax_fit)
    errors = np.asarray(jax.tree.leaves(dax_fit.standard_errors))
    np.testing.assert_allclose(np.sqrt(np.diagonal(plain.matrix)), errors, rtol=1e-10)
    assert not np.allclose(plain.matrix, found, rtol=0.05)  # or the two could not be told apart
    assert (np.abs(plain.correlation) <= 1.0 + 1e-12).all()
    assert plain.to_frame().loc["kappa", "sigma"] == plain.matrix[1, 3]


def test_bounded_parameters_stay_inside(dax_fit):
    found = jc.confidence_intervals(dax_fit, 0.9999999)
    lower, upper = found.lower, found.upper
    for name in dax_fit.free:
        assert dax_fit.model.bounds[name].lower <= float(getattr(lower, name))
        assert float(getattr(lower, name)) < dax_fit.parameters[name] < float(getattr(upper, name))
        assert float(getattr(upper, name)) <= dax_fit.model.bounds[name].upper
    assert "wald" in str(found)
    assert "kappa" in str(found)


def test_fixed_and_pinned_parameters_have_none():
    vol = noisy(1)
    pinned = jc.calibrate(Line(0.2, 0.0), surface_of(vol), bounds={"slope": (0.0, 1.0)})
    fixed = jc.calibrate(Line(0.2, 0.0), surface_of(vol), free=["level"])
    for fit in (pinned, fixed):
        for kind in ("gauss_newton", "hessian", "sandwich"):
            matrix = np.asarray(jc.covariance(fit, kind).matrix)
            assert np.isnan(matrix[1]).all()
            assert np.isnan(matrix[:, 1]).all()
            assert matrix[0, 0] > 0
        found = jc.confidence_intervals(fit)
        assert np.isnan(found.lower.slope)
        assert np.isfinite(found.lower.level)
    assert int(degrees_of_freedom(pinned)) == 31
    assert pinned.diagnostics().at_bounds == ("slope",)
    assert "no, at its bound" in str(pinned.diagnostics())
    low, high = jc.profile(pinned, "slope", bounds={"slope": (0.0, 1.0)}).interval()
    assert low == 0.0
    assert 0.0 < high < 0.1


def test_flat_direction():
    fit = jc.calibrate(Product(0.5, 0.5), surface_of(np.abs(noisy(2))))
    found = fit.diagnostics()
    assert not found.identified.any()
    assert not np.asarray(jc.identified(fit).first)
    assert found.condition > 1e6
    assert sorted(found.flat) == ["first", "second"]
    assert found.flat_shift < 1e-7
    assert found.flat["first"] == pytest.approx(-found.flat["second"], rel=1e-3)
    assert "trade off: 5 % " in found.sentence
    assert "% less " in found.sentence
    assert "none; not first, second" in fit.summary()


class ProfileRefits(jc.AbstractVolModel):
    """Three of them, of which the first two are nearly one."""

    first: Float[Array, "..."] | float
    second: Float[Array, "..."] | float
    slope: Float[Array, "..."] | float
    bounds = {"first": WIDE, "second": WIDE, "slope": WIDE}  # noqa: RUF012

    def vol(self, strike, expiry, forward):
        place = jnp.log(strike / forward)
        return self.first + self.second * (1.0 + 0.02 * expiry) + self.slope * place


def test_what_trades_off_is_not_identified_alone():
    """The error of the second is small against its value, that of the first is not: they are known together only."""
    vol = noisy(6, 0.001) + 1.0 + 0.022 * np.asarray(YEARS)[:, None]
    fit = jc.calibrate(ProfileRefits(0.1, 1.1, 0.0), surface_of(vol))
    found = fit.diagnostics()
    errors = dict(zip(found.labels, found.relative_errors, strict=True))
    assert errors["second"] <= 0.15 < errors["first"]
    assert dict(zip(found.labels, found.identified.tolist(), strict=True)) == {
        "first": False, "second": False, "slope": True,
    }  # fmt: skip
    assert list(found.flat) == ["second", "first"] or list(found.flat) == ["first", "second"]


def test_diagnostics_of_heston(dax_fit):
    found = dax_fit.diagnostics()
    frame = found.to_frame()
    assert list(frame["parameter"]) == list(dax_fit.free)
    np.testing.assert_allclose(frame["standard_error"], jax.tree.leaves(dax_fit.standard_errors), rtol=1e-12)
    assert frame["size"].tolist() == [*[dax_fit.parameters[name] for name in dax_fit.free[:4]], 1.0]
    assert (frame["relative_error"] <= 0.15).all()
    assert frame["identified"].all()
    # a move along the flat direction moves the volatilities by as much as it says
    moved = {
        name: value + found.flat.get(name, 0.0) * 0.01 * (1.0 if name == "rho" else value)
        for name, value in dax_fit.parameters.items()
    }
    s = dax_fit.surface
    before, after = (
        np.asarray(jc.model_vol(jc.Heston(**p), s.strike, s.expiry[:, None], forward=s.forward[:, None]))
        for p in (dax_fit.parameters, moved)
    )
    shift = np.sqrt(np.nanmean((after - before)[np.asarray(s.weight) > 0] ** 2))
    assert shift == pytest.approx(0.01 * found.flat_shift, rel=0.05)
    assert found.in_vols
    assert "vol points" in found.sentence
    assert np.all(np.diff(found.singular_values) <= 0)
    assert f"identified            {found.line}" in dax_fit.summary()


@pytest.mark.slow
def test_every_expiry_by_itself():
    vol = noisy(5)
    fit = jc.calibrate(Level(0.3), surface_of(vol))
    found = jc.confidence_intervals(fit, 0.9)
    half = scipy.stats.t.ppf(0.95, 7) * vol.std(axis=1, ddof=1) / np.sqrt(8) / vol.mean(axis=1)
    np.testing.assert_allclose(found.lower.sigma, vol.mean(axis=1) * np.exp(-half), rtol=1e-6)
    assert degrees_of_freedom(fit).tolist() == [7] * 4
    matrix = np.asarray(jc.covariance(fit, "hessian").matrix)
    np.testing.assert_allclose(np.diagonal(matrix), np.asarray(fit.standard_errors.sigma) ** 2, rtol=1e-6)
    assert (matrix[~np.eye(4, dtype=bool)] == 0.0).all()
    known = fit.diagnostics()
    assert known.labels == ("sigma[0]", "sigma[1]", "sigma[2]", "sigma[3]")
    assert known.identified.all()
    assert known.singular_values.shape == (4, 1)
    with pytest.raises(ValueError, match="expiry by expiry"):
        jc.profile(fit, "sigma")


def test_many_fits_as_one_by_one():
    surfaces = {f"day {i}": surface_of(noisy(i)) for i in range(3)} | {
        "short": surface_of(noisy(9)[:, :4].repeat(2, 1))
    }
    fits = jc.calibrate_many(Line(0.2, 0.0), surfaces)
    many, known = jc.confidence_intervals(fits), jc.identified(fits)
    for i, fit in enumerate(fits):
        one = jc.confidence_intervals(fit)
        assert float(many.lower.slope[i]) == pytest.approx(float(one.lower.slope), rel=1e-12)
        assert bool(known.slope[i]) == bool(jc.identified(fit).slope) == bool(fit.diagnostics().identified[1])
    assert degrees_of_freedom(fits).tolist() == [30] * 4
    assert list(many.to_frame().columns) == ["level_lower", "level_upper", "slope_lower", "slope_upper"]


def test_intervals_hold_the_truth():
    """Noise on 400 surfaces: the share of intervals that hold the truth is the level, to the scatter of that share."""
    fits = jc.calibrate_many(Line(0.2, -0.1), [surface_of(noisy(i)) for i in range(400)])
    for level in (0.5, 0.95):
        found = jc.confidence_intervals(fits, level)
        for name, truth in (("level", 0.2), ("slope", -0.1)):
            inside = (getattr(found.lower, name) <= truth) & (truth <= getattr(found.upper, name))
            assert inside.mean() == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 400))


@pytest.mark.parametrize("kind", ["parametric", "quotes"])
def test_bootstrap_of_a_linear_model(line, kind):
    draws = jc.bootstrap(line, num=400, kind=kind, seed=4)
    assert draws.num_failed == 0
    wald = jc.confidence_intervals(line)
    for name in ("level", "slope"):
        error = float(getattr(line.standard_errors, name))
        assert float(getattr(draws.standard_errors, name)) == pytest.approx(error, rel=0.2)
        for mine, theirs in ((draws.intervals().lower, wald.lower), (draws.intervals().upper, wald.upper)):
            assert float(getattr(mine, name)) == pytest.approx(float(getattr(theirs, name)), abs=0.7 * error)
    assert np.array_equal(
        jc.bootstrap(line, num=8, kind=kind, seed=4).model.slope,
        jc.bootstrap(line, num=8, kind=kind, seed=4).model.slope,
    )
    assert len(draws.to_frame()) == 400
    assert "0 of which did not converge" in str(draws)


def test_bootstrap_leaves_failures_out():
    model = Line(np.asarray([0.1, 0.3, 9.0]), np.asarray([0.0, 0.0, 9.0]))
    draws = jc.Bootstrap(model, np.asarray([True, True, False]), Line(0.2, 0.0), "quotes", ("level",))
    assert draws.num_failed == 1
    assert float(draws.percentiles(50.0)[0].level) == pytest.approx(0.2)
    assert np.isnan(draws.standard_errors.slope)  # fixed


def test_unknown_kinds(line):
    # jaxtyping's hook refuses them first in these tests; a caller without the hook gets the sentence
    with pytest.raises(Exception, match="bayes"):
        jc.covariance(line, "bayes")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="delta"):
        jc.confidence_intervals(line, method="delta")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="jackknife"):
        jc.bootstrap(line, kind="jackknife")  # type: ignore[arg-type]


def test_bad_input(line):
    with pytest.raises(ValueError, match="level of an interval is 95"):
        jc.confidence_intervals(line, 95.0)
    with pytest.raises(ValueError, match="'width' was not fitted"):
        jc.profile(line, "width")
    with pytest.raises(ValueError, match="clusters is 'expiry'"):
        jc.covariance(line, clusters="expiry")
    with pytest.raises(ValueError, match="at least 2 draws"):
        jc.bootstrap(line, num=1)


def test_as_few_quotes_as_parameters_determine_nothing():
    surface = jc.Surface.from_vols([0.5], [90.0, 110.0], [[0.21, 0.2]], forward=100.0)
    fit = jc.calibrate(Line(0.2, 0.0), surface)
    assert np.isnan(np.asarray(jc.covariance(fit).matrix)).all()
    assert np.isnan(jc.confidence_intervals(fit).lower.level)
    assert not fit.diagnostics().identified.any()


@pytest.mark.slow
def test_refits_of_other_fits():
    """Profiles with a robust loss and without degrees of freedom; a bootstrap of every expiry by itself."""
    vol = noisy(3)
    vol[1, 2] += 0.1
    robust = jc.calibrate(Line(0.2, 0.0), surface_of(vol), loss=jc.Huber(0.008))
    wald, profile = (jc.confidence_intervals(robust, 0.9, method) for method in ("wald", "profile"))
    assert float(profile.upper.slope) == pytest.approx(float(wald.upper.slope), abs=0.01)
    two = jc.Surface.from_vols([0.5], [90.0, 110.0], [[0.21, 0.2]], forward=100.0)
    assert np.isnan(jc.profile(jc.calibrate(Line(0.2, 0.0), two), "level").interval()).all()
    assert jc.bootstrap(jc.calibrate(Level(0.3), surface_of(vol)), num=20).model.sigma.shape == (20, 4)


@pytest.mark.slow
def test_profile_and_bootstrap_of_heston(options, truth):
    noise = 0.002 * np.random.default_rng(2).standard_normal(options.vol.shape)
    fit = jc.calibrate(jc.Heston, eqx.tree_at(lambda s: s.vol, options, options.vol + noise))
    wald, profile = (jc.confidence_intervals(fit, method=method) for method in ("wald", "profile"))
    draws = jc.bootstrap(fit, num=300)
    assert draws.num_failed == 0
    for name in fit.free:
        error = float(getattr(fit.standard_errors, name))
        assert float(getattr(draws.standard_errors, name)) == pytest.approx(error, rel=0.2)
        for end in ("lower", "upper"):
            ends = [float(getattr(getattr(found, end), name)) for found in (wald, profile)]
            assert ends[0] == pytest.approx(ends[1], abs=0.25 * error)


@pytest.mark.slow
def test_coverage_of_heston():
    from benchmarks.accuracy.coverage import CASES, covered
    from benchmarks.inputs.many_surfaces import many

    rows = covered(many(600, seed=21), CASES[0])
    shares = np.asarray([row["covered"] for row in rows])
    assert (np.abs(shares - 0.95) < 0.05).all()
    assert abs(shares.mean() - 0.95) < 0.015
    assert all(row["identified"] >= 0.8 for row in rows if row["parameter"] in ("v0", "theta", "rho"))
