"""Calibrate option-pricing models to market quotes: quotes in, fitted parameters a user can trust out.

Importing this imports neither JAX nor pandas: the names of `__init__.pyi` are looked up when they are first asked for
(PEP 562).
"""

from typing import Any

import lazy_loader

from jaxcal.compilation.garbage import collection_paused as _collection_paused

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    """A public name, from the module that has it; the next time it is an attribute like any other."""
    if name == "__version__":
        from importlib.metadata import version

        return version("jaxcal")
    with _collection_paused():
        return _import(name)
