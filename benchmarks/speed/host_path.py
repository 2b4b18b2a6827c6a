"""What `calibrate_many` costs beside the fits: `python -m benchmarks.speed.host_path`.

The path of an accelerator on this machine's processor, with what runs there replaced by results that are there already:
starting values and fits. What is left is Python and numpy: arguments, targets, pieces, statuses, results. Transfers are
not in it. CPU seconds, the best of five.

Writes `benchmarks/results/host_path.csv`.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import jaxcal as jc
from benchmarks.inputs.many_surfaces import many
from jaxcal.calibration.engine import dispatch, many_surfaces
from jaxcal.calibration.objective.fit_data import Target

RESULTS = Path(__file__).resolve().parents[1] / "results" / "host_path.csv"
DIFFERENT = 256  # surfaces, repeated


@contextmanager
def fits_replaced(surfaces: jc.Surface) -> Iterator[None]:
    """Fits and starting values on the device take no time: they are those of these surfaces, repeated."""
    piece = dispatch._ACCELERATOR_PIECES[-1]

    def filled(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: jnp.asarray(np.resize(leaf, (piece, *np.shape(leaf)[1:]))), tree)

    found = filled(jc.calibrate_many(jc.Heston, surfaces).parts[0].result)
    target = jax.tree.map(np.asarray, Target.of(surfaces))
    starts = filled(many_surfaces.starting_models(jc.Heston, target, np.dtype(float), None))
    with ExitStack() as patches:
        for module in (dispatch, many_surfaces):
            patches.enter_context(patch.object(module, "on_processors", lambda devices: False))
        patches.enter_context(patch.object(dispatch, "solve_batch", lambda *args: found))
        patches.enter_context(patch.object(many_surfaces, "starting_models_on_device", lambda *args: starts))
        yield


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--surfaces", type=int, nargs="+", default=[16384, 131072, 200000])
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    made, rows = many(DIFFERENT), []
    with fits_replaced(made.surface(np.arange(DIFFERENT))):
        for size in options.surfaces:
            surfaces = made.surface(np.arange(size) % DIFFERENT)
            seconds = []
            for _ in range(6):  # the first makes what the others find made
                begin = time.process_time()
                fits = jc.calibrate_many(jc.Heston, surfaces)
                assert len(fits.outcome) == len(fits.cost) == size
                seconds.append(time.process_time() - begin)
            best = min(seconds[1:])
            rows.append({"surfaces": size, "us a surface": 1e6 * best / size, "surfaces/s": round(size / best)})
            print(pd.Series(rows[-1]).to_string(), flush=True)
    pd.DataFrame(rows).to_csv(options.out, index=False, float_format="%.3g")
    print(f"written: {options.out}")


if __name__ == "__main__":
    main()
