"""The rules of docs/architecture.md that a machine can check; the import layers are checked by `make lint`."""

import ast
import importlib.metadata
import inspect
import re
from pathlib import Path

import pytest

import jaxcal

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = sorted((ROOT / "jaxcal").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
TEXTS = [
    path
    for folder in ("jaxcal", "tests", "benchmarks", "docs", "notebooks", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts and path.suffix in {"", ".py", ".md", ".csv", ".toml"}
] + [path for path in sorted(ROOT.iterdir()) if path.suffix in {".md", ".toml", ".cff", ".yaml"}]

PUBLIC = {name: value for name in dir(jaxcal) if not inspect.ismodule(value := getattr(jaxcal, name))}


def imports(tree: ast.AST) -> set[str]:
    """First part of every absolute import, wherever it stands."""
    nodes = list(ast.walk(tree))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]
    return {name.partition(".")[0] for name in names}


def test_version_is_the_installed_one() -> None:
    assert jaxcal.__version__ == importlib.metadata.version("jaxcal")


def test_no_file_is_too_long_to_read_in_one_sitting() -> None:
    lengths = {path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in LIBRARY}
    assert {path: length for path, length in lengths.items() if length > 400} == {}


def test_the_map_names_every_folder_and_no_other() -> None:
    """And every file that stands beside the folders."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    start = text.index("| folder |")
    rows = text[start : text.index("\n\n", start)].splitlines()[2:]
    named = [name for row in rows for name in re.findall(r"`([\w/]+(?:/|\.py))`", row.split("|")[1])]
    folders = {f"{path.parent.relative_to(ROOT / 'jaxcal').as_posix()}/" for path in LIBRARY} - {"./"}
    inner = {"venues/deribit/", "venues/deribit_stream/", "venues/cboe/", "venues/order_books/"}  # in one row
    beside = {path.name for path in LIBRARY if path.parent.name == "jaxcal" and not path.stem.startswith("__")}
    assert sorted(named) == sorted((folders - inner) | beside)


def test_no_folder_is_a_warehouse() -> None:
    roots = [ROOT / name for name in ("jaxcal", "tests", "benchmarks")]
    sizes = {
        folder.relative_to(ROOT): len([path for path in folder.glob("*.py") if path.stem != "__init__"])
        for root in roots
        for folder in (root, *(path for path in root.rglob("*") if path.is_dir()))
    }
    assert {folder: size for folder, size in sizes.items() if size > 15} == {}


def test_imports_stand_at_the_top() -> None:
    """But for those in docs/architecture.md, and those of commands, whose help does not wait for the library."""
    allowed = {
        "__init__.py": {"importlib"},
        "bulk/engines/ray_engine.py": {"ray"},
        "calibration/spec_record.py": {"jaxcal"},
        "compilation/kept_programs.py": {"jax"},
        "market/arbitrage/repair.py": {"scipy"},
        "market/forwards/put_call_parity.py": {"scipy"},
        "pricing/fourier.py": {"jaxcal"},
        "venues/deribit_stream/feed.py": {"websockets"},
    }
    found: dict[str, set[str]] = {}
    for path in LIBRARY:
        name, source = path.relative_to(ROOT / "jaxcal").as_posix(), path.read_text(encoding="utf-8")
        assert "TYPE_CHECKING" not in source, name
        nodes = [] if name.startswith("cli/") else ast.walk(ast.parse(source))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        if inner := set().union(*map(imports, functions)):
            found[name] = inner
    assert found == allowed


def test_files_are_named_after_nouns() -> None:
    vague = {"utils", "util", "helpers", "helper", "misc", "common"}
    assert [path for path in LIBRARY if path.stem in vague] == []


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_public_name_has_an_example_that_runs(name: str) -> None:
    assert ">>>" in (inspect.getdoc(PUBLIC[name]) or ""), f"jaxcal.{name} needs a docstring with an example"


def test_only_the_command_line_switches_on_64_bit() -> None:
    def switches(tree: ast.AST) -> bool:
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
        firsts = [call.args[0] for call in calls if ast.unparse(call.func).endswith("config.update")]
        return any(isinstance(first, ast.Constant) and first.value == "jax_enable_x64" for first in firsts)

    sources = {path.relative_to(ROOT / "jaxcal").as_posix(): path.read_text(encoding="utf-8") for path in LIBRARY}
    assert {name for name, source in sources.items() if switches(ast.parse(source))} <= {"cli/application.py"}


def test_tests_import_no_peer_of_the_benchmarks() -> None:
    peers = {"QuantLib", "foureng", "pyfeng", "benchmarks"}
    found = {
        path.name: names for path in TESTS if (names := imports(ast.parse(path.read_text(encoding="utf-8"))) & peers)
    }
    # what these test imports no peer
    expected = ("bulk_tables", "first_calls", "gpu_compile", "market_data", "model_tables", "uncertainty")
    assert found == {f"test_{name}.py": {"benchmarks"} for name in expected}


def test_no_path_of_one_machine_is_written_down() -> None:
    absolute = re.compile(r"(?<![\w./~-])/(?:work|home|root|Users|tmp|mnt|opt)/\w")
    texts = [path for path in TEXTS if path != Path(__file__).resolve()]
    assert [path for path in texts if absolute.search(path.read_text(encoding="utf-8"))] == []
