"""What several commands take: the home, the port, a session's id, and the settings of this process."""

from __future__ import annotations

from pathlib import Path

import click

from cli import home as homes
from shared.domain.ids import is_id
from shared.settings.entry import SettingError
from shared.settings.reading import Settings, read


def load_settings() -> Settings:
    """The settings of this process and of `.env` beside it.

    Raises:
        ClickException: one cannot be read; says which and why.
    """
    try:
        return read(dotenv=Path(".env"))
    except (SettingError, UnicodeDecodeError) as problem:
        said = ".env is not UTF-8 text." if isinstance(problem, UnicodeDecodeError) else str(problem)
        raise click.ClickException(said) from problem


home_option = click.option(
    "--home",
    "home_path",
    default=homes.DEFAULT,
    show_default=True,
    envvar="CORRAL_HOME",
    metavar="DIR",
    help="Directory that holds all state (CORRAL_HOME).",
)
port_option = click.option(
    "--port", type=click.IntRange(1, 65535), metavar="N", help="Port of the API (CORRAL_API_PORT, else 8420)."
)


class SessionParam(click.ParamType[str]):
    """A session's id."""

    name = "id"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The id as it is; what cannot be one is refused before anybody is asked."""
        if not is_id(value, "ses"):
            self.fail(f"{value!r} is no session id; those begin with ses_. `corral sessions` lists them.", param, ctx)
        return value


SESSION = SessionParam()
