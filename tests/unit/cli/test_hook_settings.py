"""Our hooks in somebody's settings: merged in and taken out, and nothing else touched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli.hook_settings import Access, UnusableSettings, make, merged, without

ACCESS = Access("http://127.0.0.1:8420", "crh_x", "/opt/corral tools/corral")
THEIRS = {
    "permissions": {"allow": ["Bash(ls:*)"]},
    "env": {"EDITOR": "vi"},
    "hooks": {
        "Stop": [{"hooks": [{"type": "command", "command": "notify-send done"}]}],
        "PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "http", "url": "http://elsewhere/hooks"}]}],
    },
}


def test_every_event_is_posted_with_the_token_from_the_environment():
    made = make(ACCESS)
    hooks = {event: group["hooks"][0] for event, (group,) in made["hooks"].items()}

    assert made["env"]["CORRAL_HOOK_TOKEN"] == "crh_x"
    assert hooks["Stop"] == {
        "type": "http",
        "url": "http://127.0.0.1:8420/v1/hooks/claude/Stop",
        "timeout": 10,
        "headers": {"Authorization": "Bearer $CORRAL_HOOK_TOKEN"},
        "allowedEnvVars": ["CORRAL_HOOK_TOKEN"],
    }
    assert hooks["SessionStart"]["command"] == "'/opt/corral tools/corral' hooks send SessionStart"
    assert not [event for event, hook in hooks.items() if "crh_x" in str(hook)]


def test_only_a_permission_waits_and_only_where_it_was_wished():
    waiting = make(Access("http://c", "crh_x", "corral", wait_s=90))["hooks"]["PermissionRequest"][0]["hooks"][0]

    assert waiting["url"].endswith("/PermissionRequest?wait_s=90")
    assert waiting["timeout"] == 100
    assert "wait_s" not in str(make(ACCESS))


def test_what_stands_there_stays_before_ours():
    both = merged(THEIRS, ACCESS)

    assert both["permissions"] == THEIRS["permissions"]
    assert both["env"] == {"EDITOR": "vi", **make(ACCESS)["env"]}
    assert both["hooks"]["Stop"] == [*THEIRS["hooks"]["Stop"], *make(ACCESS)["hooks"]["Stop"]]


def test_installed_again_ours_are_replaced():
    other = Access("http://elsewhere", "crh_y", "corral")

    assert merged(merged(THEIRS, ACCESS), other) == merged(THEIRS, other)


ENTRY = st.dictionaries(st.sampled_from(["type", "command", "url", "timeout"]), st.text(max_size=5), max_size=3)
GROUP = st.fixed_dictionaries({"hooks": st.lists(ENTRY, max_size=2)}, optional={"matcher": st.text(max_size=3)})
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "env": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
        "hooks": st.dictionaries(
            st.sampled_from(["Stop", "PreToolUse", "Other"]), st.lists(GROUP | st.text(max_size=3), max_size=2)
        ),
        "model": st.text(max_size=5),
    },
)


@settings(max_examples=80)
@given(SETTINGS)
def test_taken_out_again_the_settings_are_as_before(theirs):
    assert said(without(merged(theirs, ACCESS))) == said(theirs)


def said(settings):
    """Without lists and objects that are empty, which mean nothing to Claude Code."""
    hooks = {event: groups for event, groups in settings.get("hooks", {}).items() if groups}
    whole = {**settings, "hooks": hooks, "env": settings.get("env")}
    return {name: value for name, value in whole.items() if value or name not in {"env", "hooks"}}


@pytest.mark.parametrize("theirs", [{"hooks": []}, {"env": "x"}, {"hooks": {"Stop": {}}}])
def test_what_nothing_can_be_merged_into_is_refused(theirs):
    with pytest.raises(UnusableSettings):
        merged(theirs, ACCESS)
