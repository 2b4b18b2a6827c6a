"""Streams: what a recalibrator believes, what it refuses to believe, and that nothing poisons it."""

# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportAttributeAccessIssue=false
# (a step gives no state only where there was none)
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jaxtyping import Array, Float

import jaxcal as jc
from jaxcal._status import Outcome
from jaxcal.streams.filter_step import estimate_noise
from jaxcal.streams.random_walk import (
    chi_squared,
    find_inflation,
    innovation,
    move_without_prior,
    predict,
    process_share,
)
from jaxcal.streams.replay import replay
from jaxcal.streams.stream_fit import compare_optima, solve_step
from jaxcal.streams.update import Update

EXPIRY = np.array([0.08, 0.25, 0.5, 1.0])
MONEYNESS = np.linspace(-0.3, 0.3, 8)
DAY = 1.0 / 365.0
FIELDS = ("mean", "covariance", "time", "noise", "correlation", "pace", "shape")


def quotes(model: jc.Heston, noise: float = 0.003, seed: int = 0) -> jc.Surface:
    """32 quotes with independent errors."""
    strike = 100.0 * np.exp(MONEYNESS * np.sqrt(EXPIRY)[:, None])
    vol = np.asarray(jc.model_vol(model, strike, EXPIRY[:, None], forward=100.0))
    errors = noise * np.random.default_rng(seed).standard_normal(vol.shape)
    return jc.Surface.from_vols(EXPIRY, strike, vol + errors, forward=100.0)


TRUTH = jc.Heston(v0=0.06, kappa=2.0, theta=0.08, sigma=0.8, rho=-0.5)
RECALIBRATOR = jc.Recalibrator(jc.Heston)


def at(v0: float) -> jc.Heston:
    return eqx.tree_at(lambda m: m.v0, TRUTH, v0)


def believed(state: jc.StreamState) -> list[np.ndarray]:
    return [np.asarray(leaf) for name in FIELDS for leaf in [getattr(state, name)]] + [
        np.asarray(leaf) for leaf in jax.tree.leaves(state.model)
    ]


def same(a: jc.StreamState, b: jc.StreamState) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(believed(a), believed(b), strict=True))


@pytest.fixture(scope="module")
def stream() -> list[jc.StreamState]:
    """The states of twelve surfaces of one truth, a day apart."""
    states: list = [None]
    for day in range(12):
        state, fit = RECALIBRATOR.step(states[-1], quotes(TRUTH, seed=day), day * DAY)
        assert fit.converged
        states.append(state)
    return states[1:]


@pytest.fixture(scope="module")
def calm(stream: list[jc.StreamState]) -> jc.StreamState:
    return stream[-1]


def test_a_calm_stream_is_smoother_than_its_surfaces(stream: list[jc.StreamState], calm: jc.StreamState) -> None:
    fits = [jc.calibrate(jc.Heston, quotes(TRUTH, seed=day)) for day in range(6, 12)]
    alone = [np.log(float(fit.model.kappa)) for fit in fits]
    kept = [np.log(float(state.model.kappa)) for state in stream[6:]]
    assert np.std(np.diff(kept)) < 0.75 * np.std(np.diff(alone))
    assert calm.update == Update.UPDATED
    assert calm.surprise < chi_squared(0.99, 5)
    assert 0.002 < calm.noise < 0.004
    deviations = np.sqrt(np.diag(calm.covariance))
    assert deviations[1] < 1.3 * float(fits[-1].standard_errors.kappa) / float(fits[-1].model.kappa)


def test_a_first_fit_keeps_the_weights_of_its_quotes() -> None:
    """It is made in arrays of the stream's shape, and given back in those of the surface."""
    surface = quotes(at(0.04))
    _, fit = jc.Recalibrator(jc.Heston, weights="vega", shape=(8, 16)).step(None, surface, time=0.0)
    alone = jc.calibrate(jc.Heston, surface, weights="vega")
    np.testing.assert_allclose(fit.surface.weight, alone.surface.weight, rtol=1e-12)
    np.testing.assert_allclose(fit.residuals, alone.residuals, atol=1e-7)


