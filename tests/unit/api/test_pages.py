"""The page behind a link shows exactly what is asked, whatever the agent wrote, and nothing of it is obeyed."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from api.pages import ask_form, ask_page
from api.pages.page import policy, visible
from api.pages.panels import MOST
from shared.domain.ask import Ask, AskKind, AskStatus
from shared.domain.errors import InvalidField
from shared.domain.ids import AskId, KeyId, SessionId, TenantId
from shared.domain.link import Link, end_of
from shared.domain.session import Mode, Session, SessionSpec, SessionStatus
from shared.operations.links import Visit

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LINK = Link(AskId("ask_1"), TenantId("ten_1"), KeyId("key_1"), "Ada", NOW, NOW + timedelta(minutes=5), None)
SPEC = SessionSpec("demo", "folder", {}, Mode.INTERACTIVE, title="A title")
SESSION = Session(
    SessionId("ses_1"), LINK.tenant, None, SPEC, SessionStatus.WAITING, 1, None, None, 1, 1, None, 1, 0.0, NOW, NOW,
    None, None, None,
)  # fmt: skip
ASK = Ask(
    LINK.ask, SESSION.id, None, AskKind.PERMISSION, AskStatus.OPEN, "r", {}, None, None, None, NOW, NOW, None
)  # fmt: skip


def visit(kind=AskKind.PERMISSION, **changes):
    is_open = changes.pop("is_open", True)
    return Visit(LINK, replace(ASK, kind=kind, **changes), SESSION, is_open, True, frozenset({Mode.INTERACTIVE}))


def shown(**data):
    return ask_page.ask_page(visit(data=data), "secret").html()


def test_nothing_an_agent_or_a_caller_writes_becomes_a_part_of_the_page():
    evil = "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"'>"
    title = replace(SESSION, spec=replace(SPEC, title=evil))
    hostile = replace(
        visit(data={"tool_name": evil, "description": evil, "input": {evil: evil, "command": evil, "diff": evil}}),
        session=title,
        link=replace(LINK, name=evil),
    )
    asking = visit(AskKind.QUESTION, data={"questions": [{"question": evil, "options": [{"label": evil}]}]})
    ended = visit(answer={"decision": "deny"}, answered_by=evil, answered_via=evil, status=AskStatus.LOST)

    pages = [
        ask_page.ask_page(hostile, "secret", problem=evil).html(),
        ask_page.ask_page(asking, "secret").html(),
        ask_page.outcome_page(ended).html(),
    ]

    for page in pages:
        assert not re.search("<(script|img)", page)
        assert page.count("</title>") == page.count("</style>") == 1
        assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x1b", "\r", "\x7f", "\u00ad", "\u3164", "\ue000"]
)
def test_a_character_that_hides_or_turns_its_neighbours_is_spelled_out(hidden):
    assert visible(f"a{hidden}b") == f"a\\u{{{ord(hidden):x}}}b"
    assert hidden not in shown(tool_name="Bash", input={"command": f"ls {hidden} x"})


def test_ordinary_text_stays_as_it_is():
    text = "naïve 日本語 🙂 tab\there\nnext"

    assert visible(text) == text


def test_a_change_is_shown_as_one_and_no_part_of_the_input_is_left_out():
    page = shown(
        tool_name="Edit",
        input={"file_path": "a.py", "old_string": "one\ntwo", "new_string": "one\n2", "all": True, "deep": {"x": [1]}},
    )

    assert '<span class="cut">-two' in page
    assert '<span class="add">+2' in page
    assert "\n one" in page or "> one" in page
    text = html.unescape(page)
    assert all(part in text for part in ("a.py", "true", '"x": ['))


def test_what_is_too_large_to_be_shown_can_only_be_denied():
    page = shown(tool_name="Write", input={"content": "x" * MOST})

    assert re.findall(r'name="do" value="(\w+)"', page) == ["deny"]
    assert len(page) < 20_000


def test_the_policy_lets_the_style_in_and_nothing_else():
    assert "'unsafe" not in policy()
    assert policy().count("sha256-") == 1


def test_a_button_that_is_not_there_is_no_answer():
    for do in ("", "allow", "reject", "x"):
        with pytest.raises(InvalidField):
            ask_form.answer_of(visit(AskKind.QUESTION).ask, ask_form.read({"do": [do]}))


@pytest.mark.parametrize(
    ("wished_s", "ask_s", "lasts_s"),
    [(None, None, 86400), (60, None, 60), (None, 300, 300), (60, 300, 60), (600, 300, 300)],
)
def test_a_link_never_outlives_its_ask(wished_s, ask_s, lasts_s):
    ask_ends_at = None if ask_s is None else NOW + timedelta(seconds=ask_s)

    assert end_of(NOW, wished_s, ask_ends_at) == NOW + timedelta(seconds=lasts_s)
