"""Query texts by a grammar of their own, right and hostile: what a person may type, and what an attacker
would."""

from __future__ import annotations

from random import Random

# With one tenant's clause in front, and nothing but two levels of parentheses around, these list every
# tenant's runs: the parentheses in what the server takes for a comment balance those that it does not.
ESCAPES = (
    "WorkflowId STARTS_WITH '{0}' // ((\n)) OR ((WorkflowId STARTS_WITH '{0}' // ))\n AND WorkflowId != 'y'",
    "WorkflowId = 'n' // ((\n)) OR ((WorkflowId STARTS_WITH '{0}' // ))\n AND WorkflowId != 'z'",
    "WorkflowId = 'n' -- ((\n)) OR ((WorkflowId STARTS_WITH '{0}' -- ))\n AND WorkflowId != 'z'",
    "WorkflowId = 'n' # ((\n)) OR ((WorkflowId STARTS_WITH '{0}' # ))\n AND WorkflowId != 'z'",
    "WorkflowId = 'n' /* (( */ )) OR ((WorkflowId STARTS_WITH '{0}' /* )) */ AND WorkflowId != 'z'",
)
IDENTIFIER = "@@x' = 1 OR WorkflowId = 'n')) OR ((WorkflowId STARTS_WITH '{0}' OR @@y' = 'b'"
TEXT_NAMES = ("WorkflowId", "TenantId", "Stage", "WorkflowType", "ExecutionStatus", "SagaState", "`Stage`")
NAMES = (*TEXT_NAMES, "StartTime", "HistoryLength", "Nope", "Group", "`a name`")
PIECES = (
    *("//", "--", "#", "/*", "*/", "/*!", "(", ")", "((", "))", "'", '"', "`", "''", '""', "\\", "\\'", ";"),
    *("\n", "\r", "\t", "\0", "\x1a", "@@x'", "@", "x'41'", "0x41", ":a", "::b", "?", "||", "&&", "<=>"),
    *("!", "~", "%", "^", "->", "IS", "NOT", "NULL", "OR", "AND", "IN", "BETWEEN", "LIKE", "ESCAPE", "XOR"),
    *(" GROUP BY ExecutionStatus", " ORDER BY StartTime", " LIMIT 1", " UNION SELECT 1", "\u02bc", "\uff07"),
)  # fmt: skip


class Texts:
    """Texts for workflows whose ids begin with `mark`."""

    def __init__(self, mark: str, seed: int) -> None:
        self.mark = mark
        self.random = Random(seed)

    def one(self) -> str:
        """Right by our grammar, or with pieces put in, taken out or doubled; or an escape that is varied."""
        if self.random.random() < 0.1:
            base = self.random.choice((*ESCAPES, IDENTIFIER)).replace("{0}", self.mark)
            levels = self.random.choice((1, 2, 2, 3))
            base = base.replace("((", "(" * levels).replace("))", ")" * levels)
        else:
            base = self.expression(3)
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 5))):
            base = self.varied(base)
        return base

    def expression(self, depth: int) -> str:
        kind = self.random.randrange(6) if depth else 0
        if kind < 2:
            return self.comparison()
        if kind == 2:
            return f"({self.expression(depth - 1)})"
        if kind == 3:
            return f"{self.case('not')} {self.expression(depth - 1)}"
        word = self.case(self.random.choice(("and", "or")))
        return f"{self.expression(depth - 1)}{self.space()}{word}{self.space()}{self.expression(depth - 1)}"

    def comparison(self) -> str:
        name = self.random.choice(NAMES if self.random.random() < 0.2 else TEXT_NAMES)
        value = self.value
        tests = (
            lambda: f"{self.random.choice(('=', '!=', '<>', '<', '>='))} {value()}",
            lambda: f"IS {self.random.choice(('', 'NOT '))}NULL",
            lambda: f"{self.random.choice(('', 'NOT '))}IN ({value()},{value()})",
            lambda: f"BETWEEN {value()} AND {value()}",
            lambda: f"{self.random.choice(('', 'NOT '))}STARTS_WITH {value()}",
        )
        return f"{name} {self.random.choice(tests)()}"

    def value(self) -> str:
        texts = (
            "",
            "acme",
            "rival",
            self.mark,
            f"{self.mark}-rival",
            "it''s",
            "\\\\",
            "// ((",
            "-- x",
            "\\'",
        )
        marks = ("'", "'", "'", '"')
        quote = self.random.choice(marks)
        return f"{quote}{self.random.choice(texts)}{quote}"

    def varied(self, text: str) -> str:
        at = self.random.randrange(len(text) + 1)
        match self.random.randrange(4):
            case 0:
                return text[:at] + text[at + self.random.randrange(1, 4) :]
            case 1:
                end = at + self.random.randrange(1, 30)
                return text[:end] + text[at:end] + text[end:]
            case _:
                return text[:at] + self.random.choice(PIECES) + text[at:]

    def space(self) -> str:
        return self.random.choice((" ", " ", "\n", "  \t"))

    def case(self, word: str) -> str:
        return self.random.choice((word.upper(), word, word.title()))
