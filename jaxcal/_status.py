"""The outcome of a fit: an enumeration whose values are sentences a user reads."""

from dataclasses import dataclass
from enum import IntEnum


class Outcome(IntEnum):
    """How an optimisation ended, as the number that jitted code carries.

    Example:
        >>> print(Outcome.CONVERGED.sentence)
        Converged: no step within the bounds lowers the cost.
    """

    CONVERGED = 0
    STEP_LIMIT = 1
    STALLED = 2
    NOT_FINITE = 3
    TOO_FEW_QUOTES = 4
    UNRESOLVED = 5
    INVALID = 6

    @property
    def sentence(self) -> str:
        """What happened, and what to do about it."""
        return _SENTENCES[self]

    @property
    def fitted(self) -> bool:
        """Whether there is a fit at all, converged or not; without one no number of it is known."""
        return self not in (Outcome.NOT_FINITE, Outcome.TOO_FEW_QUOTES, Outcome.INVALID)


_SENTENCES = {
    Outcome.CONVERGED: "Converged: no step within the bounds lowers the cost.",
    Outcome.STEP_LIMIT: "Not converged: the step limit was reached; allow more steps or start elsewhere.",
    Outcome.STALLED: "Not converged: no step lowers the cost although its gradient is not small; start elsewhere.",
    Outcome.NOT_FINITE: "Not fitted: the model has no finite price at the starting point; start elsewhere.",
    Outcome.TOO_FEW_QUOTES: "Not fitted: there are fewer quotes than free parameters.",
    Outcome.UNRESOLVED: "Not converged: the finest pricing grid does not resolve the prices at the solution.",
    Outcome.INVALID: "Not fitted: the surface, its weights or its start break a rule.",
}


@dataclass(frozen=True)
class Status:
    """The outcome of a fit together with the names of the parameters that ended at a bound.

    Equal to an `Outcome` whose number it has. `str(status)` is the sentence.

    Example:
        >>> print(Status(Outcome.CONVERGED, ("kappa",)))
        Converged: no step within the bounds lowers the cost. At its bound: kappa.
        >>> Status(Outcome.CONVERGED) == Outcome.CONVERGED
        True
    """

    outcome: Outcome
    at_bounds: tuple[str, ...] = ()
    expiries: tuple[int, ...] = ()

    @property
    def fitted(self) -> bool:
        """Whether there is a fit at all, converged or not."""
        return self.outcome.fitted

    @property
    def converged(self) -> bool:
        """Whether the outcome is `Outcome.CONVERGED`."""
        return self.outcome is Outcome.CONVERGED

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Outcome):
            return self.outcome is other
        if not isinstance(other, Status):
            return False
        mine = (self.outcome, self.at_bounds, self.expiries)
        return mine == (other.outcome, other.at_bounds, other.expiries)

    def __hash__(self) -> int:
        return hash(self.outcome)

    def __str__(self) -> str:
        sentence = self.outcome.sentence
        if self.expiries:
            sentence += f" Expiries concerned (counted from 0): {', '.join(map(str, self.expiries))}."
        if not self.at_bounds:
            return sentence
        whose = "its bound" if len(self.at_bounds) == 1 else "their bounds"
        return f"{sentence} At {whose}: {', '.join(self.at_bounds)}."
