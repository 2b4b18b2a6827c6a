"""The record of a chain: everything about it as values that JSON can hold."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from jaxcal.calibration.results.fit import Fit
from jaxcal.market.arbitrage.static_arbitrage import ArbitrageReport
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.report.files import parameters_record

_LAST = ("spec", "fit", "not_kept")  # all that makes the fit anew, long


def chain_record(
    fit: Fit[Any],
    report: QuoteReport | None,
    source: str | None,
    *,
    texts: Mapping[str, Any],
    tables: Mapping[str, pd.DataFrame],
    arbitrage: Mapping[str, ArbitrageReport | None],
) -> dict[str, Any]:
    """What `parameters.json` holds of a fit, and beside it sentences, tables and what was found of arbitrage.

    Args:
        fit, report, source: as `write_fit` takes them.
        texts: values that JSON holds as they are.
        tables: a list of records each.
        arbitrage: by name; None for what was not looked at.
    """
    whole = parameters_record(fit, report, source)
    own = {name: _records(table) for name, table in tables.items()}
    found = {name: None if one is None else _counts(one) for name, one in arbitrage.items()}
    first = {name: value for name, value in whole.items() if name not in _LAST}
    last = {name: value for name, value in whole.items() if name in _LAST}
    return {**first, **texts, "arbitrage": found, **own, **last}


def _counts(found: ArbitrageReport) -> dict[str, Any]:
    """By kind, how many strategies were priced, how many cost less than nothing, and what they gain."""
    kinds = {}
    for kind, number in found.num_strategies.items():
        rows = found.violations[found.violations["kind"].eq(kind)]
        traded = rows["to_trade"][rows["to_trade"] > 0.0]
        kinds[kind] = {
            "strategies": int(number),
            "violations": len(rows),
            "most": plain(rows["amount"].max()) if len(rows) else 0.0,
            "can_be_traded": len(traded),
            "most_to_trade": plain(traded.max()) if len(traded) else 0.0,
        }
    fee = None if found.fee is None else {"rate": found.fee.rate, "cap": found.fee.cap}
    return {"fee": fee, "kinds": kinds}


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    columns = {str(name): [plain(value) for value in table[name].tolist()] for name in table}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: None for what is not known or not finite, a text for what it has no kind for.

    Example:
        >>> plain(float("nan")), plain(np.float64(0.5)), plain(pd.Timestamp("2026-01-02T08:00Z"))
        (None, 0.5, '2026-01-02T08:00:00+00:00')
    """
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else str(value)
