"""Quotes for bulk jobs: surfaces that fit in no time, and results that can be compared in every value."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jaxcal.bulk.job import run_job
from jaxcal.bulk.settings import Settings
from jaxcal.bulk.summary import Summary
from jaxcal.models.diffusions.black_scholes import BlackScholes

START = pd.Timestamp("2026-03-11T14:30:00Z")


def surface_quotes(place: int, strikes: int = 4) -> pd.DataFrame:
    """The quotes of one surface: two expiries, volatilities around a level of its own, one row that cannot be used."""
    rng = np.random.default_rng(place)
    level = 0.15 + 0.4 * rng.random()
    strike = np.tile(np.linspace(80.0, 120.0, strikes), 2)
    strike[-1] = -1.0
    return pd.DataFrame(
        {
            "underlying": f"U{place % 5}",
            "quote_time": START + pd.Timedelta(minutes=place // 5),
            "expiry": np.repeat([0.5, 1.0], strikes),
            "strike": strike,
            "iv": level + 0.01 * rng.standard_normal(2 * strikes),
            "forward": 100.0,
        }
    )


@pytest.fixture
def make_quotes() -> Callable[..., pd.DataFrame]:
    """A tidy table of the surfaces with these numbers."""

    def make(places: Sequence[int], **columns: Any) -> pd.DataFrame:
        return pd.concat([surface_quotes(place) for place in places], ignore_index=True).assign(**columns)

    return make


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Summary]:
    """Run a job with the smallest model in parts of four surfaces."""

    def run(source: Path, out: Path | None = None, **options: Any) -> Summary:
        chosen = {name: options.pop(name) for name in list(options) if name in Settings.__dataclass_fields__}
        settings = Settings(**{"model": BlackScholes, "part_size": 4, **chosen})
        return run_job(source, tmp_path / "out" if out is None else out, settings, **options)

    return run


@pytest.fixture
def contents() -> Callable[[Path], dict[str, object]]:
    """All that a job wrote, in a form in which `==` compares every value (NaN equal to NaN)."""
    return _contents


def _contents(out: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if name == "_lock" or not path.is_file():
            continue
        found[name] = _Table(pq.ParquetFile(path).read()) if path.suffix == ".parquet" else path.read_bytes()
    return found


class _Table:
    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Table) or not self.table.schema.equals(other.table.schema, check_metadata=True):
            return False
        return repr(self.table.to_pylist()) == repr(other.table.to_pylist())  # repr tells 0.1 from its neighbours

    def __repr__(self) -> str:
        return f"{self.table.num_rows} rows of {self.table.column_names}"

    __hash__ = None  # type: ignore[assignment]
