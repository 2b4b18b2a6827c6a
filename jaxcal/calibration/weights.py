"""`weights_from` stands in `jaxcal.calibration.objective.weights` now."""

from jaxcal._moved import moved_to

__getattr__ = moved_to("jaxcal.calibration.objective.weights", "weights_from")
