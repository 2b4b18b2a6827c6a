"""One surface of a table of several, by the words of a person."""

from jaxcal._text import printable, shortened
from jaxcal.market.cleaning.quote_report import QuoteReport
from jaxcal.market.surface import Surface, surfaces_from_quotes
from jaxcal.market.tables.quote_columns import QuoteKey
from jaxcal.market.tables.table_file import QuoteError

_MOST_LISTED = 30  # surfaces of a table that a message lists
_LONGEST_NAME = 60  # letters


def choose_surface(
    report: QuoteReport, underlying: str | None, time: str | None, *, named: tuple[str, str] = ("underlying", "time")
) -> tuple[QuoteReport, Surface]:
    """The surface of this underlying at this time, and its part of the report; what is None chooses nothing.

    The part is a report by itself, whose rows keep their index; `row` of the surface is the position in the whole.

    Args:
        report: of a table with any number of surfaces.
        underlying: its name.
        time: ISO 8601 in UTC, or as much of its beginning as is enough to tell.
        named: how the caller names the two arguments, for the sentences.

    Raises:
        QuoteError: they do not name exactly one surface (the message lists those there are), or it has no usable quote.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import pandas as pd, jaxcal as jc
        >>> quotes = pd.DataFrame({"underlying": ["A", "B"], "expiry": 0.5, "strike": 9.0, "iv": 0.2, "forward": 9.1})
        >>> report, surface = choose_surface(jc.inspect_quotes(quotes), "B", None)
        >>> report.keys, surface.num_quotes
        ((('B', None),), 1)
    """

    def is_named(key: QuoteKey) -> bool:
        beginning = (time or "").strip().replace(" ", "T").removesuffix("Z")
        return underlying in (None, key[0]) and _time_text(key).startswith(beginning)

    keys = report.keys
    found = [group for group, key in enumerate(keys) if is_named(key)]
    if len(found) != 1 and keys:
        listed = [key_text(keys[group]) or "unnamed" for group in (found or range(len(keys)))]
        more = f", and {len(listed) - _MOST_LISTED} more" if len(listed) > _MOST_LISTED else ""
        choices = ", ".join(listed[:_MOST_LISTED]) + more
        if found:
            raise QuoteError(
                f"the table holds {len(found)} surfaces to choose from with {named[0]} and {named[1]}: {choices}"
            )
        raise QuoteError(f"the table holds no surface of that {named[0]} and {named[1]}, only {choices}")
    if len(keys) > 1:
        forwards = report.forwards
        for column, value in zip(("underlying", "quote_time"), keys[found[0]], strict=True):
            if value is not None:
                forwards = forwards[forwards[column].eq(value)]
        table = report.table[report.table["group"].eq(found[0])].assign(group=0)
        part = QuoteReport(
            table=table, forwards=forwards, keys=(keys[found[0]],), rules=report.rules[found[0] : found[0] + 1]
        )
    else:
        part = report
    # Built from the whole report, so that `row` stays the position in the file.
    surface = surfaces_from_quotes(report).get(keys[found[0]]) if keys else None
    if surface is None:
        raise QuoteError(f"no quote can be used: {part.summary()}; {part.table['reason'].iloc[0]}")
    return part, surface


def key_text(key: QuoteKey) -> str:
    """An underlying and a time as a person writes them.

    Example:
        >>> import pandas as pd
        >>> key_text(("BTC", pd.Timestamp("2026-03-11T14:30Z")))
        'BTC 2026-03-11T14:30:00Z'
    """
    name = shortened(printable(key[0] or ""), _LONGEST_NAME)
    return " ".join(part for part in (name, _time_text(key)) if part)


def _time_text(key: QuoteKey) -> str:
    return "" if key[1] is None else key[1].isoformat().removesuffix("+00:00") + "Z"
