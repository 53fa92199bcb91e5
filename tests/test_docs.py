"""The documentation keeps its word: commands, settings, links, dependencies, nothing of any one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from dashboard.conf import DashboardConf
from orders.conf import OrdersConf
from workers.conf import Conf, WorkersConf

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PATTERNS = sorted((ROOT / "docs" / "patterns").glob("*.md"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Ids of the headings, as the usual renderers make them."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(page.read_text()))
    return {heading.strip().replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_command_exists(page: Path) -> None:
    code = re.findall(r"`([^`\n]+)`|^ {4}(.+)$", page.read_text(), re.MULTILINE)
    asked = re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(inline or block for inline, block in code))
    assert set(asked) <= TARGETS


def test_the_readme_has_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "    make up " in text
    assert "    make test " in text


@pytest.mark.parametrize("conf", [WorkersConf, DashboardConf, OrdersConf])
def test_every_setting_is_documented(conf: type[Conf]) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    missing = [f.alias for f in conf.model_fields.values() if f"`{f.alias}`" not in text]
    assert missing == []


def test_no_setting_is_documented_that_is_none() -> None:
    rows = re.findall(r"^\| (`[^|]+`) \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    told = set(re.findall(r"`([A-Z_]+)`", " ".join(rows)))
    confs = (WorkersConf, DashboardConf, OrdersConf)
    known = {str(f.alias) for conf in confs for f in conf.model_fields.values()}
    assert told - known == {"PORT", "PYTHON", "DEMO", "DEMO_PASSWORD", "TEMPORAL_CLI", "NO_COLOR"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES[2:], ids=name)
def test_every_page_is_in_the_index(page: Path) -> None:
    folder = ROOT / "docs"
    index = folder / ("index.md" if page.parent == folder else f"{page.parent.name}.md")
    assert page == index or f"({page.relative_to(folder)})" in index.read_text()


@pytest.mark.parametrize("page", PATTERNS, ids=name)
def test_every_pattern_shows_an_example_that_a_test_runs(page: Path) -> None:
    """A block that begins with the comment `# tests/examples/<file>` stands in that file, word for word."""
    blocks = re.findall(
        r"^```python\n# (tests/examples/\w+\.py)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL
    )
    assert blocks, "a page of docs/patterns needs an example"
    assert [path for path, code in blocks if code.strip() not in (ROOT / path).read_text()] == []


@pytest.mark.parametrize("lock", ["requirements", "requirements-production", "requirements-dev"])
def test_every_direct_dependency_says_why_it_is_here(lock: str) -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    lines = (ROOT / f"{lock}.in").read_text().splitlines()
    wanted = [re.split(r"[\[<>=~ ]", line)[0] for line in lines if line and line[0] not in "#-"]
    assert [package for package in wanted if f"| {package} |" not in text] == []


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout: nobody can say which files belong to the project")
    return [ROOT / path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file()]


# Written so that this file does not find itself.
FOREIGN = re.compile(
    r"/(?:home|root|Users|work)/[\w.]+|\b(?:pypi|registry|index|mirror|proxy)[\w.-]*\.(?:com|dev|io|local|net|org)\b|--(?:extra-)?index"
    r"-url[ =]|-----BEGIN [A-Z ]*PRIVATE"
)


def test_no_file_speaks_of_one_machine_or_registry() -> None:
    found = []
    for path in tracked():
        if path.suffix in {".woff2", ".png", ".js", ".ico"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if FOREIGN.search(line):
                found.append(f"{name(path)}:{number}: {line.strip()[:120]}")
    assert found == []