def test_truth_lies_in_its_band(calm: jc.StreamState) -> None:
    deviations = np.sqrt(np.diag(calm.covariance))
    truth = np.array([np.log(TRUTH.v0), np.log(TRUTH.kappa), np.log(TRUTH.theta), np.log(TRUTH.sigma), TRUTH.rho])
    assert np.all(np.abs(calm.mean - truth) < 3.5 * deviations)


def test_a_move_is_followed_and_a_large_one_loosens(calm: jc.StreamState) -> None:
    state, fit = RECALIBRATOR.step(calm, quotes(at(0.15), seed=20), 12 * DAY)
    assert fit.converged
    assert state is not None
    assert state.update == Update.LOOSENED
    assert abs(np.log(float(state.model.v0) / 0.15)) < 0.15
    assert state.pace > 1.0
    # the pace calms down
    for day in range(13, 22):
        state, _ = RECALIBRATOR.step(state, quotes(at(0.15), seed=day), day * DAY)
    assert state is not None
    assert 1.0 <= state.pace < 2.0


def test_a_flash_of_absurd_quotes_does_not_poison_the_state(calm: jc.StreamState) -> None:
    rng = np.random.default_rng(3)
    good = quotes(TRUTH, seed=30)
    garbage = eqx.tree_at(lambda s: s.vol, good, jnp.asarray(rng.uniform(0.05, 3.0, good.vol.shape)))
    tripled = eqx.tree_at(lambda s: s.vol, good, 3.0 * good.vol)
    time, state = 11 * DAY, calm
    for flash in (garbage, tripled, garbage):
        time += 0.01 * DAY
        state, fit = RECALIBRATOR.step(state, flash, time)
        assert state.update in (Update.REJECTED, Update.UNFITTED)
        assert not state.used
        assert same(state, calm)
        assert fit.surface is flash
    after_it, _ = RECALIBRATOR.step(state, good, 12 * DAY)
    spared, _ = RECALIBRATOR.step(calm, good, 12 * DAY)
    assert after_it.update == Update.UPDATED
    assert same(after_it, spared)
    assert not after_it.rejected


def test_surfaces_that_agree_with_one_another_are_a_new_regime(calm: jc.StreamState) -> None:
    first, fit = RECALIBRATOR.step(calm, quotes(at(0.6), seed=40), 11.1 * DAY)
    assert first.update == Update.REJECTED
    # the fit on probation is of these quotes, not of the past
    assert abs(np.log(float(fit.model.v0) / 0.6)) < 0.3
    second, _ = RECALIBRATOR.step(first, quotes(at(0.61), seed=41), 11.2 * DAY)
    assert second.update == Update.SHIFTED
    assert abs(np.log(float(second.model.v0) / 0.61)) < 0.3
    third, _ = RECALIBRATOR.step(second, quotes(at(0.6), seed=42), 11.3 * DAY)
    assert third.update == Update.UPDATED


def test_more_patience_waits_longer(calm: jc.StreamState) -> None:
    patient = jc.Recalibrator(jc.Heston, patience=3)
    state = calm
    found = []
    for i in range(3):
        state, _ = patient.step(state, quotes(at(0.6), seed=41 + i), (11.1 + 0.1 * i) * DAY)
        found.append(int(state.update))
    assert found == [Update.REJECTED, Update.REJECTED, Update.SHIFTED]


class Wave(jc.AbstractVolModel):
    """A smile whose fit has several optima."""

    level: Float[Array, ""] | float
    pitch: Float[Array, ""] | float
    bounds: ClassVar = {"level": jc.Interval(0.01, 1.0, "log"), "pitch": jc.Interval(0.0, 60.0)}

    def vol(self, strike, expiry, forward):
        return self.level + 0.02 * jnp.sin(self.pitch * jnp.log(strike / forward)) + 0.0 * expiry


def stuck_stream() -> tuple[jc.Surface, jc.StreamState, jc.Fit[Wave]]:
    """At an optimum that is not the best."""
    strike = jnp.linspace(70.0, 130.0, 13)
    surface = jc.Surface.from_vols([0.5], strike, [Wave(0.2, 25.0).vol(strike, 0.5, 100.0)], forward=100.0)
    state, fit = jc.Recalibrator(Wave(0.2, 45.0)).step(None, surface, 0.0)
    assert state is not None
    return surface, state, fit


