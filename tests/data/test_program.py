"""The commands that hints name: they work for this installation."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from data.program import install_command

GIT = "https://git.example/a/gpt-tui.git"
REVISION = {"vcs": "git", "requested_revision": "v1", "commit_id": "ab12"}


def installed(monkeypatch: pytest.MonkeyPatch, site: Path, origin: Any) -> None:
    """Have the program be installed in a folder, from some origin (PEP 610)."""
    info = site / "gpt_tui-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gpt-tui\nVersion: 0.1.0\n")
    if origin is not None:
        text = origin if isinstance(origin, str) else json.dumps(origin)
        (info / "direct_url.json").write_text(text)
    found = importlib.metadata.PathDistribution(info)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _name: found)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'gpt-tui[web]'"),
        ("{", "pip install 'gpt-tui[web]'"),
        ("[]", "pip install 'gpt-tui[web]'"),
        ({"url": "file:///a/b", "dir_info": {"editable": True}}, "pip install -e '/a/b[web]'"),
        ({"url": "file:///a/b", "dir_info": {}}, "pip install '/a/b[web]'"),
        (
            {"url": "file:///a%20b/it's", "dir_info": {}},
            shlex.join(["pip", "install", "/a b/it's[web]"]),
        ),
        ({"url": GIT, "vcs_info": REVISION}, f"pip install 'gpt-tui[web] @ git+{GIT}@v1'"),
        ({"url": GIT, "vcs_info": {"vcs": "git"}}, f"pip install 'gpt-tui[web] @ git+{GIT}'"),
        (
            {"url": "file:///a/gpt_tui-0.1.0-py3-none-any.whl", "archive_info": {}},
            "pip install 'gpt-tui[web] @ file:///a/gpt_tui-0.1.0-py3-none-any.whl'",
        ),
    ],
)
def test_an_extra_comes_from_where_the_program_came_from(
    origin: Any, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, tmp_path / "site", origin)
    assert install_command("web") == command


def test_a_program_that_is_not_installed_has_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    assert install_command("web") == "pip install 'gpt-tui[web]'"


@pytest.mark.parametrize("editable", [True, False])
def test_pip_takes_the_folder_and_the_extra(
    editable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = pytest.importorskip("pip._internal.req.constructors")
    (folder := tmp_path / "it's [a] \xe9").mkdir()
    (folder / "pyproject.toml").touch()
    origin = {"url": folder.as_uri(), "dir_info": {"editable": editable}}
    installed(monkeypatch, tmp_path / "site", origin)
    wanted = shlex.split(install_command("web"))[-1]
    if editable:
        _name, url, extras = pip.parse_editable(wanted)
    else:
        taken = pip.parse_req_from_line(wanted, None)
        assert taken.link
        url, extras = taken.link.url, taken.extras
    assert (url, set(extras)) == (folder.as_uri(), {"web"})
