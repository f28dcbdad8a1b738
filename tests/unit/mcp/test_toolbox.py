"""What every tool promises: a name every client takes, schemas that are valid, an example that is true."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import marshmallow as ma
import pytest

from api.mcp.jsonschema import given_schema, taken_schema
from api.mcp.toolbox import FAMILIES, chosen
from shared.domain.tenant import Scope

TOOLS = chosen(["corral", "poke"])
POKE = {
    "start_session", "terminate_session", "list_sessions", "get_session_info", "get_pool_stats", "send_prompt",
    "send_slash_command", "cancel_prompt", "add_mcp_server", "answer_question", "respond_to_permission",
    "set_session_mode", "enter_plan_mode", "approve_plan", "modify_plan", "batch_send_prompts",
    "batch_terminate_sessions", "batch_get_session_info", "read_session_file", "list_session_files",
    "get_session_file_info", "delete_workspace", "list_stale_workspaces", "read_message_history",
}  # fmt: skip
POKECLAW = {
    "session_start", "session_send", "session_output", "session_wait", "session_list", "session_kill", "read_file",
    "list_directory",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_a_tool_is_named_described_and_exemplified_truly(name):
    tool = TOOLS[name]
    taken, given = taken_schema(tool.shape.takes), given_schema(tool.shape.gives)

    assert re.fullmatch("[a-zA-Z0-9_-]{1,64}", name)
    assert tool.shape.title
    assert tool.about.endswith(".")
    for schema in (taken, given):
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
        assert "$ref" not in str(schema)
    assert all(one.get("description") for one in taken["properties"].values())
    example = dict(tool.shape.example)
    jsonschema.validate(example, taken)
    tool.shape.takes().load(example)


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_what_only_reads_needs_no_key_that_writes_and_the_other_way_round(name):
    tool = TOOLS[name]

    assert (tool.shape.scope is Scope.WRITE) is not tool.shape.hints.read_only


@pytest.mark.parametrize("name", sorted(TOOLS))
def test_an_argument_nobody_knows_is_refused(name):
    tool = TOOLS[name]

    with pytest.raises(ma.ValidationError) as refused:
        tool.shape.takes().load({**tool.shape.example, "surprise": 1})

    assert refused.value.messages == {"surprise": ["Unknown field."]}
    assert taken_schema(tool.shape.takes)["additionalProperties"] is False


def test_the_families_hold_what_their_clients_know():
    assert FAMILIES["pokeclaw"].keys() == POKECLAW
    assert FAMILIES["poke"].keys() == POKE
    assert FAMILIES["pokeclaw"].keys() < FAMILIES["corral"].keys()
    assert not FAMILIES["poke"].keys() & FAMILIES["corral"].keys()


def test_families_and_single_tools_may_be_chosen_and_nothing_else():
    assert list(chosen(["poke", "session_wait"])) == ["session_wait", *FAMILIES["poke"]]
    with pytest.raises(ValueError, match="no tool or family 'pook'"):
        chosen(["pook"])


def test_the_page_lists_each_family_as_it_is():
    page = (Path(__file__).parents[3] / "docs/mcp.md").read_text(encoding="utf-8")

    for family, tools in FAMILIES.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{family}` |"))
        assert set(row.split("`")[-2].split()) == tools.keys()
