"""Makes family_domain.csv: random prices of the jump, Levy and two-factor models, in 30-digit arithmetic.

Run `python tests/goldens/family_domain.py [rows a model]` (needs mpmath, about two seconds a row). The price is
that of the covered call, integrated along a hyperbola through z = -i/2 with the trapezoidal rule, the step halved until
two results agree to 1e-20. Characteristic functions are coded in their textbook forms, independently of the library.
"""

import csv
import math
import sys
from pathlib import Path

import mpmath as mp
import numpy as np

RANDOM = np.random.default_rng(19760125)


def log_uniform(low, high):
    return float(f"{np.exp(RANDOM.uniform(np.log(low), np.log(high))):.6g}")


def uniform(low, high):
    return float(f"{RANDOM.uniform(low, high):.6g}")


def heston(z, t, v0, kappa, theta, sigma, rho):
    beta = kappa - 1j * rho * sigma * z
    d = mp.sqrt(beta * beta + sigma**2 * (z * z + 1j * z))
    g = (beta - d) / (beta + d)
    decay = mp.exp(-d * t)
    c = kappa * theta / sigma**2 * ((beta - d) * t - 2 * mp.log((1 - g * decay) / (1 - g)))
    return c + v0 * (beta - d) / sigma**2 * (1 - decay) / (1 - g * decay)


def normal_jumps(z, t, intensity, mean, std):
    compensator = mp.exp(mean + std**2 / 2) - 1
    return intensity * t * (mp.exp(1j * z * mean - std**2 * z * z / 2) - 1 - 1j * z * compensator)


def black(z, t, sigma):
    return -(sigma**2) * t / 2 * (z * z + 1j * z)


def kou(z, t, sigma, intensity, p_up, up, down):
    def jumps(iz):
        return p_up * up / (up - iz) + (1 - p_up) * down / (down + iz) - 1

    return black(z, t, sigma) + intensity * t * (jumps(1j * z) - 1j * z * jumps(mp.mpf(1)))


def svcj(z, t, v0, kappa, theta, sigma, rho, intensity, mean, std, variance_mean, correlation):
    beta = kappa - 1j * rho * sigma * z
    d = mp.sqrt(beta * beta + sigma**2 * (z * z + 1j * z))
    g, decay, r = (beta - d) / (beta + d), mp.exp(-d * t), (beta - d) / sigma**2
    a = 1 - 1j * z * correlation * variance_mean
    p, w = a - variance_mean * r, a * g - variance_mean * r
    # integral of 1 / (a - mu D) = (1 - g e) / (p - w e), e = exp(-d s)
    integral = t / p + (1 / p - g / w) / d * mp.log((p - w * decay) / (p - w))
    growth = mp.exp(mean + std**2 / 2) / (1 - variance_mean * correlation) - 1
    jumps = mp.exp(1j * z * mean - std**2 * z * z / 2) * integral - t - 1j * z * t * growth
    return heston(z, t, v0, kappa, theta, sigma, rho) + intensity * jumps


def variance_gamma(z, t, sigma, nu, theta):
    def power(iz):
        return -mp.log(1 - nu * (theta * iz + sigma**2 * iz * iz / 2)) * t / nu

    return power(1j * z) - 1j * z * power(mp.mpf(1))


def nig(z, t, alpha, beta, delta):
    def power(iz):
        return delta * t * (mp.sqrt(alpha**2 - beta**2) - mp.sqrt(alpha**2 - (beta + iz) ** 2))

    return power(1j * z) - 1j * z * power(mp.mpf(1))


def cgmy(z, t, c, g, m, y):
    def power(iz):
        return c * t * mp.gamma(-y) * ((m - iz) ** y - m**y + (g + iz) ** y - g**y)

    return power(1j * z) - 1j * z * power(mp.mpf(1))


def heston_draw():
    return [
        log_uniform(1e-3, 1.5),
        log_uniform(0.05, 50),
        log_uniform(1e-3, 1.5),
        log_uniform(0.01, 10),
        uniform(-0.98, 0.98),
    ]


def kou_draw():
    sizes = [log_uniform(1.2, 100), log_uniform(0.5, 100)]
    return [log_uniform(0.03, 1.5), log_uniform(0.01, 200), uniform(0, 1), *sizes]


def jump_draw():
    return [log_uniform(0.01, 200), uniform(-0.5, 0.3), log_uniform(0.005, 0.6)]


def svcj_draw():
    variance_mean = log_uniform(1e-3, 2)
    return [*heston_draw(), *jump_draw(), variance_mean, float(f"{RANDOM.uniform(-1, 0.8) / variance_mean:.6g}")]


