"""Mutated answers and messages of Deribit: what is read is in the text, or has a reason."""

import gzip
import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

import jaxcal as jc
from jaxcal.venues.deribit.record import NUMBERS, records
from tests.venues.mutations import DATA, Tally, mutated_text

TIME = 1749938299495
ENTRY_ODD = [None, True, "", "1", -1, 0, 1e300, float("1e15"), [], {}, "x" * 99, 10**30, -0.0]


def generated_entry(rng: random.Random) -> dict:
    """An entry as the exchange's interface has them: a book summary or a ticker, in its envelope or bare."""
    strike, is_call, linear = rng.randrange(60, 160) * 1000, rng.random() < 0.5, rng.random() < 0.2
    coin = "BTC_USDC" if linear else "BTC"
    unit = 105500.0 if linear else 1.0
    years = (datetime(2025, 6, 27, 8) - datetime(2025, 6, 14, 21, 58)) / timedelta(days=365)
    vol, forward = rng.uniform(0.3, 0.8), 105500.0
    mark = float(jc.black_price(vol, float(strike), years, forward=forward, is_call=is_call)) / forward * unit
    entry = {
        "instrument_name": f"{coin}-27JUN25-{strike}-{'C' if is_call else 'P'}", "mark_price": round(mark, 6),
        "mark_iv": round(100 * vol, 2), "underlying_price": forward, "underlying_index": "BTC-27JUN25",
        "open_interest": rng.randrange(100) / 10, "base_currency": "BTC",
    }  # fmt: skip
    bid, ask = round(0.98 * mark, 4), round(1.02 * mark, 4)
    if rng.random() < 0.5:
        entry |= {"bid_price": bid, "ask_price": ask, "creation_timestamp": TIME, "estimated_delivery_price": 105383.0}
        return entry
    entry |= {"best_bid_price": bid, "best_ask_price": ask, "best_bid_amount": 2.5, "best_ask_amount": 0.3}
    entry |= {"timestamp": TIME, "index_price": 105383.0, "bid_iv": 39.0, "ask_iv": 41.0}
    if rng.random() < 0.5:
        return {"method": "subscription", "params": {"channel": "ticker", "data": entry}}
    return {"jsonrpc": "2.0", "result": [entry] if rng.random() < 0.5 else entry}


def recorded_entries() -> list:
    """Entries of the recorded answers, where the folder is there."""
    found: list = []
    for path in sorted((DATA / "deribit" / "raw").glob("*book_summary*option*")):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as file:
            value = json.load(file)
        found += value["result"] if isinstance(value, dict) else value
    for path in sorted((DATA / "deribit" / "raw").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            found += [json.loads(line) for line in file]
    return found


def mutated_entry(value, rng: random.Random) -> str:
    """A line of JSON: its text changed, or one of its fields dropped, renamed, replaced, or swapped with another."""
    if rng.random() < 0.5:
        return mutated_text(json.dumps(value), rng).replace("\n", " ")
    copy = json.loads(json.dumps(value))
    inner = entries_of(copy)
    if inner and isinstance(inner[0], dict) and inner[0]:
        entry, name = inner[0], rng.choice(list(inner[0]))
        kind = rng.randrange(4)
        if kind == 0:
            del entry[name]
        elif kind == 1:
            entry[name + "x"] = entry.pop(name)
        elif kind == 2:
            entry[name] = rng.choice(ENTRY_ODD)
        else:
            other = rng.choice(list(entry))
            entry[name], entry[other] = entry[other], entry[name]
    return json.dumps(copy)


def entries_of(value) -> list:
    """The entries inside the envelopes of an answer, by names alone."""
    if isinstance(value, dict):
        for name in ("message", "params", "data", "result"):
            if name in value:
                return entries_of(value[name])
        return [value]
    return value if isinstance(value, list) else []


def check_deribit(lines: list[str], folder: Path, tally: Tally) -> None:
    path = folder / "messages.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    entries = jc.read_deribit(path).entries
    row = 0
    for line in lines:
        try:
            value = json.loads(line, parse_constant=lambda name: [][0])
        except (ValueError, IndexError, RecursionError):
            value = None
            if not line.strip():
                continue
        count = 1 if value is None else len(list(records(value)))
        inner = entries_of(value)
        for place in range(count):
            found = entries.iloc[row]
            row += 1
            tally[f"deribit: {'a reason' if found['fault'] else 'read'}"] += 1
            if found["fault"]:
                continue
            entry = inner[place]
            for column, names in NUMBERS.items():
                given = next((entry[name] for name in names if entry.get(name) is not None), None)
                if given is None:
                    right = math.isnan(found[column])
                else:
                    value = given / (100 if column.endswith("iv") else 1)
                    right = type(given) in (int, float) and math.isclose(found[column], value, rel_tol=1e-12)
                tally.check(right or column == "forward", f"{column} {found[column]} of {line}")
            name = entry["instrument_name"].split("-")
            tally.check(found["strike"] == float(name[2].replace("d", ".")), f"strike {found['strike']} of {line}")
            expiry = datetime.strptime(f"{name[1][:-2]}20{name[1][-2:]}", "%d%b%Y") + timedelta(hours=8)
            tally.check(found["expiry"] == pd.Timestamp(expiry, tz="UTC"), f"expiry {found['expiry']} of {line}")
            tally.check((found["underlying"], found["option_type"]) == (name[0], name[3]), f"contract of {line}")
    tally.check(row == len(entries), f"{len(entries)} rows of {row} entries")
