"""Synthetic quotes: they follow the model, the calendar and the ticks, and depend on nothing but their arguments."""

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.models.diffusions.heston import Heston
from jaxcal.pricing.vanilla import model_vol
from jaxcal.synthetic import BTC_MODEL, synthetic_chain, synthetic_surface


@pytest.fixture(scope="module")
def chain() -> pd.DataFrame:
    return synthetic_chain()


def in_step(price: pd.Series) -> np.ndarray:
    """Whether prices are on the exchange's steps: 0.0001 below 0.005 coin, else 0.0005."""
    tenths = np.round(price.dropna().to_numpy() * 1e4, 6)
    return np.where(tenths < 50, tenths % 1 == 0, tenths % 5 == 0)


def test_surface_has_the_volatilities_of_the_model() -> None:
    model = Heston(v0=0.04, kappa=1.5, theta=0.06, sigma=0.7, rho=-0.65)
    surface = synthetic_surface(model, expiry=[1.0, 0.25], forward=[101.0, 100.0], discount=[0.97, 0.99])
    assert surface.num_quotes == 16
    np.testing.assert_array_equal(surface.expiry, [0.25, 1.0])
    np.testing.assert_array_equal(surface.discount, [0.99, 0.97])
    again = model_vol(model, surface.strike[:, :8], surface.expiry[:, None], forward=surface.forward[:, None])
    np.testing.assert_allclose(surface.vol[:, :8], again, rtol=1e-9)


def test_chain_is_the_same_every_time(chain: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(chain, synthetic_chain(), check_exact=True)
    assert not chain["bid"].equals(synthetic_chain(seed=1)["bid"])


def test_expiries_are_days_fridays_and_ends_of_months_and_quarters(chain: pd.DataFrame) -> None:
    expiry = pd.DatetimeIndex(chain["expiry"].unique())
    assert set(expiry.strftime("%H:%M")) == {"08:00"}
    days = ["2026-03-12", "2026-03-13", "2026-03-14", "2026-03-15"]
    fridays = ["2026-03-20", "2026-03-27", "2026-04-03", "2026-04-10"]
    ends = ["2026-04-24", "2026-05-29", "2026-06-26", "2026-09-25", "2026-12-25"]
    assert expiry.strftime("%Y-%m-%d").tolist() == days + fridays + ends


@pytest.mark.parametrize(("now", "first"), [("2026-03-13T07:59", "2026-03-13"), ("2026-03-13T08:00", "2026-03-14")])
def test_first_expiry_is_the_next_settlement(now: str, first: str) -> None:
    chain = synthetic_chain(quote_time=now)
    assert chain["expiry"].iloc[0] == pd.Timestamp(f"{first}T08:00Z")
    assert chain["quote_time"].iloc[0] == pd.Timestamp(now, tz="UTC")


def test_instrument_names_say_expiry_strike_and_side(chain: pd.DataFrame) -> None:
    row = chain[chain["expiry"].eq(pd.Timestamp("2026-04-03T08:00Z"))].iloc[0]
    assert row["instrument_name"] == f"BTC-3APR26-{row['strike']:.0f}-C"
    assert chain["instrument_name"].is_unique


def test_prices_are_on_the_steps_and_around_the_mark(chain: pd.DataFrame) -> None:
    assert in_step(chain["bid"]).all()
    assert in_step(chain["ask"]).all()
    assert (chain["bid"].dropna() > 0.0).all()
    assert not (chain["bid"] > chain["ask"]).any()
    # the mid is off by the noise and by rounding, not by more
    both = chain.dropna(subset=["bid", "ask"])
    inside = both["mark"].between(both["bid"], both["ask"])
    assert 0.7 < inside.mean() < 1.0


def test_some_sides_are_missing_and_their_sizes_with_them(chain: pd.DataFrame) -> None:
    assert 0.05 < chain["bid"].isna().mean() < 0.35
    assert 0.0 < chain["ask"].isna().mean() < chain["bid"].isna().mean()
    for side in ("bid", "ask"):
        assert chain[side].isna().equals(chain[f"{side}_size"].isna())


def test_without_noise_the_mids_are_the_model_up_to_a_tick() -> None:
    clean = synthetic_chain(noise=0.0, half_spread=0.0, missing=0.0)
    assert not clean["ask"].isna().any()
    tick = np.where(clean["ask"] <= 0.005, 0.0001, 0.0005)
    assert (clean["ask"] - clean["bid"].fillna(0.0) <= tick * (1 + 1e-9)).all()
    assert clean["mark"].between(clean["bid"].fillna(0.0) - 1e-6, clean["ask"] + 1e-6).all()


def test_settings_of_the_noise_do_not_reshuffle_it(chain: pd.DataFrame) -> None:
    pd.testing.assert_series_equal(synthetic_chain(noise=0.01)["ask_size"], chain["ask_size"])
    pd.testing.assert_series_equal(synthetic_chain(noise=0.01)["forward"], chain["forward"])


def test_volatilities_of_the_chain_are_near_those_of_the_model(chain: pd.DataFrame) -> None:
    used = inspect_quotes(chain).table.query("verdict == 'used'")
    assert len(used) > 200
    assert used["years"].nunique() == 13
    error = used["vol"] - used["mark_iv"]
    assert abs(error.mean()) < 0.002  # unbiased
    assert 0.002 < error.std() < 0.01  # the size of the noise and of the ticks
    model = model_vol(
        BTC_MODEL, used["strike"].to_numpy(), used["years"].to_numpy(), forward=used["forward"].to_numpy()
    )
    np.testing.assert_allclose(used["mark_iv"], model, atol=1e-6)


@pytest.mark.parametrize("setting", [{"noise": -0.1}, {"half_spread": float("nan")}, {"missing": -1.0}, {"spot": 0.0}])
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        synthetic_chain(**setting)  # pyright: ignore[reportArgumentType]
