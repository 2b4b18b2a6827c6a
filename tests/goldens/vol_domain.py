"""Makes vol_domain.csv: volatilities over the whole domain, from a minute to 50 years and from 1e-6 to 1e6 times the
forward, in as many digits as the value needs.

Run `python -m tests.goldens.vol_domain [rows a model] [file] [names]` (needs mpmath, and gmpy2 to be quick; a value of
1e-300 takes some seconds; each model has its own seed, so that they may be run apart). Prices are those of the covered
call, as in family_domain.py, in enough digits that what the value is short of 1 or of 0 keeps 20. The volatility is
found by bisection on the logarithm of Black's formula. Of smiles it is their formula. Rows are drawn until the value is
above 1e-300 of the forward.
"""

import csv
import sys
from pathlib import Path

import mpmath as mp
import numpy as np

from tests.goldens import family_domain
from tests.goldens.family_domain import MODELS, black, deviation, heston, heston_draw, log_uniform, uniform

LEAST = mp.mpf("1e-300")
ALL = {
    "BlackScholes": (black, lambda: [log_uniform(0.03, 3.0)]),
    "Heston": (heston, heston_draw),
    **MODELS,
}


def covered(log_cf, k, t, p, tilt, tolerance):
    """E[min(S, K)] / F to an absolute `tolerance`, or None where this contour does not serve."""
    b, sine = mp.mpf(1) / 2, mp.sin(tilt)
    turn, dips = mp.expj(tilt), mp.expj(-tilt)

    def f(x):
        # sinh and cosh of x + i tilt from one exponential
        grown = mp.exp(x)
        up, down = grown * turn / 2, dips / grown / 2
        z = -0.5j + b * (up - down - 1j * sine)
        return mp.re(mp.exp(k * (1 - 1j * z) + log_cf(z, t, *p)) / (z * (z + 1j)) * b * (up + down))

    end = mp.mpf(2)
    while max(abs(f(end + j / mp.mpf(5))) for j in range(8)) > tolerance / 100:
        end += 1
        if end > 70 or abs(f(end)) > 1e3:
            return None
    step, last = mp.mpf(1) / 8, None
    total = f(mp.mpf(0)) / 2 + mp.fsum(f(j * step) for j in range(1, int((end + 1) / step)))
    value = total * step / mp.pi
    while last is None or abs(value - last) > tolerance:
        if step < 1e-3:
            return None
        last = value
        step /= 2
        total += mp.fsum(f(j * step) for j in range(1, int((end + 1) / step), 2))
        value = total * step / mp.pi
    return value


def worth(log_cf, k, t, p):
    """The out-of-the-money value and its room below min(F, K), both over that, each to 18 digits; None if unknown."""
    for digits in (40, 90, 180, 340):
        with mp.workdps(digits + 10):
            unit = mp.mpf(1) if k >= 0 else mp.exp(k)
            for tilt in ("0.0", "0.3", "-0.3", "0.1", "-0.1"):
                room = covered(log_cf, k, t, p, mp.mpf(tilt), unit * mp.mpf(10) ** -digits)
                if room is None:
                    continue
                room = room / unit
                value = 1 - room
                if min(value, room) > mp.mpf(10) ** (20 - digits):
                    return value, room
                break
            else:
                return None
    return None


def black_worth(s, k):
    """Black's out-of-the-money value at total volatility s and its room below min(F, K), both over that."""
    z, grown = abs(k) / s - s / 2, mp.exp(abs(k))
    out = (mp.erfc(z / mp.sqrt(2)) - grown * mp.erfc((z + s) / mp.sqrt(2))) / 2
    lack = (mp.erfc(-z / mp.sqrt(2)) + grown * mp.erfc((z + s) / mp.sqrt(2))) / 2
    return out, lack


def total_vol(value, room, k):
    """By bisection on ln of the value or of the room, whichever is less."""

    def logs(s):
        out, lack = black_worth(s, k)
        return mp.log(out) - mp.log(value) if value < room else mp.log(room) - mp.log(lack)

    low, high = mp.mpf("1e-6"), mp.mpf(200)
    with mp.workdps(380):
        while high / low > 1 + mp.mpf("1e-22"):
            middle = mp.sqrt(low * high)
            low, high = (middle, high) if logs(middle) < 0 else (low, middle)
    return low


