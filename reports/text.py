"""Text from outside, made safe to show: control characters, broken encodings, endless lines."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
# Bidirectional overrides are in the list because a hostile name could use them to show one thing
# and mean another; surrogates and U+FFFE, U+FFFF because neither UTF-8 nor XML can carry them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def printable(text: str) -> str:
    """``text`` without anything that a page, an XML file or a terminal would choke on.

    Colour sequences vanish, line ends become ``\\n``, C0 control characters become their pictures
    (``␀``), and everything else that cannot be shown becomes ``�``. The rest is untouched.
    """
    return _UNPRINTABLE.sub(_picture, _ANSI.sub("", text.replace("\r\n", "\n")))


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    return "␡" if code == 0x7F else "\ufffd"


def shortened(text: str, limit: int) -> str:
    """At most about ``limit`` characters of ``text``, saying how many there were."""
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text):,} characters)"


def first_line(text: str, limit: int = 300) -> str:
    """The first line that says something, shortened."""
    return shortened(text.strip().partition("\n")[0].strip(), limit)