def nig_draw():
    beta = uniform(-20, 10)
    alpha = float(f"{(abs(beta + 0.5) + 0.5) * log_uniform(1.02, 10):.6g}")
    variance = log_uniform(0.005, 2)
    return [alpha, beta, float(f"{variance * (alpha**2 - beta**2) ** 1.5 / alpha**2:.6g}")]


def cgmy_draw():
    g, m, y = log_uniform(0.3, 60), log_uniform(1.2, 60), uniform(-2, 1.9)
    unit = math.gamma(2 - y) * (g ** (y - 2) + m ** (y - 2))
    return [float(f"{log_uniform(0.005, 2) / unit:.6g}"), g, m, y]


def vg_draw():
    while True:
        sigma, nu, theta = log_uniform(0.03, 1.5), log_uniform(0.01, 5), uniform(-1, 0.5)
        if (theta + sigma**2 / 2) * nu < 0.98:
            return [sigma, nu, theta]


def merton(z, t, sigma, *jumps):
    return black(z, t, sigma) + normal_jumps(z, t, *jumps)


def bates(z, t, *p):
    return heston(z, t, *p[:5]) + normal_jumps(z, t, *p[5:])


def double_heston(z, t, *p):
    return heston(z, t, *p[:5]) + heston(z, t, *p[5:])


MODELS = {
    "Merton": (merton, lambda: [log_uniform(0.03, 1.5), *jump_draw()]),
    "Kou": (kou, kou_draw),
    "Bates": (bates, lambda: [*heston_draw(), *jump_draw()]),
    "SVCJ": (svcj, svcj_draw),
    "DoubleHeston": (double_heston, lambda: [*heston_draw(), *heston_draw()]),
    "VarianceGamma": (variance_gamma, vg_draw),
    "NIG": (nig, nig_draw),
    "CGMY": (cgmy, cgmy_draw),
}


def deviation(log_cf, t, p):
    """Standard deviation of X by a difference of ln phi."""
    h = mp.mpf("1e-8")
    return mp.sqrt(-mp.re(log_cf(h, t, *p) + log_cf(-h, t, *p)) / h**2)


def covered_call(log_cf, k, t, p, tilt):
    """E[min(S, K)] / F, or None where this contour does not serve."""
    b = mp.mpf(1) / 2

    def f(x):
        turned = mp.mpc(x, tilt)
        z = -0.5j + b * (mp.sinh(turned) - 1j * mp.sin(tilt))
        return mp.re(mp.exp(k * (1 - 1j * z) + log_cf(z, t, *p)) / (z * (z + 1j)) * b * mp.cosh(turned))

    end = mp.mpf(2)
    # looked at closely: jumps of nearly one size make phi vanish and come back
    while max(abs(f(end + j / mp.mpf(7))) for j in range(14)) > mp.mpf("1e-24"):
        end += 1
        if end > 70 or abs(f(end)) > 1e3:
            return None
    step, last = mp.mpf(1) / 4, None
    total = f(mp.mpf(0)) / 2 + mp.fsum(f(j * step) for j in range(1, int((end + 1) / step)))
    value = total * step / mp.pi
    while last is None or abs(value - last) > mp.mpf("1e-20"):
        if step < 1e-3:
            return None
        last = value
        step /= 2
        total += mp.fsum(f(j * step) for j in range(1, int((end + 1) / step), 2))
        value = total * step / mp.pi
    return value


def row(name):
    """Parameters, maturity, ln(K / F) within four standard deviations, and the out-of-the-money value over F."""
    log_cf, draw = MODELS[name]
    while True:
        p, t = draw(), log_uniform(1 / 365, 10)
        exact, years = [mp.mpf(x) for x in p], mp.mpf(t)
        width = float(deviation(log_cf, years, exact))
        k = float(f"{RANDOM.uniform(-4, 4) * min(width, 2.0):.6g}")
        if width > 4.0:
            continue
        for tilt in (0.0, 0.3, -0.3, 0.1, -0.1):
            covered = covered_call(log_cf, mp.mpf(k), years, exact, mp.mpf(tilt))
            if covered is not None:
                return p, t, k, (1 if k >= 0 else mp.exp(mp.mpf(k))) - covered


def main() -> None:
    mp.mp.dps = 36
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_suffix(".csv")
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["model", "parameters", "T", "k", "otm"])
        for _ in range(rows):
            for name in MODELS:
                p, t, k, otm = row(name)
                out.writerow([name, ";".join(map(repr, p)), t, k, mp.nstr(otm, 20)])
                file.flush()


if __name__ == "__main__":
    main()
