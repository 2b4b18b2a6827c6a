"""save and load: equal in every value, and a sentence for every file that is not what it should be."""

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.loss import AbstractLoss
from jaxcal.models.registry import ModelName
from tests.small_models import Lines

STRIKES = [80.0, 90.0, 100.0, 110.0, 120.0]


@pytest.fixture(scope="module")
def surface() -> jc.Surface:
    vols = [[0.25, 0.22, 0.2, 0.195, 0.2], [0.24, 0.22, 0.205, 0.2, np.nan]]
    return jc.Surface.from_vols([0.5, 1.0], STRIKES, vols, forward=100.0)


@pytest.fixture(scope="module")
def fit(surface: jc.Surface) -> jc.Fit:
    return jc.calibrate(jc.BlackScholes, surface, loss="huber", bounds={"sigma": (0.05, 2.0)})


@pytest.fixture(scope="module")
def own(surface: jc.Surface) -> jc.Fit:
    """Of a model and with a loss of the caller's own, expiry by expiry."""
    return jc.calibrate(Lines, surface, loss=Tukey(0.02))


@pytest.fixture
def path(tmp_path: Path, fit: jc.Fit) -> Path:
    return jc.write_fit(fit, tmp_path / "fit")["parameters"]


def same(one: Any, other: Any) -> None:
    """In structure, shape, dtype and value, to the last bit; NaN is itself."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.shape(x) == np.shape(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        np.testing.assert_array_equal(x, y)


class Tukey(AbstractLoss):
    """A loss of the caller's own."""

    scale: float = 0.01

    def root(self, residual: Any) -> Any:
        """See `AbstractLoss`."""
        return residual / jnp.sqrt(1.0 + (residual / self.scale) ** 2)


