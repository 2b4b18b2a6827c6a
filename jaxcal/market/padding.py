"""Padding: quotes of any number laid out in arrays of few sizes."""

import numpy as np
from numpy.typing import NDArray

from jaxcal._types import FloatColumn

# what padding has in the fields of a `Surface`; its strike is the forward
FILLERS = {"is_call": True, "vol": 0.2, "bid_vol": np.nan, "ask_vol": np.nan, "weight": 0.0, "row": -1}


def power_of_two(size: int, smallest: int = 1) -> int:
    """The array size for `size` rows of one program, so that few programs compile; `smallest` is a power of two too.

    Example:
        >>> [power_of_two(size, 8) for size in (0, 8, 9)]
        [8, 8, 16]
    """
    return max(smallest, 1 << max(0, size - 1).bit_length())


def bucket_size(size: int, smallest: int) -> int:
    """The array size for `size` entries: the next of 1, 2, 3, 4, 6, 8, 12, 16, ... times `smallest`, a power of two.

    Example:
        >>> [bucket_size(size, 8) for size in (1, 9, 15, 17, 25)]
        [8, 16, 16, 24, 32]
    """
    power = power_of_two(size, smallest)
    smaller = 3 * power // 4
    return smaller if size <= smaller and smaller >= 2 * smallest and power % 4 == 0 else power


def array_shape(expiries: int, strikes: int) -> tuple[int, int]:
    """The shape [E, K] of the arrays for so many expiries, and strikes at most at one of them.

    Strikes are not padded to 48: most chains of crypto options have 40 to 60 at an expiry, and would take two programs.

    Example:
        >>> array_shape(11, 43)
        (12, 64)
    """
    places = bucket_size(strikes, 8)
    return bucket_size(expiries, 1), 64 if places == 48 else places


def padded(
    years: FloatColumn, forward: FloatColumn, discount: FloatColumn, of_expiry: NDArray[np.int64], **quotes: NDArray
) -> dict[str, NDArray]:
    """Lay quotes out by expiry, then strike, in arrays of a bucket's size.

    Args:
        years, forward, discount: `[e]`, in any order.
        of_expiry: `[n]` each quote's position there.
        quotes: the other fields of a `Surface`, `[n]`.

    Returns:
        The fields of a `Surface`, `[E]` and `[E, K]`, by name.

    Example:
        >>> one = {name: np.array([0.2]) for name in ("strike", "vol", "bid_vol", "ask_vol", "weight")}
        >>> fields = padded(*np.ones((3, 1)), np.array([0]), is_call=np.array([True]), row=np.array([0]), **one)
        >>> fields["strike"].shape, fields["row"][0, :2].tolist()
        ((1, 8), [0, -1])
    """
    by_years = np.argsort(years, kind="stable")
    line = np.argsort(by_years)[of_expiry]  # two expiries may be equally far away by a clock
    order = np.lexsort((quotes["row"], quotes["is_call"], quotes["strike"], line))
    line = line[order]
    counts = np.bincount(line, minlength=len(years))
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    shape = array_shape(len(years), int(counts.max(initial=0)))
    lines = np.ones((3, shape[0]))
    lines[:, : len(years)] = np.stack([years, forward, discount])[:, by_years]
    matrices = {}
    for name, filler in {"strike": lines[1][:, None], **FILLERS}.items():
        whole = np.array(np.broadcast_to(filler, shape))
        whole[line, place] = quotes[name][order]
        matrices[name] = whole
    return dict(zip(("expiry", "forward", "discount"), lines, strict=True)) | matrices
