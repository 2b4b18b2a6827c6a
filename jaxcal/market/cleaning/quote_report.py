"""QuoteReport: a cleaned quote table, with the verdict and the reason for every row."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from jaxcal._types import FloatColumn, Mask
from jaxcal.dates.variance_clock import VarianceClock
from jaxcal.formulas.implied_vol import implied_vol
from jaxcal.market.cleaning.cleaning_rules import CleaningRules, RowRules, SuitedRules
from jaxcal.market.cleaning.mixed_surfaces import find_mixed
from jaxcal.market.cleaning.outliers import SmileQuotes, judge_neighbours
from jaxcal.market.cleaning.plausibility import Implied, find_implausible
from jaxcal.market.cleaning.row_rules import (
    Judgement,
    judge_american,
    judge_contracts,
    judge_groups,
    judge_partners,
    judge_prices,
    judge_rates,
    judge_repeats,
    judge_time_value,
    judge_updates,
    judge_values,
)
from jaxcal.market.cleaning.suited_rules import suited_profiles
from jaxcal.market.forwards.deamericanisation import missing_of_american, without_early_exercise
from jaxcal.market.forwards.forwards import ExpiryForwards, expiry_forwards
from jaxcal.market.padding import power_of_two
from jaxcal.market.tables.headers import with_known_names
from jaxcal.market.tables.identity import identify
from jaxcal.market.tables.quote_columns import QuoteColumns, QuoteKey, validate_quotes, with_numbers
from jaxcal.market.tables.quote_values import Targets, select_targets
from jaxcal.market.tables.table_file import QuoteError
from jaxcal.market.tables.updates import gather_updates
from jaxcal.market.tables.verdict import AT_FAULT, Verdict

_SMALLEST_BATCH = 1024  # implied volatilities are found in batches of a power of two, so that few programs compile

_OUTSIDE = (Verdict.OUT_OF_BOUNDS, Verdict.NO_VOLATILITY)


@dataclass(frozen=True, eq=False)
class QuoteReport:
    """The verdict on every row of a quote table; lives on the host, beside the surfaces.

    Attributes:
        table: the caller's rows in the caller's order and index, with numbers for texts that are some (`"1,050"`), the
            names of columns as `read_quotes` writes them, and these columns added (or overwritten):
            `verdict` (`"used"`, or the rule that excluded the row), `reason` (a sentence, empty if used; rows are
            counted from 0), `years`, `forward` and `discount` of the row's expiry, `vol`, `bid_vol`, `ask_vol`
            (decimal Black volatilities, NaN where there is none), `smile_vol` (of a robust smile through the used
            rows, NaN outside their strikes and if the rules compare no neighbours), `early_exercise_premium`
            (subtracted from the target of an American row, in units of its price; NaN elsewhere), `exercise_spot` (the
            spot used to price, see `docs/american.md`), `is_call`, `group` (position in `keys`, -1 if the row belongs
            to none).
        forwards: one row for every group and expiry: `underlying`, `quote_time`, `years`, `forward`, `discount`,
            their sources and standard errors, `num_pairs` and `num_used`, and the discount estimated from the pairs of
            the expiry alone (`parity_discount` and its error), whatever was given: see `ExpiryForwards`.
        keys: the `(underlying, quote_time)` found, sorted; None where the table does not say.
        notes: columns read under other names, and assumptions; `summary` ends with them.
        rules: of the cleaning, one for each of the keys.
        refused: surfaces in other units than the table says, or that mix several surfaces, each with a sentence; none
            of their rows is used.

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
        >>> table = pd.DataFrame({"expiry": 0.5, "strike": [100.0, -5.0], "iv": 0.2, "forward": 101.0})
        >>> report = inspect_quotes(table)
        >>> report.table["reason"][1]
        'row 1: strike -5.0 must be positive'
        >>> print(report.summary())
        1 of 2 quotes used; 1 strike not positive
    """

    table: pd.DataFrame
    forwards: pd.DataFrame
    keys: tuple[QuoteKey, ...]
    notes: tuple[str, ...] = ()
    rules: tuple[CleaningRules, ...] = ()
    refused: dict[QuoteKey, str] = field(default_factory=dict)

    @property
    def profile(self) -> str:
        """The cleaning rules in words: the common rules, or the number of surfaces with each.

        Example:
            >>> import pandas as pd
            >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
            >>> quotes = pd.DataFrame({"underlying": ["BTC", "ETH", "SPX"], "expiry": 0.5, "strike": 9.0, "iv": 0.2})
            >>> inspect_quotes(quotes).profile
            'crypto (2 surfaces); index (1 surface)'
        """
        return profile_words(self.rules)

    def __repr__(self) -> str:
        """One line: the surfaces found, and what became of the quotes."""
        return f"QuoteReport({len(self.keys)} surface{'s' * (len(self.keys) != 1)}: {self.summary()})"

    def counts(self) -> pd.Series:
        """Number of rows by verdict, `"used"` first, then the most frequent."""
        counts = self.table["verdict"].value_counts()
        order = sorted(counts.index, key=lambda name: (name != Verdict.USED, -counts[name], name))
        return counts.reindex(order).rename("rows")

    def at_fault(self) -> pd.Series:
        """For each row whether its price is wrong, rather than missing or unusable.

        A price a little below intrinsic value, deep in the money, is within its spread of a right one and not at fault.

        Example:
            >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
            >>> table = pd.DataFrame({"expiry": 0.5, "strike": 90.0, "option_type": "P", "forward": 100.0,
            ...                       "bid": [2.0, 1.0, 0.0], "ask": [2.1, 0.9, 2.2]})
            >>> inspect_quotes(table).at_fault().tolist()
            [False, True, False]
        """
        beyond = ~self.table["verdict"].isin(_OUTSIDE) | self.table["ask_vol"].isna()
        return self.table["verdict"].isin(AT_FAULT) & beyond

    def worst(self, count: int = 10) -> pd.DataFrame:
        """The rows whose prices are at fault, the worst first: by their distance from the smile of the others.

        Args:
            count: the most rows.

        Returns:
            The table's `underlying`, `quote_time`, `expiry` (where it has them), `strike`, `option_type`, `bid`, `ask`,
            `vol`, `smile_vol` and `verdict`, and `off`: the distance in volatility (decimal). A price below intrinsic
            value counts as volatility 0. Rows without a `smile_vol` are left out; rules that compare no neighbours give
            none.

        Example:
            >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
            >>> table = pd.DataFrame({"expiry": 0.5, "strike": range(90, 111), "iv": 0.2, "forward": 100.0})
            >>> table.loc[12, "iv"] = 0.35
            >>> inspect_quotes(table, rules=CleaningRules.index()).worst()[["strike", "vol", "off", "verdict"]]
                strike   vol   off            verdict
            12     102  0.35  0.15  butterfly outlier
        """
        table = self.table[self.at_fault()]
        off = (table["vol"].fillna(0.0) - table["smile_vol"]).abs().rename("off")
        names = ("underlying", "quote_time", "expiry", "strike", "option_type", "bid", "ask", "vol", "smile_vol")
        chosen = table[[name for name in (*names, "verdict") if name in table]].assign(off=off)
        return chosen.dropna(subset=["off"]).sort_values("off", ascending=False, kind="stable").head(count)

    def summary(self) -> str:
        """One line for a person: how many rows are used, and why the others are not."""
        counts = self.counts()
        excluded = [f"{count:,} {name}" for name, count in counts.items() if name != Verdict.USED]
        taken = int((self.table["verdict"].eq(Verdict.USED) & self.table["early_exercise_premium"].notna()).sum())
        american = f", {taken:,} de-Americanised{self._spot_words()}" if taken else ""
        used = f"{counts.get(Verdict.USED, 0):,} of {len(self.table):,} quotes used{american}"
        return "; ".join([used, *excluded, *self.notes])

    def _spot_words(self) -> str:
        """If the spot of the table is stale, its difference from the spot implied by parity."""
        if "spot" not in self.table:
            return ""
        move = (self.table["exercise_spot"] / pd.to_numeric(self.table["spot"], errors="coerce") - 1.0).dropna()
        most = move.loc[move.abs().idxmax()] if len(move) else 0.0
        side = "above" if most > 0 else "below"
        return f" (spot {abs(most):.2%} {side} the table's, by parity)" if abs(most) > 1e-9 else ""


def profile_words(rules: Iterable[CleaningRules | str]) -> str:
    """The cleaning rules of many surfaces in words: the common rules, or the number of surfaces with each.

    Example:
        >>> profile_words(["crypto", "index", "crypto"])
        'crypto (2 surfaces); index (1 surface)'
    """
    found = Counter(map(str, rules)).most_common()
    if len(found) < 2:
        return found[0][0] if found else "none"
    return "; ".join(f"{name} ({count:,} surface{'s' * (count != 1)})" for name, count in found)


def inspect_quotes(
    quotes: pd.DataFrame,
    *,
    rules: CleaningRules | SuitedRules | None = None,
    rate: float | None = None,
    dividend_yield: float | None = None,
    clock: VarianceClock | None = None,
) -> QuoteReport:
    """Clean a tidy quote table: find forwards and volatilities, and judge every row.

    Args:
        quotes: the tidy table (see `read_quotes`); it is not changed.
        rules: settings of the cleaning. By default the profile that suits each surface: crypto, index or equity
            (`suited_profiles`).
        rate: continuously compounded rate, decimal a year, for rows whose column `rate` is absent or empty. American
            quotes need a rate and `spot`, and are de-Americanised.
        dividend_yield: the same for the column `dividend_yield`. By default the yield of American quotes follows from
            put-call parity of the de-Americanised quotes, by iteration.
        clock: the business time of surfaces made from the report; calendar time by default. The report itself, with its
            rates, rules and volatilities, is in calendar time; `clock_years` in its table is the clock's.

    Returns:
        The report. Every row is either used or has one reason why it is not.

    Raises:
        QuoteError: the table as a whole cannot be read (no rows, a missing column, volatilities in percent), or every
            surface is in other units than its columns say (see `find_implausible`), or is several surfaces (see
            `find_mixed`).

    Example:
        >>> import pandas as pd
        >>> from jaxcal.market.cleaning.quote_report import inspect_quotes
        >>> table = pd.DataFrame({"expiry": 0.5, "strike": [90.0, 110.0], "iv": [0.22, 0.19], "forward": 101.0})
        >>> inspect_quotes(table).table["is_call"].tolist()
        [False, True]
    """
    quotes, notes = identify(with_numbers(with_known_names(quotes)))
    quotes, gathered = gather_updates(quotes)
    notes = (*notes, gathered) if gathered else notes
    columns = _with_carry(validate_quotes(quotes), rate=rate, dividend_yield=dividend_yield)
    chosen = SuitedRules() if rules is None else rules
    of_groups = tuple(chosen.suited_to(profile) for profile in suited_profiles(quotes, columns))
    limits = RowRules.of(of_groups, columns.group)
    judgement = Judgement(len(quotes))
    judge_contracts(judgement, columns, limits)
    judge_updates(judgement, columns)
    judge_american(judgement, missing_of_american(columns))
    clock_years = None if clock is None else _clock_years(judgement, columns, clock)
    contracts = judgement.used
    targets = select_targets(columns)
    judge_prices(judgement, columns, targets, limits)
    european = without_early_exercise(columns, targets, contracts=contracts, quotes=judgement.used)
    judge_time_value(judgement, european.at_once, targets.price)
    quoted, targets = targets, european.targets
    expiries = expiry_forwards(columns, targets, contracts=contracts, quotes=judgement.used)

    forward = _of_rows(expiries.forward, expiries)
    discount = _of_rows(expiries.discount, expiries)
    is_call = np.where(columns.side == 0, columns.strike >= forward, columns.side > 0)
    unit = np.where(columns.in_coin, forward, 1.0 / discount)  # table units to undiscounted value
    value = targets.price * unit
    vol, bid_vol, ask_vol = _vols(columns, targets, value, unit, forward, is_call)
    spread = (targets.ask - targets.bid) * unit
    mixed = find_mixed(quotes, columns, quoted, judgement.used)
    implied = Implied(columns, quoted, expiries, judgement.used, value, vol, is_call, implied_vols=_implied_vols)
    refused = {**find_implausible(implied), **mixed}
    if refused and set(refused) == set(columns.group[judgement.used].tolist()):
        more = f" (and {len(refused) - 1:,} more surfaces like it)" if len(refused) > 1 else ""
        raise QuoteError(next(iter(refused.values())) + more)
    judge_groups(judgement, columns, mixed, Verdict.MIXED)
    judge_groups(judgement, columns, refused, Verdict.UNITS)
    judge_rates(judgement, _rate_sentences(expiries, targets))
    judge_values(judgement, columns, forward=forward, value=value, vol=vol, is_call=is_call)
    smiles = SmileQuotes.from_vols(
        expiries.expiry_of_row, columns.group, columns.years, strike=columns.strike, forward=forward, spread=spread,
        vols=(vol, bid_vol, ask_vol), is_call=is_call,
    )  # fmt: skip
    smile_vol = judge_neighbours(judgement, smiles, limits)
    judge_repeats(judgement, columns, np.nan_to_num(np.abs(vol - smile_vol)))
    judge_partners(judgement, columns, limits, forward=forward, value=value, spread=spread, is_call=is_call)
    # Once more without the witnesses that are not used, so that cleaning the rows that are left changes nothing.
    smile_vol = judge_neighbours(judgement, smiles, limits)
    table = quotes.assign(
        verdict=np.array([str(verdict) for verdict in Verdict], object)[judgement.verdict],
        reason=judgement.reason,
        years=columns.years,
        forward=forward,
        discount=discount,
        vol=vol,
        bid_vol=bid_vol,
        ask_vol=ask_vol,
        smile_vol=smile_vol,
        early_exercise_premium=european.premium,
        exercise_spot=european.spot,
        is_call=is_call,
        group=columns.group,
    )
    if clock_years is not None:
        table["clock_years"] = clock_years
    elif "clock_years" in table:  # of an earlier report
        table = table.drop(columns="clock_years")
    return QuoteReport(
        table=table,
        forwards=expiries.table(columns, judgement.used),
        keys=columns.keys,
        notes=notes,
        rules=of_groups,
        refused={columns.keys[group]: sentence for group, sentence in refused.items()},
    )


def _clock_years(judgement: Judgement, columns: QuoteColumns, clock: VarianceClock) -> FloatColumn:
    """Time to expiry by a clock; rows that it gives none are excluded."""
    found = np.full(len(columns.years), np.nan)
    for group, (_, time) in enumerate(columns.keys):
        if time is None:
            raise QuoteError("a clock needs the time of the quotes: add the column quote_time")
        rows = (columns.group == group) & (columns.years > 0.0)
        found[rows] = clock.years(time, columns.years[rows])
    judgement.exclude(
        found <= 0.0, Verdict.TOO_SHORT, lambda i: "its clock counts no variance between the quote and the expiry"
    )
    return found


def _with_carry(columns: QuoteColumns, **given: float | None) -> QuoteColumns:
    """The columns, with these numbers where they have none."""
    filled: dict[str, FloatColumn] = {}
    for name, number in given.items():
        if number is None:
            continue
        if not abs(number) <= 1.0:
            raise QuoteError(
                f"{name} {number} must be a decimal a year, within 1 of 0: divide a number in percent by 100"
            )
        values = getattr(columns, name)
        filled[name] = np.where(np.isnan(values), number, values)
    return replace(columns, **filled) if filled else columns


def _rate_sentences(expiries: ExpiryForwards, targets: Targets) -> NDArray[np.object_]:
    """`[n]` why the price of the row cannot be undiscounted; empty if it can, or if the value is given."""
    of_expiry = [expiries.rate_sentence(s) if bad else "" for s, bad in enumerate(expiries.implausible)]
    sentence = np.array([*of_expiry, ""], object)[expiries.expiry_of_row]
    return np.where(np.isnan(targets.price), "", sentence)


def _of_rows(values: FloatColumn, expiries: ExpiryForwards) -> FloatColumn:
    return np.append(values, np.nan)[expiries.expiry_of_row]  # position -1: NaN


def _vols(
    columns: QuoteColumns, targets: Targets, value: FloatColumn, unit: FloatColumn, forward: FloatColumn, is_call: Mask
) -> tuple[FloatColumn, FloatColumn, FloatColumn]:
    """Volatility of target, bid and ask of every row; those of a target given as a volatility as they are given."""
    rows = np.flatnonzero(np.isfinite(value) & np.isfinite(forward))
    vols = np.full((3, len(value)), np.nan)
    values = np.stack([value, targets.bid * unit, targets.ask * unit])[:, rows]
    strike, years, forwards = (np.tile(x[rows], 3) for x in (columns.strike, columns.years, forward))
    vols[:, rows] = _implied_vols(values.ravel(), strike, years, forwards, np.tile(is_call[rows], 3)).reshape(3, -1)
    given = np.isfinite(targets.vol)
    given_vols = np.stack([targets.vol, columns.bid_iv, columns.ask_iv])
    vols[:, given] = np.where(given_vols > 0.0, given_vols, np.nan)[:, given]
    return vols[0], vols[1], vols[2]


@jax.jit
def _implied_vol(
    value: jax.Array, strike: jax.Array, expiry: jax.Array, forward: jax.Array, is_call: jax.Array
) -> jax.Array:
    return implied_vol(value, strike, expiry, forward=forward, discount=jnp.ones_like(value), is_call=is_call)


def _implied_vols(
    value: FloatColumn, strike: FloatColumn, years: FloatColumn, forward: FloatColumn, is_call: Mask
) -> FloatColumn:
    """Black volatilities of undiscounted values in one compiled call, in the precision JAX is set to."""
    if not len(value):
        return value
    rows = np.resize(np.arange(len(value)), power_of_two(len(value), _SMALLEST_BATCH))
    padded = (jnp.asarray(column[rows]) for column in (value, strike, years, forward, is_call))
    return np.asarray(_implied_vol(*padded), float)[: len(value)]
