"""Makes greeks.csv: derivatives of prices to third order, for every model by characteristic function, in 50 digits.

Run `python -m tests.goldens.greeks` (needs mpmath, some minutes). The prices are those of family_domain.py, by the
trapezoidal rule on nodes that are the same for all prices of a difference; the differences are mpmath's.
"""

import csv
from pathlib import Path

import mpmath as mp

from tests.goldens.family_domain import MODELS, black, heston

F = 100.0
ALL = {name: log_cf for name, (log_cf, _) in MODELS.items()} | {"BlackScholes": black, "Heston": heston}

# parameters, strike, years, call or put: an equity and a crypto case each
CASES = {
    "BlackScholes": [([0.2], 110.0, 0.5, "call"), ([0.7], 80.0, 0.08, "put")],
    "Heston": [([0.04, 1.5, 0.06, 0.7, -0.65], 90.0, 0.5, "call"), ([0.5, 8.0, 0.6, 3.0, -0.3], 130.0, 0.08, "put")],
    "Bates": [([0.04, 1.5, 0.06, 0.7, -0.65, 0.4, -0.1, 0.12], 105.0, 0.5, "call"),
              ([0.5, 8.0, 0.6, 3.0, -0.3, 15.0, -0.02, 0.07], 85.0, 0.08, "put")],
    "SVCJ": [([0.04, 1.5, 0.06, 0.5, -0.65, 0.4, -0.1, 0.12, 0.05, -0.4], 95.0, 0.5, "put"),
             ([0.5, 8.0, 0.6, 2.0, -0.3, 5.0, -0.02, 0.07, 0.3, 0.2], 115.0, 0.08, "call")],
    "DoubleHeston": [([0.02, 4.0, 0.02, 0.5, -0.8, 0.02, 0.4, 0.05, 0.3, -0.5], 102.0, 0.5, "call")],
    "Merton": [([0.15, 0.5, -0.1, 0.15], 90.0, 0.5, "put"), ([0.5, 20.0, -0.01, 0.06], 120.0, 0.08, "call")],
    "Kou": [([0.16, 1.0, 0.37, 10.0, 6.0], 112.0, 0.5, "call"), ([0.45, 20.0, 0.5, 16.0, 11.0], 90.0, 0.08, "call")],
    "VarianceGamma": [([0.2, 0.1, -0.15], 95.0, 0.8, "put")],
    "NIG": [([15.0, -5.0, 0.5], 105.0, 0.5, "call"), ([6.0, -0.4, 2.8], 85.0, 0.08, "put")],
    "CGMY": [([0.5, 6.0, 9.0, 0.8], 95.0, 0.5, "put"), ([0.1, 4.0, 5.0, 1.4], 115.0, 0.25, "call")],
}  # fmt: skip


def rule(log_cf, k, t, p):
    """Step and number of nodes at which the trapezoidal rule stands still, on the contour of family_domain.py."""
    end, step = mp.mpf(4), mp.mpf(1) / 8
    # third derivatives grow with z^3
    while max(abs(integrand(log_cf, k, t, p, end + j / mp.mpf(7))) for j in range(14)) > mp.mpf("1e-42"):
        end += mp.mpf(1) / 2
    while abs(total(log_cf, k, t, p, step, end) - total(log_cf, k, t, p, step / 2, end)) > mp.mpf("1e-30"):
        step /= 2
    return step / 2, end


def integrand(log_cf, k, t, p, x):
    z = -0.5j + mp.sinh(x) / 2
    return mp.re(mp.exp(k * (1 - 1j * z) + log_cf(z, t, *p)) / (z * (z + 1j)) * mp.cosh(x) / 2)


def total(log_cf, k, t, p, step, end):
    inside = mp.fsum(integrand(log_cf, k, t, p, j * step) for j in range(1, int(end / step)))
    return (integrand(log_cf, k, t, p, mp.mpf(0)) / 2 + inside) * step / mp.pi


def rows(name, p, strike, t, kind):
    log_cf, exact = ALL[name], [mp.mpf(x) for x in p]
    strike, years = mp.mpf(strike), mp.mpf(t)
    step, end = rule(log_cf, mp.log(strike / F), years, exact)

    def price(forward, later, *parameters):
        covered = forward * total(log_cf, mp.log(strike / forward), later, parameters, step, end)
        return (forward if kind == "call" else strike) - covered

    point = [mp.mpf(F), years, *exact]

    def derivative(**orders):
        counts = [orders.get("f", 0), orders.get("t", 0), *([0] * len(p))]
        for place in orders.get("x", ()):
            counts[2 + place] += 1
        moved = [i for i, count in enumerate(counts) if count]
        if not moved:
            return price(*point)

        def along(*values):
            there = list(point)
            for i, value in zip(moved, values, strict=True):
                there[i] = value
            return price(*there)

        return mp.diff(along, tuple(point[i] for i in moved), tuple(counts[i] for i in moved))

    yield "price", "", derivative()
    for field, f in (("delta", 1), ("gamma", 2), ("speed", 3)):
        yield field, "", derivative(f=f)
    for field, f in (("theta", 0), ("charm", 1), ("color", 2)):
        yield field, "", -derivative(f=f, t=1)
    for i in range(len(p)):
        for field, f in (("vega", 0), ("vanna", 1), ("zomma", 2)):
            yield field, i, derivative(f=f, x=(i,))
        yield "volga", i, derivative(x=(i, i))
        yield "veta", i, -derivative(t=1, x=(i,))


def main() -> None:
    mp.mp.dps = 50
    with Path(__file__).with_suffix(".csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["model", "parameters", "F", "K", "T", "kind", "field", "parameter", "value"])
        for name, cases in CASES.items():
            for p, strike, t, kind in cases:
                for field, place, value in rows(name, p, strike, t, kind):
                    text = ";".join(map(repr, p))
                    out.writerow([name, text, F, strike, t, kind, field, place, mp.nstr(value, 20)])
                file.flush()


if __name__ == "__main__":
    main()
