"""The way to another machine: what ssh is told, and what is said where it does not get there."""

from __future__ import annotations

import shlex

import pytest

from data.errors import InputError
from engine.remote.host import Host, asks, parse_address, why_failed


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("box:night", ("box", "night")),
        ("me@box.org:runs/night", ("me@box.org", "runs/night")),
        ("box:/runs/a:b", ("box", "/runs/a:b")),
        ("[::1]:night", ("::1", "night")),
        ("night", None),
        ("/runs/a:b", None),
        ("./a:b", None),
    ],
)
def test_a_colon_before_any_slash_names_a_machine(
    typed: str, meant: tuple[str, str] | None
) -> None:
    assert parse_address(typed) == meant


@pytest.mark.parametrize("typed", ["-oProxyCommand=x:night", "a b:night", "box:"])
def test_what_ssh_would_take_for_something_else_is_refused(typed: str) -> None:
    with pytest.raises(InputError, match=r"no name of a machine|names no run"):
        parse_address(typed)


def test_the_users_own_options_come_before_ours_and_words_stay_words() -> None:
    command = Host("box", ("-J", "gate", "-o", "ConnectTimeout=99")).ssh("attach", "a b; c")
    assert command.index("ConnectTimeout=99") < command.index("ConnectTimeout=10")
    assert command[-3:-1] == ["--", "box"]
    assert shlex.split(command[-1]) == ["gpt-tui", "attach", "a b; c"]
    assert "BatchMode=yes" in Host("box").ssh("ps", batch=True)


@pytest.mark.parametrize(
    ("code", "said", "told"),
    [
        (127, "bash: gpt-tui: command not found", "there is no gpt-tui on box .*--program"),
        (255, "ssh: Could not resolve hostname box", "does not reach box .*resolve.*ssh box true"),
        (2, "gpt-tui: unrecognized arguments: --stdio", "on box is too old: install version"),
        (1, "Killed", r"gpt-tui on box has ended \(Killed\): see what 'ssh box gpt-tui --version'"),
        (0, "", "the connection to box was lost$"),
    ],
)
def test_each_failure_is_one_sentence_with_a_way_out(code: int, said: str, told: str) -> None:
    import re

    assert re.search(told, why_failed(Host("box"), code, [said]))


def test_ssh_that_would_ask_is_not_tried_again() -> None:
    assert asks("ssh does not reach box (me@box: Permission denied (publickey,password).)")
    assert not asks("ssh does not reach box (Connection refused)")
