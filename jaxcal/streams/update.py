"""Update: the outcomes of a recalibrator's step, with their sentences."""

from enum import IntEnum


class Update(IntEnum):
    """The outcome of a step, as the number in a `StreamState`.

    Example:
        >>> print(Update.REJECTED.sentence, Update.REJECTED.used)
        Not used: the quotes moved further than the stream can have; they are on probation. False
    """

    STARTED = 0
    UPDATED = 1
    LOOSENED = 2
    SHIFTED = 3
    REJECTED = 4
    OUT_OF_ORDER = 5
    UNUSABLE = 6
    UNFITTED = 7
    MOVED = 8
    RESTARTED = 9

    @property
    def used(self) -> bool:
        """Whether the surface moved the state."""
        return self <= Update.SHIFTED or self >= Update.MOVED

    @property
    def sentence(self) -> str:
        """What happened, and why."""
        return _SENTENCES[self]


_SENTENCES = {
    Update.STARTED: "Started: fitted to this surface alone.",
    Update.UPDATED: "Updated: the quotes moved no more than expected.",
    Update.LOOSENED: "Updated: the quotes moved more than expected, and the prior was loosened.",
    Update.SHIFTED: "Started anew: surfaces in a row agreed with one another, and not with what came before.",
    Update.REJECTED: "Not used: the quotes moved further than the stream can have; they are on probation.",
    Update.OUT_OF_ORDER: "Not used: the surface is older than the state, or has no time.",
    Update.UNUSABLE: "Not used: the surface has fewer quotes than free parameters, or quotes that are not numbers.",
    Update.UNFITTED: "Not used: the fit did not converge; its own status says how it ended.",
    Update.MOVED: "Started anew: another optimum fits far better, or better on surfaces in a row.",
    Update.RESTARTED: "Started anew: from the past no fit converged, on surfaces in a row; without it one does.",
}
