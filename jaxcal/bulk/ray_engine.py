"""`RayEngine` stands in `jaxcal.bulk.engines.ray_engine` now."""

from jaxcal._moved import moved_to

__getattr__ = moved_to("jaxcal.bulk.engines.ray_engine", "RayEngine")