def test_a_stream_leaves_an_optimum_for_a_better_one() -> None:
    surface, stuck, _ = stuck_stream()
    assert abs(float(stuck.model.pitch) - 25.0) > 5.0
    following, looking = jc.Recalibrator(Wave, recheck=0), jc.Recalibrator(Wave, recheck=1)
    verdicts, state, other = [], stuck, stuck
    for day in range(1, 4):
        state, _ = looking.step(state, surface, day * DAY)
        other, _ = following.step(other, surface, day * DAY)
        verdicts.append(Update(int(state.update)))
    assert verdicts == [Update.MOVED, Update.UPDATED, Update.UPDATED]  # far better: no second surface is waited for
    assert float(state.model.pitch) == pytest.approx(25.0, abs=0.1)
    assert abs(float(other.model.pitch) - 25.0) > 5.0


def test_an_optimum_that_is_a_little_better_needs_a_second_surface() -> None:
    _, state, fit = stuck_stream()
    assert float(fit.cost) > 0.0

    def compare(state: jc.StreamState, cost: float) -> tuple[jc.StreamState, bool]:
        there = eqx.tree_at(lambda f: f.cost, fit, cost * fit.cost)
        return compare_optima(state, fit, there, fit.objective.scales, patience=2)

    once, go = compare(state, 0.9)
    assert not go
    assert int(once.confirmed) == 1
    assert np.isfinite(once.rival).all()
    assert compare(once, 0.9)[1]
    assert compare(state, 0.7)[1]
    forgotten, go = compare(once, 0.97)
    assert not go
    assert int(forgotten.confirmed) == 0
    assert np.isnan(forgotten.rival).all()


def test_a_stream_without_a_fit_starts_anew_but_not_from_absurd_quotes(calm: jc.StreamState) -> None:
    lost = eqx.tree_at(lambda s: (s.model.v0, s.mean), calm, (jnp.asarray(jnp.nan), np.full(5, np.nan)))
    good = quotes(TRUTH, seed=50)
    held, _ = RECALIBRATOR.step(lost, good, 12 * DAY)
    assert Update(int(held.update)) is Update.UNFITTED
    flash = eqx.tree_at(lambda s: s.vol, good, jnp.where(jnp.arange(8) % 2 == 0, 3.0 * good.vol, good.vol))
    still, _ = RECALIBRATOR.step(held, flash, 12.5 * DAY)
    assert Update(int(still.update)) is Update.UNFITTED
    again, fit = RECALIBRATOR.step(still, good, 13 * DAY)
    assert Update(int(again.update)) is Update.RESTARTED
    assert fit.converged
    assert float(again.model.v0) == pytest.approx(0.06, rel=0.2)


@pytest.mark.parametrize("time", [10.9 * DAY, float("nan"), "NaT"])
def test_time_that_runs_backwards_changes_nothing(calm: jc.StreamState, time: float | str) -> None:
    state, fit = RECALIBRATOR.step(calm, quotes(at(0.09)), time)
    assert state.update == Update.OUT_OF_ORDER
    assert "older" in state.verdict
    assert same(state, calm)
    assert fit.status == Outcome.INVALID
    assert not fit.converged


def test_what_is_no_time_is_a_sentence(calm: jc.StreamState) -> None:
    with pytest.raises(ValueError, match="'soon' is no time"):
        RECALIBRATOR.step(calm, quotes(TRUTH), "soon")


def bad_surfaces() -> Iterator[tuple[jc.Surface, Outcome]]:
    good = quotes(TRUTH)
    yield eqx.tree_at(lambda s: s.weight, good, 0.0 * good.weight), Outcome.TOO_FEW_QUOTES
    yield eqx.tree_at(lambda s: s.weight, good, good.weight.at[1:].set(0.0).at[0, 3:].set(0.0)), Outcome.TOO_FEW_QUOTES
    yield eqx.tree_at(lambda s: s.vol, good, good.vol.at[0, 0].set(jnp.nan)), Outcome.INVALID
    yield eqx.tree_at(lambda s: s.forward, good, good.forward.at[0].set(-1.0)), Outcome.INVALID
    yield eqx.tree_at(lambda s: s.weight, good, good.weight.at[0, 0].set(jnp.nan)), Outcome.INVALID


