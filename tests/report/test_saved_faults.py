"""save and load: classes of the caller that a file can hold and cannot, faults of files by hand, files half written."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.loss import AbstractLoss

LONG = "x" * 3000


class Doubled(AbstractLoss):
    """A constructor that makes another number of its argument."""

    scale: float

    def __init__(self, scale: float) -> None:
        """Twice the scale."""
        self.scale = 2.0 * scale

    def root(self, residual: Any) -> Any:
        """See `AbstractLoss`."""
        return residual


class Static(AbstractLoss):
    """A field that is part of the structure, as arrays cannot be."""

    scale: float = 0.01
    powers: tuple[int, ...] = eqx.field(static=True, default=())

    def root(self, residual: Any) -> Any:
        """See `AbstractLoss`."""
        return residual


class Holder(AbstractLoss):
    """Made of something else than its field."""

    inside: Any

    def __init__(self, one: Any, *, _two: Any = None) -> None:
        """Keep it."""
        self.inside = one

    def root(self, residual: Any) -> Any:
        """See `AbstractLoss`."""
        return residual


@pytest.fixture(scope="module")
def surface() -> jc.Surface:
    return jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)


@pytest.fixture(scope="module")
def fit(surface: jc.Surface) -> jc.Fit:
    return jc.calibrate(jc.BlackScholes, surface)


@pytest.mark.parametrize("suffix", ["toml", "json"])
@pytest.mark.parametrize("loss", [Doubled(0.3), Static(0.1, (1, 2))], ids=["constructor", "static"])
def test_classes_of_the_caller_come_back_with_their_own_numbers(
    tmp_path: Path, suffix: str, loss: AbstractLoss
) -> None:
    asked = jc.CalibrationSpec(jc.BlackScholes, loss=loss)
    assert jc.load(jc.save(asked, tmp_path / f"spec.{suffix}"), classes=(type(loss),)) == asked


@pytest.mark.parametrize("inside", [jc.Huber(0.01), {"a": 2.0}, np.ones(2, np.float16), None])
def test_what_cannot_be_read_back_is_not_written(tmp_path: Path, surface: jc.Surface, fit: jc.Fit, inside: Any) -> None:
    asked = jc.CalibrationSpec(jc.BlackScholes, loss=Holder(inside))
    for name in ("spec.toml", "spec.json"):
        with pytest.raises(ValueError, match=r"inside of loss is .*: no file can hold it"):
            jc.save(asked, tmp_path / name)
    path = jc.write_fit(dataclasses.replace(fit, spec=asked), tmp_path / "fit")["parameters"]
    assert "inside of loss" in json.loads(path.read_text(encoding="utf-8"))["not_kept"]
    assert isinstance(jc.load(path), jc.BlackScholes)


def test_a_class_with_a_name_of_the_librarys_is_not_read_as_that(tmp_path: Path) -> None:
    own = type("BlackScholes", (jc.BlackScholes,), {})
    for value in (own(0.2), jc.CalibrationSpec(own), jc.CalibrationSpec(jc.SVI, loss=type("Huber", (jc.Huber,), {})())):
        with pytest.raises(ValueError, match="is a class of your own with the name of one of jaxcal's: rename it"):
            jc.save(value, tmp_path / "own.json")


def test_a_fit_without_a_spec_is_written_as_before(tmp_path: Path, fit: jc.Fit) -> None:
    old = copy.copy(fit)
    object.__setattr__(old, "spec", None)
    assert float(jc.load(jc.write_fit(old, tmp_path)["parameters"]).sigma) == float(fit.model.sigma)
    with pytest.raises(ValueError, match="the fit has no spec, as those of earlier versions"):
        jc.save(old, tmp_path / "old.json")


def test_a_start_without_numbers_comes_back(tmp_path: Path, surface: jc.Surface) -> None:
    """As the starts are that `calibrate_many` is given from fits of which one failed."""
    nan = eqx.tree_at(lambda model: model.sigma, jc.BlackScholes(0.2), np.nan)
    fit = jc.calibrate(jc.BlackScholes, surface)
    fit = dataclasses.replace(fit, model=nan, spec=fit.spec.own(model=nan))
    back = jc.load(jc.save(fit, tmp_path / "fit.json"))
    assert back.spec == fit.spec
    assert np.isnan(back.model.sigma)
    assert jc.load(jc.save(fit.spec, tmp_path / "spec.json")) == fit.spec


def test_a_file_that_cannot_be_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A TOML file cut off between two lines would be another question."""
    asked = jc.CalibrationSpec(jc.BlackScholes, loss="huber")
    path = jc.save(asked, tmp_path / "spec.toml")

    def full(self: Path, *args: Any, **kwargs: Any) -> int:
        self.write_bytes(b'model = "heston"')
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space left"):
        jc.save(jc.CalibrationSpec(jc.Heston), path)
    assert jc.load(path) == asked
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("classes", [jc.Huber, (1,), "Huber"])
def test_classes_that_are_none_are_not_the_files_fault(tmp_path: Path, classes: Any) -> None:
    path = jc.save(jc.BlackScholes(0.2), tmp_path / "model.json")
    with pytest.raises(TypeError):
        jc.load(path, classes=classes)


