"""check_model, and the part of it that every price looks at: laws pass, what is no law is named."""

import re
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcal as jc
from jaxcal.models.base import LogCFBasis

HESTON = (0.04, 1.5, 0.06, 0.7, -0.65)
JUMPS = (0.5, -0.1, 0.1)
LAWFUL = [
    jc.BlackScholes(0.2), jc.Merton(0.2, *JUMPS), jc.NIG(15.0, -5.0, 0.5), jc.Heston(*HESTON),
    jc.SVI(0.01, 0.1, -0.4, 0.0, 0.1),
    jc.Merton(0.05, 2.0, -0.9, 1e-3), jc.Merton(0.001, 0.001, -2.0, 0.001),
    pytest.param(jc.Kou(0.16, 1.0, 0.4, 10.0, 5.0), marks=pytest.mark.slow),
    pytest.param(jc.VarianceGamma(0.2, 0.3, -0.1), marks=pytest.mark.slow),
    pytest.param(jc.SABR(0.2, 1.0, -0.3, 0.4), marks=pytest.mark.slow),
    pytest.param(jc.BlackScholesHullWhite(0.2, 0.05, 0.01, 0.3), marks=pytest.mark.slow),
    pytest.param(jc.Bates(*HESTON, *JUMPS), marks=pytest.mark.slow),
    pytest.param(jc.SVCJ(*HESTON, *JUMPS, 0.05, -0.5), marks=pytest.mark.slow),
    pytest.param(jc.CGMY(1.0, 5.0, 5.0, 0.5), marks=pytest.mark.slow),
    pytest.param(jc.DoubleHeston(*HESTON, *HESTON), marks=pytest.mark.slow),
    pytest.param(jc.HestonHullWhite(*HESTON, 0.05, 0.015), marks=pytest.mark.slow),
    pytest.param(
        jc.ClockedDoubleHeston(*HESTON, *HESTON, pace=[1.5], knots=[0.25]), marks=pytest.mark.slow
    ),
    pytest.param(
        jc.ClockedHestonJumps.of(jc.Bates(*HESTON, *JUMPS), [0.25], [1.5], factors=3, jumps=2), marks=pytest.mark.slow
    ),
    pytest.param(jc.PiecewiseHeston(0.04, 1.5, [0.06, 0.05], 0.7, -0.65, [0.25]), marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize("model", LAWFUL, ids=lambda model: type(model).__name__)
def test_what_is_lawful_has_no_sentence(model):
    assert jc.check_model(model) == ()


class Merton(jc.AbstractFourierModel):
    """Merton's, with a fault by choice."""

    sigma: float
    intensity: float
    mean: float
    fault: str = eqx.field(static=True, default="")
    bounds: ClassVar = {"sigma": jc.Interval(0.01, 3.0, "log"), "intensity": jc.Interval(0.01, 50.0, "log")}

    def log_cf(self, z, t):
        sigma, intensity, mean, t = (jnp.asarray(x).astype(z.dtype) for x in (self.sigma, self.intensity, self.mean, t))
        drift = 0.0 if self.fault == "no compensator" else 1j * z * jnp.expm1(mean)
        jumps = intensity * t * (jnp.expm1(1j * z * mean) - drift)
        gaussian = -0.5 * sigma**2 * t * (z * z + 1j * z)
        if self.fault == "sign":
            gaussian = -gaussian
        if self.fault == "time":
            jumps = jumps / t
        if self.fault == "killed":
            return gaussian + jumps - 0.1 * t
        if self.fault == "not real":
            return gaussian + jumps + 0.3 * t * z * z * (z + 1j)
        if self.fault == "kurtosis":
            return gaussian * jnp.exp(-0.3 * (z * z + 1j * z))
        if self.fault == "branch":
            return gaussian + jumps + 0.3 * jnp.where(jnp.real(z) > 4.0, 2j * jnp.pi, 0.0).astype(z.dtype)
        if self.fault == "shape":
            return jnp.sum(gaussian + jumps)
        if self.fault == "wide":
            return (gaussian + jumps).astype(jnp.complex128)
        if self.fault == "nan":
            return gaussian + jumps + jnp.sqrt(jnp.asarray(-1.0)).astype(z.dtype)
        return gaussian + jumps


@jax.custom_jvp
def square(x):
    return x * x


square.defjvp(lambda primals, tangents: (square(*primals), primals[0] * tangents[0]))  # 2 x is right


class WrongSlope(Merton):
    def log_cf(self, z, t):
        sigma, t = jnp.asarray(self.sigma), jnp.asarray(t)
        return -0.5 * (square(sigma).astype(t.dtype) * t).astype(z.dtype) * (z * z + 1j * z)


class ClaimsTooMuch(Merton):
    def moment_bounds(self, t):
        return 0.2 * jnp.ones_like(t), 0.8 * jnp.ones_like(t)


class Mixed(jc.AbstractFourierModel):
    """Black's, with a basis and a fault of it by choice."""

    sigma: float
    fault: str = eqx.field(static=True, default="")
    bounds: ClassVar = {"sigma": jc.Interval(0.01, 3.0, "log")}
    basis_size: ClassVar = 1

    def log_cf(self, z, t):
        return -0.5 * jnp.asarray(self.sigma**2 * t).astype(z.dtype) * (z * z + 1j * z)

    def basis(self, z, t):
        row = t * (z * z + 1j * z)
        level = self.sigma if self.fault == "other law" else self.sigma**2
        if self.fault == "complex":
            return LogCFBasis((-0.5 * level) * row, (row.to_complex(),))  # type: ignore[arg-type]
        return LogCFBasis((-0.5 * level) * row, (row, row) if self.fault == "one more" else (row,))

    def mix(self, direction, t):
        if self.fault == "no number":
            return (jnp.nan * direction.sigma,)
        if self.fault == "flat":
            return (jnp.ravel(-self.sigma * direction.sigma * jnp.ones_like(t)),)
        return ((1.0 if self.fault == "sign" else -1.0) * self.sigma * direction.sigma,)

    def still(self, t):
        return self, t * {"clock": 2.0, "no clock": jnp.nan}.get(self.fault, 1.0)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Mixed(0.3, "other law"), r"^the log_cf of basis\(z, t\) is not log_cf\(z, t\)"),
        (Mixed(0.3, "one more"), r"^basis gives 2 functions and mix 1 factors, basis_size says 1"),
        (Mixed(0.3, "complex"), r"^basis gives functions that are not Cartesian"),
        (Mixed(0.3, "flat"), r"^mix gives a factor of shape \(2,\) for t \(2, 1\)"),
        (Mixed(0.3, "sign"), r"^basis and mix make the derivative of log_cf in sigma .*, it is "),
        (Mixed(0.3, "no number"), r"^basis and mix make the derivative of log_cf in sigma nan"),
        (Mixed(0.3, "no clock"), r"^the model and the time of still\(t\) have another basis"),
        (Mixed(0.3, "clock"), r"^the model and the time of still\(t\) have another basis"),
        (
            Merton(0.2, 2.0, -0.2, "no compensator"),
            r"^log_cf\(-1j, t\) is -0\.007251 at t = 0\.02, not 0: E\[exp X\]",
        ),
        (Merton(0.2, 2.0, -0.2, "killed"), r"^log_cf\(0j, t\) is -0\.002 at t = 0\.02, not 0: probabilities"),
        (Merton(0.2, 2.0, -0.2, "sign"), r"^\|phi\(.*\)\| is .* at t = "),
        (Merton(0.2, 2.0, -0.2, "not real"), r"not conj phi\(z\)"),
        (Merton(0.2, 2.0, -0.2, "kurtosis"), r"negative probabilities"),
        (Merton(0.2, 2.0, -0.2, "branch"), r"^phi jumps near \|z\| = (3\.9|4\.)"),
        (Merton(0.2, 2.0, -0.2, "shape"), r"has shape \(\): it must be that of z"),
        (Merton(0.2, 2.0, -0.2, "wide"), r"^log_cf of complex64 is complex128"),
        (Merton(0.2, 2.0, -0.2, "nan"), r"^log_cf\(0j, t\) is NaN"),
        (WrongSlope(0.2, 2.0, -0.2), r"^the derivative of log_cf in sigma is"),
        (ClaimsTooMuch(0.2, 2.0, -0.2), r"^moment_bounds must contain \(0, 1\)"),
    ],
)
def test_what_is_no_law_is_named(model, sentence):
    found = jc.check_model(model)
    assert any(re.search(sentence, text) for text in found), found
    assert all(len(text) < 300 for text in found)


