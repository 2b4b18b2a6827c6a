"""Mutated answers, order-book levels and Cboe pages: only documented errors, and nothing is read that is not there.

    python -m tests.venues.fuzz --cases 100000

A case is one mutated entry, level or line among many, or one mutated file. What is read from it must be what is in the
mutated text, by a reading that shares nothing with the library, or the row must have a sentence why it is not used.
Seeds are generated; with the folder of recorded quotes beside the project, recorded answers and levels as well.
"""

import argparse
import csv
import gzip
import json
import math
import random
import tempfile
from pathlib import Path

import pandas as pd

import jaxcal as jc
from tests.venues.cboe.fuzz_cboe import PAGE, check_page, generated_line
from tests.venues.deribit.fuzz_deribit import check_deribit, generated_entry, mutated_entry, recorded_entries
from tests.venues.mutations import Tally, mutated_text
from tests.venues.order_books.fuzz_levels import check_levels, generated_levels, mutated_levels, recorded_levels

BATCH = 400  # cases a file


def check_files(rng: random.Random, folder: Path, tally: Tally) -> None:
    """Whole files changed byte by byte: a table, or a QuoteError of one line."""
    texts = {
        "a.json": json.dumps([generated_entry(rng) for _ in range(3)]),
        "spx_quotedata.csv": PAGE + "\n".join(generated_line(rng) for _ in range(3)),
        "levels.csv": generated_levels(rng).to_csv(index=False),
    }
    name = rng.choice(list(texts))
    data = bytearray(mutated_text(texts[name], rng).encode("utf-8", errors="replace"))
    for _ in range(rng.randrange(4)):
        if data:
            data[rng.randrange(len(data))] = rng.randrange(256)
    path = folder / (name + (".gz" if rng.random() < 0.2 and name != "levels.csv" else ""))
    packed = gzip.compress(bytes(data)) if path.suffix == ".gz" else bytes(data)
    path.write_bytes(packed[: rng.randrange(len(packed))] if rng.random() < 0.1 and packed else packed)
    try:
        if name == "levels.csv":
            rows = csv.DictReader(path.read_text("utf-8", errors="replace").splitlines())
            jc.merge_books(pd.DataFrame([{str(key): value for key, value in row.items()} for row in rows]))
        else:
            jc.inspect_quotes(jc.read_quotes(path))
        tally["files: read"] += 1
    except jc.QuoteError as error:
        tally.check("\n" not in str(error), f"a sentence of several lines: {error}")
        tally["files: QuoteError"] += 1
    except csv.Error:
        tally["files: no CSV"] += 1  # before the library


def run(cases: int, seed: int = 0) -> Tally:
    """This many cases, of all kinds; an AssertionError, or any other but QuoteError, where one is misread."""
    rng, tally = random.Random(seed), Tally()
    entries = [generated_entry(rng) for _ in range(50)] + recorded_entries()
    books = recorded_levels()

    def answer_line() -> str:
        return mutated_entry(rng.choice(entries), rng)

    def book() -> pd.DataFrame:
        return rng.choice(books) if books and rng.random() < 0.5 else generated_levels(rng)

    def page_line() -> str:
        return mutated_text(generated_line(rng), rng).replace("\n", " ").replace("\r", " ")

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checks = {
            "deribit": (
                0.40,
                lambda n: check_deribit([mutated_entry(rng.choice(entries), rng) for _ in n], folder, tally),
            ),
            "levels": (0.30, lambda n: check_levels([mutated_levels(book(), rng) for _ in n], tally)),
            "cboe": (0.28, lambda n: check_page([page_line() for _ in n], folder, tally)),
            "files": (0.02, lambda n: [check_files(rng, folder, tally) for _ in n]),
        }
        for kind, (share, check) in checks.items():
            left = math.ceil(share * cases)
            while left > 0:
                size = min(left, BATCH)
                check(range(size))
                tally[f"cases: {kind}"] += size
                left -= size
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for what, count in sorted(run(options.cases, options.seed).items()):
        print(f"{what}: {count:,}")


if __name__ == "__main__":
    main()
