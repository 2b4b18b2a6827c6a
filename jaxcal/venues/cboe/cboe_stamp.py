"""The time on a page of Cboe, in the ways its pages have written it."""

import re
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pandas as pd

from jaxcal.dates.instants import NEW_YORK

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_TIME = (
    r"(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d))?\s*(?P<half>[ap]\.?m\.?(?![a-z]))?"
    r"\s*(?P<zone>EST|EDT|ET|(?:UTC|GMT)\s*(?P<sign>[+-])?(?P<hours>\d{1,2})?(?::(?P<minutes>\d\d))?)?(?![a-z\d])"
)
_BETWEEN = r"[\s,@]*(?:at\b)?[\s,@]*"
_STAMPS = tuple(
    re.compile(rf"(?<![a-z\d]){date}{_BETWEEN}{_TIME}", re.IGNORECASE)
    for date in (
        rf"{_MONTH}\s+(?P<day>\d{{1,2}}),?\s+(?P<year>\d{{4}})",
        rf"(?P<day>\d{{1,2}})\s+{_MONTH},?\s+(?P<year>\d{{4}})",
    )
)


def page_time(text: str) -> pd.Timestamp | None:
    """The first time in a text, as `January 5, 2024 at 10:52 AM EST`, `5 April 2023, 19:41 UTC-4` and the like.

    Args:
        text: the lines above the table.

    Returns:
        The instant, UTC; New York where no zone is given; None where there is none, or in another language or zone.

    Example:
        >>> print(page_time("Date: January 5, 2024 at 10:52 AM EST,Bid: 4686.1"))
        2024-01-05 15:52:00+00:00
        >>> print(page_time("Date: 5 avril 2023, 19:41"))
        None
    """
    plain = re.sub("[\u2010-\u2015\u2212]", "-", text).replace("\u00a0", " ").replace("\u202f", " ")
    for pattern in _STAMPS:
        if match := pattern.search(plain):
            return _instant(match)
    return None


def _instant(match: "re.Match[str]") -> pd.Timestamp | None:
    part = match.groupdict()
    # A word after the time that is no zone known here would be a zone that is not.
    if part["zone"] is None and re.match(r"\s*[A-Za-z]{2,5}(?![a-z])", match.string[match.end() :]):
        return None
    hour = int(part["hour"])
    if part["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if part["half"].lower().startswith("p") else 0)
    month = _MONTHS.index(part["month"].lower()) + 1
    try:
        local = datetime(
            int(part["year"]), month, int(part["day"]), hour, int(part["minute"]), int(part["second"] or 0),
            tzinfo=_zone(part),
        )  # fmt: skip
        return pd.Timestamp(local).tz_convert("UTC")
    except ValueError:
        return None


def _zone(part: dict[str, str | None]) -> tzinfo:
    zone = (part["zone"] or "ET").upper()
    if zone in ("EST", "EDT"):
        return timezone(timedelta(hours=-5 if zone == "EST" else -4))
    if zone == "ET":
        return ZoneInfo(NEW_YORK)
    offset = timedelta(hours=int(part["hours"] or 0), minutes=int(part["minutes"] or 0))
    return timezone(-offset if part["sign"] == "-" else offset)
