# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From an exchange's answer to a surface
#
# What Deribit's public API answers, order books of two venues, and a clock that does not stop at weekends but
# slows down. The answers are made here, in the exchange's own format, from a model whose parameters we know. Nothing is
# downloaded.

# %%
# %matplotlib inline
import json
import tempfile
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc

# %% [markdown]
# ## An answer of `get_book_summary_by_currency`
#
# Prices are in bitcoin, volatilities in percent, times in milliseconds; futures stand among the options. One entry is
# corrupted: its bid is ten times too high.

# %%
rng = np.random.default_rng(7)
truth = jc.Heston(v0=0.25, kappa=4.0, theta=0.36, sigma=1.8, rho=-0.25)
time = pd.Timestamp("2026-03-06T20:00Z")  # a Friday evening
days = [7, 21, 49, 112, 203]
expiries = pd.DatetimeIndex([(time + pd.Timedelta(days=day)).normalize() + pd.Timedelta(hours=8) for day in days])
years = np.asarray((expiries - time) / pd.Timedelta(days=365))
forwards = 90_000.0 * np.exp(0.04 * years)
strikes = np.round(forwards[:, None] * np.exp(np.linspace(-1.6, 1.6, 15) * 0.5 * np.sqrt(years)[:, None]) / 500) * 500

grids = (jnp.asarray(years)[:, None], jnp.asarray(forwards)[:, None])
vols = np.asarray(jc.model_vol(truth, jnp.asarray(strikes), grids[0], forward=grids[1], pricer=jc.Saddle(128)))


def summary(expiry, forward, year, strike, vol, side):
    """One entry, as the exchange writes it."""
    price = float(jc.black_price(vol, strike, year, forward=forward, is_call=side == "C") / forward)
    tick = 1e-4 if price < 0.005 else 5e-4
    half = max(0.015 * price, 0.6 * tick)
    bid, ask = np.floor((price - half) / tick) * tick, np.ceil((price + half) / tick) * tick
    return {
        "instrument_name": f"BTC-{expiry.strftime('%d%b%y').lstrip('0').upper()}-{strike:.0f}-{side}",
        "bid_price": round(float(bid), 4) if bid > 0 else None, "ask_price": round(float(ask), 4),
        "mark_price": round(price, 6), "mark_iv": round(100 * float(vol), 2),
        "underlying_price": round(float(forward), 2), "underlying_index": "SYN.BTC",
        "estimated_delivery_price": 90_000.0, "base_currency": "BTC", "quote_currency": "BTC",
        "creation_timestamp": time.value // 1_000_000, "open_interest": round(float(rng.exponential(100.0)), 1),
    }  # fmt: skip


