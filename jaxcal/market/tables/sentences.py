"""Words of a file in a sentence: on one line, printable, and never too long."""

from collections.abc import Iterable

from jaxcal._text import printable, shortened

LONGEST = 480  # letters of a sentence


def one_line(text: str, most: int = LONGEST) -> str:
    r"""A text on one line, without letters that steer a terminal; of a longer one the middle is left out.

    Example:
        >>> one_line("a\nb\x1b[31m"), one_line("0123456789" * 9, 20)
        ('a b?[31m', '012345678901...56789')
    """
    some = text if len(text) <= 8 * most else f"{text[: 4 * most]} ... {text[-4 * most :]}"
    return shortened(" ".join(printable(some).split()), most)


def shown(value: object, most: int = 60) -> str:
    r"""A cell or a name of a file, for a sentence.

    Example:
        >>> shown("12\n" * 1000, 20)
        '12 12 12 12... (3,000 letters)'
    """
    try:
        text = str(value)
    except ValueError:  # an integer of more than 4,300 digits
        text = "an integer of thousands of digits"
    if len(text) <= most:
        return one_line(text, most)
    return f"{one_line(text[: most - 9], most)}... ({len(text):,} letters)"


def quoted(value: object) -> str:
    """The same in quotation marks, where it is a text.

    Example:
        >>> quoted("x"), quoted(2.5)
        ("'x'", '2.5')
    """
    return repr(shown(value)) if isinstance(value, str) else shown(value)


def listed(names: Iterable[object], most: int = 200) -> str:
    """Names with commas, as many as there is room for, and how many more there are.

    Example:
        >>> listed(["expiry", "strike", "bid", "ask"], 20)
        'expiry, strike and 2 more'
    """
    words = [shown(name, 40) for name in names]
    room, count = most, 0
    while count < len(words) and (room := room - len(words[count]) - 2) >= 0:
        count += 1
    more = len(words) - count
    if not more:
        return ", ".join(words)
    return f"{', '.join(words[:count])} and {more:,} more" if count else f"{more:,} columns"
