"""Cleaning of corrupted chains: how much of what was spoilt on purpose is found, and how many good quotes are lost.

Six kinds of corruption hit a tenth of the quotes. All but two always show. A quote that is stale, or stands at a wrong
strike, shows only where its bid-ask interval does not meet the true one: a price that moved by less than its spread is
as good as the market's. So figures are given for the quotes that show (`visible`), and for all.
"""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtr

from jaxcal.market.cleaning.cleaning_rules import CleaningRules
from jaxcal.market.cleaning.quote_report import inspect_quotes
from jaxcal.venues.read_quotes import read_quotes

RULES = CleaningRules.index()
KINDS = ("crossed", "stale", "one side", "times ten", "wrong strike", "swapped")


def black(vol, strike, years, forward, is_call):
    deviation = vol * np.sqrt(years)
    d1 = np.log(forward / strike) / deviation + 0.5 * deviation
    sign = np.where(is_call, 1.0, -1.0)
    return sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))


def corrupt(quotes, clean, seed, share=0.1):
    """Spoil a share of the rows that are used or in the money; `clean` is the report's table of `quotes`.

    Returns the spoilt quotes, the kind of each row ("" for good ones) and whether it shows.
    """
    rng = np.random.default_rng(seed)
    size = len(clean)
    number = {name: clean[name].to_numpy(float) for name in ("strike", "years", "forward", "discount")}
    K, T, F, D = number.values()
    bid_vol, ask_vol, call = (clean[name].to_numpy() for name in ("bid_vol", "ask_vol", "is_call"))
    bid, ask = quotes["bid"].to_numpy(float, copy=True), quotes["ask"].to_numpy(float, copy=True)
    coin = "currency_of_price" in quotes
    unit = 1.0 / F if coin else D
    eligible = clean["verdict"].isin(["used", "in the money"]).to_numpy(copy=True)
    eligible &= np.isfinite(bid_vol) & np.isfinite(ask_vol) & (bid > 0.0)
    rows = rng.permutation(np.flatnonzero(eligible))[: int(share * eligible.sum())]
    kind, visible = np.full(size, "", object), np.ones(size, bool)
    for name, part in zip(KINDS, np.array_split(rows, len(KINDS)), strict=True):
        kind[part] = name
    true_bid, true_ask, mid, half = bid.copy(), ask.copy(), 0.5 * (bid + ask), 0.5 * (ask - bid)

    p = kind == "crossed"
    bid[p], ask[p] = np.maximum(true_ask, 1.05 * true_bid)[p], true_bid[p]

    p = np.flatnonzero(kind == "stale")  # as at the forward of an hour ago
    level = clean["vol"].where(eligible).groupby(clean["group"]).transform("median").to_numpy()[p]
    then = F[p] * np.exp(level * np.sqrt(1.0 / 8760.0) * rng.standard_normal(p.size))
    unit_then = 1.0 / then if coin else D[p]
    bid[p] = black(bid_vol[p], K[p], T[p], then, call[p]) * unit_then
    ask[p] = black(ask_vol[p], K[p], T[p], then, call[p]) * unit_then
    visible[p] = np.abs(0.5 * (bid + ask) - mid)[p] > half[p] + 0.5 * (ask - bid)[p]

    p = np.flatnonzero(kind == "one side")
    off = rng.uniform(0.05, 0.5, p.size) * rng.choice([-1.0, 1.0], p.size)
    low, high = (np.maximum(v[p] + off, 1e-3) for v in (bid_vol, ask_vol))
    of_bid = rng.random(p.size) < 0.5
    bid[p] = np.where(of_bid, black(low, K[p], T[p], F[p], call[p]) * unit[p], bid[p])
    ask[p] = np.where(of_bid, ask[p], black(high, K[p], T[p], F[p], call[p]) * unit[p])

    p = np.flatnonzero(kind == "times ten")  # one side in four each, else both
    which = rng.integers(0, 4, p.size)
    bid[p] *= np.where(which == 0, 1.0, 10.0)
    ask[p] *= np.where(which == 1, 1.0, 10.0)

    strike = K.copy()  # wrong strike: that of another quote of the expiry, one to five places away
    line = pd.factorize(pd.MultiIndex.from_arrays([clean["group"], T, call]))[0]
    two_sided = np.isfinite(F) & (true_bid > 0.0) & (true_ask > 0.0)
    order = np.lexsort((K, line))
    order = order[two_sided[order]]
    place = np.full(size, -1)
    place[order] = np.arange(order.size)
    p = np.flatnonzero(kind == "wrong strike")
    step = rng.integers(1, 6, p.size) * rng.choice([-1, 1], p.size)
    for direction in (1, -1):
        target = place[p] + direction * step
        other = order[np.clip(target, 0, order.size - 1)]
        inside = (target >= 0) & (target < order.size) & (line[other] == line[p]) & (K[other] != K[p])
        todo = inside & (strike[p] == K[p])
        strike[p[todo]] = K[other[todo]]
        visible[p[todo]] = np.abs(mid[p] - mid[other])[todo] > (half[p] + half[other])[todo]
    kind[p[strike[p] == K[p]]] = ""  # alone in its expiry

    p = kind == "swapped"
    visible[p] = (np.abs(F - K) * unit > 2.0 * half)[p]
    option_type = np.where(call ^ p, "C", "P")
    return quotes.assign(bid=bid, ask=ask, strike=strike, option_type=option_type), kind, visible