_ABOUT = jc.Gaussian({"sigma": 0.3}, std=0.1)
SPECS: dict[str, Any] = {
    "class": {},
    "start": {"model": jc.BlackScholes(0.3), "free": ["sigma"]},
    "surface": {"rules": jc.CleaningRules.crypto(), "clock": jc.VarianceClock(weekend=0.3, events={"2026-01-28": 2.0})},
    "suited": {"rules": jc.SuitedRules(max_outlier=3.0)},
    "objects": {"loss": jc.Cauchy(0.01), "weights": jc.VegaWeights(2.0), "pricer": jc.Saddle(64)},
    "arrays": {"weights": [[0.1, 1 / 3], [2.0, 0.0]], "solver": jc.LevenbergMarquardt(max_steps=5)},
    "priors": {"prior": [jc.Gaussian({"sigma": 0.2}, std=1 / 3, on="search"), jc.Scaled(_ABOUT, 2.0)]},
    "feller": {"model": jc.Heston, "bounds": jc.feller_bounds(jc.Heston) | {"v0": "theta"}, "prior": jc.Feller(0.2)},
    "unit": {"model": jc.SVI, "bounds": {"a": jc.SVI.bounds["a"]._replace(upper=0.5)}},
    "optax": {"solver": jc.Optax(optax.adam, 0.05)},
    "static": {"model": jc.SABR(0.2, 0.9, -0.3, 0.4), "residual": jc.BidAskResidual()},
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_specs_come_back_equal(tmp_path: Path, name: str, suffix: str) -> None:
    asked = jc.CalibrationSpec(**({"model": jc.BlackScholes} | SPECS[name]))
    back = jc.load(jc.save(asked, tmp_path / f"spec.{suffix}"))
    assert back == asked
    assert back.rules == asked.rules
    assert back.clock == asked.clock


@pytest.mark.parametrize("name", list(ModelName), ids=str)
def test_models_come_back_equal(tmp_path: Path, name: ModelName) -> None:
    kind = name.model
    values = {n: jnp.full(2, b.middle) if n in kind.vectors else b.middle for n, b in kind.bounds.items()}
    if "knots" in kind.vectors:
        values["knots"] = jnp.asarray([0.1 + 0.2] if "piecewise" in name.value else [0.1 + 0.2, 1.0])
    model = kind(**values)
    same(jc.load(jc.save(model, tmp_path / "model.json")), model)


def test_fits_come_back_equal(tmp_path: Path, surface: jc.Surface, fit: jc.Fit, own: jc.Fit, path: Path) -> None:
    empty = eqx.tree_at(lambda s: s.weight, surface, 0.0 * surface.weight)
    previous = jc.toward(fit, 0.5)
    fits = {
        "robust": fit,
        "weights and a prior": jc.calibrate(jc.BlackScholes, surface, weights="vega", prior=[previous]),
        "by expiry": own,
        "of no quotes": jc.calibrate(fit.spec, empty),
        "one of many": jc.calibrate_many(jc.BlackScholes, [surface, surface])[1],
    }
    recalibrator = jc.Recalibrator(jc.BlackScholes)
    state, _ = recalibrator.step(None, surface, "2026-01-05T16:00Z")
    _, fits["of a stream"] = recalibrator.step(state, surface, "2026-01-06T16:00Z")
    for one in fits.values():
        back = jc.load(jc.save(one, tmp_path / "fit.json"), classes=(Lines, Tukey))
        same(back, one)
        assert back.spec == one.spec
        assert back.status == one.status
        assert back.summary() == one.summary()
    same(jc.load(path), fit)
    same(jc.load(path.parent), fit)
    same(jc.calibrate(jc.load(path).spec, surface), fit)  # made anew from its own file


def test_parameters_json_stays_readable(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["parameters"] == {"sigma": pytest.approx(0.21, abs=0.01)}
    assert record["spec"]["bounds"] == {"sigma": [0.05, 2.0]}
    assert record["spec"]["loss"] == {
        "kind": "Huber",
        "scale": "auto",
    }
    assert len(path.read_text(encoding="utf-8").splitlines()) < 100  # the arrays are on one line


def test_classes_of_the_caller_are_looked_up_by_name(tmp_path: Path, own: jc.Fit) -> None:
    path = jc.save(own, tmp_path / "own.json")
    same(jc.load(path, classes=(Lines, Tukey)), own)
    with pytest.raises(ValueError, match=r"there is no model 'Lines'; .* given as classes"):
        jc.load(path)
    with pytest.raises(ValueError, match="loss: there is no kind 'Tukey'; there are Linear, Huber"):
        jc.load(path, classes=(Lines,))


def test_what_no_file_can_hold_is_said(tmp_path: Path, fit: jc.Fit) -> None:
    bounds = {"sigma": jc.Interval(0.5, 2.0, "log", unit=lambda _: jnp.asarray(0.2))}
    fit = dataclasses.replace(fit, spec=jc.CalibrationSpec(jc.BlackScholes, bounds=bounds))
    with pytest.raises(ValueError, match="the unit or the origin of the bounds of sigma is a function of your own"):
        jc.save(fit.spec, tmp_path / "spec.toml")
    path = jc.write_fit(fit, tmp_path)["parameters"]
    assert "function of your own" in json.loads(path.read_text(encoding="utf-8"))["not_kept"]
    same(jc.load(path), jc.BlackScholes(float(fit.model.sigma)))
    with pytest.raises(ValueError, match="no file can hold"):
        jc.save(jc.CalibrationSpec(jc.BlackScholes, solver=jc.Optax(optax.sgd(0.1))), tmp_path / "spec.toml")
    with pytest.raises(ValueError, match=r"TOML is for a CalibrationSpec, not a Fit: write fit\.json"):
        jc.save(fit, tmp_path / "fit.toml")
    with pytest.raises(TypeError, match="save takes a model, a Fit or a CalibrationSpec, not a dict"):
        jc.save({}, tmp_path / "x.json")


def test_files_of_before_there_were_specs_give_their_model(tmp_path: Path) -> None:
    old = {"jaxcal": "0", "model": "Heston", "source": "x.csv", "status": "Converged"}
    values = {"v0": 0.1 + 0.2, "kappa": 1 / 3, "theta": 0.06, "sigma": 0.7, "rho": -0.65}
    (tmp_path / "parameters.json").write_text(json.dumps(old | {"parameters": values}), encoding="utf-8")
    same(jc.load(tmp_path), jc.Heston(**values))


def changed(path: Path, **parts: Any) -> None:
    record = json.loads(path.read_text(encoding="utf-8")) | parts
    path.write_text(json.dumps(record), encoding="utf-8")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"format": 2}, r"this was written by jaxcal [\d.]+ in format 2, and this version reads 1: upgrade jaxcal"),
        ({"format": "1"}, "its format is '1'"),
        ({"parameters": {"sigma": 0.5}}, "this was changed after it was written"),
        ({"model": "Bates"}, "this was changed after it was written"),
        ({"fit": None}, "this was changed after it was written"),
        ({"digest": "0" * 64}, "this was changed after it was written"),
        ({"models": []}, "this is a comparison"),
    ],
)
def test_newer_and_changed_files_are_refused(path: Path, parts: dict[str, Any], sentence: str) -> None:
    changed(path, **parts)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path))}: {sentence}"):
        jc.load(path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_cut_off_files_are_refused(path: Path, share: float) -> None:
    text = path.read_bytes()
    path.write_bytes(text[: int(share * len(text))])
    with pytest.raises(ValueError, match="this is not JSON, or cut off"):
        jc.load(path)


@pytest.mark.parametrize(
    ("record", "sentence"),
    [
        ([], "this is no file of jaxcal"),
        ({"sigma": 0.2}, "this is no file of jaxcal"),
        ({"jaxcal": "0", "model": "Hestonn", "parameters": {}}, "there is no model 'Hestonn'; there are"),
        ({"jaxcal": "0", "model": "Heston", "parameters": {"v0": 0.1}}, "Heston has no kappa"),
        ({"jaxcal": "0", "model": "BlackScholes", "parameters": {"sigma": 0.1, "rho": 0}}, "BlackScholes has no 'rho'"),
        ({"jaxcal": "0", "model": "BlackScholes", "parameters": {"sigma": "0.1"}}, "sigma of BlackScholes is '0.1'"),
        ({"jaxcal": "0", "model": "BlackScholes", "parameters": {"sigma": None}}, "sigma is nan"),
        ({"jaxcal": "0", "model": "BlackScholes", "parameters": [1]}, "the parameters is"),
        ({"jaxcal": "0", "model": ["BlackScholes"], "parameters": {}}, "there is no model"),
        ({"jaxcal": "0", "model": "BlackScholes"}, "it is no file of jaxcal, or a damaged one"),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path: Path, record: Any, sentence: str) -> None:
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match=sentence):
        jc.load(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_bytes(b"\x80\x04\x95pickle")
    with pytest.raises(ValueError, match="this is no text"):
        jc.load(path)
    with pytest.raises(OSError):
        jc.load(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", 'there is no model: begin with model = "heston"'),
        ('model = "heston', "this is not TOML"),
        ('model = "heston"\nlos = "huber"', "a calibration spec has no 'los'; it has model, start, free"),
        ('model = "hestn"', "there is no model 'hestn'"),
        ("model = 3", "there is no model 3"),
        ('format = 9\nmodel = "heston"', "this was written in format 9"),
        ('model = "heston"\nloss = "hubert"', "loss: there is no kind 'hubert'; there are Linear"),
        ('model = "heston"\nloss = {kind = "huber", scle = 1}', "loss, Huber has no 'scle'; it has scale"),
        ('model = "heston"\nloss = {kind = "huber", scale = -1.0}', "loss, Huber: the scale of Huber is -1.0"),
        ('model = "heston"\nloss = {kind = "huber", scale = "big"}', "loss, Huber: .*'big'"),
        ('model = "heston"\nloss = {kind = "vega"}', "loss: there is no kind 'vega'"),
        ('model = "heston"\nloss = 3', "loss is 3: it must be a table"),
        ('model = "heston"\nfree = "kappa"', "free is 'kappa': it must be a list"),
        ('model = "heston"\nfree = ["kapa"]', "free must name parameters of Heston"),
        ('model = "heston"\nbounds = 3', "bounds is 3: it must be a table"),
        ('model = "heston"\nbounds = {kappa = [3, 1]}', "bounds of kappa are"),
        ('model = "heston"\nbounds = {kappa = [1]}', r"the bounds of kappa are \[1\]: give \[lower, upper\]"),
        ('model = "heston"\nbounds = {kappa = ["a", "b"]}', "the bounds of kappa are"),
        ('model = "heston"\nbounds = {kapa = [1, 2]}', "bounds name 'kapa'"),
        ('model = "heston"\nbounds = {kappa = {lower = 1.0}}', "give lower, upper"),
        ('model = "heston"\nbounds = {sigma = {lower = 0.1, upper = 1, unit = "os.system"}}', "known is feller"),
        ('model = "heston"\nbounds = {sigma = {lower = 0.1, upper = 1, unit = 3}}', "known is feller"),
        ('model = "heston"\nstart = {v0 = 0.1}', "Heston has no kappa"),
        ('model = "black-scholes"\nstart = {sigma = -0.1}', "sigma must"),
        ('model = "black-scholes"\nstart = {sigma = true}', "sigma of BlackScholes is True"),
        ('model = "heston"\nprior = {kind = "gaussian", mean = {kapa = 1.0}, std = 1.0}', "the prior names 'kapa'"),
        ('model = "heston"\nprior = {kind = "gaussian", mean = {kappa = 1.0}}', "either std or covariance"),
        ('model = "heston"\nprior = {kind = "gaussian", fields = {names = ["kappa"]}}', "its fields are names"),
        ('model = "heston"\nweights = {kind = "vega", power = -1.0}', "the power of VegaWeights"),
        ('model = "heston"\nweights = [["a"]]', "weights"),
        ('model = "heston"\nsolver = {kind = "optax", optimiser = {optax = "__import__"}}', "optimiser"),
        ('model = "heston"\n[cleaning]\nmax_outler = 3', "cleaning has no 'max_outler'"),
        ('model = "heston"\n[cleaning]\nmax_outlier = "3"', "cleaning: max_outlier is '3'"),
        ('model = "heston"\n[cleaning]\nprofile = "moon"', "profile 'moon' is not known"),
        ('model = "heston"\n[clock]\nnigth = 0.3', "clock has no 'nigth'"),
        ('model = "heston"\n[clock]\nnight = "dark"', "night"),
    ],
)  # fmt: skip
def test_every_fault_of_a_toml_file_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as raised:
        jc.load(path)
    assert str(raised.value).startswith(f"{path}: ")


def test_the_file_of_the_page_reads_as_it_says(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "calibration_specs.md").read_text(encoding="utf-8")
    text = page.partition("```toml\n")[2].partition("```")[0]
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    found = jc.load(tmp_path / "spec.toml")
    assert set(tomllib.loads(text)) <= {
        "format",
        "model",
        "start",
        "free",
        "bounds",
        "loss",
        "prior",
        "weights",
        "cleaning",
        "clock",
    }
    assert found.names == ("v0", "theta", "sigma", "rho")
    assert found.scales.of(found.model, "sigma").unit is not None
    assert found.rules.based_on == "crypto"
    assert found.rules.max_outlier == 4.0
    assert len(found.clock.events) == 1
    assert found == jc.load(jc.save(found, tmp_path / "again.toml"))
