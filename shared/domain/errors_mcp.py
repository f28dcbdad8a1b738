"""Errors only MCP clients meet: what its door refuses, and what tools have to tell beyond the operations."""

from __future__ import annotations

from shared.domain.errors import Conflict, CorralError, Forbidden, NotFound, Refused


class NoOpenPlan(Conflict):
    """There is no plan that waits for a verdict."""

    code = "no_open_plan"

    def __init__(self, session: str) -> None:
        super().__init__(f"{session} has no plan that waits for a verdict.", session=session)


class SessionLives(Conflict):
    """What was asked for is for ended sessions only."""

    code = "session_lives"

    def __init__(self, session: str, status: str) -> None:
        super().__init__(f"{session} is {status}; end it first.", session=session, status=status)


class NoSessionHoldsPath(Refused):
    """Files are read in workspaces only, and the path lies in none that can be found."""

    code = "no_session_holds_path"

    def __init__(self) -> None:
        super().__init__("Name the session whose workspace holds this path; an absolute one must lie in its folder.")


class StreamElsewhere(NotFound):
    """The older MCP transport keeps its stream in one process, and this one has none of that id."""

    code = "stream_elsewhere"

    def __init__(self) -> None:
        CorralError.__init__(
            self,
            "This process has no such stream of yours. It may have ended, or be in another process: behind a balancer "
            "/sse and /messages of one client must reach the same one. /mcp needs no such care.",
        )


class ForeignHost(CorralError):
    """The request names a host under which MCP is not served here."""

    code = "foreign_host"

    def __init__(self, host: str) -> None:
        super().__init__(
            f"MCP is not served under the host {host!r} here; the operator can allow it with CORRAL_MCP_HOSTS."
        )


class ForeignOrigin(Forbidden):
    """A page of another origin sent the request."""

    code = "foreign_origin"

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of {origin!r} may not use MCP here; the operator can allow them with CORRAL_MCP_ORIGINS."
        )