class Smile(jc.AbstractVolModel):
    level: float
    bend: float
    fall: float = 0.0
    bounds: ClassVar = {"level": jc.Interval(0.01, 3.0, "log"), "bend": jc.Interval(-9.0, 9.0)}

    def vol(self, strike, expiry, forward):
        k = jnp.log(strike / forward)
        return self.level * jnp.exp(-self.fall * expiry) + self.bend * k * k / expiry


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Smile(0.2, -0.9), "^vol is -.* must be positive and finite"), (Smile(0.2, 3.0), "^a butterfly has a negative"),
        (Smile(0.2, 0.0, 0.5), "^total variance at .* falls from t = 1.1 to 5.3"),
        (jc.SVI(0.04, 0.4, -0.99, 0.0, 1e-3), "^a butterfly has a negative"),
    ],
)  # fmt: skip
def test_what_is_no_smile_is_named(model, sentence):
    found = jc.check_model(model)
    assert any(re.search(sentence, text) for text in found), found


def test_a_basis_that_is_right_has_no_sentence():
    assert jc.check_model(Mixed(0.3)) == ()


def test_prices_and_fits_refuse_what_is_no_law():
    wrong, right = Merton(0.2, 2.0, -0.2, "no compensator"), Merton(0.2, 2.0, -0.2)
    surface = jc.synthetic_surface(right, expiry=[0.25, 1.0])
    for run in (
        lambda: jc.price(wrong, 100.0, 0.5, forward=100.0), lambda: jc.model_vol(wrong, 100.0, 0.5, forward=100.0),
        lambda: jc.greeks(wrong, 100.0, 0.5, forward=100.0), lambda: jc.calibrate(wrong, surface),
        lambda: jc.calibrate_many(wrong, [surface]),
    ):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"^Merton is no law: log_cf\(-1j, t\) is .*jc.check_model\(model\)"
        ) as error:
            run()
        assert len(str(error.value)) < 400
    value = jax.jit(lambda m: jc.price(m, 100.0, 0.5, forward=100.0))(wrong)  # inside jit nothing is known
    assert np.isfinite(value)


