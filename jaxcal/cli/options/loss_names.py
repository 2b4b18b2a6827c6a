"""The losses by the names that the command line takes, and its options for them."""

from enum import StrEnum
from typing import Annotated, Any

import typer


class LossName(StrEnum):
    """How much a misfit counts.

    Example:
        >>> LossName("huber").loss(0.5)
        Huber(scale=0.005)
    """

    LINEAR = "linear"
    HUBER = "huber"
    SOFT_L1 = "soft-l1"
    CAUCHY = "cauchy"

    def loss(self, points: float | None = None) -> Any:
        """The loss, None for least squares; `points` is its scale in vol points, found from the residuals if None.

        Raises:
            ValueError: the scale is not positive, or least squares, which have none, are given one.
        """
        from jaxcal.calibration.objective.loss import LOSSES

        if self is LossName.LINEAR:
            if points is not None:
                raise ValueError("the linear loss has no scale: choose huber, soft-l1 or cauchy")
            return None
        settings = LOSSES[self.value.replace("-", "_")]
        return settings() if points is None else settings(scale=points / 100.0)  # pyright: ignore[reportCallIssue]


LossOption = Annotated[
    LossName | None,
    typer.Option(
        show_default="linear",
        help="How much a misfit counts: with another than linear, a few bad quotes decide little.",
    ),
]
ScaleOption = Annotated[
    float | None,
    typer.Option(
        metavar="POINTS",
        help="Scale of the loss in vol points; beyond it a quote counts less.",
        show_default="found from the residuals",
    ),
]
