"""Query text is parsed and written out again: what it means stays, what it hides does not get through."""

from __future__ import annotations

import pytest

from dashboard.access import Scope
from dashboard.query.grammar import DEEPEST, LONGEST, Comparison, Junction, parse, rebuild, rewrite
from dashboard.query.query import with_scope
from tests.dashboard.query_texts import ESCAPES, IDENTIFIER, Texts
from workers.client.visibility import Unusable

TEXTS = 10_000


@pytest.mark.parametrize(
    ("typed", "written"),
    [
        ("Stage = 'a'", "`Stage` = 'a'"),
        ('stage="it\'s"', "`stage` = 'it''s'"),
        ("`Order` <> 'a''b'", "`Order` != 'a''b'"),
        (r"a = 'tab\t\'\q\\'", "`a` = 'tab\t''q\\\\'"),
        ('a = "say ""no"" "', "`a` = 'say \"no\" '"),
        ("a > -2.5e3 and b<=+.5", "`a` > -2.5e3 AND `b` <= .5"),
        ("a = TRUE OR b = False", "`a` = true OR `b` = false"),
        ("a=1 or b=2 and c=3", "`a` = 1 OR (`b` = 2 AND `c` = 3)"),
        ("(a=1 or b=2) and c=3", "(`a` = 1 OR `b` = 2) AND `c` = 3"),
        ("((a=1))", "`a` = 1"),
        ("not a=1 and b=2", "NOT (`a` = 1) AND `b` = 2"),
        ("NOT (a=1 and b=2)", "NOT (`a` = 1 AND `b` = 2)"),
        ("a is null and b IS not NULL", "`a` IS NULL AND `b` IS NOT NULL"),
        ("a in ('x','y') and b not in(1)", "`a` IN ('x', 'y') AND `b` NOT IN (1)"),
        (
            "a between 1 and 2 and b not between 'x' and 'y'",
            "`a` BETWEEN 1 AND 2 AND `b` NOT BETWEEN 'x' AND 'y'",
        ),
        ("a starts_with'x' or b not STARTS_WITH 'y'", "`a` STARTS_WITH 'x' OR `b` NOT STARTS_WITH 'y'"),
        ("a =\n\t'--//#/*(' ", "`a` = '--//#/*('"),
        ("  ", ""),
    ],
)
def test_what_a_text_means_is_written_out(typed, written):
    assert rebuild(typed) == written
    assert rewrite(written) == written


@pytest.mark.parametrize(
    ("typed", "place", "sentence"),
    [
        ("a = 'b' // x", "character 9 of your text, at “// x”", "Comments cannot be used"),
        ("a = 'b' -- x", "character 9", "Comments cannot be used"),
        ("a = 'b' # x", "character 9", "Comments cannot be used"),
        ("a /* x */ = 'b'", "character 3", "Comments cannot be used"),
        ("@@x' = 'b'", "character 1", "only inside quotes"),
        ("a = 'b", "character 5", "This quote is not closed"),
        ("a = 'b''", "character 5", "This quote is not closed"),
        ("a = 'b\\'", "character 5", "This quote is not closed"),
        ("`a = 1", "character 1", "This back-quote is not closed"),
        ("a = b", "character 5", "text in single quotes, a number"),
        ("a = x'41'", "character 5", "text in single quotes, a number"),
        ("a = 0x41", "character 5", "Write a number with digits"),
        ("a = 1.2.3", "character 5", "Write a number with digits"),
        ("a = NULL", "character 5", "IS NULL or IS NOT NULL"),
        ("a is 1", "character 6", "Write NULL after IS"),
        ("a == 1", "character 3", "Write = to compare"),
        ("a <=> 1", "character 3", "Write = to compare"),
        ("a = 1 && b = 2", "character 7", "Write AND"),
        ("a = 1 || b = 2", "character 7", "Write OR"),
        ("a = 1 b = 2", "character 7", "Write AND or OR between"),
        ("a = 1;", "character 6", "semicolon"),
        ("a LIKE 'x%'", "character 3", "STARTS_WITH"),
        ("a", "the end of your text", "Write how to compare"),
        ("a in 'x'", "character 6", "values in parentheses"),
        ("a in ('x' 'y')", "character 11", "a comma and the next value"),
        ("a between 1", "the end of your text", "the upper value"),
        ("a = 1)", "character 6", "closes none"),
        ("(a = 1", "the end of your text", "Close the parenthesis"),
        ("a = 1 AND", "the end of your text", "name of a search attribute"),
        ("a = 'b\0'", "character 5", "null character"),
        ("a = 1 ORDER BY a", "character 7", "open runs first"),
        ("a = 1 GROUP BY a", "character 7", "the counts above the list"),
        ("SELECT 1", "character 1", "conditions only"),
        ("é = 1", "character 1", "only inside quotes"),
    ],
)
def test_an_error_says_where_and_what_to_write(typed, place, sentence):
    with pytest.raises(Unusable) as refused:
        rebuild(typed)
    assert sentence in refused.value.message
    assert place in refused.value.message


def test_length_and_depth_are_limited_and_what_was_written_always_passes_again():
    deep = "NOT " * DEEPEST + "a = 1"
    assert with_scope(Scope("default", ("acme",)), rebuild(deep)).text.startswith("(TenantId = 'acme') AND (")
    mixed = "(a = 1 or " * (DEEPEST // 2) + "NOT (b = 2 and c = 3 or d = 4)" + ")" * (DEEPEST // 2)
    assert rewrite(rebuild(mixed)) == rebuild(mixed)
    for text in ("NOT " + deep, "(" * (DEEPEST + 1) + "a = 1" + ")" * (DEEPEST + 1), "(" * LONGEST):
        with pytest.raises(Unusable, match=f"At most {DEEPEST}"):
            rebuild(text)
    with pytest.raises(Unusable, match="longer than"):
        rebuild("x" * (LONGEST + 1))


@pytest.mark.parametrize("text", [*ESCAPES, IDENTIFIER])
def test_texts_that_would_leave_their_parentheses_are_refused(text):
    with pytest.raises(Unusable):
        rebuild(text)


def test_whatever_is_typed_stays_behind_the_scope():
    """Ten thousand texts: each is refused with a sentence, or written out, and then the tree of the whole
    query is the scope AND the rest."""
    texts, scope, accepted = Texts("mark", seed=20_261), Scope("default", ("acme",)), 0
    for _ in range(TEXTS):
        text = texts.one()
        try:
            written = rebuild(text)
        except Unusable:
            continue
        accepted += 1
        tree = parse(with_scope(scope, written).text, 3 * DEEPEST)
        if not written:
            assert tree == Comparison("TenantId", "=", ("'acme'",))
            continue
        assert isinstance(tree, Junction), text
        assert tree.word == "AND"
        assert tree.parts[0] == Comparison("TenantId", "=", ("'acme'",)), text
        assert len(tree.parts) == 2
        assert rewrite(written) == written
    assert TEXTS / 10 < accepted < TEXTS * 9 / 10  # the generator makes both
