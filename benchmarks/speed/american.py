"""American options, side by side.

`python -m benchmarks.speed.american` prints a table and writes `results/american.csv`.

Two sets of 2,000 options on a spot of 100. Ordinary: volatility 8 to 120 %, rate and yield 0 to 10 %, three days to
three years, strikes within exp(0.5) of the spot. Wide: volatility 3 to 200 %, two hours to three years, strikes within
four standard deviations; a fifth has no rate, a fifth no yield, others next to none or both alike. The reference is
QuantLib's QdFp engine in its scheme of high precision, which its finite differences (a grid of 2,000 by 2,000) confirm
on some. Errors are over the larger of spot and strike. Runners take turns in one process; figures are medians of CPU
and wall time an option. `--goldens` writes `tests/goldens/american.csv` instead.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import QuantLib as ql  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

import jaxcal as jc  # noqa: E402
from benchmarks.instruments import machine  # noqa: E402

RESULTS = Path(__file__).resolve().parents[1] / "results"
GOLDENS = Path(__file__).resolve().parents[2] / "tests" / "goldens" / "american.csv"
SPOT = 100.0
COPIES = 50  # of a set, for our turn
Columns = dict[str, np.ndarray]
Engine = Callable[[ql.BlackScholesMertonProcess], ql.PricingEngine]


def ordinary(count: int) -> Columns:
    """Options as they are traded."""
    random = np.random.default_rng(0)
    strike = SPOT * np.exp(random.uniform(-0.5, 0.5, count))
    expiry = random.integers(3, 1096, count) / 365.0
    rate, dividend_yield = random.uniform(0.0, 0.1, count), random.uniform(0.0, 0.1, count)
    vol = np.exp(random.uniform(np.log(0.08), np.log(1.2), count))
    return _columns(vol, strike, expiry, rate, dividend_yield, random.random(count) < 0.5)


def wide(count: int) -> Columns:
    """Options as they are hard to price."""
    random = np.random.default_rng(7)
    vol = np.exp(random.uniform(np.log(0.03), np.log(2.0), count))
    expiry = np.exp(random.uniform(np.log(2.0 / 8760.0), np.log(3.0), count))
    strike = SPOT * np.exp(random.uniform(-4.0, 4.0, count) * vol * np.sqrt(expiry))
    rate, dividend_yield = random.uniform(0.0, 0.1, count), random.uniform(0.0, 0.1, count)
    fifth, tenth = count // 5, count // 10
    rate[:fifth], dividend_yield[fifth : 2 * fifth] = 0.0, 0.0
    rate[2 * fifth : 2 * fifth + tenth] *= 0.01
    dividend_yield[2 * fifth + tenth : 3 * fifth] *= 0.01
    dividend_yield[3 * fifth : 3 * fifth + tenth] = rate[3 * fifth : 3 * fifth + tenth]
    return _columns(vol, strike, expiry, rate, dividend_yield, random.random(count) < 0.5)


def _columns(*values: np.ndarray) -> Columns:
    return dict(zip(("vol", "strike", "expiry", "rate", "dividend_yield", "is_call"), values, strict=True))


class QuantLib:
    """QuantLib: every option with a process and an engine of its own, built beforehand, and calculated anew each time.

    Options that share a process are all told of every change of it, which takes longer than pricing one of them.
    """

    def __init__(self) -> None:
        """Set the date."""
        self.today = ql.Date(2, 1, 2026)
        ql.Settings.instance().evaluationDate = self.today

    def pricer(self, engine: Engine, options: Columns) -> Callable[[], np.ndarray]:
        """Prices of the options; all expire in a year, their numbers rescaled, so that no expiry is rounded to days."""
        exercise, day_count = ql.AmericanExercise(self.today, self.today + 365), ql.Actual365Fixed()
        spot, built = ql.QuoteHandle(ql.SimpleQuote(SPOT)), []
        for vol, strike, years, rate, dividend_yield, is_call in zip(*options.values(), strict=True):
            rates, yields = (
                ql.YieldTermStructureHandle(ql.FlatForward(self.today, float(x * years), day_count))
                for x in (rate, dividend_yield)
            )
            flat = ql.BlackConstantVol(self.today, ql.NullCalendar(), float(vol * np.sqrt(years)), day_count)
            process = ql.BlackScholesMertonProcess(spot, yields, rates, ql.BlackVolTermStructureHandle(flat))
            payoff = ql.PlainVanillaPayoff(ql.Option.Call if is_call else ql.Option.Put, float(strike))
            option = ql.VanillaOption(payoff, exercise)
            option.setPricingEngine(engine(process))
            built.append((option, process))

        def run() -> np.ndarray:
            found = np.empty(len(built))
            for i, (option, _) in enumerate(built):
                option.recalculate()
                found[i] = option.NPV()
            return found

        return run


def engines() -> dict[str, Engine]:
    """QuantLib's engines for speed: its schemes by name, cheaper ones of the same kind, and two approximations."""
    qdfp = ql.QdFpAmericanEngine
    found: dict[str, Engine] = {
        "QuantLib QdFp fast": lambda process: qdfp(process, qdfp.fastScheme()),
        "QuantLib QdFp accurate": lambda process: qdfp(process, qdfp.accurateScheme()),
        "QuantLib QD+": ql.QdPlusAmericanEngine,
        "QuantLib Bjerksund-Stensland": ql.BjerksundStenslandApproximationEngine,
    }
    for numbers in ((4, 1, 4, 8), (5, 1, 5, 10), (5, 1, 6, 12)):
        scheme = ql.QdFpLegendreScheme(*numbers)
        found[f"QuantLib QdFp {numbers}"] = lambda process, scheme=scheme: qdfp(process, scheme)
    return found


