"""The published tables: figures, conventions, and agreement with the recorded copy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.published import dax_quotes

KEY = ["expiry", "strike"]


def test_dax_is_a_full_table_sorted_by_expiry_and_strike() -> None:
    quotes = dax_quotes()
    assert len(quotes) == 104
    assert quotes.groupby("expiry")["strike"].agg(list).map(tuple).nunique() == 1
    pd.testing.assert_frame_equal(quotes, quotes.sort_values(KEY, ignore_index=True))


def test_dax_forward_carries_the_spot_at_the_printed_rate() -> None:
    quotes = dax_quotes()
    np.testing.assert_allclose(
        np.log(quotes["forward"] / quotes["spot"]), quotes["rate"] * quotes["expiry"], rtol=1e-12
    )
    assert quotes["rate"].unique().tolist() == [0.0357, 0.0349, 0.0341, 0.0355, 0.0359, 0.0368, 0.0386, 0.0401]


def test_dax_in_the_convention_of_quantlib() -> None:
    quotes = dax_quotes("quantlib").drop_duplicates("expiry")
    np.testing.assert_allclose(quotes["expiry"] * 365.0, [14, 42, 77, 168, 259, 343, 525, 700], rtol=1e-14)
    # by hand: 1/28 of the way from 3.57 % at day 13 to 3.49 % at day 41, and 176/179 of the way from day 524 to 703
    by_hand = [0.0357 - 0.0008 / 28.0, 0.0386 + 0.0015 * 176.0 / 179.0]
    np.testing.assert_allclose(quotes["rate"].iloc[[0, -1]], by_hand, rtol=1e-12)
    np.testing.assert_array_equal(dax_quotes("quantlib")["iv"], dax_quotes()["iv"])


def test_dax_convention_of_another_name_is_refused() -> None:
    # a ValueError, or a TypeError where annotations are checked, as they are in these tests
    with pytest.raises((ValueError, TypeError), match="quantlib"):
        dax_quotes("weekly")  # pyright: ignore[reportArgumentType]


def test_every_dax_quote_is_used() -> None:
    report = inspect_quotes(dax_quotes())
    assert report.summary() == "104 of 104 quotes used"
    assert report.keys == (("DAX", pd.Timestamp("2002-07-05", tz="UTC")),)


@pytest.mark.market_data
def test_dax_is_the_recorded_table(market_data: Path) -> None:
    recorded = pd.read_csv(market_data / "published" / "dax_2002-07-05.csv").sort_values(["T", "strike"])
    quotes = dax_quotes()
    np.testing.assert_allclose(quotes["expiry"], recorded["T"], atol=1e-8)
    for ours, theirs in (("strike", "strike"), ("iv", "iv"), ("rate", "zero_rate"), ("spot", "underlying_price")):
        np.testing.assert_array_equal(quotes[ours], recorded[theirs])
