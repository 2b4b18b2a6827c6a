"""What a result was measured on: hardware, versions, commit, date."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jaxcal", "jax", "jaxlib", "numpy", "scipy", "QuantLib", "optimistix", "fourier-option-pricer", "pyfeng")


def processor() -> str:
    """The processor's name where the system tells it, and the number of cores this process may use."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def commit() -> str:
    """Short hash of the checked-out commit, marked where the tree has changes; a word where there is none."""
    root = Path(__file__).resolve().parents[2]
    try:
        run = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=10"]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "not committed"


def versions() -> str:
    """The version of every package that takes part; missing ones are left out."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def description() -> dict[str, str]:
    """All of it, as the lines above a table; the load shows whether something else was running."""
    return {
        "machine": processor(),
        "load of the machine before the run": f"{os.getloadavg()[0]:.2f}",
        "system": f"{platform.system()} {platform.release()}",
        "versions": versions(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }
