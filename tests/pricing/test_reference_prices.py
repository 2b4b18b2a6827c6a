"""Heston prices and their derivatives against numbers computed elsewhere, in 40 and more digits."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc

GOLDENS = Path(__file__).parents[1] / "goldens"
NAMES = ["v0", "kappa", "theta", "sigma", "rho"]
TEXT = ["id", "regime", "source", "model", "params", "kind", "agrees_to_printed_digits", "note"]


def read(name):
    """Numbers to the nearest double: the parser of older pandas may miss it by one unit in the last place."""
    table = pd.read_csv(GOLDENS / name, dtype=str)
    return table.astype({column: float for column in table.columns if column not in TEXT})


REFERENCE = read("heston.csv")
GRADIENTS = read("heston_gradients.csv")
DOMAIN = read("heston_domain.csv")
EVERY = [8, pytest.param(1, marks=pytest.mark.slow)]  # of the 2,000 rows of DOMAIN
PUBLISHED = read("published_prices.csv").query("model == 'heston'")


def models(table):
    return [jc.Heston(*map(float, row)) for row in table[NAMES].itertuples(index=False)]


def prices(table, pricer=None):
    """One call of `price` a row, outside jit."""
    return np.array(
        [
            float(jc.price(m, r.K, r.T, forward=r.F, discount=r.D, is_call=r.kind == "call", pricer=pricer))
            for m, r in zip(models(table), table.itertuples(), strict=True)
        ]
    )


def inside_jit(pricer, table):
    """Out-of-the-money values over forward of rows of heston_domain.csv, as one program."""

    def one(row):
        parameters, expiry, log_strike = row
        return jc.price(
            jc.Heston(*parameters), jnp.exp(log_strike), expiry, forward=1.0, is_call=log_strike >= 0, pricer=pricer
        )

    columns = (
        jnp.asarray(table[NAMES].to_numpy()),
        jnp.asarray(table["T"].to_numpy()),
        jnp.asarray(table["k"].to_numpy()),
    )
    return np.asarray(jax.jit(lambda rows: jax.lax.map(one, rows, batch_size=250))(columns))


def test_every_row_with_the_default_pricer():
    """Rows with rho = +-0.99 and sigma = 1e-3 included."""
    error = np.abs(prices(REFERENCE) - REFERENCE["price"]) / REFERENCE["F"]
    assert error.max() <= 1e-10
    assert error.max() <= 2e-15  # what it is


def test_implied_volatilities_of_every_row():
    vols = [
        float(jc.model_vol(m, float(k), float(t), forward=float(f)))
        for m, k, t, f in zip(models(REFERENCE), *(REFERENCE[name] for name in ("K", "T", "F")), strict=True)
    ]
    np.testing.assert_allclose(vols, REFERENCE["implied_vol"], rtol=1e-11)


def test_every_row_with_cos_at_its_automatic_setting():
    error = np.abs(prices(REFERENCE, jc.Cos()) - REFERENCE["price"]) / REFERENCE["F"]
    assert error.max() <= 1e-8  # a NaN fails too


@pytest.mark.parametrize(
    "pricer",
    [jc.Laguerre(32), pytest.param(jc.Laguerre(16), marks=pytest.mark.slow), jc.Cos(64), jc.Saddle(32)],
    ids=repr,
)
def test_every_row_is_right_or_nan(pricer):
    found = prices(REFERENCE, pricer)
    error = np.abs(found - REFERENCE["price"])[~np.isnan(found)] / REFERENCE["F"][~np.isnan(found)]
    assert (error <= pricer.tolerance(np.dtype(np.float64))).all()
    if pricer == jc.Laguerre(32):
        assert np.isnan(found).mean() < 0.5


@pytest.mark.parametrize("every", EVERY)
def test_domain_with_the_default_pricer(every):
    """2,000 draws: sigma 1e-3 to 30, kappa to 100, an hour to 30 years, |rho| to 0.999; no NaN either."""
    table = DOMAIN[::every]
    error = np.abs(inside_jit(None, table) - table["otm"].to_numpy())
    assert error.max() <= 1e-10
    assert error.max() <= 1e-14  # what it is


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize(
    ("pricer", "share"),
    [
        pytest.param(jc.Saddle(64), 0.85, marks=pytest.mark.slow),
        (jc.Laguerre(), 0.75),
        pytest.param(jc.Laguerre(64), 0.75, marks=pytest.mark.slow),
        (jc.Cos(), 0.6),
        pytest.param(jc.Cos(128), 0.5, marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_inside_jit_right_or_nan(pricer, share, every):
    """Over the domain: never a wrong number; and a number for the share of rows that the method is good for."""
    table = DOMAIN[::every]
    found = inside_jit(pricer, table)
    known = ~np.isnan(found)
    error = np.abs(found - table["otm"].to_numpy())[known]
    wrong = table[known][error > pricer.tolerance(np.dtype(np.float64))]
    assert wrong.empty, f"{len(wrong)} of {known.sum()} wrong, by up to {error.max():.1e}\n{wrong.head()}"
    assert known.mean() >= share


def _price(model, strike, expiry, forward, is_call):
    return jc.price(model, strike, expiry, forward=forward, is_call=is_call)


@jax.jit
def _derivatives(model, strike, expiry, forward, is_call):
    """By model, strike, expiry and forward; and the derivatives of those by the forward."""
    gradient = jax.grad(_price, argnums=(0, 1, 2, 3))
    return jax.jvp(lambda f: gradient(model, strike, expiry, f, is_call), (forward,), (jnp.ones_like(forward),))


@pytest.mark.parametrize("row", list(GRADIENTS.itertuples()), ids=lambda row: row.id)
def test_gradients(row):
    model = jax.tree.map(jnp.asarray, jc.Heston(*(float(getattr(row, name)) for name in NAMES)))
    arguments = (model, jnp.asarray(row.K), jnp.asarray(row.T), jnp.asarray(row.F), jnp.asarray(row.kind == "call"))
    (by_model, by_strike, by_expiry, by_forward), (*_, gamma) = _derivatives(*arguments)
    found = {f"d_{name}": getattr(by_model, name) for name in NAMES}
    found |= {"d_K": by_strike, "d_T": by_expiry, "d_F": by_forward, "d2_FF": gamma}
    for name, value in found.items():
        assert float(value) == pytest.approx(getattr(row, name), rel=1e-8), name


def published(table):
    forward = table["S"] * np.exp((table["r"] - table["q"]) * table["T"])
    found = []
    for row, f in zip(table.itertuples(), forward, strict=True):
        model = jc.Heston(**{k: float(v) for k, v in (pair.split("=") for pair in row.params.split(";"))})
        discount = np.exp(-row.r * row.T)
        found.append(float(jc.price(model, row.K, row.T, forward=f, discount=discount, is_call=row.kind == "call")))
    return np.array(found)


@pytest.mark.parametrize(
    "name", ["Lewis, Heston reference prices (2019, ", "Lewis, Heston reference prices (2019), short"]
)
def test_prices_of_lewis(name):
    """Prices down to 1.3e-13 in the short-expiry set."""
    table = PUBLISHED[PUBLISHED["source"].str.startswith(name)]
    assert len(table) == 10
    np.testing.assert_allclose(published(table), table["recomputed"], rtol=1e-12)


@pytest.fixture(scope="module")
def others():
    table = PUBLISHED[~PUBLISHED["source"].str.startswith("Lewis")]
    assert len(table) > 50
    return published(table), table["recomputed"].to_numpy(), table["S"].to_numpy()


def test_other_published_prices(others):
    """At their recomputed values: several printed ones are wrong in their last digits."""
    found, exact, spot = others
    np.testing.assert_array_less(np.abs(found - exact) / spot, 1e-14)
    large = exact > 1e-20
    np.testing.assert_allclose(found[large], exact[large], rtol=1e-10)


def test_far_prices_keep_their_relative_accuracy(others):
    """Down to 1e-145, and never below zero. A rounding of the forward moves a price by |ln p| ulps / total vol."""
    found, exact, _ = others
    assert exact.min() < 1e-100
    assert (found >= 0.0).all()
    np.testing.assert_allclose(found, exact, rtol=1e-6)
