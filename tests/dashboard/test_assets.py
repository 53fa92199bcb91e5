"""What browsers load: vendored files as recorded, pages that stay small, templates within the policy."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from dashboard.conf import ROOT

STATIC = ROOT / "dashboard/static/dashboard"
VENDORED = json.loads((STATIC / "vendor/vendor.json").read_text())
TEMPLATES = [path for path in ROOT.glob("**/templates/**/*.html") if ".venv" not in path.parts]
FRAME = ["signalbox.css", "signalbox.js", "favicon.svg", "vendor/htmx.min.js"]
FONTS = ["fonts/plex-sans.woff2", "fonts/plex-mono.woff2"]
KILOBYTE = 1000


@pytest.mark.parametrize("item", VENDORED, ids=lambda item: item["file"])
def test_vendored_files_are_untouched(item):
    assert hashlib.sha512((STATIC / item["file"]).read_bytes()).hexdigest() == item["sha512"]
    assert item["version"]
    assert item["licence"]
    assert (STATIC / item["licence_file"]).stat().st_size > 100


def test_every_vendored_file_is_on_record():
    found = {
        str(path.relative_to(STATIC))
        for folder in ("vendor", "fonts")
        for path in (STATIC / folder).iterdir()
    }
    known = {item[key] for item in VENDORED for key in ("file", "licence_file")} | {"vendor/vendor.json"}
    assert found == known


def test_the_frame_of_a_page_is_light():
    """A list page has 150 kB in all; the frame leaves it 20 of them, uncompressed."""
    assert len(FRAME) + len(FONTS) + 1 <= 12
    assert sum((STATIC / name).stat().st_size for name in FRAME + FONTS) < 140 * KILOBYTE


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_keep_to_the_content_security_policy(path):
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=|<style|\son[a-z]+\s*=|javascript:|hx-on", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"""(?:src|href)=["']https?://""", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_templates_speak_htmx_4(path):
    """Names that version 4 dropped or renamed would be ignored without a word."""
    assert not re.search(
        r"hx-(?:ext|vars|params|disinherit|inherit|request|prompt|history-elt)\b", path.read_text()
    )


def test_every_shape_that_is_named_exists():
    sprite = (ROOT / "templates/dashboard/parts/_sprite.html").read_text()
    shapes = set(re.findall(r'<symbol id="s-([^"]+)"', sprite))
    text = "".join(path.read_text() for path in TEMPLATES)
    named = set(re.findall(r'{% icon "([^"]+)" %}', text))
    named |= {
        name
        for found in re.findall(r'{% status "(\w+)" "[^"]*"(?: "(\w+)")?', text)
        for name in found
        if name
    }
    assert named
    assert named <= shapes


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_have_names_and_their_headings_a_scope(path):
    text = path.read_text()
    named = re.findall(r"<table\b[^>]*(?:aria-labelledby=[^>]*>|>\s*<caption)", text)
    assert len(named) == len(re.findall(r"<table\b", text))
    assert not re.search(r"<th\b(?![^>]*scope=)", text)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_are_no_buttons(path):
    """The space bar presses a button, which a link does not answer."""
    assert not re.search(r"""<a\b[^>]*(?:role="button"|aria-pressed)""", path.read_text())


def test_no_class_is_styled_and_no_shape_drawn_that_nothing_uses():
    style = re.sub(r"/\*.*?\*/", "", (STATIC / "signalbox.css").read_text(), flags=re.DOTALL)
    sprite = (ROOT / "templates/dashboard/parts/_sprite.html").read_text()
    code = [*(ROOT / "dashboard").rglob("*.py"), *(ROOT / "orders").rglob("*.py"), STATIC / "signalbox.js"]
    pages = [*TEMPLATES, *(ROOT / "orders").rglob("*.html")]
    named = re.findall(r'(?:class|icon)[= ]"([^"]*)"', "".join(path.read_text() for path in pages))
    named += re.findall(r"""(?:"[^"\n]*"|'[^'\n]*')""", "".join(path.read_text() for path in code))
    words = set(re.findall(r"[\w-]+", " ".join(named)))
    styled = set(re.findall(r"\.([a-z][\w-]*)", style)) - {"woff2"}
    assert styled
    assert not styled - words
    assert not set(re.findall(r'id="s-(i-[^"]+)"', sprite)) - words