entries = [
    summary(expiries[e], forwards[e], years[e], strikes[e, k], vols[e, k], side)
    for e, k in np.ndindex(strikes.shape)
    for side in "CP"
]
entries[31]["bid_price"] *= 10
futures = [
    {"instrument_name": f"BTC-{expiry.strftime('%d%b%y').lstrip('0').upper()}", "mark_price": round(forward, 1),
     "estimated_delivery_price": 90_000.0, "creation_timestamp": time.value // 1_000_000}
    for expiry, forward in zip(expiries, forwards, strict=True)
]  # fmt: skip
path = Path(tempfile.mkdtemp()) / "book_summary.json"
path.write_text(json.dumps({"jsonrpc": "2.0", "result": entries + futures}))
entries[30]

# %% [markdown]
# ## Reading: every entry has a row, and every row that is not a quote has a reason

# %%
table = jc.read_deribit(path)
print(table.summary())
table.entries.loc[table.entries["fault"].ne(""), ["instrument_name", "fault"]].head(3)

# %% [markdown]
# ## Cleaning, and the forwards
#
# The exchange gives its own forward for every expiry. Without it, put-call parity finds nearly the same one: in coin,
# `call - put = 1 - K / F`.

# %%
quotes = jc.read_quotes(path)
report = jc.inspect_quotes(quotes, rules=jc.CleaningRules.crypto())
print(report.summary())
by_parity = jc.inspect_quotes(quotes.drop(columns="forward"), rules=jc.CleaningRules.crypto())
found = by_parity.forwards
both = report.forwards[["years", "forward"]].assign(
    parity=found["forward"], error=found["forward_error"], source=found["forward_source"]
)
both["basis_points"] = 1e4 * (both["parity"] / both["forward"] - 1)
assert both["basis_points"].abs().max() < 10.0
both.round(4)

# %% [markdown]
# ## The surface, and a fit

# %%
surface = jc.Surface.from_quotes(report)
fit = jc.calibrate(jc.Heston, surface)
print(surface)
print(fit.summary())
assert fit.converged
assert float(fit.rmse_vol) < 0.02

# %%
jc.plot_smiles(fit)

# %% [markdown]
# ## Order books of two venues
#
# A second venue quotes the same contracts with other sizes and fees, and is late on one of them: there both cross. The
# merged table has the best bid and ask after fees. The corrupted entry's book crosses itself, and is left out.

# %%
rows = []
for venue, shift in (("deribit", 0.0), ("other", 1e-4)):
    for entry in entries:
        for side, sign in (("bid", -1), ("ask", 1)):
            best = entry[f"{side}_price"] or 0.0
            prices = [round(best + sign * (5e-4 * level + shift), 6) for level in range(3)]
            name = (venue, entry["instrument_name"], side)
            rows += [
                (*name, level, price, round(rng.exponential(5.0), 1) + 0.1)
                for level, price in enumerate(prices)
                if best > 0 and price > 0
            ]
levels = pd.DataFrame(rows, columns=["venue", "instrument_name", "side", "level", "price", "amount"])
levels["quote_time"] = time
late = levels["instrument_name"].eq(entries[91]["instrument_name"]) & levels["venue"].eq("other")
levels.loc[late, "price"] *= 1.2
merged = jc.merge_books(levels, fees={"deribit": jc.TakerFee.deribit(), "other": jc.TakerFee(rate=0.0002)})
print(merged.summary())
print(merged.levels.loc[merged.levels["fault"].ne(""), "fault"].head(2).to_string())
columns = ["strike", "option_type", "crossed_by", "crossed_net_by", "mids_apart"]
merged.disagreements[columns].round(5)

# %%
assert merged.disagreements["crossed_by"].gt(0.0).any()
[book_surface] = jc.surfaces_from_quotes(merged.quotes, rules=jc.CleaningRules.crypto()).values()
weights = jc.weights_from(merged.quotes, book_surface, "depth_weight")
weighted = jc.calibrate(fit.model, book_surface, weights=weights)
pd.DataFrame({"summaries": vars(fit.model), "books": vars(weighted.model), "truth": vars(truth)}).astype(float).round(3)

# %% [markdown]
# ## Time that slows down at weekends
#
# A clock on which Saturday and Sunday count half, and a meeting on the 18th counts for a day and a half more.
# Volatilities are expressed per year of that clock; forwards and discounts are as before.

# %%
clock = jc.VarianceClock(weekend=0.5, market="always", events={"2026-03-18T18:00Z": 1.5})
slow = jc.Surface.from_quotes(jc.inspect_quotes(quotes, rules=jc.CleaningRules.crypto(), clock=clock))
used = np.asarray(surface.weight).any(axis=1)
again = jc.calibrate(fit.model, slow)
assert again.converged
np.testing.assert_array_equal(slow.forward, surface.forward)
pd.DataFrame(
    {"calendar days": 365 * np.asarray(surface.expiry)[used], "days of the clock": 365 * np.asarray(slow.expiry)[used]}
).round(3)

# %% [markdown]
# [`docs/conventions.md`](../docs/conventions.md) has all of these conventions, [`docs/deribit.md`](../docs/deribit.md)
# what is refused in an answer of the exchange, and `jaxcal live deribit` follows its stream.
