"""What ``notify.command`` and ``notify.webhook`` may be: checked when set, and when used."""

from __future__ import annotations

import re
import shlex

from data.errors import InputError, brief

HERE = ("127.0.0.1", "::1", "localhost")  # where a web address need not be encrypted
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d*)?")  # without the user that urllib cannot use
SENDABLE = re.compile("[!-~]*")  # what may follow it; http.client refuses all else


def command_words(command: str) -> list[str]:
    """Split a command as a shell does.

    Raises:
        InputError: It cannot be split, or names no program.
    """
    if "\0" in command:  # no argument of a program can hold it
        raise InputError("a command cannot have the character NUL: remove it")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(
            f"it is no command line ({str(error)[:1].lower()}{str(error)[1:]}): "
            f"close what is open, or put a backslash before it"
        ) from None
    if not words or not words[0].strip():
        raise InputError("it names no program: write one first, or leave it empty")
    return words


def check_address(address: str) -> None:
    """Check that an address may be posted to.

    Raises:
        InputError: It may not: it is not encrypted, or no address.
    """
    try:
        from urllib.parse import urlsplit  # most have no webhook

        parts = urlsplit(address)
        host = parts.hostname or ""
        host.encode("idna")  # as a look-up of its name does
        _ = parts.port  # raises for one that is out of range
        is_allowed = parts.scheme == "https" or (parts.scheme == "http" and host in HERE)
    except ValueError:
        is_allowed = False
    if not is_allowed or not HOST.fullmatch(parts.netloc):
        raise InputError(
            f"it must be an https address, as https://example.org/hook (http for "
            f"localhost alone), not {brief(address)}"
        )
    if not SENDABLE.fullmatch(address.partition(parts.netloc)[2]):
        raise InputError(
            f"{brief(address)} has characters that no address can have: write a blank as %20, and "
            f"others so, too"
        )