def test_a_surface_without_numbers_is_a_status(calm: jc.StreamState) -> None:
    for surface, outcome in bad_surfaces():
        state, fit = RECALIBRATOR.step(calm, surface, 12 * DAY)
        assert state.update == Update.UNUSABLE
        assert same(state, calm)
        assert fit.status == outcome
        assert np.isnan(fit.rmse_vol)
        assert np.isnan(np.asarray(fit.residuals)).all()


def test_a_fit_that_does_not_converge_leaves_the_state(calm: jc.StreamState) -> None:
    hasty = jc.Recalibrator(jc.Heston, solver=jc.LevenbergMarquardt(max_steps=1))
    state, fit = hasty.step(calm, quotes(at(0.08)), 12 * DAY)
    assert state.update == Update.UNFITTED
    assert fit.converged  # without the past, and with the steps that it takes
    assert float(fit.model.v0) == pytest.approx(0.08, rel=0.1)
    assert same(state, calm)


def test_a_gap_forgets_no_more_than_everything(calm: jc.StreamState) -> None:
    stationary = RECALIBRATOR.walk.stationary
    near, far, further = (predict(calm.covariance, stationary, process_share(days, 60.0)) for days in (1.0, 1e3, 1e9))
    assert np.all(np.diag(calm.covariance) < np.diag(near))
    assert np.allclose(further, stationary)
    assert np.allclose(far, stationary, rtol=1e-3, atol=1e-3)
    state, fit = RECALIBRATOR.step(calm, quotes(at(0.2), seed=50), 5.0)
    assert fit.converged
    assert state.update in (Update.UPDATED, Update.LOOSENED)
    assert abs(np.log(float(state.model.v0) / 0.2)) < 0.2


def test_a_stream_starts_only_from_a_fit() -> None:
    good = quotes(TRUTH)
    empty = eqx.tree_at(lambda s: s.weight, good, 0.0 * good.weight)
    state, fit = RECALIBRATOR.step(None, empty, 0.0)
    assert state is None
    assert fit.status == Outcome.TOO_FEW_QUOTES
    state, fit = RECALIBRATOR.step(None, good, float("nan"))
    assert state is None


def test_a_state_is_saved_to_the_last_bit(calm: jc.StreamState, tmp_path: Path) -> None:
    calm.save(tmp_path / "state.npz")
    back = RECALIBRATOR.load(tmp_path / "state.npz")
    assert jax.tree.structure(back) == jax.tree.structure(calm)
    assert all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(calm), strict=True)
    )
    one, _ = RECALIBRATOR.step(calm, quotes(TRUTH, seed=60), 12 * DAY)
    other, _ = RECALIBRATOR.step(back, quotes(TRUTH, seed=60), 12 * DAY)
    assert same(one, other)
    with pytest.raises(ValueError, match="state of a Heston, not of a Bates"):
        jc.Recalibrator(jc.Bates).load(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="5 free parameters, not 4"):
        jc.Recalibrator(jc.Heston(0.1, 1.0, 0.1, 0.5, -0.5), free=["v0", "theta", "sigma", "rho"]).load(
            tmp_path / "state.npz"
        )
    (tmp_path / "other.npz").write_bytes(b"not one")
    with pytest.raises(ValueError, match="no saved state"):
        RECALIBRATOR.load(tmp_path / "other.npz")


def test_a_step_is_a_pure_function_that_compiles_once(calm: jc.StreamState) -> None:
    small = quotes(TRUTH, seed=70)
    sizes = solve_step.num_programs()
    one, _ = RECALIBRATOR.step(calm, small, 12 * DAY)
    two, _ = RECALIBRATOR.step(calm, small, 12 * DAY)
    assert same(one, two)
    # fewer quotes, a smaller bucket, other settings: the same program
    fewer = jax.tree.map(lambda x: x[:2], small)
    state, fit = RECALIBRATOR.step(one, fewer, 13 * DAY)
    assert state.used
    assert fit.residuals.shape == fewer.vol.shape
    jc.Recalibrator(jc.Heston, memory=20.0, gate=5.0, noise=0.004).step(one, small, 13 * DAY)
    assert solve_step.num_programs() == sizes


