"""The time that variance sees: weights, holidays, events, what surfaces keep, and calibration on it."""

import numpy as np
import pandas as pd
import pytest

import jaxcal as jc
from jaxcal.calibration.objective.weights import weights_from

NEW_YORK = "America/New_York"
DAY = 1.0 / 365.0


def days(clock, start, *ends):
    """Days of the clock from an instant in New York to others."""
    begin = pd.Timestamp(start, tz=NEW_YORK)
    calendar = np.array([(pd.Timestamp(end, tz=NEW_YORK) - begin) / pd.Timedelta(days=365) for end in ends])
    return 365.0 * clock.years(begin, calendar)


def test_without_weights_it_is_calendar_time():
    years = np.array([0.0, 1e-6, 0.01, 0.5, 3.0, np.nan])
    for market in ("us", "always"):
        found = jc.VarianceClock(market=market).years(pd.Timestamp("2026-01-02T15:00Z"), years)
        np.testing.assert_allclose(found, years, rtol=1e-13)


def test_a_weekend_without_weight_is_no_time():
    clock = jc.VarianceClock(weekend=0.0, scaled=False)
    close, opening = "2026-01-09 16:00", "2026-01-12 09:30"  # a Friday and its Monday
    expiries = ("2026-01-16 16:00", "2026-03-20 09:30")
    np.testing.assert_array_almost_equal(days(clock, close, *expiries), days(clock, opening, *expiries), decimal=12)
    assert days(clock, close, "2026-01-11 12:00", opening).tolist() == [0.0, 0.0]
    # scaled or not, the same is true, and nights still count
    scaled = jc.VarianceClock(weekend=0.0)
    np.testing.assert_allclose(days(scaled, close, *expiries), days(scaled, opening, *expiries), rtol=1e-13)
    assert days(clock, "2026-01-08 16:00", "2026-01-09 09:30")[0] == pytest.approx(17.5 / 24.0)


def test_nights_and_holidays():
    clock = jc.VarianceClock(night=0.2, weekend=0.1, holiday=0.05, scaled=False)
    session, night = 6.5 / 24.0, 17.5 / 24.0
    assert days(clock, "2026-01-07 09:30", "2026-01-08 09:30")[0] == pytest.approx(session + 0.2 * night)
    assert days(clock, "2026-01-09 16:00", "2026-01-12 09:30")[0] == pytest.approx(0.1 * (2.0 + night))
    # Thursday before Good Friday 2026 to Monday; the half day after Thanksgiving ends at 13:00
    assert days(clock, "2026-04-02 16:00", "2026-04-06 09:30")[0] == pytest.approx(0.05 * (3.0 + night))
    assert days(clock, "2025-11-28 09:30", "2025-11-28 16:00")[0] == pytest.approx((3.5 + 0.1 * 3.0) / 24.0)
    # from and to the middle of a session, and of a night
    assert days(clock, "2026-01-07 12:00", "2026-01-07 20:00")[0] == pytest.approx((4.0 + 0.2 * 4.0) / 24.0)


def test_a_market_that_never_shuts():
    clock = jc.VarianceClock(weekend=0.5, market="always", scaled=False)
    start = pd.Timestamp("2026-01-02T12:00Z")  # a Friday
    found = 365.0 * clock.years(start, np.array([0.5, 1.5, 2.5, 3.5]) * DAY)
    np.testing.assert_allclose(found, [0.5, 1.0, 1.5, 2.5], rtol=1e-12)


@pytest.mark.parametrize(
    "settings", [{"weekend": 0.3, "market": "always"}, {"night": 0.1, "weekend": 0.05, "holiday": 0.0}]
)
def test_a_year_is_a_year_on_average(settings):
    clock = jc.VarianceClock(**settings)
    starts = pd.date_range("2021-01-04T15:00Z", periods=12, freq="37D")
    found = np.array([clock.years(start, np.array([2.0]))[0] for start in starts])
    np.testing.assert_allclose(found, 2.0, rtol=0.01)


