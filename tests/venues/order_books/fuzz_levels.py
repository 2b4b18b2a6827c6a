"""Mutated levels of order books: what is read is in the table, or has a reason; the best is what brute force finds."""

import math
import random

import numpy as np
import pandas as pd

import jaxcal as jc
from tests.venues.mutations import DATA, Tally, mutated_text


def generated_levels(rng: random.Random) -> pd.DataFrame:
    """One book of one venue."""
    mid, tick = rng.randrange(20, 2000) * 5e-4, 5e-4
    strike, side = rng.randrange(60, 160) * 1000, rng.choice("CP")
    rows = []
    for name, sign in (("bid", -1), ("ask", 1)):
        steps = sorted(rng.sample(range(1, 15), rng.randrange(1, 6)))
        rows += [
            {"side": name, "level": i, "price": round(price, 4), "amount": rng.randrange(1, 500) / 10}
            for i, price in enumerate(mid + sign * step * tick for step in steps)
            if price > 0
        ]
    name = f"BTC-27JUN25-{strike}-{side}"
    return pd.DataFrame(rows).assign(venue=rng.choice("AB"), instrument_name=name, snapshot_ts="2025-06-14T21:58:19Z")


def recorded_levels() -> list[pd.DataFrame]:
    """Recorded books, one a contract."""
    found: list[pd.DataFrame] = []
    for path in sorted((DATA / "deribit" / "depth").glob("*.csv")):
        table = pd.read_csv(path).assign(venue="deribit")
        found += [book.drop(columns="underlying") for _, book in table.groupby("instrument_name")]
    return found


def mutated_levels(book: pd.DataFrame, rng: random.Random) -> pd.DataFrame:
    """A book with one cell changed, or a row twice, or two rows swapped."""
    book = book.astype(object).reset_index(drop=True)
    row, column = rng.randrange(len(book)), rng.choice(["side", "level", "price", "amount", "instrument_name"])
    kind = rng.randrange(6)
    if kind == 0:
        return pd.concat([book, book.iloc[[row]]], ignore_index=True)
    if kind == 1:
        other = rng.randrange(len(book))
        book.loc[[row, other], column] = book.loc[[other, row], column].to_numpy()
    elif kind == 2 and column in ("price", "amount"):
        book.loc[row, column] = rng.choice([-1, 0, 10, 0.1, float("nan"), float("inf"), 1e12, -0.0]) * 1.0
    elif kind == 3:
        book.loc[row, column] = rng.choice(["", "x", True, "bid", "ask", "1e5", " 7", "0x10", None, 1e400])
    else:
        book.loc[row, column] = mutated_text(str(book.loc[row, column]), rng)
    return book


def check_levels(books: list[pd.DataFrame], tally: Tally) -> None:
    table = pd.concat(books, ignore_index=True)
    try:
        merged = jc.merge_books(table)
    except jc.QuoteError as error:
        tally[f"levels: {type(error).__name__}"] += len(books)
        return
    levels = merged.levels
    tally["levels: a reason"] += int(levels["fault"].ne("").sum())
    tally["levels: read"] += int(levels["fault"].eq("").sum())
    best: dict[tuple, list[float]] = {}
    for i, fault in enumerate(levels["fault"]):
        if fault:
            tally.check(fault.startswith(f"row {i}: "), fault)
            continue
        given, found = table.iloc[i], levels.iloc[i]
        for name in ("price", "amount", "level"):
            tally.check(float(given[name]) == found[name] >= 0.0, f"{name} {given[name]!r} as {found[name]}")
        side = str(given["side"]).strip().lower()
        sign = {"b": 1, "a": -1}.get(side[0], -1)  # sell and offer are asks
        tally.check(found["side"] == sign, f"side {given['side']!r} as {found['side']}")
        contract = str(given["instrument_name"]).strip()
        parts = contract.split("-")
        strike, kind = float(parts[2].replace("d", ".")), parts[3]
        tally.check((found["strike"], found["option_type"]) == (strike, kind), f"{contract} as {found['strike']}")
        key = (found["underlying"], found["expiry"], strike, kind)
        prices = best.setdefault(key, [math.nan, math.nan])
        place, choose = (0, max) if found["side"] > 0 else (1, min)
        prices[place] = found["price"] if math.isnan(prices[place]) else choose(prices[place], found["price"])
    for _, quote in merged.quotes.iterrows():
        prices = best.pop(tuple(quote[["underlying", "expiry", "strike", "option_type"]]))
        given = np.array([quote["bid"], quote["ask"]], float)
        tally.check(np.array_equal(given, prices, equal_nan=True), f"{quote} is not {prices}")
    tally.check(not best, f"contracts lost: {list(best)[:3]}")
