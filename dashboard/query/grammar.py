"""Query text, parsed and written out again: nothing that stands outside this grammar reaches the server.

    expression  = conjunction {OR conjunction}
    conjunction = condition {AND condition}
    condition   = NOT condition | "(" expression ")" | name test
    test        = operator value | [NOT] STARTS_WITH value | [NOT] IN "(" value {"," value} ")"
                | [NOT] BETWEEN value AND value | IS [NOT] NULL
    operator    = "=" | "!=" | "<>" | "<" | "<=" | ">" | ">="
    name        = word | "`" characters "`"
    value       = string | number | TRUE | FALSE

The parser of the server reads text in ways that the text does not show: `//`, `--`, `#` and `/*` begin
comments, `@@x'` is one identifier with its quote. A check of text that another parser reads later is
therefore never complete. Here the text becomes a tree of the parts above, and the server gets what the tree
writes: every name in back-quotes, every string in quotes of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from workers.client.visibility import Unusable, quote

LONGEST = 4000  # characters
DEEPEST = 40  # parentheses and NOT within each other; the parser calls itself for each
EXCERPT = 20  # characters of the text that a message repeats
TOKEN = re.compile(
    r"""[ \t\r\n]*+(?:
    (?P<string>'(?:[^'\\]|\\.|'')*+'|"(?:[^"\\]|\\.|"")*+")
    |`(?P<quoted>[^`\x00-\x1f\x7f]{1,255})`
    |(?P<number>[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?)(?![\w.@$])
    |(?P<word>[A-Za-z_][A-Za-z0-9_]{0,254}+)(?![\w@$])
    |(?P<operator><=(?!>)|>=|!=|<>|=(?!=)|<(?![<=>])|>(?![>=]))
    |(?P<mark>[(),])
    |(?P<end>\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
WORDS = frozenset({"AND", "OR", "NOT", "IN", "IS", "NULL", "BETWEEN", "STARTS_WITH", "TRUE", "FALSE"})
# How the server reads a character after a backslash; any other stands for itself.
ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a"}
ESCAPED = {mark: re.compile(rf"\\(.)|{mark}{mark}", re.DOTALL) for mark in "'\""}
CONDITIONS_ONLY = "Write conditions only, such as Stage = 'charging'."
CLAUSES = {
    "ORDER": "ORDER BY cannot be used here: the server lists open runs first, then the newest.",
    "GROUP": "GROUP BY cannot be used here: the counts above the list are the groups.",
    "LIMIT": "LIMIT cannot be used here: choose the page size below the list.",
    "LIKE": "LIKE cannot be used here: write STARTS_WITH 'text'.",
    **dict.fromkeys(("UNION", "SELECT", "HAVING", "INTO", "FROM"), CONDITIONS_ONLY),
}
COMMENT = "Comments cannot be used here: take it out, or put the text in quotes."
HOW_TO_COMPARE = "Write how to compare: = != < <= > >= IN (), BETWEEN ... AND ..., STARTS_WITH or IS NULL."
# What is wrong where no token begins, by the text that stands there.
WRONG = (
    (re.compile(r"--|//|/\*|#"), COMMENT),
    (re.compile(r"['\"]"), "This quote is not closed: add the same quote where the value ends."),
    (re.compile(r"`"), "This back-quote is not closed: add one where the name ends."),
    (re.compile(r"[+-]?[0-9.]"), "Write a number with digits and one point: 12480.50."),
    (re.compile(r"==|<=>"), "Write = to compare."),
    (re.compile(r"&&?"), "Write AND."),
    (re.compile(r"\|\|?"), "Write OR."),
    (re.compile(r"!"), "Write != or NOT."),
    (re.compile(r";"), "One query alone can be used here: take the semicolon out."),
    (re.compile(r""), "This character can stand only inside quotes."),
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A name with its test. `values` are written out already: literals of our own making."""

    name: str
    operator: str
    values: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.operator.endswith("IN"):
            return f"`{self.name}` {self.operator} ({', '.join(self.values)})"
        return " ".join((f"`{self.name}`", self.operator, " AND ".join(self.values))).rstrip()


@dataclass(frozen=True, slots=True)
class Negation:
    """NOT of one part."""

    part: Tree

    def __str__(self) -> str:
        return f"NOT ({self.part})"


@dataclass(frozen=True, slots=True)
class Junction:
    """Two parts or more, joined by `word`: AND or OR."""

    word: str
    parts: tuple[Tree, ...]

    def __str__(self) -> str:
        return f" {self.word} ".join(
            f"({part})" if isinstance(part, Junction) and part.word != self.word else str(part)
            for part in self.parts
        )


Tree = Comparison | Negation | Junction


class Token(NamedTuple):
    """`kind` is the group of TOKEN that matched; `key` is a word in capitals or a mark, empty for others."""

    kind: str
    key: str
    text: str
    at: int


def _refuse(text: str, at: int, sentence: str) -> Unusable:
    """What is wrong and where: `at` counts characters from 0, people count from 1."""
    near = " ".join(text[at : at + EXCERPT].split())
    place = f"character {at + 1} of your text, at “{near}”" if near else "the end of your text"
    return Unusable(f"{sentence} ({place})")


def _tokens(text: str) -> Iterator[Token]:
    """The tokens, the last of kind `end`. Raises Unusable where none begins."""
    at = 0
    while True:
        found = TOKEN.match(text, at)
        if found is None:
            at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n"))
            raise _refuse(text, at, next(why for begin, why in WRONG if begin.match(text, at)))
        kind = str(found.lastgroup)
        part = found[kind]
        key = part.upper() if kind == "word" else part if kind == "mark" else ""
        yield Token(kind, key, part, found.start(kind))
        if kind == "end":
            return
        at = found.end()


class _Parser:
    """Recursive descent over the tokens of one text; each method takes what it parses."""

    def __init__(self, text: str, deepest: int) -> None:
        self.text = text
        self.deepest = deepest
        self.tokens = _tokens(text)
        self.now = next(self.tokens)
        self.depth = 0

    def refuse(self, sentence: str) -> Unusable:
        return _refuse(self.text, self.now.at, CLAUSES.get(self.now.key, sentence))

    def take(self) -> Token:
        taken, self.now = self.now, next(self.tokens)
        return taken

    def taken(self, *keys: str) -> str:
        """One of these words or marks, taken; empty where another token stands."""
        key = self.now.key
        if key not in keys:
            return ""
        self.now = next(self.tokens)
        return key

    def whole(self) -> Tree:
        tree = self.expression()
        if self.now.kind != "end":
            extra = "This parenthesis closes none: take it out, or open one before it."
            raise self.refuse(extra if self.now.key == ")" else "Write AND or OR between two conditions.")
        return tree

    def expression(self) -> Tree:
        parts = [self.conjunction()]
        while self.taken("OR"):
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Junction("OR", tuple(parts))

    def conjunction(self) -> Tree:
        parts = [self.condition()]
        while self.taken("AND"):
            parts.append(self.condition())
        return parts[0] if len(parts) == 1 else Junction("AND", tuple(parts))

    def condition(self) -> Tree:
        if not (mark := self.taken("NOT", "(")):
            return self.comparison()
        self.depth += 1
        if self.depth > self.deepest:
            raise self.refuse(f"At most {self.deepest} parentheses can stand within each other.")
        tree = Negation(self.condition()) if mark == "NOT" else self.expression()
        if mark == "(" and not self.taken(")"):
            raise self.refuse("Close the parenthesis, or write AND or OR before the next condition.")
        self.depth -= 1
        return tree

    def comparison(self) -> Comparison:
        token = self.now
        if token.kind not in ("word", "quoted") or token.key in WORDS or token.key in CLAUSES:
            raise self.refuse("Write the name of a search attribute here, such as Stage.")
        self.take()
        if self.now.kind == "operator":
            operator = self.take().text.replace("<>", "!=")
            return Comparison(token.text, operator, (self.value(),))
        if self.taken("IS"):
            operator = "IS NOT NULL" if self.taken("NOT") else "IS NULL"
            if not self.taken("NULL"):
                raise self.refuse("Write NULL after IS.")
            return Comparison(token.text, operator)
        return self.word_test(token.text)

    def word_test(self, name: str) -> Comparison:
        negated = "NOT " if self.taken("NOT") else ""
        match self.taken("IN", "BETWEEN", "STARTS_WITH"):
            case "IN":
                values = self.values()
            case "BETWEEN":
                lower = self.value()
                if not self.taken("AND"):
                    raise self.refuse("Write AND and the upper value after BETWEEN.")
                return Comparison(name, f"{negated}BETWEEN", (lower, self.value()))
            case "STARTS_WITH":
                return Comparison(name, f"{negated}STARTS_WITH", (self.value(),))
            case _:
                raise self.refuse(HOW_TO_COMPARE)
        return Comparison(name, f"{negated}IN", values)

    def values(self) -> tuple[str, ...]:
        if not self.taken("("):
            raise self.refuse("Write the values in parentheses: ('a', 'b').")
        found = [self.value()]
        while self.taken(","):
            found.append(self.value())
        if not self.taken(")"):
            raise self.refuse("Write a comma and the next value, or close the parenthesis.")
        return tuple(found)

    def value(self) -> str:
        token = self.now
        if token.kind == "string":
            try:
                written = quote(_content(token.text))
            except Unusable as error:
                raise self.refuse(error.message) from None
        elif token.kind == "number":
            written = token.text.removeprefix("+")
        elif token.key in ("TRUE", "FALSE"):
            written = token.key.lower()
        elif token.key == "NULL":
            raise self.refuse("Write IS NULL or IS NOT NULL.")
        else:
            raise self.refuse("Write a value here: text in single quotes, a number, true or false.")
        self.take()
        return written


def _content(literal: str) -> str:
    """What a string literal means, as the server reads it."""
    mark = literal[0]
    return ESCAPED[mark].sub(lambda hit: ESCAPES.get(hit[1], hit[1]) if hit[1] else mark, literal[1:-1])


def parse(text: str, deepest: int = DEEPEST) -> Tree:
    """The tree of a query text. Raises Unusable with what is wrong, where, and what to write instead."""
    return _Parser(text, deepest).whole()


def rebuild(text: str) -> str:
    """Query text as a person typed it, parsed and written out again; empty for an empty one. Raises
    Unusable, also for one that is too long."""
    if len(text) > LONGEST:
        raise Unusable(f"The query is longer than {LONGEST} characters.")
    return rewrite(text, DEEPEST)


def rewrite(text: str, deepest: int = 3 * DEEPEST) -> str:
    """The same for text of any length; what `rebuild` wrote, with clauses of ours around it, always passes:
    at most each level has become two."""
    return str(parse(text, deepest)) if text.strip() else ""
