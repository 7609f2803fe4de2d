"""What a person reads: text of any origin, on terminals and pipes of any kind."""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import TextIO

from rich.console import Console
from rich.markup import escape

# All that moves the cursor, rings, colours, or turns the direction of what follows.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a run that was interrupted, as of any command."""
_MARKS = "✓✗○"
_PLAIN_MARKS = "+x-"


def shown(text: str) -> str:
    r"""``text`` with control characters to be read, not obeyed.

    >>> print(shown("\x1b[31mred"))
    ␛[31mred
    """
    return _CONTROL.sub(_picture, text.replace("\r\n", "\n"))


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def plain(text: str) -> str:
    """The same for a console of ours, where brackets of others mean nothing."""
    return escape(shown(text))


def console(*, stderr: bool = False) -> Console:
    """A console on standard output or error; a log or a pipe is as wide as what is told there."""
    width = None if stderr or sys.stdout.isatty() else 160
    return Console(stderr=stderr, width=width, emoji=False)


def make_usable() -> None:
    """See to it that standard output and error can be written to, whatever the encoding."""
    for name in ("stdout", "stderr"):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:  # closed by whoever started us: nobody wants to read it
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def give_up_output() -> None:
    """Write nothing more to standard output, which has failed: not even what it still holds."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def marks() -> tuple[str, str, str]:
    """The marks of what is well, of what is not, and of what was skipped."""
    try:
        _MARKS.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return tuple(_PLAIN_MARKS)  # type: ignore[return-value]
    return tuple(_MARKS)  # type: ignore[return-value]
