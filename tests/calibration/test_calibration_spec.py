"""CalibrationSpec: one record of what is asked, which every verb takes and every fit keeps."""

import copy
import dataclasses
import pickle
import subprocess
import sys
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.bulk import Settings
from jaxcal.calibration.calibration_spec import spec_of

STRIKES = [80.0, 90.0, 100.0, 110.0, 120.0]


@pytest.fixture(scope="module")
def surface() -> jc.Surface:
    vols = [[0.25, 0.22, 0.2, 0.195, 0.2], [0.24, 0.22, 0.205, 0.2, 0.198]]
    return jc.Surface.from_vols([0.5, 1.0], STRIKES, vols, forward=100.0)


def spec(**parts: Any) -> jc.CalibrationSpec:
    return jc.CalibrationSpec(jc.BlackScholes, **parts)


def same(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(x, y)


def test_names_become_what_they_stand_for() -> None:
    asked = spec(loss="huber", weights="vega", free=["sigma"], prior=[jc.Gaussian({"sigma": 0.2}, std=0.1)])
    assert isinstance(asked.loss, jc.Huber)
    assert isinstance(asked.weights, jc.VegaWeights)
    assert asked.free == ("sigma",)
    assert isinstance(asked.prior, jc.Gaussian)
    assert spec(loss="linear").loss is None


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"loss": "hubert"}, "there is no loss 'hubert'"),
        ({"free": ["kappa"]}, "free must name parameters of BlackScholes"),
        ({"free": "sigma"}, r"free must name parameters in a sequence: write \['sigma'\]"),
        ({"bounds": {"kappa": (1.0, 2.0)}}, "bounds name 'kappa'"),
        ({"bounds": {"sigma": (2.0, 1.0)}}, "they must be finite with 0 < lower < upper"),
        ({"bounds": {"sigma": "sigma"}}, "sigma is tied to 'sigma'"),
        ({"prior": jc.Gaussian({"kappa": 1.0}, std=1.0)}, "the prior names 'kappa'"),
        ({"weights": [[1.0, -1.0]]}, "weights must be finite and not negative"),
        ({"weights": "open_interest"}, "weights_from"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_when_it_is_made(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises((ValueError, TypeError), match=sentence):
        spec(**parts)


def test_what_is_of_another_kind_is_said_too() -> None:
    """In a process of its own: jaxtyping's hook refuses it first in these tests."""
    code = """
import jaxcal as jc
for parts in (
    {"solver": "lm"}, {"residual": None}, {"pricer": jc.Sinh}, {"rules": "crypto"}, {"clock": 1.0},
    {"bounds": {"sigma": (1.0,)}}, {"bounds": {"sigma": None}}, {"bounds": "sigma"}, {"prior": 3}, {"prior": [3]},
    {"weights": {}}, {"weights": [[1.0, 2.0], [3.0]]},
):
    try:
        jc.CalibrationSpec(jc.BlackScholes, **parts)
    except (TypeError, ValueError) as error:
        print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line.split(":")[0].partition(" <class")[0] for line in said] == [
        "solver is 'lm'", "residual is None", "pricer is", "rules is 'crypto'", "clock is 1.0",
        "bounds of sigma are (1.0,)", "bounds of sigma are None", "bounds is 'sigma'", "prior holds 3",
        "prior holds 3", "weights are {}", "weights are [[1.0, 2.0], [3.0]]",
    ]  # fmt: skip
    assert said[0].endswith("give it something such as LevenbergMarquardt()")
    assert said[6].endswith("give (lower, upper), an Interval, or the name of another parameter")


def test_equal_where_every_value_is() -> None:
    one = spec(loss=jc.Huber(0.01), weights=np.ones((2, 8)), bounds={"sigma": (0.1, 1.0)})
    other = spec(loss=jc.Huber(0.01), weights=np.ones((2, 8)), bounds={"sigma": jc.Interval(0.1, 1.0)})
    assert one == other
    assert hash(one) == hash(other)
    for part in ({"loss": jc.Huber(0.02)}, {"weights": None}, {"bounds": {}}, {"rules": jc.CleaningRules()}):
        assert one != dataclasses.replace(one, **part)
    assert one != "a spec"
    assert spec() != jc.CalibrationSpec(jc.BlackScholes(0.2))
    ties = {"theta": "v0", "kappa": (0.1, 3.0)}
    assert jc.CalibrationSpec(jc.Heston, bounds=ties) == jc.CalibrationSpec(
        jc.Heston, bounds=dict(reversed(ties.items()))
    )
    assert jc.CalibrationSpec(jc.Heston, bounds=ties).ties == {"theta": "v0"}


def test_repr_says_what_is_not_as_it_would_be() -> None:
    assert repr(spec()) == "CalibrationSpec(BlackScholes)"
    assert repr(spec(solver=jc.LevenbergMarquardt(xtol=1e-6))) == "CalibrationSpec(BlackScholes)"
    assert repr(spec(loss="huber", bounds={"sigma": (0.1, 1.0)})) == (
        "CalibrationSpec(BlackScholes, bounds={'sigma': (0.1, 1.0)}, loss=Huber())"
    )


def test_arguments_beside_a_spec_replace_its_own() -> None:
    asked = spec(loss="huber", bounds={"sigma": (0.1, 1.0)})
    assert spec_of(asked) is asked
    assert spec_of(asked, loss="cauchy", bounds=None) == spec(loss="cauchy", bounds={"sigma": (0.1, 1.0)})


def test_a_fit_keeps_its_question_and_answers_it_again(surface: jc.Surface) -> None:
    asked = spec(loss="huber", bounds={"sigma": (0.05, 1.0)}, prior=jc.Gaussian({"sigma": 0.25}, std=0.1))
    by_name = jc.calibrate(
        jc.BlackScholes,
        surface,
        loss="huber",
        bounds={"sigma": (0.05, 1.0)},
        prior=jc.Gaussian({"sigma": 0.25}, std=0.1),
    )
    by_spec = jc.calibrate(asked, surface)
    same(by_name, by_spec)
    assert by_name.spec == asked
    assert by_name.loss is not None
    assert asked.loss is not None
    assert isinstance(asked.loss, jc.Huber)
    assert asked.loss.scale == "auto"  # asked, and found
    same(jc.calibrate(by_spec.spec, surface), by_spec)


def test_every_verb_makes_and_takes_one(surface: jc.Surface) -> None:
    asked = spec(bounds={"sigma": (0.05, 0.15)}, rules=jc.CleaningRules.crypto(), clock=jc.VarianceClock())
    fit = jc.calibrate(asked, surface)
    assert fit.status.at_bounds == ("sigma",)
    many = jc.calibrate_many(asked, {"a": surface, "b": surface})
    compared = jc.compare({"narrow": asked, "wide": jc.BlackScholes}, surface, repeats=0)
    optima = jc.global_search(asked, surface, num_starts=8)
    recalibrator = jc.Recalibrator(asked)
    _, streamed = recalibrator.step(None, surface, "2026-01-05T16:00Z")
    for found in (many["b"], compared.fits["narrow"], streamed):
        assert found is not None
        assert found.spec == asked
        assert float(found.model.sigma) == pytest.approx(0.15, rel=1e-9)
    assert optima.best.spec.bounds == asked.bounds
    assert isinstance(optima.best.spec.model, jc.BlackScholes)
    assert float(optima.best.model.sigma) == pytest.approx(0.15, rel=1e-9)
    wide = compared.fits["wide"]
    assert wide is not None
    assert wide.spec == jc.CalibrationSpec(jc.BlackScholes)
    assert float(wide.model.sigma) > 0.2
    # the errors of the other quotes are those of the model that was fitted, not of one within other bounds
    narrow, free = compared.entries
    assert narrow.rmse_out_points > 2.0 * free.rmse_out_points


def test_each_of_many_keeps_what_is_its_own(surface: jc.Surface) -> None:
    weights = [np.ones(surface.vol.shape), 2.0 * np.ones(surface.vol.shape)]
    priors = {"b": jc.Gaussian({"sigma": 0.3}, std=0.01)}
    fits = jc.calibrate_many(
        [jc.BlackScholes(0.2), jc.BlackScholes(0.3)], [surface, surface], weights=weights
    )  # fmt: skip
    assert [float(fit.spec.model.sigma) for fit in fits] == [0.2, 0.3]
    np.testing.assert_array_equal(fits[1].spec.weights, weights[1])
    keyed = jc.calibrate_many(jc.BlackScholes, {"a": surface, "b": surface}, prior=priors)
    assert keyed["a"].spec.prior is None
    assert isinstance(keyed["b"].spec.prior, jc.Gaussian)
    assert all(
        fit.spec.weights == jc.VegaWeights() for fit in jc.calibrate_many(jc.BlackScholes, [surface], weights="vega")
    )


def test_weights_of_a_spec_are_not_multiplied_in_twice(surface: jc.Surface) -> None:
    fit = jc.calibrate(jc.BlackScholes, surface, weights="vega")
    for verb in (jc.calibrate, jc.global_search):
        with pytest.raises(ValueError, match="the spec has VegaWeights, and the surface has weights already"):
            verb(fit.spec, fit.surface)
    assert "has weights already" in str(jc.calibrate_many(fit.spec, [fit.surface]).reasons[0])
    entry = jc.compare([fit.spec], fit.surface, repeats=0).entries[0]
    assert entry.fit is None
    assert "has weights already" in entry.reason
    compared = jc.compare([jc.BlackScholes], surface, repeats=0, weights="vega").fits["BlackScholes"]
    assert compared.spec == fit.spec
    assert float(compared.cost) == float(fit.cost)
    again = jc.calibrate(fit.spec, fit.surface, weights="uniform")
    assert float(again.model.sigma) == float(fit.model.sigma)


def test_compare_takes_bounds_and_priors(surface: jc.Surface) -> None:
    compared = jc.compare([jc.BlackScholes], surface, repeats=0, bounds={"sigma": (0.3, 1.0)})
    fit = compared.fits.get("BlackScholes")
    assert fit is not None
    assert float(fit.model.sigma) == pytest.approx(0.3, rel=1e-9)
    sharp = jc.Gaussian({"sigma": 0.3}, std=1e-6)
    held = jc.compare([jc.BlackScholes], surface, repeats=0, prior=sharp).fits.get("BlackScholes")
    assert held is not None
    assert float(held.model.sigma) == pytest.approx(0.3, rel=1e-3)
    with pytest.raises(ValueError, match=r"'kappa'.*give that model a CalibrationSpec of its own"):
        jc.compare([jc.BlackScholes], surface, bounds={"kappa": (1.0, 2.0)})


def test_a_stream_has_no_other_prior() -> None:
    with pytest.raises(ValueError, match="that of a stream is what came before"):
        jc.Recalibrator(spec(prior=jc.Gaussian({"sigma": 0.2}, std=0.1)))


def test_profiles_and_bootstraps_need_nothing_again(surface: jc.Surface) -> None:
    """Within the bounds of the fit, wherever the model's own are: both ends were outside before."""
    fit = jc.calibrate(jc.BlackScholes, surface, bounds={"sigma": (0.2095, 0.2105)})
    curve = jc.profile(fit, "sigma", level=0.999)
    values = np.asarray(curve.values)
    assert values.min() > 0.2094
    assert values.max() < 0.2106
    draws = np.asarray(jc.bootstrap(fit, num=8).model.sigma)
    assert draws.min() > 0.2094
    assert draws.max() < 0.2106
    assert draws.std() > 0
    ends = jc.confidence_intervals(fit, method="profile")
    assert float(np.nan_to_num(ends.lower.sigma, nan=0.21)) > 0.2094


def test_a_unit_of_its_own_is_remembered(surface: jc.Surface) -> None:
    """A bound by Feller's condition had to be given again."""
    bounds = {"sigma": jc.Interval(0.5, 2.0, "log", unit=lambda model: jnp.asarray(0.2))}
    fit = jc.calibrate(jc.BlackScholes, surface, bounds=bounds)
    assert bool(np.isfinite(jc.bootstrap(fit, num=4).model.sigma).all())
    assert jc.profile(fit, "sigma").interval()[0] < float(fit.model.sigma)


def test_fits_with_specs_pass_through_transformations(surface: jc.Surface) -> None:
    fits = [
        jc.calibrate(jc.BlackScholes(start), surface, loss="huber", prior=jc.Gaussian({"sigma": start}, std=0.1))
        for start in (0.2, 0.3)
    ]
    assert float(jax.jit(lambda fit: fit.spec.prior.strength * fit.cost)(fits[0])) == pytest.approx(
        0.01 * float(fits[0].cost)
    )
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *fits)
    assert stacked.spec.model.sigma.tolist() == [0.2, 0.3]
    assert stacked.spec.loss.scale == "auto"
    sums = jax.vmap(lambda fit: fit.spec.model.sigma + fit.cost)(stacked)
    np.testing.assert_allclose(sums, [0.2 + float(fits[0].cost), 0.3 + float(fits[1].cost)], rtol=1e-12)


def test_transformations_may_put_anything_in_the_place_of_a_number(surface: jc.Surface) -> None:
    """Equinox takes the arrays out of a tree, with None in their place, and puts them back."""
    fit = jc.calibrate(spec(loss="huber", weights="vega"), surface)
    same(eqx.combine(*eqx.partition(fit, eqx.is_array)), fit)
    assert eqx.filter_jit(lambda fit: fit)(fit).spec == fit.spec
    changed = eqx.tree_at(lambda fit: fit.spec.solver.xtol, fit, 1e-3)
    assert changed.spec == dataclasses.replace(fit.spec, solver=jc.LevenbergMarquardt(xtol=1e-3))
    shapes = jax.eval_shape(lambda fit: fit, fit)
    assert jax.tree.structure(shapes) == jax.tree.structure(fit)


def test_fellers_bounds_pickle_and_are_equal() -> None:
    asked = jc.CalibrationSpec(jc.Heston, bounds=jc.feller_bounds(jc.Heston))
    assert pickle.loads(pickle.dumps(asked)) == asked
    assert copy.deepcopy(asked) == asked


def test_numbers_of_any_kind_in_bounds_are_plain(surface: jc.Surface) -> None:
    unit = jc.feller_bounds(jc.Heston)["sigma"].unit
    asked = jc.CalibrationSpec(
        jc.Heston,
        bounds={"sigma": jc.Interval(jnp.asarray(0.25), np.float32(1.0), "log", unit=unit)},  # type: ignore[arg-type]
        free=list(np.array(["kappa", "sigma"])),
    )
    bounds = {"sigma": jc.Interval(0.25, 1.0, "log", unit=unit)}
    assert hash(asked) == hash(jc.CalibrationSpec(jc.Heston, bounds=bounds, free=["kappa", "sigma"]))
    assert repr(asked.free) == "('kappa', 'sigma')"


def test_weights_of_one_surface_are_not_for_many(surface: jc.Surface) -> None:
    asked = spec(weights=np.ones(surface.vol.shape))
    with pytest.raises(ValueError, match="the spec has weights of the quotes of one surface"):
        jc.calibrate_many(asked, [surface, surface])
    with pytest.raises(ValueError, match="the spec has weights of the quotes of one surface: give a rule"):
        Settings(model=asked)
    again = jc.calibrate_many(asked, [surface], weights=[np.ones(surface.vol.shape)])
    assert float(again[0].model.sigma) == pytest.approx(float(jc.calibrate(asked, surface).model.sigma), rel=1e-9)
