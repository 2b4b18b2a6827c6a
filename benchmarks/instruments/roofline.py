"""What a step of a Heston fit asks of a device, counted from its formulas, and what devices can do.

One step of one surface: phi and its five derivatives at all nodes, their products with the weights of the quotes, the
inversion to volatilities, and the algebra of the step. Operations are those that the formulas need; a compiler may do
more. Real operations: a product of complex numbers is 6, a sum 2.
"""

from dataclasses import dataclass

EXPIRIES, STRIKES = 8, 16  # 15 strikes, padded
NODES = 72  # at each expiry, 36 on each side
FREE = 5  # parameters
QUOTES = EXPIRIES * STRIKES

FUNCTION = 20  # a square root, division, exponential, logarithm, sine or arc tangent, in real operations
# `models/diffusions/heston.py`, at one node: the terms, ds/dd, the two slopes, ln(1 + y) - y / (1 + y), the
# contraction of five pieces with five directions, the rest of the chain rule, and 14 functions.
AT_A_NODE = 130 + 80 + 123 + 74 + 5 * FREE * 2 * 2 + 40 + 14 * FUNCTION
# Value to volatility and its derivative, and the residual, at one quote; then the algebra of the step for one quote:
# normal equations twice, gradients, the cost.
AT_A_QUOTE = 640 + 2 * (2 * FREE * FREE + 8 * FREE)

# value and derivatives times the weights of either side: real and imaginary parts of 36 nodes each
PRODUCTS = QUOTES * 2 * (FREE + 1) * 2 * NODES
OPERATIONS = EXPIRIES * NODES * AT_A_NODE + PRODUCTS + QUOTES * AT_A_QUOTE

# Numbers read and written: the weights; nodes and their factors; seven fields of the market; the residuals and their
# derivatives, read and written.
NUMBERS = QUOTES * NODES + 4 * EXPIRIES * NODES + 7 * QUOTES + 2 * QUOTES * (FREE + 1)


@dataclass(frozen=True)
class Peak:
    """Operations a second in double and in single precision, without tensor cores, and bytes a second."""

    double: float
    single: float
    bandwidth: float


# From the vendor's data sheets.
PEAKS = {
    "H200": Peak(34e12, 67e12, 4.8e12),
    "H100": Peak(34e12, 67e12, 3.35e12),
    "A100": Peak(9.7e12, 19.5e12, 2.04e12),
    "RTX 4090": Peak(1.29e12, 82.6e12, 1.01e12),
}


def peak_of(kind: str) -> Peak | None:
    """The figures of a device by the name that JAX gives it, or None."""
    return next((peak for name, peak in PEAKS.items() if name in kind), None)


def limit(peak: Peak, steps_double: float, steps_single: float) -> float:
    """Fits a second that take so many steps in either precision, if nothing else took time."""
    double = max(OPERATIONS / peak.double, 8 * NUMBERS / peak.bandwidth)
    single = max(OPERATIONS / peak.single, 4 * NUMBERS / peak.bandwidth)
    return 1.0 / (steps_double * double + steps_single * single)