def svi(k, t, a, b, rho, m, sigma):
    return mp.sqrt((a + b * (rho * (k - m) + mp.sqrt((k - m) ** 2 + sigma**2))) / t)


def svi_draw(t):
    width, rho = uniform(0.1, 1.5) * t**0.5, uniform(-0.95, 0.95)
    slope = uniform(0.01, 1.0) * min(width, 1.9 / (1 + abs(rho)))
    return [uniform(0.01, 1.0) * width**2, slope, rho, uniform(-1, 1) * width, uniform(0.05, 1.0) * width]


def sabr(k, t, alpha, beta, rho, nu):
    """Hagan et al. 2002, eq. 2.17a, at a forward of 1; NaN where it is negative."""
    level, log_ratio = alpha / mp.exp(k * (1 - beta) / 2), -k
    z = nu / level * log_ratio
    x = mp.log((mp.sqrt(1 - 2 * rho * z + z * z) + z - rho) / (1 - rho))
    q = ((1 - beta) * log_ratio) ** 2
    growth = (1 - beta) ** 2 / 24 * level**2 + rho * beta * nu * level / 4 + (2 - 3 * rho**2) / 24 * nu**2
    vol = level / (1 + q / 24 + q * q / 1920) * z / x * (1 + growth * t)
    return vol if vol > 0 else mp.nan


def sabr_draw(t):
    beta = 1.0 if uniform(0, 1) < 0.3 else uniform(0, 1)
    return [log_uniform(0.03, 2.0), beta, uniform(-0.95, 0.95), log_uniform(0.05, 3.0) / max(t, 0.2) ** 0.5]


SMILES = {"SABR": (sabr, sabr_draw), "SVI": (svi, svi_draw)}


def smile_row(name):
    vol, draw = SMILES[name]
    while True:
        t = log_uniform(1 / 525_600, 50)
        p = draw(t)
        exact, years = [mp.mpf(x) for x in p], mp.mpf(t)
        middle, far = float(vol(mp.mpf("1e-9"), years, *exact)), np.log(1e6)
        k = uniform(-far, far) if uniform(0, 1) < 0.4 else float(f"{uniform(-12, 12) * middle * t**0.5:.6g}")
        if not 0 < abs(k) <= far:
            continue
        found = vol(mp.mpf(k), years, *exact)
        with mp.workdps(400):
            values = black_worth(found * mp.sqrt(years), mp.mpf(k))
        if mp.isfinite(found) and min(values) > LEAST:
            return p, t, k, found, mp.log10(values[0])


def row(name):
    if name in SMILES:
        return smile_row(name)
    log_cf, draw = ALL[name]
    while True:
        p, t = draw(), log_uniform(1 / 525_600, 50)
        exact, years = [mp.mpf(x) for x in p], mp.mpf(t)
        width = float(deviation(log_cf, years, exact))
        far = np.log(1e6)
        k = uniform(-far, far) if uniform(0, 1) < 0.4 else float(f"{uniform(-12, 12) * width:.6g}")
        if abs(k) > far or k == 0.0:
            continue
        found = worth(log_cf, mp.mpf(k), years, exact)
        if found is not None and min(found) > LEAST:
            return p, t, k, total_vol(*found, mp.mpf(k)) / mp.sqrt(years), mp.log10(found[0])


def main() -> None:
    mp.mp.dps = 40
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    path = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).with_suffix(".csv")
    names = sys.argv[3].split(",") if len(sys.argv) > 3 else [*ALL, *SMILES]
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["model", "parameters", "T", "k", "vol", "log10_value"])
        for name in names:
            family_domain.RANDOM = np.random.default_rng([20261129, [*ALL, *SMILES].index(name)])
            for _ in range(rows):
                p, t, k, vol, size = row(name)
                out.writerow([name, ";".join(map(repr, p)), t, k, mp.nstr(vol, 18), mp.nstr(size, 6)])
                file.flush()


if __name__ == "__main__":
    main()
