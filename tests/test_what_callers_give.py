"""What callers hand over: columns, lists and words instead of arrays; arguments by place; calls under jit."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal._arguments import numbers, sides
from jaxcal.models.refusal import refuse_unlawful

MODEL = jc.BlackScholes(0.2)
SPOT: Any = {"spot": 100.0, "rate": 0.03}
CASH: Any = {"ex_times": [0.25], "amounts": [1.0]}
# each as a function of strikes and sides of two options
PRICED: dict[str, Any] = {
    "black_price": lambda k, c, t=0.5: jc.black_price(0.2, k, t, forward=101.0, is_call=c),
    "bachelier_price": lambda k, c, t=0.5: jc.bachelier_price(20.0, k, t, forward=101.0, is_call=c),
    "implied_vol": lambda k, c, t=0.5: jc.implied_vol(15.0, k, t, forward=101.0, is_call=c),
    "american_price": lambda k, c, t=0.5: jc.american_price(0.2, k, t, is_call=c, **SPOT),
    "american_vol": lambda k, c, t=0.5: jc.american_vol(15.0, k, t, is_call=c, **SPOT),
    "cash_dividend_price": lambda k, c, t=0.5: jc.cash_dividend_price(0.2, k, t, is_call=c, **SPOT, **CASH),
    "price": lambda k, c, t=0.5: jc.price(MODEL, k, t, forward=101.0, is_call=c),
    "greeks": lambda k, c, t=0.5: jc.greeks(MODEL, k, t, forward=101.0, is_call=c, order=1).delta,
}
LARGE = ("american_price", "american_vol", "cash_dividend_price")  # to compile, for one number as for two
STRIKES = np.asarray([90.0, 110.0])
SIDES = np.asarray([False, True])
SAME_SIDES = [
    [False, True], pd.Series([False, True]), pd.Series([False, True], dtype="boolean"), [0, 1], np.asarray([0.0, 1.0]),
    np.asarray([0, 1]), ["P", "C"], [" put", "CALL"], np.asarray(["p", "c"]), pd.Series(["put", "call"]),
    pd.Series(["P", "C"], dtype="category"), np.asarray([b"P", b"C"]), np.asarray([False, 1], object),
    pd.Index(["P", "C"]), jnp.asarray([0, 1]),
]  # fmt: skip
SAME_STRIKES = [
    [90, 110.0], pd.Series([90, 110]), pd.Series([90.0, 110.0], index=[7, 3]), pd.Index([90.0, 110.0]),
    pd.Series([90, 110], dtype="Int64"), np.asarray([90, Decimal(110)], object), (90.0, 110.0),
]  # fmt: skip


@pytest.mark.parametrize("name", PRICED)
def test_sides_in_any_form(name):
    expected = np.asarray(PRICED[name](STRIKES, SIDES))
    assert np.isfinite(expected).all()
    assert not np.allclose(expected, np.asarray(PRICED[name](STRIKES, ~SIDES)))
    for given in SAME_SIDES:
        np.testing.assert_allclose(PRICED[name](STRIKES, given), expected, rtol=1e-6)
    for given in SAME_STRIKES:
        np.testing.assert_allclose(PRICED[name](given, SIDES), expected, rtol=1e-6)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LARGE)) for name in PRICED])
def test_one_number_and_one_side(name):
    np.testing.assert_allclose(PRICED[name](90.0, "P"), PRICED[name](STRIKES, SIDES)[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "place", "text"),
    [
        (np.asarray([1.0, np.nan]), "[1]", "nan"), ([1, -1], "[1]", "-1"), (["C", "x"], "[1]", "'x'"),
        (np.asarray([True, None], object), "[1]", "None"), (pd.Series(["C", None]), "[1]", "nan|None"), (2, "", "2"),
        (None, "", "None"), (pd.Series([True, None], dtype="boolean"), "[1]", "<NA>"), ("E", "", "'E'"),
        (["C" * 900, "P"], "[0]", "'C{56}..."), (np.asarray(["2026-06-19"], "datetime64[ns]"), "[0]", ".*"),
    ],
)  # fmt: skip
def test_a_side_that_is_none_is_refused(wrong, place, text):
    with pytest.raises(ValueError, match=rf"^is_call{re.escape(place)} is ({text}): a call is True") as error:
        sides(wrong)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    ("strike", "message"),
    [
        ("100", r"strike is '100': strike takes numbers"), (["90", 110.0], r"strike\[0\] is '90'"),
        (1j, "strike is 1j"),
        (pd.Series([90.0, "-"]), r"strike\[1\] is '-'"), (True, "strike is True"), ([[1.0], [1.0, 2.0]], "lengths"),
        (10**400, "strike is 1000"), (np.asarray([[90.0, None], [1.0, "x"]], object), r"\[1, 1\]"),
        (jnp.asarray([True]), r"strike\[0\] is True"),
    ],
)  # fmt: skip
def test_a_strike_that_is_no_number_is_refused(strike, message):
    with pytest.raises(ValueError, match=message) as error:
        numbers(strike=strike)
    assert len(str(error.value)) < 300


@pytest.mark.parametrize(
    "expiry",
    ["2026-06-19", pd.Timestamp("2026-06-19"), dt.date(2026, 6, 19), pd.to_datetime(["2026-06-19"]),
     np.asarray(["2026-06-19"], "datetime64[ns]"), pd.Series(pd.to_timedelta(["30D"]))],
)  # fmt: skip
def test_an_expiry_is_years_and_no_date(expiry):
    with pytest.raises(ValueError, match=r"^expiry.* takes years as numbers"):
        numbers(expiry=expiry)


@pytest.mark.parametrize("name", PRICED)
def test_every_function_looks_at_what_it_is_given(name):
    with pytest.raises(ValueError, match=r"^is_call\[1\] is 'x'"):
        PRICED[name](STRIKES, ["C", "x"])
    with pytest.raises(ValueError, match=r"^strike\[0\] is '90'"):
        PRICED[name](["90", "100"], True)
    with pytest.raises(ValueError, match=r"^expiry.* takes years as numbers"):
        PRICED[name](STRIKES, True, pd.Series(pd.to_datetime(["2026-06-19"])))


def test_a_missing_number_is_nan():
    strike = pd.Series([90.0, None], dtype="Float64")
    for priced in PRICED.values():
        assert np.isnan(np.asarray(priced(strike, SIDES))).tolist() == [False, True]
    assert np.isnan(jc.price(MODEL, [None, 90.0], 0.5, forward=100.0)).tolist() == [True, False]


def test_by_place():
    functions: Any = [
        (jc.price, (MODEL,)), (jc.model_vol, (MODEL,)), (jc.greeks, (MODEL,)), (jc.black_price, (0.2,)),
        (jc.bachelier_price, (20.0,)), (jc.implied_vol, (9.0,)),
    ]  # fmt: skip
    for function, first in functions:
        name = function.__name__
        with pytest.raises(TypeError, match=rf"^{name} takes 3 arguments by place, not 4; forward, .*forward=\.\.\.\)"):
            function(*first, 100.0, 0.5, 101.0)
        assert function.__doc__
    spot_priced: Any = (jc.american_price, jc.american_vol, jc.cash_dividend_price)
    for function in spot_priced:
        with pytest.raises(TypeError, match=r"spot=\.\.\., rate=\.\.\."):
            function(0.2, 100.0, 0.5, 101.0, 0.03)
    with pytest.raises(TypeError, match=r"missing .*'forward'"):
        functions[0][0](MODEL, 100.0, 0.5)


def test_traced_values_pass():
    """Lists that hold traced numbers, and sides that are traced, work as before."""
    found = jax.jit(lambda k, c: jc.black_price(0.2, [k, 110.0], 0.5, forward=101.0, is_call=c))(90.0, SIDES)
    np.testing.assert_allclose(found, PRICED["black_price"](STRIKES, SIDES), rtol=1e-14)
    whole = jax.jit(lambda c: jc.black_price(0.2, STRIKES, 0.5, forward=101.0, is_call=c))(jnp.asarray([0, 1]))
    np.testing.assert_allclose(whole, PRICED["black_price"](STRIKES, SIDES), rtol=1e-14)


SURFACE = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.24, 0.2, 0.21]], forward=100.0)
VOL = jnp.asarray([[0.24, 0.2, 0.21]])
FIT = jc.calibrate(jc.BlackScholes, SURFACE)
REMEDY = "calibrate_many, .* through_fit, .* quote_sensitivities"


@pytest.mark.parametrize(
    "run",
    [
        lambda: jax.jit(lambda s: jc.calibrate(jc.BlackScholes, s).model.sigma)(SURFACE),
        lambda: jax.jit(lambda: jc.calibrate(jc.BlackScholes, SURFACE).model.sigma)(),
        lambda: jax.vmap(lambda w: jc.calibrate(jc.BlackScholes, SURFACE, weights=w).cost)(SURFACE.weight[None]),
        lambda: jax.grad(lambda x: jc.calibrate(jc.BlackScholes(x), SURFACE).cost)(0.2),
        lambda: jax.grad(lambda v: jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], v, forward=100.0).vol.sum())(VOL),
        lambda: jax.jit(lambda s: jc.calibrate_many(jc.BlackScholes, [s]).cost)(SURFACE),
        lambda: jax.jit(lambda s: len(jc.compare([jc.BlackScholes], s).fits))(SURFACE),
        lambda: jax.jit(lambda s: jc.global_search(jc.BlackScholes, s).best.cost)(SURFACE),
        lambda: jax.jit(lambda s: jc.Recalibrator(jc.BlackScholes).step(None, s, 0.0)[1].cost)(SURFACE),
        lambda: jax.jit(jc.quote_sensitivities)(FIT),
        lambda: jax.jit(jc.covariance)(FIT),
        lambda: jax.jit(jc.confidence_intervals)(FIT),
        lambda: jax.jit(lambda f: jc.through_fit(lambda m: m.sigma, f))(FIT),
        lambda: jax.jit(lambda f: jc.bootstrap(f, 10))(FIT),
        lambda: jax.jit(lambda f: jc.profile(f, "sigma"))(FIT),
    ],
)
def test_a_fit_is_not_inside_jit(run):
    with pytest.raises(TypeError, match=rf"runs on the host and cannot be inside jit, vmap or grad.*{REMEDY}") as error:
        run()
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", PRICED)
def test_sides_that_do_not_fit_the_quotes(name):
    with pytest.raises(ValueError, match=r"is_call \(3,\), the quotes \(2,\); give each one number"):
        PRICED[name](STRIKES, ["C", "P", "C"], 0.5)


def test_what_is_no_fit_is_named_with_the_remedy():
    with pytest.raises(TypeError, match="identified takes a Fit or Fits, not a BlackScholes: give it what calibrate"):
        jc.identified(jc.BlackScholes(0.2))
    with pytest.raises(TypeError, match="synthetic_surface runs on the host"):
        jax.jit(lambda s: jc.synthetic_surface(jc.BlackScholes(s)).vol)(0.2)


def test_what_is_no_model_is_named_with_the_remedy():
    """As `price`, `model_vol` and `greeks` look at it."""
    surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.24, 0.2, 0.21]], forward=100.0)
    fit = jc.calibrate(jc.BlackScholes, surface)
    for given, text in (
        (jc.Heston, r"class Heston, .* write Heston\(v0=..., kappa=..., theta=..., sigma=..., rho=...\)"),
        (fit, "Fit is no model: give its field model"),
        (0.2, "float is no model"),
    ):
        with pytest.raises(TypeError, match=text):
            refuse_unlawful(given)


@pytest.mark.parametrize("name", PRICED)
def test_shapes_that_do_not_fit_together(name):
    with pytest.raises(ValueError, match=r"strike \(2,\), expiry \(3,\); give each one number, or one for each quote"):
        PRICED[name](STRIKES, "C", np.asarray([0.5, 1.0, 2.0]))
