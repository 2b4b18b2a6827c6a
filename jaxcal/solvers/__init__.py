"""Optimisation; knows no finance."""

from jaxcal.solvers.implicit import Minimum as Minimum
from jaxcal.solvers.implicit import minimum as minimum
