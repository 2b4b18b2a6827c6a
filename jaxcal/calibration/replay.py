"""`replay` stands in `jaxcal.streams.replay` now."""

from jaxcal._moved import moved_to

__getattr__ = moved_to("jaxcal.streams.replay", "replay")
