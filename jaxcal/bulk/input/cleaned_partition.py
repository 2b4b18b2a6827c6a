"""CleanedPartition: the surfaces of a part, cleaned, and an account of every one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal.bulk.input.input_problem import told
from jaxcal.bulk.input.partition import MOST_ROWS, PartitionKey
from jaxcal.bulk.input.partition_rows import PartitionRows
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, SuitedRules
from jaxcal.market.cleaning.quote_report import QuoteReport, inspect_quotes
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.quote_columns import QuoteKey
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.tables.verdict import Verdict

# Outcomes of surfaces that never reach the solver, beside those of `Outcome`.
NO_QUOTES, UNREADABLE, MIXED_CURRENCIES = "NO_QUOTES", "UNREADABLE", "MIXED_CURRENCIES"
TOO_MANY_ROWS, ERROR = "TOO_MANY_ROWS", "ERROR"


@dataclass
class Account:
    """What became of the rows of a surface.

    Attributes:
        num_rows: rows in the input.
        left_out: number of rows left out, by verdict.
        profile: the rules by which they were judged, in words; None where they could not be.
        outcome, status: why there is nothing to fit; None where there is.
    """

    num_rows: int
    left_out: dict[str, int] = field(default_factory=dict)
    profile: str | None = None
    outcome: str | None = None
    status: str | None = None


@dataclass(frozen=True, eq=False)
class CleanedPartition:
    """A part, ready to be fitted.

    Attributes:
        cut: which part.
        keys: underlying, and microseconds since 1970 in UTC, of every surface.
        sources: files of every surface.
        accounts: one for every surface of the part.
        surfaces: what can be fitted, by position in the part.
        origin: for each of them the files and the positions in them that its quotes come from, `row` by `row`.
    """

    cut: PartitionKey
    keys: tuple[tuple[str | None, int | None], ...]
    sources: tuple[tuple[str, ...], ...]
    accounts: tuple[Account, ...]
    surfaces: dict[int, Surface]
    origin: dict[int, tuple[NDArray[np.object_], NDArray[np.int64]]]


def clean_partition(
    part: PartitionRows,
    rules: CleaningRules | SuitedRules,
    rate: float | None = None,
    clock: VarianceClock | None = None,
) -> CleanedPartition:
    r"""Clean the rows of a part and lay them out as surfaces.

    Args:
        part: its rows.
        rules: of the cleaning.
        rate: for rows that have none.
        clock: that the surfaces are in; calendar time by default.

    Returns:
        The partition. No table of quotes makes this raise: what cannot be used, and an exception of one surface, is in
        the accounts.

    Raises:
        MemoryError: there is not enough memory for the part.

    Example:
        >>> import pathlib, tempfile
        >>> from jaxcal.bulk.input.partition_rows import read_partitions
        >>> from jaxcal.bulk.settings import Settings
        >>> from jaxcal.bulk.input.input_files import find_source
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "chain.csv"
        >>> _ = path.write_text("expiry,strike,iv,forward\n0.5,100,0.2,101\n0.5,-1,0.2,101\n")
        >>> partition = clean_partition(next(read_partitions(find_source(path), Settings(), {})), CleaningRules())
        >>> partition.surfaces[0].num_quotes, partition.accounts[0].left_out
        (1, {'strike not positive': 1})
    """
    accounts = [Account(num_rows) for num_rows in part.num_rows]
    cleaning = _Cleaning(rules, rate, clock, accounts)
    for table, of_row in part.tables:
        named = table.assign(underlying_name=np.array([key[0] for key in part.keys], object)[of_row])
        cleaning.clean_each(named, of_row)
    for place in set(range(len(accounts))).difference(*(of_row.tolist() for _, of_row in part.tables)):
        account = accounts[place]
        account.left_out, account.outcome = {"too many rows": account.num_rows}, TOO_MANY_ROWS
        account.status = (
            f"Not fitted: it has {account.num_rows:,} rows, more than the {MOST_ROWS:,} that a surface may have: give "
            "the quotes of every time their own quote_time."
        )
    for account in accounts:
        if account.outcome is None and sum(account.left_out.values()) == account.num_rows:
            reasons = sorted(account.left_out.items(), key=lambda pair: (-pair[1], pair[0]))
            counted = "; ".join(f"{count:,} {name}" for name, count in reasons)
            account.outcome, account.status = NO_QUOTES, f"Not fitted: no quote can be used: {counted}."
    surfaces = dict(sorted(cleaning.surfaces.items()))
    return CleanedPartition(part.cut, part.keys, part.sources, tuple(accounts), surfaces, cleaning.origin)


@dataclass(frozen=True, eq=False)
class _Cleaning:
    """The cleaning of a part: how, and what it has found so far."""

    rules: CleaningRules | SuitedRules
    rate: float | None
    clock: VarianceClock | None
    accounts: Sequence[Account]
    surfaces: dict[int, Surface] = field(default_factory=dict)
    origin: dict[int, tuple[NDArray[np.object_], NDArray[np.int64]]] = field(default_factory=dict)

    def _of_one_currency(self, table: pd.DataFrame, of_row: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Rows of surfaces whose prices are in one currency; the others are accounted for."""
        fine = np.ones(len(table), bool)
        if "currency_of_price" not in table:
            return fine
        words = table["currency_of_price"].astype(object).where(table["currency_of_price"].notna(), "quote")
        code, names = pd.factorize(words.astype(str).str.strip().str.lower().replace({"": "quote", "nan": "quote"}))
        if len(names) == 1:
            return fine
        pairs = np.unique(np.stack([of_row, code]), axis=1)
        for place in np.flatnonzero(np.bincount(pairs[0]) > 1).tolist():
            found = ", ".join(sorted(str(names[i]) for i in pairs[1][pairs[0] == place]))
            account = self.accounts[place]
            account.left_out = {"mixed currencies": account.num_rows}
            account.outcome = MIXED_CURRENCIES
            account.status = (
                f"Not fitted: its prices are in several currencies ({found}): give each an underlying of its own."
            )
            fine &= of_row != place
        return fine

    def clean_each(self, table: pd.DataFrame, of_row: NDArray[np.int64]) -> None:
        """Clean surfaces together; where that fails, by bisection, so that one surface does not fail the others."""
        try:
            fine = self._of_one_currency(table, of_row)
            self._clean(table[fine], of_row[fine])
        except MemoryError:
            raise
        except Exception as error:
            places = np.unique(of_row)
            if len(places) > 1:
                for some in np.array_split(places, 2):
                    rows = np.isin(of_row, some)
                    self.clean_each(table[rows], of_row[rows])
                return
            account = self.accounts[int(places[0])]
            account.left_out = {str(Verdict.UNREADABLE): account.num_rows}
            known = isinstance(error, QuoteError)
            account.outcome = UNREADABLE if known else ERROR
            account.status = f"Not fitted: {error}." if known else f"Not fitted: {told(error)}."

    def _clean(self, table: pd.DataFrame, of_row: NDArray[np.int64]) -> None:
        if not len(table):
            return
        places, ordinal = np.unique(of_row, return_inverse=True)
        # The name by which the cleaning tells surfaces apart: their order is that of the places.
        names = np.array([f"surface {number:09d}" for number in range(len(places))], object)
        table = table.assign(underlying=names[ordinal]).reset_index(drop=True)
        report = inspect_quotes(table, rules=self.rules, rate=self.rate, clock=self.clock)
        found = surfaces_from_quotes(report)
        _count(report, ordinal, [self.accounts[place] for place in places.tolist()])
        source, row = table["source"].to_numpy(object), table["source_row"].to_numpy(np.int64)
        for key, one in zip(report.keys, report.rules, strict=True):
            self.accounts[int(places[_ordinal(key)])].profile = str(one)
        for key, sentence in report.refused.items():
            account = self.accounts[int(places[_ordinal(key)])]
            account.outcome, account.status = UNREADABLE, f"Not fitted: {sentence}."
        for key, surface in found.items():
            place = int(places[_ordinal(key)])
            self.surfaces[place], self.origin[place] = surface, (source, row)


def _ordinal(key: QuoteKey) -> int:
    return int((key[0] or "0").removeprefix("surface "))


def _count(report: QuoteReport, ordinal: NDArray[np.int64], accounts: Sequence[Account]) -> None:
    code, names = pd.factorize(report.table["verdict"])
    counts = np.bincount(ordinal * len(names) + code, minlength=len(accounts) * len(names)).reshape(-1, len(names))
    for account, line in zip(accounts, counts.tolist(), strict=True):
        found = {str(name): count for name, count in zip(names, line, strict=True) if count and name != Verdict.USED}
        account.left_out = dict(sorted(found.items()))
