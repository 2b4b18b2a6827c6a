"""identify: the underlying, the time and the exercise of quotes, where a table has them under other names."""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.dates.instants import read_instants
from jaxcal.dates.us_roots import exercise_known, is_contract, root_in, underlying_of
from jaxcal.market.tables.cells import read_numbers
from jaxcal.market.tables.table_file import QuoteError

# What files call the underlying, and the time of the quotes: the first that is there and fits is taken.
_NAMES = (
    "underlyingsymbol", "underlyingticker", "underlyingname", "underlier", "ticker", "actsymbol", "rootsymbol", "root",
    "optionroot", "symbol", "stock", "stocksymbol", "asset", "coin", "contractsymbol", "optionsymbol", "occsymbol",
    "instrumentname", "instrument", "contract", "contractname", "optionticker", "instid", "und", "undsymbol", "ric",
    "basecurrency", "basecoin", "indexname", "company", "companyname", "security", "securityname", "name", "isin",
    "secid", "permno",
)  # fmt: skip
_TIMES = (
    "quotedatetime", "quotetimestamp", "quotereadtime", "datetime", "timestamp", "snapshottime", "snapshotts",
    "snapshot", "asof", "asoftime", "ts", "time", "quotedate", "date", "tradedate", "tradingdate", "asofdate",
    "datadate", "snapshotdate", "sessiondate", "valuationdate", "valuedate", "pricingdate", "pricedate", "marketdate",
    "businessdate", "effectivedate", "day", "timestampms", "unixtime", "epoch",
)  # fmt: skip
# Of these several values are several surfaces: where they cannot be read the table is refused.
_CERTAIN = (
    "ticker", "symbol", "root", "secid", "permno",
    "date", "tradedate", "quotedate", "timestamp", "datetime", "quotedatetime", "timestampms", "unixtime", "epoch",
)  # fmt: skip
_ROOTS = ("root", "rootsymbol", "optionroot")
_SYMBOLS = ("contractsymbol", "optionsymbol", "occsymbol", "instrumentname", "instrument", "contract", "optionticker")
# BTC-27JUN25-100000-C, BTC_USDC-27JUN25-100000-C, BTC-USD-251231-100000-C: what stands before the date.
_LISTED = re.compile(r"([A-Za-z0-9_]+(?:-USD[A-Z]?)?)-\d{1,8}[A-Za-z]{0,3}\d{0,4}-\d.*")
_US_NAME = re.compile(r"[A-Z]{1,5}(?:[./][A-Z])?")
_MOST_NAMED = 3  # names that a note lists