class Removable(jc.AbstractFourierModel):
    """Black's law by a formula that divides nothing by nothing at 0 and -i."""

    sigma: float
    bounds: ClassVar = {"sigma": jc.Interval(0.01, 3.0, "log")}

    def log_cf(self, z, t):
        q = z * z + 1j * z
        return -0.5 * (jnp.asarray(self.sigma) ** 2 * t).astype(z.dtype) * (q * q / q)


def test_a_formula_with_holes_at_the_ends_is_a_law():
    found = jc.price(Removable(0.2), 110.0, 0.5, forward=100.0)
    assert float(found) == pytest.approx(float(jc.black_price(0.2, 110.0, 0.5, forward=100.0)), abs=1e-8)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_parameter_that_is_not_finite(value):
    for make in (
        lambda: jc.Heston(value, 1.5, 0.06, 0.7, -0.65), lambda: jc.Heston(jnp.asarray(value), 1.5, 0.06, 0.7, -0.65)
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^Heston\(v0=.*\): v0 is -?(nan|inf)"):
            make()
    with pytest.raises(ValueError, match=r"theta\[1\] is"):
        jc.PiecewiseHeston(0.04, 1.5, [0.06, value], 0.7, -0.65, [0.25])
    broken = eqx.tree_at(lambda m: m.v0, jc.Heston(*HESTON), value)
    for run in (jc.price, jc.model_vol, jc.greeks):
        with pytest.raises(ValueError, match=r'^Heston: v0 is .*finite number .*"Not fitted" has none'):
            run(broken, 100.0, 0.5, forward=100.0)
    with pytest.raises(ValueError, match=r"^BlackScholes\(.*sigma is"):
        jc.BlackScholes(value)


def test_members_of_a_batch_become_nan():
    for sigma in (jnp.asarray([0.2, jnp.nan]), jnp.asarray([0.2, jnp.inf])):
        found = np.asarray(jc.price(jc.BlackScholes(sigma), 100.0, 0.5, forward=100.0))
        assert np.isfinite(found).tolist() == [True, False]
    assert len(jc.check_model(jc.BlackScholes(jnp.asarray([0.2, jnp.nan])))) == 1
    inside = jax.jit(lambda x: jc.price(jc.BlackScholes(x), 100.0, 0.5, forward=100.0))(jnp.nan)
    assert np.isnan(inside)


def test_bounds_that_are_none():
    class Named(jc.BlackScholes):
        bounds: ClassVar = {"sigma": jc.Interval(3.0, 0.1, "log"), "kappa": jc.Interval(0.0, 1.0)}

    found = jc.check_model(Named(0.2))
    assert found[0].startswith("bounds of sigma are (3.0, 0.1)")
    assert found[1].startswith("bounds name 'kappa', which is no field of Named")


def test_what_is_no_model():
    wrong: Any = jc.Heston
    with pytest.raises(TypeError):
        jc.check_model(wrong)
    with pytest.raises(TypeError, match="outside"):
        jax.jit(lambda x: len(jc.check_model(jc.BlackScholes(x))))(0.2)
