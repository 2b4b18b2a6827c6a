"""Pages of the site that stand elsewhere in the project, and links to them: a hook of mkdocs.

Notebooks become pages from their text; `CONTRIBUTING.md`, the change log and the accounts of the benchmarks become
pages as they are. In every page a link to a file of the project becomes one to its page, or plain text where it has
none, such as a source file: so pages can be read in the repository and on the site.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = ("CONTRIBUTING.md", "CHANGELOG.md", "notebooks/*.py", "benchmarks/README.md", "benchmarks/results/*.md")
_LINK = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<target>[^()#\s:]+)(?P<anchor>#[^()\s]*)?\)")
_FENCE = re.compile(r"^```.*?^```$", flags=re.MULTILINE | re.DOTALL)


def pages_elsewhere() -> dict[str, str]:
    """Path on the site of every page that is not in `docs/`, by its path in the project."""
    paths = [path.relative_to(ROOT).as_posix() for pattern in ELSEWHERE for path in sorted(ROOT.glob(pattern))]
    return {path: re.sub(r"\.py$", ".md", path) for path in paths}


def notebook_page(source: str) -> str:
    """The page of a notebook in jupytext's percent format: its text, and its code in fences."""
    cells = re.split(r"^# %%", source, flags=re.MULTILINE)[1:]
    parts = []
    for cell in cells:
        kind, _, body = cell.partition("\n")
        if "[markdown]" in kind:
            parts.append(re.sub(r"^# ?", "", body.strip(), flags=re.MULTILINE))
        elif code := re.sub(r"^# %.*\n", "", body, flags=re.MULTILINE).strip():
            parts.append(f"```python\n{code}\n```")
    return "\n\n".join(parts) + "\n"


def with_links_of_the_site(markdown: str, place: str) -> str:
    """A page with its links as the site has them; `place` is where the page stands in the project."""
    elsewhere = pages_elsewhere()

    def on_site(path: str) -> str | None:
        return elsewhere.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)

    def link(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(place), match["target"]))
        path = "docs/index.md" if path == "README.md" else path
        if path.startswith("..") or not (ROOT / path).exists():
            return match[0]  # mkdocs says what is wrong with it
        page, own = on_site(path), on_site(place) or place
        if page is None:
            return match["text"]
        return f"[{match['text']}]({posixpath.relpath(page, posixpath.dirname(own) or '.')}{match['anchor'] or ''})"

    fences = _FENCE.findall(markdown)
    prose = [_LINK.sub(link, part) for part in _FENCE.split(markdown)]
    return "".join(part for pair in zip(prose, [*fences, ""], strict=True) for part in pair)


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    for path, page in pages_elsewhere().items():
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=notebook_page(text) if path.endswith(".py") else text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Puts the links right."""
    places = {site: path for path, site in pages_elsewhere().items()}
    return with_links_of_the_site(markdown, places.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
