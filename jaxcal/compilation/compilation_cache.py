"""The folder where compiled programs are kept, so that only the first process that needs one compiles it."""

import contextlib
import glob
import os
import re
import sys
import tempfile
import warnings
import zlib
from os import PathLike
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from jaxcal.compilation.kept_programs import keep_programs

_UNREADABLE = re.compile(r"Error reading persistent compilation cache entry for '(\w+)'")


def enable_compilation_cache(path: str | PathLike[str] | None = None) -> Path | None:
    """Keep every compiled program on disk for later processes (JAX's persistent compilation cache).

    An entry that cannot be read, because the process that wrote it was killed or is writing still, is compiled again
    and replaced. This changes settings of JAX for the whole process, so it is for the program to call, as the command
    line does; the library itself never does. Call it early: what was compiled before is not kept.

    Args:
        path: the folder. If absent, a cache that JAX is set to already (`JAX_COMPILATION_CACHE_DIR`) is left as it is;
            else the folder is `jaxcal/xla` in the user's cache folder.

    Returns:
        The folder, or None where it cannot be written to: then there is a warning and everything works without.

    Example:
        >>> from jaxcal.compilation.compilation_cache import enable_compilation_cache
        >>> enable_compilation_cache() == enable_compilation_cache()
        True
    """
    configured: str | None = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if path is None and configured:
        if "://" not in configured:  # a store in a cloud
            keep_programs(Path(configured))
        return Path(configured)
    try:
        folder = Path(path).expanduser() if path is not None else _user_cache() / "jaxcal" / "xla"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # the latter from a user without a home folder
        warnings.warn(f"compiled programs are not kept: their folder cannot be written to ({error})", stacklevel=2)
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A fit is dozens of small programs beside a few large ones, and together the small ones cost seconds.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    reset_cache()  # JAX looks at the folder once, at its first compilation, which may be past
    _replace_damaged(folder)
    keep_programs(folder)
    return folder


def _replace_damaged(folder: Path) -> None:
    """Remove an entry where JAX warns that it cannot read it: it would compile it again and leave it as it is."""
    show = warnings.showwarning

    def remove_or_show(message: Warning | str, *where: Any, **more: Any) -> None:
        if (found := _UNREADABLE.match(str(message))) is None:
            show(message, *where, **more)
            return
        for path in folder.glob(f"{glob.escape(found[1])}-*"):
            with contextlib.suppress(OSError):
                if not _is_whole(path):
                    path.unlink()

    if getattr(show, "of_cache", None) != folder:
        remove_or_show.of_cache = folder  # pyright: ignore[reportFunctionMemberAccess]
        warnings.showwarning = remove_or_show


def _is_whole(path: Path) -> bool:
    """Whether an entry can be unpacked; not where it is packed in another way than Python knows."""
    try:
        zlib.decompress(path.read_bytes())
    except zlib.error:
        return False
    return True


def _user_cache() -> Path:
    """The user's cache folder: `XDG_CACHE_HOME` if set, else the operating system's place for it."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen)
    if sys.platform == "win32" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local)
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