def test_an_event_adds_its_days_to_all_expiries_after_it():
    plain, clock = jc.VarianceClock(night=0.2), jc.VarianceClock(night=0.2, events={"2026-01-28T19:00Z": 1.5})
    start = pd.Timestamp("2026-01-26T15:00Z")
    event = (pd.Timestamp("2026-01-28T19:00Z") - start) / pd.Timedelta(days=365)
    years = np.array([0.5 * event, event - 1e-9, event, 2 * event, 1.0])
    added = 365.0 * (clock.years(start, years) - plain.years(start, years))
    np.testing.assert_allclose(added, [0.0, 0.0, 1.5, 1.5, 1.5], atol=1e-9)
    after = pd.Timestamp("2026-01-28T19:00Z")  # it is over
    np.testing.assert_array_equal(clock.years(after, years), plain.years(after, years))


def test_events_in_several_forms_are_the_same():
    zoned = pd.Timestamp("2026-01-28 14:00", tz=NEW_YORK)
    forms = ({"2026-01-28T19:00": 1}, (("2026-01-28T19:00Z", 1.0),), [(zoned, 1.0)])
    assert len({jc.VarianceClock(events=events) for events in forms}) == 1


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"weekend": -0.1}, "weekend -0.1 must be a finite weight, not negative"),
        ({"night": float("nan")}, "night nan must be a finite weight"),
        ({"market": "mars"}, "market 'mars' is not known; there are us and always"),
        ({"market": "always", "night": 0.5}, "has no nights and no holidays"),
        ({"events": {"soon": 1.0}}, "event .'soon', 1.0. is no time with a number of days"),
        ({"events": ("2026-01-28",)}, "event '2026-01-28' is no time with a number of days"),
        ({"events": {"2026-01-28": -1.0}}, "adds -1.0 days: they must be finite and not negative"),
        ({"events": [(None, 1.0)]}, "has no time"),
    ],
)
def test_bad_settings(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        jc.VarianceClock(**settings)


def chain(clock=None):
    """Options whose volatility is 0.5 by the clock, quoted on a Friday for days before and after the weekend."""
    time = pd.Timestamp("2026-01-02T08:00Z")
    expiry = time + pd.to_timedelta([1, 3, 4, 8, 15, 30], unit="D")
    when, strike = (x.ravel() for x in np.meshgrid(expiry, np.linspace(80.0, 120.0, 9), indexing="ij"))
    years = ((pd.DatetimeIndex(when) - time) / pd.Timedelta(days=365)).to_numpy()
    seen = years if clock is None else clock.years(time, years)
    forward, rate = 100.0 * np.exp(0.02 * years), 0.05
    is_call = strike >= forward
    value = np.asarray(
        jc.black_price(0.5, strike, seen, forward=forward, discount=np.exp(-rate * years), is_call=is_call)
    )
    table = {"quote_time": time, "expiry": when, "strike": strike, "option_type": np.where(is_call, "C", "P")}
    return pd.DataFrame(table | {"bid": 0.98 * value, "ask": 1.02 * value, "forward": forward, "rate": rate})


CLOCK = jc.VarianceClock(weekend=0.2, market="always", events={"2026-01-07T12:00Z": 3.0})


def test_without_a_clock_nothing_changes():
    quotes = chain()
    [plain], [same] = (jc.surfaces_from_quotes(quotes, **s).values() for s in ({}, {"clock": None}))
    report = jc.inspect_quotes(quotes)
    assert "clock_years" not in report.table
    [even] = jc.surfaces_from_quotes(quotes, clock=jc.VarianceClock(market="always")).values()
    for name in ("expiry", "forward", "discount", "strike", "vol", "bid_vol", "ask_vol", "weight", "row"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))
        np.testing.assert_allclose(getattr(plain, name), getattr(even, name), rtol=1e-12)


def test_a_report_read_again_forgets_its_clock():
    report = jc.inspect_quotes(chain(), clock=CLOCK)
    again = jc.surfaces_from_quotes(report.table[[*chain().columns, "clock_years"]])
    [plain], [same] = (jc.surfaces_from_quotes(chain()).values(), again.values())
    np.testing.assert_array_equal(plain.expiry, same.expiry)
    np.testing.assert_array_equal(plain.vol, same.vol)