def confusion(quotes, rules, seed=1, clean=None):
    """One row for each corrupted quote that the clean table uses, and the share of good quotes lost."""
    clean = inspect_quotes(quotes, rules=rules).table if clean is None else clean
    spoilt, kind, visible = corrupt(quotes, clean, seed)
    used = inspect_quotes(spoilt, rules=rules).table["verdict"].eq("used").to_numpy()
    before = clean["verdict"].eq("used").to_numpy()
    hit = before & (kind != "")
    table = pd.DataFrame({"kind": kind[hit], "visible": visible[hit], "caught": ~used[hit]})
    good = before & (kind == "")
    return table, float((good & ~used).sum() / good.sum())


def smile(x, years):
    """Volatility over ln(K/F): skewed and bent, steeper at short expiries."""
    z = x / np.sqrt(years)
    return 0.55 + 0.03 * np.sqrt(years) - 0.03 * z + 0.03 * z * z / (1.0 + 0.3 * np.abs(z))


@pytest.fixture(scope="module")
def chain():
    """Calls and puts in coin, two underlyings, spreads that widen into the wings, mids off by a fifth of a spread."""
    rng = np.random.default_rng(5)
    tables = []
    for name, forward in (("BTC", 90000.0), ("ETH", 3000.0)):
        for years in (3 / 365, 10 / 365, 30 / 365, 90 / 365, 0.5):
            x = np.linspace(-2.4, 2.4, 41) * 0.6 * np.sqrt(years)
            strike = np.round(forward * np.exp(x), -1 if name == "ETH" else -2)
            strike = np.repeat(np.unique(strike), 2)
            call = np.arange(strike.size) % 2 == 0
            x = np.log(strike / forward)
            half = 0.004 * (1.0 + (x / np.sqrt(years)) ** 2) * rng.uniform(0.7, 1.4, x.size)
            half *= np.where(call == (x >= 0.0), 1.0, 1.5)
            vol = smile(x, years) + 0.2 * half * rng.standard_normal(x.size)
            bid, ask = (black(v, strike, years, forward, call) / forward for v in (vol - half, vol + half))
            tables.append(
                pd.DataFrame(
                    {
                        "underlying": name,
                        "expiry": years,
                        "strike": strike,
                        "option_type": np.where(call, "C", "P"),
                        "bid": bid,
                        "ask": ask,
                        "currency_of_price": "coin",
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="module")
def report(chain):
    return inspect_quotes(chain, rules=CleaningRules.crypto())


@cache
def recorded(path, rules):
    """Quotes of a file, and what cleaning makes of them."""
    if not path.exists():
        pytest.skip(f"{path.name} is not in this set")
    quotes = read_quotes(path)
    return quotes, inspect_quotes(quotes, rules=rules).table


def test_nearly_all_good_quotes_are_kept(chain, report):
    before = inspect_quotes(chain, rules=CleaningRules()).counts()["used"]
    assert report.counts()["used"] >= 0.99 * before
    off = (report.table["vol"] - report.table["smile_vol"])[report.table["verdict"].eq("used")]
    assert off.abs().median() < 0.003  # the smile is that of the quotes, whose mids are off by about 0.001


@pytest.mark.parametrize("seed", [1, 2])
def test_corrupted_quotes_are_caught_and_good_ones_kept(chain, report, seed):
    table, lost = confusion(chain, CleaningRules.crypto(), seed, report.table)
    assert len(table) > 30
    assert table["caught"][table["visible"]].mean() >= 0.95
    assert lost <= 0.02
    always = table[table["kind"].isin(["crossed", "times ten", "swapped", "one side"]) & table["visible"]]
    assert always["caught"].mean() >= 0.97


def test_without_a_profile_they_are_not(chain):
    table, _ = confusion(chain, CleaningRules())
    assert table["caught"][table["visible"]].mean() < 0.9


def test_cleaning_what_is_left_drops_nothing(chain, report):
    rules = CleaningRules.crypto()
    spoilt, _, _ = corrupt(chain, report.table, 3)
    first = inspect_quotes(spoilt, rules=rules).table
    used = first[first["verdict"].eq("used")]
    again = inspect_quotes(used, rules=rules).table
    assert again["verdict"].eq("used").all()
    np.testing.assert_array_equal(again["vol"], used["vol"])


def test_the_worst_offenders_are_those_that_were_spoilt(chain, report):
    spoilt, kind, _ = corrupt(chain, report.table, 4)
    report = inspect_quotes(spoilt, rules=CleaningRules.crypto())
    worst = report.worst(10)
    assert len(worst) == 10
    assert worst["off"].is_monotonic_decreasing
    assert (kind[worst.index] != "").all()
    assert report.worst(0).empty


@pytest.mark.market_data
@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("deribit/snapshots/2026-W02", CleaningRules.crypto()),
        ("deribit/snapshots/2026-W26", CleaningRules.crypto()),
        ("us/chains/spx_2023-08-18", CleaningRules.index()),
        ("us/chains/ndx_2022-02-04", CleaningRules.index()),
    ],
)
def test_recorded_chains(market_data, name, rules):
    quotes, clean = recorded(market_data / f"{name}.parquet", rules)
    table, lost = confusion(quotes, rules, clean=clean)
    assert table["caught"][table["visible"]].mean() >= 0.95
    assert lost <= 0.02
    by_kind = table[table["visible"]].groupby("kind")["caught"].mean()
    assert by_kind.drop("stale").min() >= 0.95, by_kind
    assert table["caught"][table["kind"].eq("crossed")].all()


