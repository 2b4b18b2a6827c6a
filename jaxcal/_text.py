"""Text as a person may be shown it: one line, printable, not too long; names told apart."""

from collections.abc import Iterable
from typing import Any


def printable(text: str) -> str:
    r"""A text as one line that cannot steer a terminal.

    Every white space becomes a blank. What is not printable becomes a question mark: beginnings of escape sequences,
    marks that turn the direction of writing, halves of surrogate pairs.

    Example:
        >>> printable("A\x1b[31m\nB\u202e")
        'A?[31m B?'
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " if letter.isspace() else "?" for letter in text)


def shortened(text: str, most: int) -> str:
    """A text of at most so many letters: the middle of a longer one is left out, for its end may say what to do.

    Example:
        >>> shortened("0123456789abcdef", 12)
        '012345...def'
    """
    if len(text) <= most:
        return text
    last = max(most - 3, 0) // 3
    return f"{text[: max(most - 3, 0) - last]}...{text[len(text) - last :]}"


def brief(value: object, most: int = 60) -> str:
    """Any value for a sentence: what it says in so many letters at most, or what it is.

    Example:
        >>> brief([1, 2]), brief(10**9, 5)
        ('[1, 2]', '10...')
    """
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; lists in lists in lists
        text = type(value).__name__
    text = printable(text[: most + 1])
    return text if len(text) <= most else f"{text[: max(most - 3, 0)]}..."


def numbered(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """By name, with a number where one comes again.

    Example:
        >>> numbered([("a", 1), ("a", 2)])
        {'a': 1, 'a (2)': 2}
    """
    found: dict[str, Any] = {}
    for own, value in pairs:
        name, number = own, 2
        while name in found:
            name, number = f"{own} ({number})", number + 1
        found[name] = value
    return found
