"""model_arbitrage: static arbitrage of a fitted model, on a grid finer than the quotes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxcal._arguments import refuse_other
from jaxcal.calibration.results.fit import ONE_FIT, Fit
from jaxcal.calibration.results.unfitted import is_unfitted
from jaxcal.formulas.black import black_otm
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.arbitrage.forward_calls import Calls
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport, arbitrage_of_calls
from jaxcal.models.base import AbstractVolModel, faulty_parameters
from jaxcal.pricing.vanilla import price


def model_arbitrage(
    fit: Fit, *, deviations: float = 4.0, num_strikes: int = 81, num_between: int = 0, tolerance: float = 1e-9
) -> ArbitrageReport:
    """Price the static strategies of `find_arbitrage` with a fitted model, at the expiries of its surface and others.

    A model with a law of its own (Heston, Bates, ...) has no arbitrage; what is found there is an error of the pricing.
    A smile model may have some: SABR far from the money, SVI fitted expiry by expiry between its expiries.

    Args:
        fit: the result of `calibrate`.
        deviations: how far from the forward strikes go, in standard deviations of the log-price at the largest
            volatility of the quotes of the expiry.
        num_strikes: of each expiry.
        num_between: how many more expiries are looked at before the first quoted one, between any two of them, and
            beyond the last, up to twice that one. A model fitted expiry by expiry has nothing there.
        tolerance: amounts below this share of the forward are taken for rounding.

    Returns:
        The report; `row` is -1 and `to_trade` 0, as a model has no bid and ask. Strikes that the model cannot price are
        left out.

    Raises:
        ValueError: fewer than three strikes, a width that is not positive, a surface that was not fitted, or expiries
            between those of a model that was fitted expiry by expiry.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jaxcal as jc
        >>> vols = [[0.24, 0.22, 0.2, 0.19, 0.2], [0.16, 0.15, 0.14, 0.14, 0.15]]
        >>> surface = jc.Surface.from_vols([0.5, 0.6], [80.0, 90.0, 100.0, 110.0, 120.0], vols, forward=100.0)
        >>> jc.model_arbitrage(jc.calibrate(jc.SVI, surface)).to_frame()["kind"].unique().tolist()
        ['calendar']
    """
    refuse_other("model_arbitrage", fit, Fit, ONE_FIT)
    if num_strikes < 3 or not deviations > 0.0:
        raise ValueError(f"num_strikes {num_strikes} must be 3 or more and deviations {deviations} positive")
    if num_between < 0 or (num_between and fit.model.per_expiry):
        raise ValueError(
            f"num_between {num_between}: {type(fit.model).__name__} is a smile of each expiry, with nothing between"
            if num_between > 0
            else f"num_between {num_between} must not be negative"
        )
    if is_unfitted(fit.outcome).all():
        raise ValueError(f"there is no model to look at: {fit.status}")
    surface = fit.surface
    weight, vols = np.asarray(surface.weight), np.asarray(surface.vol, float)
    quoted = np.flatnonzero((weight > 0.0).any(-1))
    if not quoted.size:
        return arbitrage_of_calls(_calls(*[np.zeros((0, num_strikes))] * 5), tolerance)
    given = np.asarray(surface.expiry, float)[quoted]
    years = _with_between(given, num_between)
    top = np.where(weight > 0.0, vols, 0.0).max(-1)[quoted]
    forward, discount, top = (
        np.exp(np.interp(years, given, np.log(x)))[:, None]
        for x in (np.asarray(surface.forward, float)[quoted], np.asarray(surface.discount, float)[quoted], top)
    )
    years = years[:, None]
    width = top * np.sqrt(years)
    strike = forward * np.exp(deviations * width * np.linspace(-1.0, 1.0, num_strikes))
    dtype = surface.strike.dtype
    K, T, F = (jnp.asarray(np.broadcast_to(x, strike.shape), dtype) for x in (strike, years, forward))
    if isinstance(fit.model, AbstractVolModel) and fit.model.per_expiry:
        slices = jax.tree.map(lambda leaf: jnp.asarray(leaf)[quoted, None], fit.model)
        value = black_otm(slices.vol(K, T, F), K / F, T, forward=jnp.asarray(1.0, dtype))
    elif faulty_parameters(fit.model):
        value = np.full(strike.shape, np.nan)
    else:
        value = price(fit.model, K, T, forward=F, is_call=K >= F) / F
    years, forward, discount = (np.broadcast_to(x, strike.shape) for x in (years, forward, discount))
    return arbitrage_of_calls(_calls(strike, np.asarray(value, float), years, forward, discount), tolerance)


def _with_between(expiry: np.ndarray, number: int) -> np.ndarray:
    """Expiries, and so many evenly before the first, between any two, and beyond the last."""
    ends = np.concatenate([[0.0], expiry, [2.0 * expiry[-1]]])
    shares = np.arange(1, number + 1) / (number + 1)
    return np.sort(np.concatenate([expiry, (ends[:-1, None] + np.diff(ends)[:, None] * shares).ravel()]))


def _calls(
    strike: np.ndarray, value: np.ndarray, years: np.ndarray, forward: np.ndarray, discount: np.ndarray
) -> Calls:
    """From out-of-the-money values over the forward, `[e, k]`, sorted."""
    known = np.isfinite(value)
    expiry = np.broadcast_to(np.arange(len(strike))[:, None], strike.shape)[known]
    strike, value, years, forward, discount = (x[known] for x in (strike, value, years, forward, discount))
    moneyness = strike / forward
    vol = implied_vol(value, moneyness, years, forward=1.0, is_call=moneyness >= 1.0)
    unknown = np.full(len(value), np.nan)
    return Calls(
        np.unique(expiry, return_inverse=True)[1], years, forward, discount, strike, moneyness, np.asarray(vol, float),
        value + np.maximum(1.0 - moneyness, 0.0), unknown, unknown, np.full(len(value), -1), moneyness >= 1.0,
    )  # fmt: skip