def test_a_surface_by_the_clock_has_its_time_and_calendar_discounts():
    quotes = chain(CLOCK)
    [calendar] = jc.surfaces_from_quotes(quotes).values()
    [surface] = jc.surfaces_from_quotes(quotes, clock=CLOCK).values()
    used = np.asarray(surface.weight) > 0
    assert surface.num_quotes == calendar.num_quotes
    np.testing.assert_allclose(np.asarray(surface.vol)[used], 0.5, rtol=2e-3)  # flat by its own clock
    assert np.ptp(np.asarray(calendar.vol)[used]) > 0.1  # and not by the calendar
    for name in ("forward", "discount", "strike", "row"):
        np.testing.assert_array_equal(getattr(surface, name), getattr(calendar, name))
    of_expiries = used.any(axis=1)
    time = pd.Timestamp("2026-01-02T08:00Z")
    expected = CLOCK.years(time, np.asarray(calendar.expiry)[of_expiries])
    np.testing.assert_array_equal(np.asarray(surface.expiry)[of_expiries], expected)
    for name in ("vol", "bid_vol", "ask_vol"):  # total variances are the market's
        total = [np.asarray(getattr(s, name)) ** 2 * np.asarray(s.expiry)[:, None] for s in (surface, calendar)]
        np.testing.assert_allclose(total[0][used], total[1][used], rtol=1e-12)


def test_expiries_that_the_clock_takes_for_one_stay_two():
    clock = jc.VarianceClock(weekend=0.0, market="always")
    quotes = chain(clock)
    monday = pd.Timestamp("2026-01-05T08:00Z")  # its midnight is as far as Saturday 08:00
    quotes["expiry"] = quotes["expiry"].replace(monday, monday.normalize())
    surface = jc.Surface.from_quotes(quotes, clock=clock)
    expiry = np.asarray(surface.expiry)
    assert expiry[0] == pytest.approx(expiry[1], rel=1e-12)
    assert surface.num_expiries == 6
    assert float(surface.forward[0]) != float(surface.forward[1])
    strikes = np.asarray(surface.strike)[:2][np.asarray(surface.weight)[:2] > 0]
    assert len(strikes) == int((np.asarray(surface.weight)[:2] > 0).sum())
    np.testing.assert_allclose(weights_from(quotes.assign(one=1.0), surface, "one").sum(), surface.num_quotes)


def test_quotes_that_see_no_variance_are_left_out_with_a_reason():
    clock = jc.VarianceClock(weekend=0.0, market="always")
    saturday = chain().assign(quote_time=pd.Timestamp("2026-01-03T00:00Z"))
    early = saturday.assign(expiry=saturday["expiry"].where(saturday.index >= 18, pd.Timestamp("2026-01-04T20:00Z")))
    table = jc.inspect_quotes(early, clock=clock).table
    assert table["reason"][:9].str.contains("its clock counts no variance between the quote and the expiry").all()
    assert table["verdict"][:9].eq("too short").all()


def test_a_clock_needs_the_time_of_the_quotes():
    table = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 110.0], "iv": 0.2, "forward": 100.0})
    with pytest.raises(jc.QuoteError, match="a clock needs the time of the quotes: add the column quote_time"):
        jc.Surface.from_quotes(table, clock=CLOCK)
    with pytest.raises(ValueError, match="give clock to inspect_quotes"):
        jc.Surface.from_quotes(jc.inspect_quotes(table), clock=CLOCK)


def test_calibration_finds_the_truth_in_the_time_of_the_clock():
    surface = jc.Surface.from_quotes(chain(CLOCK), clock=CLOCK)
    fit = jc.calibrate(jc.BlackScholes, surface)
    assert fit.converged
    assert float(fit.model.sigma) == pytest.approx(0.5, rel=1e-3)
    assert float(fit.rmse_vol) < 1e-3
    by_calendar = jc.calibrate(jc.BlackScholes, jc.Surface.from_quotes(chain(CLOCK)))
    assert float(by_calendar.rmse_vol) > 0.05
