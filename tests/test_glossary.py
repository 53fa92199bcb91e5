"""The glossary holds: the words that it rules out stand in no identifier, no sentence and no page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("bench", "dashboard", "devtools", "orders", "workers")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
TEMPLATES = [
    *sorted((ROOT / "templates").rglob("*.html")),
    *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.html"))),
]
MOST_TERMS = 40
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
MARKUP = re.compile(
    r"{#.*?#}|{%\s*comment.*?endcomment\s*%}|{%.*?%}|{{.*?}}|<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL
)


def rows() -> list[tuple[str, list[str]]]:
    """The terms of the glossary, each with the words that are not used for it."""
    text = (ROOT / "docs" / "glossary.md").read_text()
    table = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")][2:]
    return [(cells[0].strip(), re.findall(r"[^,\s]+", cells[2]) if cells[2:] else []) for cells in table]


RULED_OUT = {word for _, words in rows() for word in words}
IN_TEXT = re.compile(rf"\b({'|'.join(sorted(RULED_OUT))})\b", re.IGNORECASE)


def identifiers(tree: ast.AST) -> Iterator[str]:
    """Every name that a module gives: to classes, functions, arguments, variables, attributes, imports."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=str(name)) | ast.AsyncFunctionDef(name=str(name)):
                yield name
            case ast.ClassDef(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name


def sentences(tree: ast.AST) -> Iterator[str]:
    """String literals that read as sentences, docstrings too; in an f-string a value counts as a word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text and text[0].isupper():
            yield text


def ruled_out(identifier: str) -> set[str]:
    return {part.lower() for part in PART.findall(identifier)} & RULED_OUT


def in_text(text: str) -> list[str]:
    return [text[max(0, hit.start() - 40) : hit.end() + 40] for hit in IN_TEXT.finditer(text)]


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_glossary_is_short_sorted_and_unambiguous() -> None:
    terms, words = [term for term, _ in rows()], [word for _, words in rows() for word in words]
    assert 0 < len(terms) <= MOST_TERMS
    assert terms == sorted(terms)
    assert words
    assert all(re.fullmatch(r"[a-z]+", word) for word in words)
    assert len(words) == len(set(words))
    assert not RULED_OUT & {name.strip() for term in terms for name in term.split(",")}


@pytest.mark.parametrize("name", ["told", "_asked", "WardenDesk", "is_stranger", "LONGEST_TOLD", "HTTPDesk"])
def test_a_word_is_found_in_any_spelling(name: str) -> None:
    assert ruled_out(name)


def test_no_identifier_is_a_word_that_is_ruled_out() -> None:
    found = [
        f"{relative(path)}: {name}"
        for path in SOURCES
        for name in {*path.relative_to(ROOT).with_suffix("").parts, *identifiers(ast.parse(path.read_text()))}
        if ruled_out(name)
    ]
    assert found == []


def test_no_sentence_of_the_code_has_a_word_that_is_ruled_out() -> None:
    found = [
        f"{relative(path)}: ...{hit}..."
        for path in SOURCES
        for text in sentences(ast.parse(path.read_text()))
        for hit in in_text(text)
    ]
    assert found == []


def test_no_page_shows_a_word_that_is_ruled_out() -> None:
    assert TEMPLATES
    found = [
        f"{relative(path)}: ...{hit}..."
        for path in TEMPLATES
        for hit in in_text(MARKUP.sub(" ", path.read_text()))
    ]
    assert found == []
