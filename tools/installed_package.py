"""What `make package` runs in an environment with nothing but the wheel and its dependencies.

It is there as a user has it: the library with its types and tables, a fit, and the command with its exit code.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

import jaxcal as jc

QUOTES = """expiry,strike,iv,forward
0.5,90,0.21,100
0.5,100,0.20,100
0.5,110,0.20,100
"""


def check(holds: bool, what: str) -> None:
    """Ends the run where something does not hold."""
    if not holds:
        raise SystemExit(f"the installed package: {what}")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """The command that was installed, without whatever else is on the path."""
    command = [str(Path(sys.executable).with_name("jaxcal")), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def main() -> None:
    """Checks one thing after the other."""
    package = Path(jc.__file__).parent
    check(package.is_relative_to(sys.prefix), f"imported from {package}, not from this environment")
    check((package / "py.typed").exists(), "py.typed is missing")
    fit = jc.calibrate(jc.BlackScholes, jc.Surface.from_quotes(jc.dax_quotes()))
    check(fit.converged, f"the fit of the DAX quotes says {fit.status}")
    # without the extras: they are asked for where they are needed, and not before
    check(jc.bulk.RayEngine(workers=1).workers == 1, "jc.bulk needs an extra")
    check(callable(jc.live.LiveSession), "jc.live needs an extra")
    version = run("--version")
    check(version.returncode == 0 and jc.__version__ in version.stdout, f"jaxcal --version: {version}")
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "quotes.csv"
        table.write_text(QUOTES, encoding="utf-8")
        fitted = run("calibrate", str(table), "--model", "black-scholes", "--out", folder)
        check(fitted.returncode == 0, f"jaxcal calibrate: {fitted}")
        check((Path(folder) / "smiles.png").exists(), f"jaxcal calibrate drew no picture: {fitted}")
    print(f"jaxcal {jc.__version__}, installed: it imports, fits and draws")


if __name__ == "__main__":
    main()
