"""The pages of the documentation: every public name has its place, every link leads somewhere, the site has all."""

import inspect
import re
import unicodedata
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

import jaxcal

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINKED = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"))]
NAV = re.findall(r"^ +- (?:[\w ]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)


def prose(path: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda match: match[0].replace("[", "("), text)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and mkdocs make them of the same words."""
    if path.suffix != ".md":
        return set()
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S), flags=re.M
    ):
        plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip())
        names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return names


def entries() -> Counter[str]:
    """What the pages of the reference describe, by its full name."""
    texts = [path.read_text("utf-8") for path in (DOCS / "api").glob("*.md")]
    return Counter(name for text in texts for name in re.findall(r"^::: jaxcal\.([\w.]+)$", text, flags=re.MULTILINE))


def public_names(module: ModuleType) -> list[str]:
    names = [name for name in dir(module) if not name.startswith("_")]
    return [name for name in names if not inspect.ismodule(getattr(module, name))]


def test_every_public_name_stands_on_one_page_of_the_reference() -> None:
    found = entries()
    remedy = "add ::: jaxcal.NAME to a page of docs/api"
    assert {name: found[name] for name in public_names(jaxcal) if found[name] != 1} == {}, remedy
    top = [name for name in found if "." not in name]
    assert sorted(name for name in top if not hasattr(jaxcal, name)) == []


@pytest.mark.parametrize("folder", ["bulk", "live", "report", "solvers", "streams"])
def test_what_a_folder_offers_is_described(folder: str) -> None:
    module, found = getattr(jaxcal, folder), entries()
    # one described at the top, or in a module of its own name, need not be described again
    described = {name for name in found if "." not in name} | {name.rpartition(".")[2] for name in found}
    assert [name for name in public_names(module) if name not in described] == []
    assert all(callable(getattr(module, name)) for name in public_names(module))


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    wrong = []
    for target, anchor in re.findall(r"\]\(([^()#\s]*)(?:#([^()\s]*))?\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        place = (path.parent / target).resolve() if target else path
        if not place.exists() or (anchor and anchor not in anchors(place)):
            wrong.append(f"{target}#{anchor}")
    assert wrong == []


def test_the_site_names_every_page_once() -> None:
    pages = [path.relative_to(DOCS).as_posix() for path in PAGES]
    pages += [path.relative_to(ROOT).with_suffix(".md").as_posix() for path in (ROOT / "notebooks").glob("*.py")]
    elsewhere = ["CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md"]
    elsewhere += [path.relative_to(ROOT).as_posix() for path in (ROOT / "benchmarks" / "results").glob("*.md")]
    assert Counter(NAV) == Counter(pages + elsewhere)


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One heading\n[there](page.md#one-heading) `x[0](y)` [nowhere](page.md#two)\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="two"):
        test_links_lead_somewhere(page)
