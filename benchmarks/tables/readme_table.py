"""The table of results in README.md, from the files of the last run: `python -m benchmarks.tables.readme_table`.

Replaces what stands between the markers `<!-- results -->` and `<!-- /results -->`. Every figure is copied from
`results/one_surface.csv`, `results/one_surface.md`, `results/implied_vol.md` or `results/bulk.csv`; nothing is computed
here. docs/results/many_surfaces.md is written too.
"""

import argparse
import csv
import re
from pathlib import Path

import pandas as pd

from benchmarks.tables.bulk_tables import PAGE, page, readme_rows

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
START, END = "<!-- results -->", "<!-- /results -->"
KNOWN, MARKET = "120 options", "DAX 2002-07-05"
# Heading, surface, column of one_surface.csv.
COLUMNS = (
    ("120 options: wall ms", KNOWN, "warm wall ms"),
    ("CPU ms", KNOWN, "CPU ms"),
    ("parameter error", KNOWN, "max rel. error"),
    ("DAX: wall ms", MARKET, "warm wall ms"),
    ("CPU ms", MARKET, "CPU ms"),
    ("parameter error", MARKET, "max rel. error"),
    ("new process s", KNOWN, "cold process s"),
    ("same, cached s", KNOWN, "cold, cached s"),
)


def markdown(heading: list[str], rows: list[list[str]]) -> list[str]:
    """A Markdown table whose first column is a name and whose others are numbers."""
    rule = "|" + "|".join([" --- ", *[" ---: "] * (len(heading) - 1)]) + "|"
    return ["| " + " | ".join(heading) + " |", rule, *("| " + " | ".join(row) + " |" for row in rows)]


def table_in(text: str) -> list[dict[str, str]]:
    """The rows of the first Markdown table of a text, by heading."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def fits(results: Path) -> list[str]:
    """One row a runner, both surfaces side by side, and what they ran on."""
    with (results / "one_surface.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    by_place = {(line["surface"], line["runner"]): line for line in lines}
    runners = list(dict.fromkeys(line["runner"] for line in lines))
    rows = [[name, *(by_place.get((s, name), {}).get(c) or "–" for _, s, c in COLUMNS)] for name in runners]
    text = (results / "one_surface.md").read_text(encoding="utf-8")
    alone = re.search(r"import jax`?(?: alone)?:? ([0-9.]+)", text)
    about = lines[0]
    where = f"{about['machine']}; commit {about['commit']}; {about['date']}."
    if alone:
        where += f" `import jax` alone takes {alone[1]} s of every new process that uses JAX."
    return [
        *markdown(["one Heston fit", *(heading for heading, _, _ in COLUMNS)], rows),
        "",
        where,
        "",
        f"Versions: {about['versions']}.",
    ]


def implied_vols(results: Path) -> list[str]:
    """One row a solver of price to volatility."""
    found = table_in((results / "implied_vol.md").read_text(encoding="utf-8"))
    columns = ("CPU ns a quote", "max rel. error")
    rows = [[row["runner"], *(row[column] for column in columns)] for row in found]
    return markdown(["price to volatility", *columns], rows)


def bulk(results: Path) -> list[str]:
    """One row a runner of many surfaces; nothing before that was measured."""
    path = results / "bulk.csv"
    return ["", *readme_rows(pd.read_csv(path))] if path.exists() else []


def main() -> None:
    """Rewrite the part of the README between the markers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    text = arguments.readme.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1:
        raise SystemExit(f"{arguments.readme.name} must hold {START} and {END} once each")
    before, after = text.split(START)[0], text.split(END)[1]
    block = "\n".join([*fits(arguments.results), "", *implied_vols(arguments.results), *bulk(arguments.results)])
    arguments.readme.write_text(f"{before}{START}\n{block}\n{END}{after}", encoding="utf-8")
    if (arguments.results / "bulk.csv").exists():
        arguments.page.write_text(page(pd.read_csv(arguments.results / "bulk.csv")), encoding="utf-8")


if __name__ == "__main__":
    main()
