"""Mutations that all fuzzers of venues share, and the count of what became of the cases."""

import random
import re
from collections import Counter
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data"
TIME = 1749938299495
ODD = [
    "",
    "-1",
    "0",
    "1e999",
    "NaN",
    "Infinity",
    "null",
    "true",
    '"7"',
    "[]",
    "{}",
    "1e-300",
    "0x1F",
    "1_000",
    "1,5",
    "\u0663",
]
LETTERS = '0123456789.,-+eE"{}[]: \n\r\tCPbidask\u2212\u0663\x00'


class Tally(Counter[str]):
    """How many cases there were, by what became of them."""

    def check(self, good: bool, what: str) -> None:
        if not good:
            raise AssertionError(f"read what is not there: {what}")


def mutated_text(text: str, rng: random.Random) -> str:
    """A text with one to three letters, numbers or pieces of it changed."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            text = text[:at] + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + rng.choice(LETTERS) + text[at:]
        elif kind == 2:
            text = text[:at] + rng.choice(LETTERS) + text[at + 1 :]
        elif kind == 3:
            text = text[:at] + text[at : at + rng.randrange(12)] + text[at:]
        elif kind == 4 and (found := list(re.finditer(r"-?\d+(\.\d+)?", text))):
            one = rng.choice(found)
            text = text[: one.start()] + rng.choice(ODD) + text[one.end() :]
        else:
            text = text[:at] if rng.random() < 0.1 else text[:at] + text[at + rng.randrange(8) :]
    return text
