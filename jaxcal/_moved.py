"""Modules that pages of the documentation named and that moved: the old names lead there for one release."""

import importlib
import warnings
from collections.abc import Callable
from typing import Any


def moved_to(place: str, *names: str) -> Callable[[str], Any]:
    """A `__getattr__` for a module whose names are in another one now.

    Args:
        place: the module that has them.
        names: what is still found, with a `DeprecationWarning`.

    Example:
        >>> with warnings.catch_warnings(action="ignore"):
        ...     moved_to("math", "sqrt")("sqrt")(9.0)
        3.0
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(name)
        warnings.warn(f"{name} is in {place} now: import it from there", DeprecationWarning, stacklevel=2)
        return getattr(importlib.import_module(place), name)

    return get
