"""What users rely on stays: names, arguments, commands, options, exit codes, files and sentences.

`goldens/contract.json` is what there was when the list was made. More may come; nothing of it may go, or change.
`python tests/test_contract.py` adds what is new to the list (run it when something public is added).
"""

import importlib
import inspect
import json
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import pandas as pd
import pytest
import typer.main

import jaxcal as jc

GOLDEN = Path(__file__).parent / "goldens" / "contract.json"

# Places that pages of the documentation named before there was anything shorter.
DEEP = (
    "jaxcal.bulk.job.run_job",
    "jaxcal.bulk.ray_engine.RayEngine",
    "jaxcal.bulk.settings.Settings",
    "jaxcal.calibration.replay.replay",
    "jaxcal.calibration.weights.weights_from",
    "jaxcal.live.session.LiveSession",
    "jaxcal.models.complex_math.Cartesian",
    "jaxcal.report.parameter_path.write_path",
    "jaxcal.solvers.implicit.minimum",
)

# Where pages send readers now: attributes of `jc`, without another import.
PLACES = (
    "bulk.run_job", "bulk.Settings", "bulk.RayEngine", "bulk.read_dataset", "bulk.BulkError", "bulk.Summary",
    "live.LiveSession", "live.Recalibration", "live.DeribitFeed", "streams.replay", "report.write_path",
    "solvers.minimum", "models.complex_math.Cartesian",
)  # fmt: skip


def parameters(function: Any) -> list[str]:
    """Names of the arguments, the keyword-only ones with a star, those that may be left out with an equals sign."""
    if inspect.isclass(function) and issubclass(function, Exception):
        return []
    given = inspect.signature(function).parameters.values()
    marks = {
        inspect.Parameter.VAR_POSITIONAL: "*",
        inspect.Parameter.VAR_KEYWORD: "**",
        inspect.Parameter.KEYWORD_ONLY: "*",
    }
    return [marks.get(x.kind, "") + x.name + ("" if x.default is x.empty else "=") for x in given if x.name != "self"]


def names() -> dict[str, Any]:
    public = {name: value for name in dir(jc) if not inspect.ismodule(value := getattr(jc, name))}
    found: dict[str, Any] = {}
    for name, value in sorted(public.items()):
        found[name] = {"parameters": parameters(value)}
        if inspect.isclass(value):
            attributes = {x for kind in value.__mro__ if kind.__module__.startswith("jaxcal") for x in vars(kind)}
            attributes |= set(getattr(value, "__dataclass_fields__", ()))
            found[name]["attributes"] = sorted(x for x in attributes if not x.startswith("_"))
    return found


def commands() -> dict[str, Any]:
    from jaxcal.cli import app

    found: dict[str, Any] = {}

    def visit(command: Any, path: tuple[str, ...]) -> None:
        options = [sorted([*option.opts, *option.secondary_opts]) for option in command.params]
        codes = re.search(r"Exit codes:(.*)", command.help or "", flags=re.S)
        found[" ".join(path)] = {
            "options": sorted(" ".join(option) for option in options),
            "exit_codes": re.findall(r"\b\d+\b", codes.group(1)) if codes else [],
        }
        for name, child in getattr(command, "commands", {}).items():
            visit(child, (*path, name))

    visit(typer.main.get_command(app), ("jaxcal",))
    return found


def sentences() -> dict[str, Any]:
    from jaxcal.market.tables.verdict import Verdict
    from jaxcal.streams.update import Update

    found = {f"Outcome.{x.name}": [int(x), x.sentence] for x in jc.Outcome}
    found |= {f"Update.{x.name}": [int(x), x.sentence] for x in Update}
    return found | {f"Verdict.{x.name}": [x.value] for x in Verdict}


def files() -> dict[str, Any]:
    from jaxcal.bulk.output.output_schema import quote_schema, surface_schema
    from jaxcal.streams.replay import replay

    surface = jc.Surface.from_vols([0.5], [90.0, 100.0, 110.0], [[0.21, 0.2, 0.2]], forward=100.0)
    fit, fits = jc.calibrate(jc.BlackScholes, surface), jc.calibrate_many(jc.BlackScholes, [surface])
    comparison = jc.compare({"flat": jc.BlackScholes}, surface, repeats=0)
    step = {("X", pd.Timestamp("2026-03-02T16:00Z")): surface}
    with tempfile.TemporaryDirectory() as folder:
        written = {**jc.write_fit(fit, folder), **jc.write_comparison(comparison, folder)}
        record = json.loads(written["parameters"].read_text(encoding="utf-8"))
        compared = json.loads(written["record"].read_text(encoding="utf-8"))
        names = sorted(path.name for path in written.values())
    columns = {
        "Fit.to_frame": fit.to_frame(),
        "Fits.to_frame": fits.to_frame(),
        "Comparison.to_frame": comparison.to_frame(),
        "replay": replay(jc.Recalibrator(jc.BlackScholes), step),
    }
    return {
        "names": names,
        "parameters.json": list(record),
        "comparison.json": list(compared),
        "comparison.json, models": list(compared["models"][0]),
        "surfaces of a bulk job": [f"{x.name}: {x.type}" for x in surface_schema(jc.Heston)],
        "quotes of a bulk job": [f"{x.name}: {x.type}" for x in quote_schema()],
        **{name: list(frame.columns) for name, frame in columns.items()},
    }


PARTS = {"names": names, "commands": commands, "sentences": sentences, "files": files}


def missing(before: Any, now: Any, place: str = "") -> list[str]:
    """What was there before and is not now; in a list, the order counts too."""
    if isinstance(before, dict):
        gone = [f"{place}/{name}" for name in before if name not in now]
        return gone + [x for name in before if name in now for x in missing(before[name], now[name], f"{place}/{name}")]
    if isinstance(before, list):
        kept = [item for item in now if item in before]
        return [] if kept == before else [f"{place}: {before} became {now}"]
    return [] if before == now else [f"{place}: {before!r} became {now!r}"]


@pytest.mark.parametrize("part", PARTS)
def test_nothing_that_users_rely_on_went(part: str) -> None:
    before = json.loads(GOLDEN.read_text(encoding="utf-8"))[part]
    assert missing(before, PARTS[part]()) == []


@pytest.mark.parametrize("part", PARTS)
def test_the_list_has_all_there_is(part: str) -> None:
    listed = json.loads(GOLDEN.read_text(encoding="utf-8"))[part]
    assert missing(json.loads(json.dumps(PARTS[part]())), listed) == [], "run python tests/test_contract.py"


@pytest.mark.parametrize("place", PLACES)
def test_folders_offer_what_pages_name(place: str) -> None:
    value: Any = jc
    for name in place.split("."):
        value = getattr(value, name)
    assert callable(value)


@pytest.mark.parametrize("place", DEEP)
def test_places_that_pages_named_can_be_imported(place: str) -> None:
    module, _, name = place.rpartition(".")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        assert hasattr(importlib.import_module(module), name)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    GOLDEN.write_text(json.dumps({part: found() for part, found in PARTS.items()}, indent=1) + "\n", encoding="utf-8")
