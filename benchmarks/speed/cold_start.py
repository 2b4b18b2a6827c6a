"""A fresh process from its first import to its first fit, and `import jax` alone beside it.

`measure` starts one child interpreter per figure; the child starts its clock before its first import and prints the
seconds, so the start of the interpreter itself (about 20 ms, the same for all) is left out. Run alone with
`python -m benchmarks.speed.cold_start --repeats 3`.
"""

import time

START = time.perf_counter()  # before any other import: these are what is measured

import argparse  # noqa: E402
import importlib  # noqa: E402
import os  # noqa: E402
import statistics  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CACHE_SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def child(what: str, work_file: str | None) -> None:
    """Do one thing in this process and print the seconds since it began."""
    if work_file is None:
        importlib.import_module(what)
    else:
        from benchmarks.inputs.work import Work
        from benchmarks.peers import prepare

        if what == "jaxcal" and os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            import jaxcal as jc

            jc.enable_compilation_cache()  # as its users do: it keeps executables in that folder too
        prepare(what, Work.load(Path(work_file)))()
    print(time.perf_counter() - START)


def spawn(what: str, work_file: Path | None = None, cache: Path | None = None) -> float:
    """Seconds of one child; `cache` is a folder for JAX's persistent compilation cache, None for no cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_PERSISTENT_CACHE", "JAX_COMPILATION_CACHE"))}
    if cache is not None:
        kept |= CACHE_SETTINGS | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.speed.cold_start", "--child", what]
    if work_file is not None:
        command += ["--work", str(work_file)]
    done = subprocess.run(command, cwd=ROOT, env=kept, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"cold run of {what} failed: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.split()[-1])


def measure(names: list[str], work_file: Path, repeats: int) -> dict[str, tuple[float, ...]]:
    """All timings of each thing: `import jax`, every runner without a cache, and `<runner>, cached` where JAX compiles.

    Repetitions of different things take turns. One turn before the first fills the caches and is thrown away.
    """
    with tempfile.TemporaryDirectory() as folder:
        jobs = {"import jax": lambda: spawn("jax")}
        for name in names:
            jobs[name] = lambda name=name: spawn(name, work_file)
            cache = Path(folder) / name.replace(" ", "_")
            jobs[f"{name}, cached"] = lambda name=name, cache=cache: spawn(name, work_file, cache)
            spawn(name, work_file, cache)
            if not cache.exists():  # this runner compiles nothing
                del jobs[f"{name}, cached"]
        spawn("jax")
        times: dict[str, list[float]] = {what: [] for what in jobs}
        for _ in range(repeats):
            for what, job in jobs.items():
                times[what].append(job())
    return {what: tuple(taken) for what, taken in times.items()}


def main() -> None:
    """Parse the command line: the child's side, or a small table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    parser.add_argument("--work")
    parser.add_argument("--only", nargs="*", default=["jaxcal"])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.work)
        return
    from benchmarks.inputs.surfaces import synthetic_work

    with tempfile.TemporaryDirectory() as folder:
        work_file = Path(folder) / "work.npz"
        synthetic_work().save(work_file)
        for what, taken in measure(arguments.only, work_file, arguments.repeats).items():
            print(f"{what:32s} {statistics.median(taken):7.3f} s   ({min(taken):.3f} to {max(taken):.3f})")


if __name__ == "__main__":
    main()
