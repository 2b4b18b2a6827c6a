"""Problem: a part of the input that a bulk job left out, or a surface that it could not fit as it stands."""

from dataclasses import dataclass

_LONGEST = 450  # characters of a sentence


class BulkError(ValueError):
    """A job that cannot start or continue; the sentence says why and what to do. What is written stays.

    Example:
        >>> raise BulkError("there is no such file")
        Traceback (most recent call last):
        jaxcal.bulk.input.input_problem.BulkError: there is no such file
    """


class OutOfMemoryError(BulkError, MemoryError):
    """A job that ended because a part of it needs more memory than there is."""


@dataclass(frozen=True)
class Problem:
    """One thing a person should know about the input.

    Attributes:
        source: file, relative to the input folder.
        what: `"file"` (cannot be read, or in no known layout), `"rows"` (some rows cannot be read), `"duplicate"` (the
            same quotes twice), `"scattered"` (the rows of a surface do not stand together), `"currencies"` (prices in
            several currencies), `"error"` (a surface that ended in an exception, whose type and message the sentence
            has), `"empty"` (no rows: nothing is lost).
        sentence: what happened, in one line of at most 450 characters.

    Example:
        >>> print(Problem("a.csv", "file", "it has no rows"))
        a.csv: it has no rows
    """

    source: str
    what: str
    sentence: str

    def __post_init__(self) -> None:
        """Keep it short, whatever the data are."""
        object.__setattr__(self, "source", _line(self.source))
        object.__setattr__(self, "sentence", _line(self.sentence))

    def __str__(self) -> str:
        """The file and the sentence."""
        return f"{self.source}: {self.sentence}"

    @property
    def lost(self) -> bool:
        """Whether something of the input is not in the result."""
        return self.what != "empty"


def told(error: BaseException) -> str:
    r"""An exception in one line: its type, by which a bug of this library is recognised, and its message.

    Example:
        >>> told(OverflowError("int too large\nto convert"))
        'OverflowError: int too large to convert'
    """
    sentence = _line(str(error))[:300]
    return f"{type(error).__name__}: {sentence}" if sentence else type(error).__name__


def _line(text: str) -> str:
    text = " ".join(text.encode(errors="backslashreplace").decode().split())  # a lone surrogate cannot be encoded
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
