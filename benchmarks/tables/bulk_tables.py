"""The tables of `benchmarks/speed/bulk.py`: `results/bulk.csv`, where a part that is run again replaces its rows, and
`docs/results/many_surfaces.md`, made from it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "many_surfaces.md"
PARTS = ("peers", "compaction", "size", "quotes", "noise", "memory", "devices")
ABOUT = ("machine", "load of the machine before the run", "system", "versions", "commit", "date")
HEADINGS = {
    "peers": "jaxcal against the peers",
    "compaction": "Lanes that refill against none",
    "size": "Number of surfaces in a call",
    "quotes": "Quotes of a surface",
    "noise": "Noise",
    "memory": "A stream, 4,096 surfaces at a time",
    "devices": "Cores and devices",
}
# Column of the csv, how a figure is written.
FIGURES = {
    "surfaces": "{:,.0f}",
    "quotes": "{:.0f}",
    "surfaces/s": "{:,.4g}",
    "CPU ms": "{:.3g}",
    "first s": "{:.3g}",
    "recovered": "{:.2%}",
    "converged": "{:.2%}",
    "mean steps": "{:.1f}",
    "most steps": "{:.0f}",
    "times slower": "{:.2f}",
    "peak MB": "{:,.0f}",
    "QuantLib, Analytic CPU / CPU": "{:.3g}",
    "fourier-option-pricer CPU / CPU": "{:.3g}",
}


def merged(path: Path, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """The table at `path` with the rows of the parts that were run again replaced, in the order of `PARTS`; written."""
    new = pd.DataFrame([dict(row) for row in rows])
    tables = [new]
    if path.exists():
        old = pd.read_csv(path)
        tables = [old[~old["part"].isin(new["part"])], new]
    table = pd.concat([part for part in tables if len(part)], ignore_index=True)
    table = table.sort_values("part", key=lambda parts: parts.map(PARTS.index), kind="stable").reset_index(drop=True)
    table = table.reindex(columns=["part", "row", *FIGURES, *ABOUT])
    table.to_csv(path, index=False, float_format="%.6g")
    return table


def cells(row: pd.Series, columns: Sequence[str]) -> list[str]:
    """The figures of a row as text; a dash where there is none."""
    return [FIGURES[column].format(row[column]) if pd.notna(row[column]) else "–" for column in columns]


def table_of(part: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """A Markdown table of the rows of one part."""
    rule = "|" + "|".join([" --- ", *[" ---: "] * len(columns)]) + "|"
    lines = [f"| {' | '.join(('', *columns))} |", rule]
    return lines + [f"| {' | '.join((str(row['row']), *cells(row, columns)))} |" for _, row in part.iterrows()]


def page(table: pd.DataFrame) -> str:
    """All parts, each with what it was measured on."""
    lines = [
        "# Many Heston surfaces",
        "",
        "Made by `python -m benchmarks.speed.bulk`, whose first lines say what is timed.",
        "[Many surfaces](../many_surfaces.md) is the guide.",
    ]
    for name in PARTS:
        part = table[table["part"] == name]
        if len(part):
            columns = [column for column in FIGURES if part[column].notna().any()]
            about = [f"- {key}: {part.iloc[0][key]}" for key in ABOUT]
            lines += ["", f"## {HEADINGS[name]}", "", *table_of(part, columns), "", *about]
    return "\n".join(lines) + "\n"


def readme_rows(table: pd.DataFrame) -> list[str]:
    """The lines of the README: jaxcal and its peers, and what they ran on."""
    part = table[table["part"] == "peers"]
    columns = ("surfaces/s", "CPU ms", "recovered", "QuantLib, Analytic CPU / CPU", "fourier-option-pricer CPU / CPU")
    about = part.iloc[0]
    lines = table_of(part, columns)
    lines[0] = lines[0].replace("|  |", f"| {about['surfaces']:,.0f} Heston surfaces, cold starts |", 1)
    return [*lines, "", f"{about['machine']}; commit {about['commit']}; {about['date']}."]
