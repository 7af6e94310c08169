"""The SQL prompt: statements up to a semicolon and commands with a dot, with history, completion and highlighting."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import ThreadedCompleter
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import PostgresLexer

from gateway.cli import output
from gateway.cli.sql_commands import Commands, Leave
from gateway.cli.sql_completion import SqlCompleter
from gateway.cli.sql_session import Session

PROMPT, MORE = "headrace> ", "     ...> "


class Shell:
    """From `run` until Ctrl-D or ``.quit``. The history is in ``~/.headrace_history``, or where HEADRACE_HISTORY says;
    empty, it is kept nowhere."""

    def __init__(self, session: Session) -> None:
        self._commands = Commands(session)
        self._prompt: PromptSession[str] = PromptSession(
            PROMPT,
            history=_history(),
            completer=ThreadedCompleter(SqlCompleter(self._commands)),
            complete_while_typing=False,
            lexer=PygmentsLexer(PostgresLexer),
            multiline=True,
            prompt_continuation=lambda width, number, wrapped: MORE,
            key_bindings=_keys(),
            editing_mode=EditingMode.VI if "vi" in os.environ.get("EDITOR", "") else EditingMode.EMACS,
        )

    def run(self) -> None:
        output.talk("SQL up to a semicolon, .help for commands; Ctrl-C stops what runs, Ctrl-D ends")
        while True:
            try:
                text = self._prompt.prompt().strip()
                if text:
                    self._execute(text)
            except KeyboardInterrupt:
                continue
            except click.exceptions.Exit:
                continue  # Ctrl-C stopped what ran
            except click.ClickException as error:
                error.show()
            except (EOFError, Leave):
                return

    def _execute(self, text: str) -> None:
        began = time.monotonic()
        if text.startswith("."):
            self._commands.run(text)
            return
        self._commands.session.execute(text)
        if self._commands.timer:
            output.talk(f"{time.monotonic() - began:.3f} s")


def complete(text: str) -> bool:
    """Whether Enter runs it: a command, nothing, or a statement that ends with a semicolon."""
    text = text.strip()
    return not text or text.startswith(".") or text.endswith(";")


def _history() -> History:
    place = os.environ.get("HEADRACE_HISTORY", "~/.headrace_history")
    return FileHistory(str(Path(place).expanduser())) if place else InMemoryHistory()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @Condition
    def whole() -> bool:
        from prompt_toolkit.application import get_app

        buffer = get_app().current_buffer
        return complete(buffer.text) and buffer.document.is_cursor_at_the_end

    @keys.add("enter", filter=whole)
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return keys
