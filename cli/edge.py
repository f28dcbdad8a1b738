"""The edge of the command line: what goes wrong below becomes one line on stderr and an exit status."""

from __future__ import annotations

import os
from typing import Any

import click

from shared.domain.errors import CorralError

LEFT = 130
"""Exit status after Ctrl-C, as a shell gives it."""


class Edge(click.Group):
    """A group whose commands end with one line for every trouble that is the environment's and not our own."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a trouble with a name becomes a `ClickException` (status 1), a fault keeps its traceback."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (CorralError, OSError) as problem:
            if (told := _told(problem)) is None:
                raise
            raise click.ClickException(told) from problem
        except Exception as problem:
            if not _is_of_the_database(problem):
                raise
            raise click.ClickException(f"The database refuses: {first_line(problem)}.") from problem


def _told(problem: CorralError | OSError) -> str | None:
    match problem:
        case CorralError():
            return problem.message
        case OSError(strerror=str(why), filename=str() | bytes() as name):
            return f"{os.fsdecode(name)}: {why}."
        case OSError(strerror=str(why)):
            return f"{why}."
        case _:
            return None


def _is_of_the_database(problem: Exception) -> bool:
    # Late: a command that never met the database need not load it, even to fail.
    from shared.store.database import DatabaseError

    return isinstance(problem, DatabaseError)


def first_line(problem: Exception) -> str:
    """The first line of what an error says of itself."""
    return (str(problem).splitlines() or [problem.__class__.__name__])[0].rstrip(".")