@pytest.mark.market_data
def test_cleaning_twice_is_cleaning_once_on_recorded_chains(market_data):
    for name, rules in (("deribit/snapshots/2026-W02", CleaningRules.crypto()), ("us/chains/ndx_2022-02-04", RULES)):
        quotes, clean = recorded(market_data / f"{name}.parquet", rules)
        spoilt, _, _ = corrupt(quotes, clean, 2)
        for first in (clean, inspect_quotes(spoilt, rules=rules).table):
            again = inspect_quotes(first[first["verdict"].eq("used")], rules=rules)
            assert again.counts().to_dict() == {"used": first["verdict"].eq("used").sum()}


@pytest.mark.slow
@pytest.mark.market_data
def test_all_recorded_chains_together(market_data, capsys):
    tables, losses = [], []
    for pattern, rules in (("deribit/snapshots/*", CleaningRules.crypto()), ("us/daily/spx*", CleaningRules.index())):
        for path in sorted(market_data.glob(pattern)):
            table, lost = confusion(read_quotes(path), rules)
            tables.append(table)
            losses.append(lost)
    table = pd.concat(tables)
    shares = table.assign(of_visible=table["caught"].where(table["visible"])).groupby("kind")
    with capsys.disabled():
        print(shares[["visible", "caught", "of_visible"]].agg("mean").round(4))
        print(f"{len(table):,} corrupted; good quotes lost: {np.mean(losses):.4f}, at most {np.max(losses):.4f}")
    assert table["caught"][table["visible"]].mean() >= 0.95
    assert max(losses) <= 0.02
