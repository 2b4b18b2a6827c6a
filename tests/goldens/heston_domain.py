"""Makes heston_domain.csv: 2,000 random Heston prices over the whole promised domain, in 40-digit arithmetic.

Run `python tests/goldens/heston_domain.py` (needs mpmath, about ten minutes). The price is that of the covered call,
integrated along a hyperbola through z = -i/2 with the trapezoidal rule, the step halved until two results agree to
1e-22; the characteristic function is coded in its textbook (little trap) form, independently of the library.
"""

import csv
from pathlib import Path

import mpmath as mp
import numpy as np

mp.mp.dps = 40
ROWS = 2000


def _complex(re, im):
    return re + mp.mpc(0, 1) * im


def log_cf(z, t, v0, kappa, theta, sigma, rho):
    beta = kappa - 1j * rho * sigma * z
    d = mp.sqrt(beta * beta + sigma**2 * (z * z + 1j * z))
    g = (beta - d) / (beta + d)
    decay = mp.exp(-d * t)
    c = kappa * theta / sigma**2 * ((beta - d) * t - 2 * mp.log((1 - g * decay) / (1 - g)))
    return c + v0 * (beta - d) / sigma**2 * (1 - decay) / (1 - g * decay)


def covered_call(k, t, parameters):
    """E[min(S, K)] / F."""
    rho = parameters[4]
    cone = (-mp.pi / 2 - mp.asin(rho), mp.pi / 2 - mp.asin(rho))
    tilt = max(mp.mpf(-0.35), cone[0] / 2) if k > 0 else min(mp.mpf(0.35), cone[1] / 2)
    b = mp.mpf(1) / 2

    def f(x):
        z = -0.5j + b * (mp.sinh(_complex(x, tilt)) - 1j * mp.sin(tilt))
        dz = b * mp.cosh(_complex(x, tilt))
        return mp.re(mp.exp(k * (1 - 1j * z) + log_cf(z, t, *parameters)) / (z * (z + 1j)) * dz)

    end = mp.mpf(2)
    while max(abs(f(end)), abs(f(end + 0.31)), abs(f(end + 0.77))) > mp.mpf("1e-26"):
        end += 1
    step, total, last = mp.mpf(1) / 4, mp.mpf(0), None
    total = f(mp.mpf(0)) / 2 + mp.fsum(f(j * step) for j in range(1, int((end + 1) / step)))
    value = total * step / mp.pi
    while last is None or abs(value - last) > mp.mpf("1e-22"):
        last = value
        step /= 2
        total += mp.fsum(f(j * step) for j in range(1, int((end + 1) / step), 2))
        value = total * step / mp.pi
    return value


def main() -> None:
    random = np.random.default_rng(20020705)

    def log_uniform(low, high):
        return float(f"{np.exp(random.uniform(np.log(low), np.log(high))):.6g}")

    path = Path(__file__).with_suffix(".csv")
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["v0", "kappa", "theta", "sigma", "rho", "T", "k", "otm"])
        for _ in range(ROWS):
            v0, theta = log_uniform(1e-4, 2), log_uniform(1e-4, 2)
            kappa, sigma = log_uniform(1e-2, 100), log_uniform(1e-3, 30)
            rho = float(f"{random.uniform(-0.999, 0.999):.6g}")
            t = log_uniform(1 / 8760, 30)
            variance = theta * t + (v0 - theta) * -np.expm1(-kappa * t) / kappa
            k = float(f"{random.uniform(-4, 4) * np.sqrt(min(variance, 4.0)):.6g}")
            covered = covered_call(mp.mpf(k), mp.mpf(t), [mp.mpf(p) for p in (v0, kappa, theta, sigma, rho)])
            otm = (1 if k >= 0 else mp.exp(mp.mpf(k))) - covered
            out.writerow([v0, kappa, theta, sigma, rho, t, k, mp.nstr(otm, 20)])
            file.flush()


if __name__ == "__main__":
    main()