def test_without_its_digest_a_fit_is_refused(tmp_path: Path, fit: jc.Fit) -> None:
    path = jc.save(fit, tmp_path / "fit.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    for left_out in ({"digest"}, {"digest", "format"}, {"format"}):
        path.write_text(json.dumps({name: value for name, value in record.items() if name not in left_out}))
        with pytest.raises(ValueError, match="this was changed after it was written"):
            jc.load(path)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a = " + "[" * 20_000, "nested too deep"),
        (f'free = ["{LONG}"]', r"free must name parameters of Heston .*\.\.\."),
        (f"bounds = {{{LONG} = [1, 2]}}", "bounds name"),
        (f'loss = {{kind = "huber", scale = "{LONG}"}}', "loss, Huber: "),
        (f'clock = {{market = "{LONG}"}}', "market"),
        (f"format = {'9' * 4000}", "this was written in format 999"),
        (f"format = 0x{'f' * 20_000}", "this was written in format an integer of thousands of digits"),
        (f"bounds = {{kappa = [1, {'9' * 400}]}}", "the bounds of kappa hold 999.*: give numbers"),
        ("bounds = {sigma = {lower = true, upper = 2}}", "the bounds of sigma hold True: give numbers"),
        ('bounds = {sigma = {lower = "0.1", upper = 2}}', "the bounds of sigma hold '0.1': give numbers"),
        ("bounds = {sigma = {lower = 0.1, upper = 1, unit = [1]}}", r"the unit of the bounds of sigma is \[1\]"),
        ('solver = {kind = "LevenbergMarquardt", max_steps = "ten"}', "max_steps of .* is 'ten': it must be a number"),
        ('weights = {kind = "vega", power = "a"}', "power of weights, VegaWeights is 'a': it must be a number"),
        ('loss = {kind = "huber", scale = 2026-01-28}', "scale of loss, Huber is datetime.date"),
        ('clock = {night = "dark"}', "night of clock is 'dark': it must be a number"),
        ('clock = {scaled = "yes"}', "scaled of clock is 'yes': it must be true or false"),
    ],
)  # fmt: skip
def test_faults_of_any_length_are_a_short_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "spec.toml"
    path.write_text(f'model = "heston"\n{text}', encoding="utf-8")
    with pytest.raises(ValueError, match=sentence) as raised:
        jc.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert len(str(raised.value)) < 500


def test_deep_json_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text('{"jaxcal": "0", "a": ' + "[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match="nested too deep"):
        jc.load(path)


def test_a_folder_that_is_not_there_is_named_as_it_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "spec.toml"
    with pytest.raises(FileNotFoundError) as caught:
        jc.save(jc.CalibrationSpec(jc.BlackScholes), path)
    assert caught.value.filename == str(path)
