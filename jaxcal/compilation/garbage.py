"""Garbage collection, paused while many objects are made that stay."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """No search for cyclic garbage meanwhile: imports and traces make a hundred thousand objects that stay, which it
    would go through again and again, a fifth of their time.

    Example:
        >>> with collection_paused():
        ...     gc.isenabled()
        False
        >>> gc.isenabled()
        True
    """
    if not gc.isenabled():
        yield
        return
    try:  # an interruption may come in between, too
        gc.disable()
        yield
    finally:
        gc.enable()
