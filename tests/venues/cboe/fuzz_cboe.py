"""Mutated lines of Cboe's tables: what is read is in the line, or has a reason."""

import csv
import math
import random
import re
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

import jaxcal as jc
from tests.venues.mutations import Tally

SIDE = "Last Sale,Net,Bid,Ask,Volume,IV,Delta,Gamma,Open Interest"
PAGE = (
    "\nStandard & Poors 500 Index,Last: 4697.2402,Change:  8.5602\n"
    '"Date: January 5, 2024 at 8:52 PM EST",Bid: 4686.1,Ask: 4709.1,Size: 1*1,"Volume: 2,265,377"\n'
    f"Expiration Date,Calls,{SIDE},Strike,Puts,{SIDE}\n"
)


def generated_line(rng: random.Random) -> str:
    """One strike of a page."""
    strike = rng.randrange(800, 1300) * 5
    date = datetime(2024, 1, 8) + timedelta(days=rng.randrange(400))
    symbols = [f"{rng.choice(('SPX', 'SPXW'))}{date:%y%m%d}{side}{1000 * strike:08d}" for side in "CP"]
    sides = []
    for symbol in symbols:
        bid = rng.randrange(1, 20000) / 20
        last = f'"{rng.randrange(1, 9)},{rng.randrange(1000):03d}.5"' if rng.random() < 0.1 else f"{bid:g}"
        sides.append(f"{symbol},{last},0,{bid:g},{bid + 0.4:g},{rng.randrange(99)},0.1234,0.5,0.001,7")
    return f"{date:%a %b %d %Y},{sides[0]},{strike:.2f},{sides[1]}"


def check_page(lines: list[str], folder: Path, tally: Tally) -> None:
    path = folder / "spx_quotedata.csv"
    path.write_bytes((PAGE + "\n".join(lines) + "\n").encode())
    quotes = jc.read_quotes(path)
    faults = quotes["fault"] if "fault" in quotes else pd.Series("", quotes.index)
    told = [line for line in lines if line.replace("\x00", " ").strip(' ,"\t')]
    tally.check(len(quotes) == 2 * len(told), f"{len(quotes)} rows of {len(told)} lines")
    for i, fault in enumerate(faults):
        tally[f"cboe: {'a reason' if fault else 'read'}"] += 1
        if fault:
            continue
        found, line = quotes.iloc[i], told[i // 2].replace("\x00", " ")
        cells = [cell.strip() for cell in next(csv.reader([line]))]
        start = 1 if i % 2 == 0 else 12
        symbol = cells[start]
        for name, place in (("bid", start + 3), ("ask", start + 4), ("strike", 11), ("last", start + 1)):
            if name == "last" and math.isnan(found[name]):
                continue  # no fit uses it, so it may be none
            good = re.fullmatch(r"[-+]?(\d+|\d{1,3}(,\d{3})+|(?=\.\d))(\.\d*)?([eE][-+]?\d+)?", cells[place])
            same = bool(good) and found[name] == float(cells[place].replace(",", ""))
            tally.check(same, f"{name} {found[name]} of {line}")
        tally.check(found["strike"] == int(symbol[-8:]) / 1000, f"strike of {line}")
        tally.check((found["root"], found["option_type"]) == (symbol[:-15].strip(), symbol[-9]), f"contract of {line}")
        expiry = datetime.strptime(symbol[-15:-9], "%y%m%d")
        tally.check(found["expiry"] == expiry and str(expiry.day) in cells[0], f"expiry of {line}")
