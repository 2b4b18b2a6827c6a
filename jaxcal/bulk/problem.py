"""Problem: a part of the input that a bulk job left out, or a surface that it could not fit as it stands."""

from dataclasses import dataclass


class BulkError(ValueError):
    """A job that cannot start or go on; the sentence says why and what to do. What is written stays.

    Example:
        >>> raise BulkError("there is no such file")
        Traceback (most recent call last):
        jaxcal.bulk.problem.BulkError: there is no such file
    """


@dataclass(frozen=True)
class Problem:
    """One thing a person should know about the input.

    Attributes:
        source: file, relative to the input folder.
        what: `"file"` (cannot be read, or in no known layout), `"rows"` (some rows cannot be read), `"duplicate"` (the
            same quotes twice), `"scattered"` (the rows of a surface do not stand together), `"currencies"` (prices in
            several currencies), `"empty"` (no rows: nothing is lost).
        sentence: what happened.

    Example:
        >>> from jaxcal.bulk.problem import Problem
        >>> print(Problem("a.csv", "file", "it has no rows"))
        a.csv: it has no rows
    """

    source: str
    what: str
    sentence: str

    def __str__(self) -> str:
        """The file and the sentence."""
        return f"{self.source}: {self.sentence}"

    @property
    def lost(self) -> bool:
        """Whether something of the input is not in the result."""
        return self.what != "empty"
