"""What a step of a Heston fit asks of a device, counted in its machine code, and what devices can do.

One step of one surface: phi and its basis at all nodes, their products with the weights of the quotes, the inversion to
volatilities, and the algebra of the step. Instructions are those of the machine code that XLA makes for an H200
(`benchmarks.speed.gpu_compile`), all paths of it: a division, a root or a logarithm is eight to twenty-five of them,
and few are fused. A fused multiply-add is one instruction, and two of the operations in data sheets.
"""

from dataclasses import dataclass

EXPIRIES, STRIKES = 8, 16  # 15 strikes, padded
NODES = 72  # at each expiry, 36 on each side
FREE = 5  # parameters
QUOTES = EXPIRIES * STRIKES

AT_A_NODE = 586 + 230  # phi; its basis
AT_A_QUOTE = 760 + 2 * FREE * FREE + 8 * FREE  # volatility and its slope; normal equations, gradients, the cost
PRODUCTS = QUOTES * (FREE + 1) * NODES  # value and basis times the weights of a quote's own side
INSTRUCTIONS = EXPIRIES * NODES * AT_A_NODE + PRODUCTS + QUOTES * AT_A_QUOTE

# Numbers read and written: the weights; nodes and their factors; seven fields of the market; the residuals and their
# derivatives, read and written.
NUMBERS = QUOTES * NODES + 4 * EXPIRIES * NODES + 7 * QUOTES + 2 * QUOTES * (FREE + 1)


@dataclass(frozen=True)
class Peak:
    """Instructions a second in double and in single precision, without tensor cores, and bytes a second."""

    double: float
    single: float
    bandwidth: float


# From the vendor's data sheets, which count two operations for an instruction.
PEAKS = {
    "H200": Peak(17e12, 33.5e12, 4.8e12),
    "H100": Peak(17e12, 33.5e12, 3.35e12),
    "A100": Peak(4.85e12, 9.75e12, 2.04e12),
    "RTX 4090": Peak(0.645e12, 41.3e12, 1.01e12),
}


def peak_of(kind: str) -> Peak | None:
    """The figures of a device by the name that JAX gives it, or None."""
    return next((peak for name, peak in PEAKS.items() if name in kind), None)


def limit(peak: Peak, steps_double: float, steps_single: float) -> float:
    """Fits a second that take so many steps in either precision, if nothing else took time."""
    double = max(INSTRUCTIONS / peak.double, 8 * NUMBERS / peak.bandwidth)
    single = max(INSTRUCTIONS / peak.single, 4 * NUMBERS / peak.bandwidth)
    return 1.0 / (steps_double * double + steps_single * single)
