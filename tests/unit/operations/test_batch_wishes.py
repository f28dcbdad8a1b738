"""An item's wish comes out of its stored text as it went in, whatever it holds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.domain.ids import BatchId, SessionId
from shared.domain.session import Limits, Mode, OnWorkerLoss, SessionSpec
from shared.domain.turn import WhenBusy
from shared.operations.batch_wishes import PromptWish, SessionWish, TerminateWish, decode, encode, kind_of
from shared.operations.callbacks import SessionWebhook
from shared.operations.prompts import Prompt
from shared.operations.sessions import NewSession

BATCH = BatchId("bat_1")
SESSION = SessionId("ses_1")
SPEC = SessionSpec(
    agent="demo",
    workspace_kind="folder",
    workspace={"kind": "folder", "path": "/srv/ä"},
    mode=Mode.PLAN,
    model="m",
    title="t",
    metadata={"a": "b"},
    env={"KEY": "secret"},
    mcp_servers={"one": {"command": ["x", 1, None]}},
    allowed_domains=("example.org",),
    limits=Limits(idle_s=1.5, max_turns=3),
    on_worker_loss=OnWorkerLoss.CONTINUE,
    ask_timeout_s=0,
)


@pytest.mark.parametrize(
    "wish",
    [
        SessionWish(
            NewSession(SPEC, prompt="hi", source="n8n", webhook=SessionWebhook("http://x/", "s", ("message",)))
        ),
        SessionWish(NewSession(SPEC, prompt="hi")),
        PromptWish(SESSION, Prompt("hi \u2028", WhenBusy.INTERRUPT, "http://x/", "slack")),
        TerminateWish(SESSION),
    ],
)
def test_a_wish_comes_back_as_it_was_and_knows_its_batch(wish):
    back = decode(kind_of(wish), SESSION, encode(wish), BATCH)

    match wish:
        case SessionWish():
            assert back == SessionWish(replace(wish.new, batch=BATCH))
        case PromptWish():
            assert back == PromptWish(SESSION, replace(wish.prompt, batch=BATCH))
        case _:
            assert back == wish