def jaxcal(options: Columns, dtype: type = np.float64) -> Callable[[], np.ndarray]:
    """Ours."""
    placed = {name: jnp.asarray(column, None if column.dtype == bool else dtype) for name, column in options.items()}
    numbers = [placed[name] for name in ("vol", "strike", "expiry")]
    market = {name: placed[name] for name in ("rate", "dividend_yield", "is_call")}
    return lambda: np.asarray(jc.american_price(*numbers, spot=SPOT, **market))


def jaxcal_vol(options: Columns, price: np.ndarray) -> Callable[[], np.ndarray]:
    """Our implied volatilities."""
    placed = {name: jnp.asarray(column) for name, column in options.items()}
    market = {name: placed[name] for name in ("rate", "dividend_yield", "is_call")}
    target = jnp.asarray(price)
    return lambda: np.asarray(jc.american_vol(target, placed["strike"], placed["expiry"], spot=SPOT, **market))


def write_goldens(quantlib: QuantLib, reference: Engine) -> None:
    """Prices of some of both sets, and of some with negative rates and yields."""
    below = ordinary(60)
    below["rate"], below["dividend_yield"] = below["rate"] - 0.03, below["dividend_yield"] - 0.03
    gain = np.where(below["is_call"], below["dividend_yield"], below["rate"])
    loss = np.where(below["is_call"], below["rate"], below["dividend_yield"])
    single = (gain > 0.0) | (loss >= gain)
    frames = [pd.DataFrame(ordinary(60)), pd.DataFrame(wide(100)), pd.DataFrame(below)[single]]
    table = pd.concat(frames, ignore_index=True)
    table["price"] = quantlib.pricer(reference, {str(name): table[name].to_numpy() for name in table})()
    table.to_csv(GOLDENS, index=False, float_format="%.12g")


def main() -> None:
    """Parse the command line, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each runner")
    parser.add_argument("--finite-differences", type=int, default=20, help="options that a fine grid prices too")
    parser.add_argument("--goldens", action="store_true", help="write the prices that tests compare with")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    console, quantlib = Console(width=160), QuantLib()
    qdfp = ql.QdFpAmericanEngine

    def reference(process: ql.BlackScholesMertonProcess) -> ql.PricingEngine:
        return qdfp(process, qdfp.highPrecisionScheme())

    def grid(process: ql.BlackScholesMertonProcess) -> ql.PricingEngine:
        return ql.FdBlackScholesVanillaEngine(process, 2000, 2000)

    if arguments.goldens:
        write_goldens(quantlib, reference)
        return

    rows = []
    for name, options in (("ordinary", ordinary(arguments.options)), ("wide", wide(arguments.options))):
        exact = quantlib.pricer(reference, options)()
        few = {column: values[: arguments.finite_differences] for column, values in options.items()}
        over = np.maximum(SPOT, options["strike"])
        apart = np.abs(quantlib.pricer(grid, few)() - exact[: len(few["vol"])]) / over[: len(few["vol"])]
        console.print(f"{name}: reference and finite differences are {apart.max():.1e} apart on {apart.size} options")
        repeated = {column: np.tile(values, COPIES) for column, values in options.items()}
        runners = {"jaxcal": (jaxcal(repeated), COPIES), "jaxcal, float32": (jaxcal(repeated, np.float32), COPIES)}
        runners |= {"jaxcal, to volatility": (jaxcal_vol(options, exact), 1)}
        runners |= {key: (quantlib.pricer(engine, options), 1) for key, engine in engines().items()}
        cpu: dict[str, list[float]] = {key: [] for key in runners}
        wall: dict[str, list[float]] = {key: [] for key in runners}
        found, first = {}, {}
        for key, (run, _) in runners.items():
            began = time.perf_counter()
            found[key] = run()[: arguments.options]
            first[key] = time.perf_counter() - began
        for turn in range(arguments.rounds):
            for key in list(runners)[:: 1 if turn % 2 == 0 else -1]:
                run, copies = runners[key]
                began, began_cpu = time.perf_counter(), time.process_time()
                run()
                cpu[key].append((time.process_time() - began_cpu) / copies / arguments.options * 1e6)
                wall[key].append((time.perf_counter() - began) / copies / arguments.options * 1e6)
        for key in runners:
            target = options["vol"] if "volatility" in key else exact / over
            error = np.abs((found[key] if "volatility" in key else found[key] / over) - target)
            if "volatility" in key:  # where a change of 1e-6 would show in the price of the reference
                moves = found["jaxcal"] > 0.0
                up = jaxcal({**options, "vol": options["vol"] + 1e-3})()
                error = error[moves & ((up - jaxcal(options)()) > 1e-4 * SPOT)]
            rows.append(
                {
                    "set": name, "runner": key, "CPU us an option": round(median(cpu[key]), 3),
                    "wall us an option": round(median(wall[key]), 3),
                    "times less CPU": round(median(cpu[key]) / median(cpu["jaxcal"]), 1),
                    "times less wall": round(median(wall[key]) / median(wall["jaxcal"]), 1),
                    "max error": f"{np.nanmax(error):.1e}", "99 % below": f"{np.nanquantile(error, 0.99):.1e}",
                    "NaN": int(np.isnan(error).sum()), "first s": round(first[key], 2),
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    shown = Table(*table.columns, title=f"{arguments.options:,} American options a set")
    for row in table.astype(str).itertuples(index=False):
        shown.add_row(*row)
    console.print(shown)
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = [f"# {key}: {value}" for key, value in machine.description().items()]
    path = arguments.out / "american.csv"
    path.write_text("\n".join(lines) + "\n" + table.to_csv(index=False))
    console.print(f"written: {os.path.relpath(path)}")


if __name__ == "__main__":
    main()
