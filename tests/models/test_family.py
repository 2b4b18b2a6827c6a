"""The log-characteristic functions of the jump, Levy and two-factor models, and all their derivatives, against textbook
forms in 50 digits; and what every model promises.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import jaxcal as jc
from tests.goldens.family_domain import MODELS as TEXTBOOK

HESTON = (0.04, 1.5, 0.06, 0.7, -0.65)
CASES = {
    "Merton": [(0.2, 0.5, -0.1, 0.15), (0.03, 150.0, 0.02, 0.01), (1.2, 3.0, 0.5, 1.5)],
    "Kou": [(0.16, 1.0, 0.4, 10.0, 5.0), (0.5, 30.0, 0.7, 1.2, 40.0), (0.3, 5.0, 0.0, 20.0, 0.5)],
    "Bates": [(*HESTON, 0.5, -0.1, 0.15), (0.5, 8.0, 0.6, 3.0, -0.3, 20.0, -0.02, 0.07)],
    "DoubleHeston": [(*HESTON, 0.02, 0.5, 0.03, 0.3, -0.4), (0.3, 8.0, 0.3, 3.0, -0.3, 1e-3, 0.1, 0.2, 1e-2, 0.9)],
    "VarianceGamma": [(0.12, 0.2, -0.14), (0.8, 2.5, -0.5), (0.2, 1e-4, 0.1)],
    "NIG": [(15.0, -5.0, 0.5), (6.0, -0.4, 2.8), (3.0, 1.9, 0.2)],
    "CGMY": [
        (1.0, 5.0, 5.0, 0.5),
        (0.1, 4.0, 5.0, 1.5),
        (50.0, 20.0, 30.0, -1.5),
        (0.3, 2.0, 90.0, 1.02),
        (0.3, 2.0, 90.0, 0.01),
    ],
}
POINTS = [
    0.7,
    12.0,
    300.0,
    -0.5j,
    3.0 - 0.5j,
    -40.0 + 0.2j,
    1e-7,
    -1j + 1e-7,
    5 * np.exp(0.2j) - 0.5j,
    5 * np.exp(-0.2j),
]
YEARS = [1 / 365, 0.5, 10.0]
ALL = [(name, case) for name, cases in CASES.items() for case in range(len(cases))]


def _log_cf(cls, x):
    return cls(*x[:-2]).log_cf(x[-2], x[-1])


def value_and_slopes(name):
    """ln phi and its derivatives in every parameter, z (along the real axis) and t, compiled once a model."""
    cls = getattr(jc, name)

    def one(*x):
        # the directions are a batch: one rule to compile, not one a parameter
        basis = tuple(jnp.zeros(len(x), a.dtype).at[j].set(1.0) for j, a in enumerate(x))
        slopes = jax.vmap(lambda *d: jax.jvp(lambda *x: _log_cf(cls, x), x, d)[1])(*basis)
        return _log_cf(cls, x), slopes

    return jax.jit(jax.vmap(one))


COMPILED = {name: value_and_slopes(name) for name in CASES}


def columns(rows):
    *real, z, t = zip(*rows, strict=True)
    return (*(jnp.asarray(x) for x in real), jnp.asarray(z, jnp.complex128), jnp.asarray(t))


def exact(name, row):
    *parameters, z, t = (mp.mpmathify(x) for x in row)
    return TEXTBOOK[name][0](z, t, *parameters)


@pytest.fixture(scope="module", autouse=True)
def digits():
    with mp.workdps(50):
        yield


@pytest.mark.parametrize(("name", "case"), ALL)
def test_value_and_derivatives(name, case):
    rows = [(*CASES[name][case], z, t) for z in POINTS for t in YEARS]
    found, slopes = (np.asarray(x) for x in COMPILED[name](*columns(rows)))
    missed = []
    for n, row in enumerate(rows):
        expected = complex(exact(name, row))
        # next to z = -i the parts of ln phi cancel, to a rounding of their size; so do those of its derivatives
        rounding = 2e-15 * (1.0 + abs(CASES[name][case][0 if name == "CGMY" else 1]) * row[-1])
        if not abs(found[n] - expected) <= 1e-11 * abs(expected) + rounding:
            missed.append(("value", row[-2:], found[n], expected))
        for i in range(len(row)):
            h = mp.mpf("1e-15") * (abs(mp.mpmathify(row[i])) or 1)
            up, down = ([mp.mpmathify(x) + sign * h * (j == i) for j, x in enumerate(row)] for sign in (1, -1))
            slope = complex((exact(name, up) - exact(name, down)) / (2 * h))
            # one that is small beside ln phi over the parameter is known to the rounding of ln phi only
            size = max(abs(row[i]), 1e-3 if i >= len(row) - 2 else 1e-6)
            allowed = 1e-9 * abs(slope) + 1e-12 * abs(expected) / size + 5.0 * rounding / size
            if not abs(slopes[n, i] - slope) <= allowed:
                missed.append((i, row[-2:], slopes[n, i], slope))
    assert not missed


def instances():
    return [(name, getattr(jc, name)(*case)) for name, cases in CASES.items() for case in cases[:1]] + [
        ("SVCJ", jc.SVCJ(*HESTON, 0.5, -0.1, 0.15, 0.05, -0.5))
    ]


@pytest.mark.parametrize(("name", "model"), instances(), ids=lambda x: x if isinstance(x, str) else "")
class TestEveryModel:
    def test_martingale(self, name, model):
        z = jnp.asarray([0.0, -1j])
        for t in YEARS:
            assert np.abs(np.asarray(model.log_cf(z, jnp.asarray(t)))).max() <= 2e-15

    def test_float32(self, name, model):
        z, t = jnp.asarray([1.0, 5.0 - 0.5j], jnp.complex64), jnp.asarray(0.5, jnp.float32)
        wide = np.asarray(model.log_cf(z.astype(jnp.complex128), t.astype(jnp.float64)))
        for leaves in (model, jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), model)):
            found = leaves.log_cf(z, t)
            assert found.dtype == jnp.complex64
            np.testing.assert_allclose(np.asarray(found), wide, rtol=5e-5)
            assert {x.dtype for x in (*leaves.moment_bounds(t), leaves.drift(t))} == {jnp.dtype(jnp.float32)}

    def test_moments(self, name, model):
        """Finite and convex inside the interval, one at 0 and at 1."""
        t = jnp.asarray(0.5)
        lower, upper = (float(x) for x in model.moment_bounds(t))
        assert lower < 0.0
        assert upper > 1.0
        q = np.linspace(0.99 * max(lower, -40.0), 0.99 * min(upper, 40.0), 60)
        logs = np.asarray(jax.tree.map(jnp.asarray, model).log_cf(jnp.asarray(-1j * q), t))
        assert np.isfinite(logs).all()
        assert (np.diff(np.real(logs), 2) > 0).all()
        np.testing.assert_allclose(np.imag(logs), 0.0, atol=1e-12)

    def test_decay_cone(self, name, model):
        """Inside it |phi exp(-i z drift)| falls along a ray."""
        lower, upper = (float(x) for x in model.decay_cone())
        assert lower < 0.0 < upper
        t = jnp.asarray(0.5)
        for angle in (0.9 * max(lower, -np.pi / 2), 0.9 * min(upper, np.pi / 2)):
            z = jnp.asarray(np.array([1e3, 1e4]) * np.exp(1j * angle))
            sizes = np.real(np.asarray(model.log_cf(z, t) - 1j * z * float(model.drift(t))))
            assert sizes[1] < sizes[0] < 0.0


LARGE = {"SVCJ", "DoubleHeston", "CGMY"}  # to compile


@pytest.mark.parametrize(
    ("name", "model"),
    [pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] in LARGE), id=pair[0]) for pair in instances()],
)
def test_broadcast_over_expiries_and_models(name, model):
    z, t = jnp.asarray([[1.0 + 0j, 2.0, 3.0]] * 2), jnp.asarray([[0.5], [1.0]])
    whole = jax.tree.map(jnp.asarray, model)
    batch = jax.tree.map(lambda x: jnp.asarray(np.stack([x, x])), whole)

    @jax.jit
    def values(whole, batch):
        return whole.log_cf(z, t), whole.log_cf(z[1], jnp.asarray(1.0)), jax.vmap(lambda m: m.log_cf(z, t))(batch)

    found, row, many = map(np.asarray, values(whole, batch))
    np.testing.assert_allclose(found[1], row, rtol=1e-13)
    np.testing.assert_allclose(many[1], found, rtol=1e-13)


QUICK = {"Merton", "NIG"}  # to compile a Hessian of; Heston's is in test_heston


@pytest.mark.parametrize(
    ("name", "model"),
    [pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] not in QUICK), id=pair[0]) for pair in instances()],
)
def test_second_derivatives(name, model):
    """The rules are differentiable themselves: Hessians against differences of gradients."""
    z, t = jnp.asarray(3.0 - 0.5j), jnp.asarray(0.5)
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, model))

    def real(x):
        return jnp.real(jax.tree.unflatten(structure, list(x)).log_cf(z, t))

    x = np.asarray(leaves)
    both = jax.jit(lambda x: (jax.grad(real)(x), jax.hessian(real)(x)))
    hessian = np.asarray(both(x)[1])
    np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-10)
    for i in range(x.size):
        h = 1e-5 * max(abs(x[i]), 1e-2)
        up, down = (np.asarray(both(x + sign * h * np.eye(x.size)[i])[0]) for sign in (1, -1))
        np.testing.assert_allclose(hessian[i], (up - down) / (2 * h), rtol=1e-5, atol=1e-5)


HESTON_RULES = [
    ("v0", -0.1, "v0 must not be negative"),
    ("kappa", -0.1, "kappa must not be negative"),
    ("theta", -0.1, "theta must not be negative"),
    ("sigma", 0.0, "sigma must be positive"),
    ("rho", 1.0, "rho must lie in"),
    ("rho", -1.0, "rho must lie in"),
]
JUMP_RULES = [
    ("jump_intensity", -0.1, "jump_intensity must not be negative"),
    ("jump_std", -0.1, "jump_std must not be negative"),
]
RULES = {
    "BlackScholes": [("sigma", -0.1, "sigma must not be negative")],
    "Heston": HESTON_RULES,
    "Merton": [("sigma", -0.1, "sigma must not be negative"), *JUMP_RULES],
    "Kou": [
        ("sigma", -0.1, "sigma must not be negative"),
        JUMP_RULES[0],
        ("p_up", -0.1, "p_up must lie in"),
        ("p_up", 1.1, "p_up must lie in"),
        ("eta_up", 1.0, "eta_up must be above 1"),
        ("eta_down", 0.0, "eta_down must be positive"),
    ],
    "Bates": [*HESTON_RULES, *JUMP_RULES],
    "SVCJ": [
        *HESTON_RULES,
        *JUMP_RULES,
        ("variance_jump_mean", -0.1, "variance_jump_mean must not be negative"),
        ("jump_correlation", 20.0, "variance_jump_mean . jump_correlation must be below 1"),
    ],
    "DoubleHeston": [
        (f"{f}_{i}", value, rule.replace(f, f"{f}_{i}", 1)) for i in (1, 2) for f, value, rule in HESTON_RULES
    ],
    "VarianceGamma": [
        ("sigma", 0.0, "sigma must be positive"),
        ("nu", 0.0, "nu must be positive"),
        ("theta", 4.9928, "must be below 1"),
    ],
    "NIG": [
        ("alpha", 5.0, "alpha must be above"),
        ("beta", 14.5, "alpha must be at least beta"),
        ("delta", 0.0, "delta must be positive"),
    ],
    "CGMY": [
        ("c", 0.0, "c must be positive"),
        ("g", 0.0, "g must be positive"),
        ("m", 1.0, "m must be above 1"),
        ("y", 2.0, "y must be below 2"),
    ],
}
LAWFUL = {
    **dict(instances()),
    "BlackScholes": jc.BlackScholes(0.2),
    "Heston": jc.Heston(*HESTON),
}


# one program a class
INSIDE = {name: jax.jit(lambda fields, name=name: getattr(jc, name)(**fields).violations()) for name in RULES}


@pytest.mark.parametrize(("name", "rule"), [(name, rule) for name, rules in RULES.items() for rule in rules])
def test_outside_the_domain(name, rule):
    """A sentence on the host that names the model and its numbers; for arrays too; none inside jit."""
    field, value, sentence = rule
    fields = {f: getattr(LAWFUL[name], f) for f in LAWFUL[name].bounds} | {field: value}
    cls = getattr(jc, name)
    with pytest.raises(ValueError, match=sentence) as error:
        cls(**fields)
    assert f"{field}={value}" in str(error.value)
    with pytest.raises(ValueError, match=sentence):
        cls(**{f: jnp.asarray([getattr(LAWFUL[name], f), x]) for f, x in fields.items()})
    assert {rule for rule, broken in INSIDE[name](fields).items() if bool(broken)}


def test_the_law_allows_its_boundary():
    jc.BlackScholes(0.0)
    jc.Heston(0.0, 0.0, 0.0, 0.5, 0.0)
    jc.Merton(0.2, 0.0, -0.1, 0.0)
    jc.Kou(0.2, 0.0, 1.0, 3.0, 3.0)
    jc.SVCJ(*HESTON, 0.0, 0.0, 0.0, 0.0, 0.0)
    jc.NIG(3.0, 2.0, 1.0)
