"""What agents see of the worker's environment."""

from __future__ import annotations

from pathlib import Path

from shared.domain.ids import SessionId
from workers.host.environment import allowed, of_agent

SESSION = SessionId("ses_1")


def test_only_the_allow_list_passes():
    environ = {"PATH": "/bin", "LC_TIME": "C", "CORRAL_SECRET_KEY": "s", "AWS_SECRET_ACCESS_KEY": "s", "HOME": "/root"}

    assert allowed(environ) == {"PATH": "/bin", "LC_TIME": "C"}


def test_later_layers_win_but_nobody_moves_home_or_forges_the_mark():
    env = of_agent(
        SESSION,
        Path("/private"),
        {"PATH": "/bin", "X": "operator"},
        {"X": "caller", "HOME": "/etc", "TMPDIR": "/etc", "CORRAL_SESSION_ID": "ses_other"},
    )

    assert env == {
        "PATH": "/bin",
        "X": "caller",
        "HOME": "/private",
        "TMPDIR": "/private/tmp",
        "CORRAL_SESSION_ID": "ses_1",
    }
