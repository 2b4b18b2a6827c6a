"""Mutated tables of every kind of file: only documented errors, and no number is read that is not there.

    python -m tests.market.tables.fuzz_tables --cases 100000

A case is one mutated cell, in a table with many of them, or one mutated file: CSV with any separator, packed or not,
parquet, Excel, JSON of records, JSON of Deribit. A row that is used has the numbers of its cells, by a reading that
shares nothing with the library, or it has a sentence.
"""

import argparse
import gzip
import io
import json
import math
import random
import re
import tempfile
from pathlib import Path

import openpyxl
import pandas as pd

import jaxcal as jc
from tests.venues.deribit.fuzz_deribit import generated_entry
from tests.venues.mutations import Tally, mutated_text

NAMES = ("expiry", "strike", "option_type", "bid", "ask", "forward", "bid_iv")
BATCH = 200  # cases in a table
ODD = (
    "", "-", "--", ".", "N/A", "nan", "inf", "1e999", "9" * 400, "-" + "9" * 320, "9" * 5000, "1,050", "1.050",
    "1,050.00", "1'050", "1\u00a0050", "1 050", "0,5", "1,5", "$5", "5%",
    "(5)", "0x1F", "1_000", "\u0663", "\u22125", "true", "None",
    "[]", "x" * 3000, "\x1b[31m", "=1+1", "2026-05-29", "1e-320", "-0", "+7", "7.",
)  # fmt: skip
_THOUSANDS = re.compile(r"(?<=\d)[,'\u2019 \u00a0\u202f](?=\d{3}(?!\d))")


def good_row(rng: random.Random) -> list[str]:
    """A quote that can be used: an out-of-the-money option of some 25 % volatility, half a year, forward 1,000."""
    strike = 900 + 2 * rng.randrange(100)
    is_call = strike >= 1000
    value = float(jc_black(strike, is_call))
    return ["0.5", f"{strike}", "C" if is_call else "P", f"{value - 0.5:.2f}", f"{value + 0.5:.2f}", "1000.0", "0.25"]


def jc_black(strike: float, is_call: bool) -> float:
    deviation = 0.25 * math.sqrt(0.5)
    d1 = math.log(1000.0 / strike) / deviation + 0.5 * deviation
    sign = 1.0 if is_call else -1.0

    def normal(x: float) -> float:
        return 0.5 * math.erfc(-x / math.sqrt(2.0))

    return sign * (1000.0 * normal(sign * d1) - strike * normal(sign * (d1 - deviation)))


def mutated_cell(cell: str, rng: random.Random) -> str:
    odd = rng.choice(ODD) if rng.random() < 0.5 else mutated_text(cell, rng)
    return re.sub(r"[\r\n\0]", " ", odd)  # that would be another row


def value_in(cell: object) -> float:
    """What a cell says, by Python's own reading of a number without thousands and signs of money."""
    plain = _THOUSANDS.sub("", str(cell).strip().translate({0x2212: "-", 0x2013: "-"}).strip("$\u20ac\u00a3\u00a5 "))
    plain = re.sub(r"^([+-])[$\u20ac\u00a3\u00a5]", r"\1", plain)
    return float(plain) if plain.isascii() and "_" not in plain else math.nan


def check_cells(kind: str, rng: random.Random, folder: Path, tally: Tally) -> None:
    """Rows with one mutated cell each."""
    rows: list[list[str]] = []
    for _ in range(BATCH):
        row = good_row(rng)
        place = rng.randrange(len(NAMES))
        row[place] = mutated_cell(row[place], rng)
        if rng.random() < 0.5:
            rows.append(row)
        rows.append(row if rng.random() < 0.5 else good_row(rng))
    table = pd.DataFrame(rows, columns=list(NAMES))
    path = folder / f"chain.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "json":
        path.write_text(json.dumps([_numbers(row) for row in table.to_dict("records")]), errors="replace")
    else:
        table.to_csv(path, index=False, sep="," if kind == "csv" else "\t", errors="replace")
    try:
        quotes = jc.read_quotes(path)
        report = jc.inspect_quotes(quotes)
    except jc.QuoteError as error:
        check_sentence(str(error), tally)
        tally["cells: file refused"] += BATCH
        return
    tally.check(len(report.table) == len(table), f"{len(report.table)} rows of {len(table)}")
    for position, (_, found) in enumerate(report.table.iterrows()):
        if found["verdict"] != "used":
            check_sentence(found["reason"], tally)
            tally["cells: a reason"] += 1
            continue
        tally["cells: used"] += 1
        for name, read in (("expiry", found["years"]), *((name, found[name]) for name in ("strike", "bid", "ask"))):
            cell = table.iloc[position][name]
            tally.check(read == value_in(cell), f"{name} {read} of {cell!r} in {kind}")


