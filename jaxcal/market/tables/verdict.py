"""Verdict: what became of one row of a quote table."""

import enum


class Verdict(enum.StrEnum):
    """The outcome of one row: used, or the first rule that excluded it.

    The members stand in the order in which the rules are applied, from what makes a row unreadable to what
    merely makes another row better, so the most fundamental reason is the one reported.

    Example:
        >>> print(Verdict.CROSSED)
        crossed
    """

    USED = "used"
    # The row cannot be read.
    NOT_A_NUMBER = "not a number"
    MISSING = "missing value"
    UNREADABLE = "unreadable value"
    # The contract, or the carry given with it, is impossible or not supported.
    STRIKE = "strike not positive"
    BAD_CARRY = "bad carry"
    UNITS = "implausible units"  # of the whole surface
    MIXED = "several surfaces"  # in one, of the whole surface
    EXPIRED = "expired"
    TOO_SHORT = "too short"
    AMERICAN = "American exercise"
    # The price says nothing.
    NEGATIVE = "negative price"
    PERCENT = "percent volatility"
    CROSSED = "crossed"
    ONE_SIDED = "one-sided"
    NO_PRICE = "no price"
    WIDE = "wide"
    DUPLICATE = "duplicate"  # where values differ, decided after the comparison with the neighbours
    # The price against the forward of its expiry.
    NO_FORWARD = "no forward"
    AT_ONCE = "exercise at once"  # an American price without time value
    OUT_OF_BOUNDS = "outside no-arbitrage bounds"
    NO_VOLATILITY = "no implied volatility"
    # The price against its neighbours in strike and expiry.
    TOO_FAR = "too far"
    STALE = "stale"
    BUTTERFLY = "butterfly outlier"
    CALENDAR = "calendar outlier"
    IN_THE_MONEY = "in the money"


# Verdicts that say a price is wrong, rather than absent or of no use.
AT_FAULT = (
    Verdict.CROSSED, Verdict.WIDE, Verdict.DUPLICATE, Verdict.OUT_OF_BOUNDS, Verdict.NO_VOLATILITY,
    Verdict.STALE, Verdict.BUTTERFLY, Verdict.CALENDAR,
)  # fmt: skip