def test_noise_may_be_that_of_the_spreads(calm: jc.StreamState) -> None:
    surface = quotes(TRUTH, seed=80)
    sides = (surface.vol - 0.002, surface.vol + 0.002)
    surface = eqx.tree_at(lambda s: (s.bid_vol, s.ask_vol), surface, sides)
    tight, _ = jc.Recalibrator(jc.Heston, noise="spreads", confidence=0.9999).step(calm, surface, 12 * DAY)
    usual, _ = RECALIBRATOR.step(calm, surface, 12 * DAY)
    assert np.all(np.diag(tight.covariance) < np.diag(usual.covariance))


def test_replay_has_a_row_for_every_surface() -> None:
    days = pd.date_range("2026-03-02T16:00Z", periods=3)
    surfaces = {("A", day): quotes(TRUTH, seed=i) for i, day in enumerate(days)}
    surfaces |= {("B", days[0]): quotes(at(0.1)), ("B", days[1]): next(bad_surfaces())[0]}
    table = replay(RECALIBRATOR, dict(reversed(surfaces.items())))
    assert list(table["underlying"]) == ["A", "A", "A", "B", "B"]
    assert list(table["update"]) == ["STARTED", "UPDATED", "UPDATED", "STARTED", "UNUSABLE"]
    assert list(table["converged"]) == [True] * 4 + [False]
    for name in RECALIBRATOR.free:
        assert ((table[f"{name}_low"] < table[name]) & (table[name] < table[f"{name}_high"])).all()
    assert table["kappa"].iloc[4] == table["kappa"].iloc[3]
    with pytest.raises(ValueError, match="has no time"):
        replay(RECALIBRATOR, {("A", None): quotes(TRUTH)})
    with pytest.raises(ValueError, match="level is 1"):
        replay(RECALIBRATOR, surfaces, level=1.0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"memory": 0.0}, "memory is 0.0"),
        ({"patience": 0}, "patience is 0"),
        ({"spread": {"v0": -1.0}}, "the spread of v0 is -1.0"),
        ({"spread": {"nu": 1.0}}, "spread names 'nu'"),
        ({"confidence": 1.0}, "confidence is 1.0"),
        ({"noise": "guess"}, "noise is 'guess'"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"loss": "mad"}, "no loss 'mad'"),
        ({"free": ["nu"]}, "free must name"),
    ],
)
def test_settings_that_cannot_be_are_sentences(settings: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        jc.Recalibrator(jc.Heston, **settings)


@pytest.mark.parametrize("model", [jc.SVI, jc.SABR, jc.PiecewiseHeston])
def test_models_that_are_not_flat_are_refused(model: type[jc.AbstractModel]) -> None:
    with pytest.raises(ValueError, match="flat models"):
        jc.Recalibrator(model)


def test_the_prediction_of_a_linear_problem_is_kalmans() -> None:
    rng = np.random.default_rng(1)
    design, covariance = rng.standard_normal((40, 3)), np.diag([0.5, 0.1, 2.0])
    move = rng.standard_normal(3)
    observed = design @ move  # no noise, so that the quotes alone would move by just this
    information, precision = design.T @ design, np.linalg.inv(covariance)
    step = np.linalg.solve(information + precision, design.T @ observed)
    assert np.allclose(move_without_prior(step, information, precision), move, rtol=1e-2)
    direct = move @ np.linalg.solve(covariance + np.linalg.inv(information), move)
    assert np.isclose(innovation(move, information, covariance), direct)
    wide = 100.0 * covariance
    target = 2.0 * innovation(move, information, wide)
    share = find_inflation(move, information, covariance, wide, 0.0, target)
    assert 0.0 < share < 1.0
    assert np.isclose(innovation(move, information, predict(covariance, wide, share)), target, rtol=1e-3)
    assert find_inflation(move, information, covariance, wide, 0.0, 0.4 * target) == 1.0


def test_quantiles_of_chi_squared() -> None:
    # Abramowitz and Stegun, table 26.8
    for probability, degrees, value in ((0.99, 5, 15.0863), (0.5, 10, 9.34182), (0.9999, 8, 31.828)):
        assert np.isclose(chi_squared(probability, degrees), value, rtol=0.02)


def test_the_noise_is_that_of_most_quotes() -> None:
    residuals = 0.002 * np.random.default_rng(0).standard_normal((20, 50))
    residuals[:, ::10] += 0.3
    noise, correlation = estimate_noise(residuals)
    assert 0.002 < noise < 0.0027
    assert correlation < 0.2
    assert estimate_noise(np.full((2, 3), np.nan))[0] == np.inf