def _numbers(row: dict) -> dict[str, object]:
    """As JSON has them: numbers where a text is one, integers of any length too."""
    out: dict[str, object] = {}
    for name, text in row.items():
        out[name] = text
        if not re.fullmatch(r"[-+.\deE]*", text, re.ASCII):
            continue
        try:
            out[name] = int(text) if re.fullmatch(r"-?\d{1,4000}", text, re.ASCII) else float(text)
        except ValueError:
            continue
        if isinstance(value := out[name], float) and not math.isfinite(value):
            out[name] = text
    return out


def check_sentence(sentence: str, tally: Tally) -> None:
    tally.check(0 < len(sentence) < 500, f"a sentence of {len(sentence)} letters")
    tally.check(sentence.isprintable(), f"a sentence that steers a terminal: {sentence!r}")


def valid_files(rng: random.Random) -> dict[str, bytes]:
    """One small file of every kind."""
    table = pd.DataFrame([good_row(rng) for _ in range(4)], columns=list(NAMES))
    typed = table.apply(pd.to_numeric, errors="coerce").assign(option_type=table["option_type"])
    text = table.to_csv(index=False)
    parquet, book = io.BytesIO(), io.BytesIO()
    typed.to_parquet(parquet)
    sheet = openpyxl.Workbook()
    for row in [list(NAMES), *typed.to_numpy(object).tolist()]:
        sheet.worksheets[0].append(row)
    sheet.save(book)
    return {
        "a.csv": text.encode(),
        "b.csv": table.to_csv(index=False, sep=";").replace(".", ",").encode(),
        "c.csv": text.encode("utf-16"),
        "d.csv.gz": gzip.compress(text.encode()),
        "e.tsv": table.to_csv(index=False, sep="\t").encode(),
        "f.txt": text.replace("strike", " Strike ").encode("cp1252"),
        "g.parquet": parquet.getvalue(),
        "h.xlsx": book.getvalue(),
        "i.json": typed.to_json(orient=rng.choice(["records", "columns", "split"])).encode(),
        "j.jsonl": typed.to_json(orient="records", lines=True).encode(),
        "k.json": json.dumps([generated_entry(rng)]).encode(),
        "l.json.gz": gzip.compress(json.dumps([generated_entry(rng)]).encode()),
    }


def check_file(files: dict[str, bytes], rng: random.Random, folder: Path, tally: Tally) -> None:
    """One file changed, cut, doubled or named as another: a table, or a QuoteError."""
    name = rng.choice(list(files))
    data = bytearray(files[name])
    kind = rng.randrange(6)
    if kind == 0:
        data = data[: rng.randrange(len(data))]
    elif kind == 1:
        name = rng.choice(list(files))
    elif kind == 2 and b"PAR1" not in data[:4] and b"PK" not in data[:2]:
        data = bytearray(mutated_text(data.decode("latin-1"), rng).encode("latin-1", "replace"))
    elif kind == 3:
        at = rng.randrange(len(data))
        data[at:at] = rng.choice(
            (b"\x00", b"9" * 400, b"9" * 5000, b",", b"\xff\xfe", b'"', b"\n", b"{", bytes(data[:50]))
        )
    else:
        for _ in range(rng.choice((1, 2, 8))):
            data[rng.randrange(len(data))] = rng.randrange(256)
    path = folder / name
    path.write_bytes(data)
    try:
        report = jc.inspect_quotes(jc.read_quotes(path))
        for reason in report.table["reason"]:
            if reason:
                check_sentence(reason, tally)
        tally["files: read"] += 1
    except jc.QuoteError as error:
        check_sentence(str(error), tally)
        tally["files: QuoteError"] += 1
    path.unlink()


def run(cases: int, seed: int = 0) -> Tally:
    """This many cases, nine of ten of them cells; any error but QuoteError, and any misreading, is raised."""
    rng, tally = random.Random(seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = ("csv", "tsv", "parquet", "json")
        for turn in range(math.ceil(0.9 * cases / BATCH)):
            check_cells(kinds[turn % 4], rng, folder, tally)
            tally["cases: cells"] += BATCH
        files = valid_files(rng)
        for turn in range(math.ceil(0.1 * cases)):
            if turn % 500 == 499:
                files = valid_files(rng)
            check_file(files, rng, folder, tally)
            tally["cases: files"] += 1
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