def identify(quotes: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Fill in `underlying`, `quote_time` and `exercise` from what else the table says, and say so.

    Where the table has no `underlying`, a column such as `ticker`, `symbol`, `root`, `contractSymbol` or
    `instrument_name` names it; where it has no `quote_time`, one such as `date`, `timestamp` or `trade_date` does.
    Where it does not say how options are exercised, names known to be of US options do (see `exercise_known`).

    Args:
        quotes: the tidy table; it is not changed.

    Returns:
        table: with the columns that were found.
        notes: what was taken from where, a few words each.

    Raises:
        QuoteError: `underlying` holds numbers.
    """
    table, notes = quotes, []
    if not len(table) or table.columns.has_duplicates:  # for `validate_quotes` to refuse
        return table, ()
    if _has(table, "underlying"):
        _refuse_numbers(table["underlying"])
    elif (found := _underlyings(table)) is not None:
        column, names = found
        table = table.assign(underlying=names)
        notes.append(_taken("underlying", column, pd.Series(names).nunique(), "names"))
    if not _has(table, "quote_time") and (column := _time_column(table)) is not None:
        table = table.assign(quote_time=table[column])
        notes.append(_taken("quote_time", column, table[column].nunique(), "times"))
    table, said = _with_exercise(table)
    return table, (*notes, *said)


def _has(table: pd.DataFrame, name: str) -> bool:
    return name in table and not _blank(table[name]).all()


def _blank(column: pd.Series) -> NDArray[np.bool_]:
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return column.isna().to_numpy(bool)  # at once: to write 100,000 times as texts takes half a second
    return _texts(column).isin(["", "nan", "NaN", "None"]).to_numpy(bool)


def _texts(column: pd.Series) -> pd.Series:
    """As texts; empty where there is nothing."""
    return column.astype(str).fillna("").str.strip()


def _taken(name: str, column: str, count: int, things: str) -> str:
    return f"{name} from column {column}" + (f" ({count:,} {things})" if count > 1 else "")


def _candidates(table: pd.DataFrame, known: tuple[str, ...]) -> list[str]:
    """The columns that are called so, however it is written (see `_plain`); the first known first."""
    called = {_plain(name): name for name in table.columns if isinstance(name, str)}
    return [called[name] for name in known if name in called]


def _plain(header: str) -> str:
    """A header without what people write differently: case, blanks, underscores, hyphens, brackets around."""
    return re.sub(r"[\W_]", "", header).lower()


def _refuse_numbers(column: pd.Series, name: str = "underlying") -> None:
    texts = column[~_blank(column)]
    # The first mostly tells.
    if pd.api.types.is_bool_dtype(column) or (_are_numbers(texts.iloc[:1]) and _are_numbers(texts)):
        raise QuoteError(
            f"column {name} holds numbers, the first being {str(texts.iloc[0])[:40]}, where the name of the "
            "underlying belongs: call prices of the underlying spot or forward, and give names a letter"
        )


def _are_numbers(texts: pd.Series) -> bool:
    """Whether all are numbers, however they are written; a share may be called INF."""
    return bool(np.isfinite(read_numbers(texts)[0]).all())


def _underlyings(table: pd.DataFrame) -> tuple[str, NDArray[np.object_]] | None:
    """The column that names the underlying, and `[n]` the names; empty where a row has none."""
    for column in _candidates(table, _NAMES):
        blank = _blank(table[column])
        if blank.all() or _are_numbers(table[column][~blank]):
            if _plain(column) in _CERTAIN and table[column].nunique() > 1:  # several surfaces would become one
                _refuse_numbers(table[column], column)
            continue
        code, found = pd.factorize(_texts(table[column]).where(~blank, None))
        kind = _plain(column)
        names = [_underlying_in(str(name), by_root=kind in _ROOTS) for name in found]
        if names == found.tolist() and _are_contracts(table, code, found):
            continue
        labels = np.array([*names, ""], object)[code]  # position -1: none
        if len(set(names)) == 1:
            labels[:] = names[0]
        return column, labels
    return None


def _underlying_in(name: str, *, by_root: bool) -> str:
    """The underlying that a name, a root or the symbol of a contract says."""
    if listed := _LISTED.fullmatch(name):
        return listed[1]
    root = root_in(name)
    return underlying_of(root) if by_root or is_contract(name) else name


def _are_contracts(table: pd.DataFrame, code: NDArray[np.int64], found: pd.Index) -> bool:
    """Whether each name, full of digits, stands for one contract alone: codes that are not known here."""
    if len(found) < 2 or np.mean([sum(letter.isdigit() for letter in name) >= 2 for name in found]) < 0.5:
        return False
    contract = [name for name in ("expiry", "strike", "option_type") if name in table]
    return bool(table[contract].astype(str).groupby(code).nunique().max(axis=None) == 1)


def _time_column(table: pd.DataFrame) -> str | None:
    """The column with the times of the quotes: the first with a time of day, else the first with dates."""
    dated = None
    for column in _candidates(table, _TIMES):
        if column == "quote_time" or table[column].isna().all() or _is_no_date(table[column]):
            continue
        instants, bare = read_instants(table[column])
        if 2 * np.isnat(instants).sum() >= len(table):
            continue
        if not bare.all():
            return column
        dated = dated or column
    for column in _candidates(table, _CERTAIN):
        if dated is None and _plain(column) in _TIMES and table[column].nunique() > 1:
            first = _texts(table[column][~_blank(table[column])]).iloc[0][:40]
            raise QuoteError(
                f"column {column} has {table[column].nunique():,} times that cannot be read, the first being "
                f"{first!r}: write them in ISO 8601 as quote_time (pd.to_datetime, with their unit or format), or drop "
                "the column if it is not the time of the quotes"
            )
    return dated


def _is_no_date(column: pd.Series) -> bool:
    """Whether a column holds numbers other than 20260501."""
    numbers = pd.to_numeric(column, errors="coerce") if not pd.api.types.is_datetime64_any_dtype(column) else None
    return numbers is not None and bool(numbers.notna().any()) and not numbers.dropna().between(1.9e7, 2.2e7).all()


def _with_exercise(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The table with `exercise` where names say it and its own column does not."""
    unsaid = _blank(table["exercise"]) if "exercise" in table else np.ones(len(table), bool)
    if "currency_of_price" in table:
        unsaid = unsaid & ~_texts(table["currency_of_price"]).str.lower().eq("coin").to_numpy(bool)
    columns = _candidates(table, (*_SYMBOLS, *_ROOTS, "underlying", "symbol", "ticker"))
    if not unsaid.any() or not columns:
        return table, []
    words, by = np.full((2, len(table)), "", object)
    for column in columns:
        code, found = pd.factorize(_texts(table[column]))
        known = np.array([*(exercise_known(name) for name in found), ""], object)[code]
        names = np.array([*(_underlying_in(name, by_root=False) for name in found), ""], object)[code]
        fresh = unsaid & (words == "") & (known != "")
        words[fresh], by[fresh] = known[fresh], names[fresh]
    notes = []
    if american := sorted(set(by[words == "A"])):
        notes.append(f"American by the name{'s' * (len(american) > 1)} {_listed(american)} (exercise says otherwise)")
    open_names = _open(table, unsaid & (words == ""))
    if open_names:
        notes.append(f"exercise of {_listed(open_names)} taken as European")
    if not (words != "").any():
        return table, notes
    given = table["exercise"].astype(object) if "exercise" in table else pd.Series(None, table.index, dtype=object)
    return table.assign(exercise=np.where(words == "", given, words)), notes


def _open(table: pd.DataFrame, rows: NDArray[np.bool_]) -> list[str]:
    """Names that may be of US shares, of which nothing says how their options, priced in money, are exercised."""
    if "underlying" not in table or not {"bid", "ask", "price"} & set(table.columns):
        return []
    names = pd.unique(_texts(table["underlying"])[rows])
    return sorted(name for name in names if _US_NAME.fullmatch(name) and name not in _NOT_SHARES)


_NOT_SHARES = ("BTC", "ETH", "SOL", "XRP", "DAX", "FTSE", "DOGE", "AVAX", "ADA", "BNB", "LTC", "XBT")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(name[:24] for name in names[:_MOST_NAMED]) + more
