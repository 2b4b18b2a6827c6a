"""Heston prices and implied volatilities by plain numerical integration, owing nothing to jaxcal or to any peer.

The benchmark's targets must not come from one of the runners. The price is Lewis's single integral along Im z = -1/2
(A. Lewis, "Option Valuation under Stochastic Volatility", 2000, eq. 2.2.10), with the Black price at the expected
variance as the control, by composite Gauss-Legendre with 64 x 40 nodes, cut off where the characteristic function is
below 1e-19. `python -m benchmarks.inputs.reference` compares it with 40-digit mpmath and prints the largest difference.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
PANELS = 64


def heston_cf(z: NDArray[Any], expiry: float, parameters: Array) -> NDArray[np.complex128]:
    """E[exp(i z log(S_T / F))], the form whose logarithm has no branch cut ("little Heston trap", Albrecher 2007)."""
    v0, kappa, theta, sigma, rho = (float(p) for p in parameters)
    beta = kappa - 1j * sigma * rho * z
    d = np.sqrt(beta * beta + sigma * sigma * (z * z + 1j * z))
    minus = -(sigma**2) * (z * z + 1j * z) / (beta + d)  # beta - d, without the cancellation
    g = minus / (beta + d)
    decay = np.exp(-d * expiry)
    log_ratio = np.log1p(-g * decay) - np.log1p(-g)
    c = kappa * theta / sigma**2 * (minus * expiry - 2.0 * log_ratio)
    return np.exp(c + v0 / sigma**2 * minus * (1.0 - decay) / (1.0 - g * decay))


def black_otm(total_vol: Array, forward: float, strike: Array) -> Array:
    """Undiscounted Black value of the out-of-the-money option; `total_vol` is vol x sqrt(T)."""
    d1 = np.log(forward / strike) / total_vol + 0.5 * total_vol
    call = strike >= forward
    sign = np.where(call, 1.0, -1.0)
    return sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - total_vol)))


def heston_otm(strike: Array, expiry: float, forward: float, parameters: Array) -> Array:
    """Undiscounted Heston value of the out-of-the-money option at each strike."""
    v0, kappa, theta = (float(p) for p in parameters[:3])
    variance = theta * expiry + (v0 - theta) * -np.expm1(-kappa * expiry) / kappa
    scan = np.geomspace(1.0, 1e6, 400)
    alive = np.abs(heston_cf(scan - 0.5j, expiry, parameters)) > 1e-19
    alive |= np.exp(-0.5 * variance * scan * scan) > 1e-19
    cut = scan[min(int(np.flatnonzero(alive)[-1]) + 1, scan.size - 1)]
    edges = np.concatenate([[0.0], np.geomspace(1e-3 * cut, cut, PANELS)])
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    u, w = (middle + half * NODES).ravel(), (half * WEIGHTS).ravel()
    control = np.exp(-0.5 * variance * (u * u + 0.25))
    gap = (heston_cf(u - 0.5j, expiry, parameters) - control) * w / (u * u + 0.25)
    wave = np.exp(1j * u * np.log(forward / strike)[:, None])
    difference = -np.sqrt(forward * strike) / np.pi * (wave @ gap[:, None])[:, 0].real
    return black_otm(np.full_like(strike, np.sqrt(variance)), forward, strike) + difference


def implied_total_vol(value: Array, forward: float, strike: Array) -> Array:
    """Black total volatility of an out-of-the-money value: bisection, then Newton on the logarithm of the value."""
    low, high = np.full_like(value, 1e-4), np.full_like(value, 10.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        above = black_otm(middle, forward, strike) > value
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    vol = 0.5 * (low + high)
    for _ in range(3):
        d1 = np.log(forward / strike) / vol + 0.5 * vol
        price, vega = black_otm(vol, forward, strike), forward * np.exp(-0.5 * d1 * d1) / np.sqrt(2.0 * np.pi)
        vol = vol - np.log(price / value) * price / vega
    return vol


def heston_vols(strike: Array, expiry: Array, forward: Array, parameters: Array) -> Array:
    """Black volatilities `[E, K]` of a Heston model; `strike` is `[E, K]`, `expiry` (years) and `forward` `[E]`."""
    rows = [
        implied_total_vol(heston_otm(k, t, f, parameters), f, k) / np.sqrt(t)
        for k, t, f in zip(strike, expiry.tolist(), forward.tolist(), strict=True)
    ]
    return np.stack(rows)


def heston_otm_mpmath(strike: float, expiry: float, forward: float, parameters: Array) -> float:
    """The same value by mpmath's tanh-sinh rule at 40 digits, without a control, on another contour (Im z = -0.6)."""
    import mpmath as mp

    with mp.workdps(40):
        v0, kappa, theta, sigma, rho = (mp.mpf(float(p)) for p in parameters)
        t, k = mp.mpf(expiry), mp.log(mp.mpf(forward) / mp.mpf(strike))

        def integrand(u):
            z = u - mp.mpc(0, 1) * mp.mpf("0.6")
            beta = kappa - 1j * sigma * rho * z
            d = mp.sqrt(beta**2 + sigma**2 * (z * z + 1j * z))
            g = (beta - d) / (beta + d)
            decay = mp.exp(-d * t)
            c = kappa * theta / sigma**2 * ((beta - d) * t - 2 * mp.log((1 - g * decay) / (1 - g)))
            phi = mp.exp(c + v0 / sigma**2 * (beta - d) * (1 - decay) / (1 - g * decay))
            return mp.re(mp.exp(1j * z * k) * phi / (z * z + 1j * z))

        knots = [0, 5, 20, 60, 150, 400, 1000, 2500, 6000]
        integral = mp.quad(integrand, knots) / mp.pi
        covered_call = mp.mpf(strike) * integral  # E[min(S, K)]
        value = forward - covered_call if strike >= forward else mp.mpf(strike) - covered_call
        return float(value)


def main() -> None:
    """Compare the targets of the 120-option work with 40-digit arithmetic and print the largest difference."""
    from benchmarks.inputs.surfaces import synthetic_work

    work = synthetic_work()
    worst = 0.0
    for e, (t, f) in enumerate(zip(work.expiry.tolist(), work.forward.tolist(), strict=True)):
        strike, target = work.strike[e, ::2], work.vol[e, ::2]  # both wings and the middle; mpmath takes 0.5 s a price
        fast = heston_otm(strike, t, f, work.truth)
        exact = np.array([heston_otm_mpmath(k, t, f, work.truth) for k in strike.tolist()])
        gap = np.abs(implied_total_vol(exact, f, strike) / np.sqrt(t) - target)
        worst = max(worst, float(np.max(gap)))
        print(f"T {t:.4f}: value {np.max(np.abs(fast - exact)) / f:.1e} of F, vol {np.max(gap):.1e}")
    print(f"largest difference of a target vol: {worst:.1e}")


if __name__ == "__main__":
    main()
