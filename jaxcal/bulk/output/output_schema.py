"""Rows: what a bulk job writes, a row a surface and a row a quote, with a schema that depends on the model alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from jaxcal._status import Outcome
from jaxcal.bulk.input.cleaned_partition import ERROR, CleanedPartition
from jaxcal.bulk.settings import Settings
from jaxcal.models.base import AbstractModel

_OF_FIT = ("outcome", "status", "converged", "rmse_vol", "inside", "rmse_half_spreads", "cost", "num_quotes")
_TIME = pa.timestamp("us", tz="UTC")
QUOTE_COLUMNS = {
    "row": pa.int64(),
    "expiry": pa.float64(),
    "strike": pa.float64(),
    "is_call": pa.bool_(),
    "forward": pa.float64(),
    "discount": pa.float64(),
    "market_vol": pa.float64(),
    "bid_vol": pa.float64(),
    "ask_vol": pa.float64(),
    "model_vol": pa.float64(),
    "residual": pa.float64(),
    "weight": pa.float64(),
}


def surface_schema(model: type[AbstractModel]) -> pa.Schema:
    """Columns of the table of surfaces: the same for every part, however its fits end.

    A parameter that may be a vector, or that every expiry has, is a list.

    Example:
        >>> from jaxcal.models.diffusions.black_scholes import BlackScholes
        >>> surface_schema(BlackScholes).names[-7:]
        ['num_steps', 'sigma', 'sigma_error', 'model', 'version', 'settings', 'sources']
    """
    before = {
        "underlying": pa.string(),
        "quote_time": _TIME,
        "outcome": pa.string(),
        "status": pa.string(),
        "converged": pa.bool_(),
        "rmse_vol": pa.float64(),
        "inside": pa.float64(),
        "rmse_half_spreads": pa.float64(),
        "cost": pa.float64(),
        "num_quotes": pa.int32(),
        "num_left_out": pa.int32(),
        "left_out": pa.map_(pa.string(), pa.int32()),
        "profile": pa.string(),
        "num_steps": pa.int32(),
    }
    kinds = {name: pa.list_(pa.float64()) if _is_list(model, name) else pa.float64() for name in _parameters(model)}
    errors = {f"{name}_error": kind for name, kind in kinds.items()}
    after = {
        "model": pa.string(), "version": pa.string(), "settings": pa.string(), "sources": pa.list_(pa.string()),
    }  # fmt: skip
    return pa.schema([pa.field(name, kind) for name, kind in (before | kinds | errors | after).items()])


def quote_schema() -> pa.Schema:
    """Columns of the table of quotes: keys, the file and the position in it, and those of `Fit.to_frame`.

    Example:
        >>> quote_schema().names[:5]
        ['underlying', 'quote_time', 'source', 'row', 'expiry']
    """
    keys = {"underlying": pa.string(), "quote_time": _TIME, "source": pa.string()}
    return pa.schema([pa.field(name, kind) for name, kind in (keys | QUOTE_COLUMNS).items()])


def surface_table(
    partition: CleanedPartition,
    fitted: pd.DataFrame,
    settings: Settings,
    version: str,
    failed: Mapping[int, str] | None = None,
) -> pa.Table:
    """One row for every surface of a part, in the order of the input.

    Args:
        partition: the part.
        fitted: `Fits.to_frame()`, indexed by position in the part; a surface without a row has only its account.
        settings: of the job.
        version: of the library.
        failed: sentences for surfaces whose fit could not even be tried.
    """
    size, model = len(partition.keys), settings.template
    places = fitted.index.to_numpy(np.int64) if len(fitted) else np.empty(0, np.int64)
    columns: dict[str, list[Any]] = {name: [None] * size for name in surface_schema(model).names}

    def put(name: str, values: Sequence[Any]) -> None:
        for place, value in zip(places.tolist(), values, strict=True):
            columns[name][place] = value

    for name in _OF_FIT if len(fitted) else ():
        put(name, fitted[name].tolist())
    if len(fitted):  # where nothing was fitted there is no number of steps
        steps = zip(fitted["outcome"], fitted["num_steps"].tolist(), strict=True)
        put("num_steps", [number if Outcome[name].fitted else None for name, number in steps])
    for name in _parameters(model) if len(fitted) else ():
        for column, suffix in ((name, ""), (f"{name}_error", "_error")):
            put(column, _values(fitted, name, suffix, _is_list(model, name)))
    for place, account in enumerate(partition.accounts):
        outcome, status = account.outcome, account.status
        if outcome is None and columns["outcome"][place] is None:
            outcome, status = ERROR, (failed or {}).get(place, "Not fitted.")
        if outcome is not None:
            # a lone surrogate of the data may be in it, which cannot be encoded
            readable = (status or "").encode(errors="backslashreplace").decode()
            columns["outcome"][place], columns["status"][place] = outcome, readable
            columns["converged"][place] = False
        left_out = sum(account.left_out.values())
        columns["num_quotes"][place] = account.num_rows - left_out
        columns["num_left_out"][place] = left_out
        columns["left_out"][place] = list(account.left_out.items())
        columns["profile"][place] = account.profile
    columns["underlying"] = [name for name, _ in partition.keys]
    columns["quote_time"] = [time for _, time in partition.keys]
    columns["sources"] = [list(names) for names in partition.sources]
    constants = {"model": model.__name__, "version": version, "settings": settings.hash}
    columns |= {name: [value] * size for name, value in constants.items()}
    schema = surface_schema(model)
    # NaN becomes null: averages in SQL skip nulls, not NaN.
    arrays = {field.name: pa.array(columns[field.name], field.type, from_pandas=True) for field in schema}
    return pa.table(arrays, schema=schema)


def quote_table(partition: CleanedPartition, quotes: Mapping[int, pd.DataFrame]) -> pa.Table:
    """One row for every quote used, surface by surface.

    Args:
        partition: the part.
        quotes: `Fit.to_frame()` of the surfaces, by position in the part.
    """
    schema = quote_schema()
    tables = []
    for place, frame in sorted(quotes.items()):
        source, row = partition.origin[place]
        rows = frame["row"].to_numpy(np.int64)
        underlying, time = partition.keys[place]
        columns = {name: frame[name].to_numpy() for name in QUOTE_COLUMNS if name != "row"}
        given = {
            "underlying": pa.array([underlying] * len(rows), pa.string()),
            "quote_time": pa.array([time] * len(rows), _TIME),
            "source": pa.array(source[rows].tolist(), pa.string()),
            "row": pa.array(row[rows], pa.int64()),
        }
        arrays = {name: pa.array(values, QUOTE_COLUMNS[name]) for name, values in columns.items()}
        tables.append(pa.table({name: (given | arrays)[name] for name in schema.names}, schema=schema))
    return pa.concat_tables(tables).combine_chunks() if tables else schema.empty_table()


def _parameters(model: type[AbstractModel]) -> list[str]:
    return [field.name for field in dataclasses.fields(model)]


def _is_list(model: type[AbstractModel], name: str) -> bool:
    return name in model.vectors or model.per_expiry


def _values(fitted: pd.DataFrame, name: str, suffix: str, is_list: bool) -> list[Any]:
    """A parameter of every fit, or its errors: a number, or the list of what stands in the columns `name[0]`, ..."""
    if not is_list:
        column = f"{name}{suffix}"
        return fitted[column].to_numpy(float).tolist() if column in fitted else [None] * len(fitted)
    if f"{name}{suffix}" in fitted:  # one number, or lists already
        return [None if x is None else np.atleast_1d(x).tolist() for x in fitted[f"{name}{suffix}"]]
    names = [column for i in range(len(fitted.columns)) if (column := f"{name}[{i}]{suffix}") in fitted]
    if not names:
        return [None] * len(fitted)
    values = fitted[names].to_numpy(float)
    # Another surface of the part may have a longer vector; what is NaN at the end of this one is not of it.
    known = fitted[[column.removesuffix(suffix) for column in names]].notna().to_numpy()
    lengths = known.shape[1] - np.argmax(known[:, ::-1], axis=1)
    lengths = np.where(known.any(axis=1), lengths, 0)
    return [line[:length].tolist() for line, length in zip(values, lengths.tolist(), strict=True)]
