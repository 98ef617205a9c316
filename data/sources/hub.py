"""Datasets of the Hugging Face hub by their name, as the tables that the hub makes of each.

``hf:OWNER/NAME/SUBSET:SPLIT#FILES``, of which all but the name may be left out. Its hub lists the
Parquet files of all subsets and splits; they are downloaded one after another, and kept. Of
``hf-stream:…`` none is: each is downloaded whenever it is read.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote, urlsplit

from data.download import DownloadError, Watcher, fetch_file, fetch_url, is_offline
from data.errors import InputError, suggest
from data.files import remove_tree, write_atomically
from data.paths import cache_folder
from data.program import install_command, named
from data.sources.files import FileSource
from data.sources.streamed import StreamedFile
from data.sources.web import cannot_keep
from data.specs import HUB, STREAMED, is_streamed

NAME = re.compile(
    r"(?P<dataset>[\w.-]+(/[\w.-]+)?)(/(?P<subset>[\w.-]+))?"
    r"(:(?P<split>[\w.-]+))?(#(?P<files>[1-9]\d{0,5}))?"
)
USUAL_SUBSET, USUAL_SPLIT = "default", "train"
PARTIAL = "partial-"  # of the splits of which the hub made tables of the first gigabytes alone
LISTING, MOST_LISTED = "parquet.json", 1 << 24  # bytes
MAGIC = b"PAR1"  # of all tables
Listing = dict[str, dict[str, list[str]]]  # subset -> split -> addresses


@dataclass(frozen=True)
class HubName:
    """What a spec names.

    Attributes:
        subset, split: Empty for the usual ones.
        files: How many of them; 0 for all.
        prefix: What stands before it.
    """

    dataset: str
    subset: str = ""
    split: str = ""
    files: int = 0
    prefix: str = HUB

    @property
    def folder(self) -> Path:
        """Where it is kept.

        Raises:
            InputError: There is no cache folder.
        """
        key = hashlib.sha256(f"{_hub()} {self.dataset}".encode()).hexdigest()[:12]
        return cache_folder() / "hub" / f"{self.dataset.replace('/', '--')}-{key}"


def parsed(spec: str) -> HubName:
    """Return what a spec that begins with ``hf:`` or ``hf-stream:`` names.

    Raises:
        InputError: It is no name.
    """
    prefix = STREAMED if is_streamed(spec) else HUB
    match = NAME.fullmatch(spec[len(prefix) :])
    if not match or ".." in spec:
        raise InputError(
            f"{named(spec)} is no name of a dataset: write it as hf:OWNER/NAME, or "
            "hf:OWNER/NAME/SUBSET:SPLIT#FILES, as in hf:roneneldan/TinyStories:validation"
        )
    found = match.groupdict()
    return HubName(
        *(found["dataset"], found["subset"] or "", found["split"] or ""),
        *(int(found["files"] or 0), prefix),
    )


def files_here(spec: str) -> list[FileSource]:
    """Return the files of a dataset, all of which were downloaded.

    Raises:
        InputError: One was not.
    """
    wanted = parsed(spec)
    listing = _kept_listing(wanted)
    files = [one for one, _ in _chosen(wanted, listing, spec)] if listing else []
    if not files or not all(one.path.exists() for one in files):
        raise InputError(f"{spec} is not in the cache: download it with a network")
    return files


def identity_of(spec: str) -> str:
    """Return what tells the files of a dataset from others, without having them: their list.

    Raises:
        InputError: It was not asked for yet.
    """
    listing = _kept_listing(parsed(spec))
    if not listing:
        raise InputError(f"the files of {spec} are not known: download their list with a network")
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()


def tables_of(spec: str, watcher: Watcher) -> list[FileSource]:
    """Return the files of a dataset, in their order: from the cache, or downloaded to it.

    Those of a dataset that is streamed are downloaded when they are read.

    Raises:
        InputError: There is no such dataset, or it is not available.
        Cancelled: `watcher.cancelled` returned true; what has arrived is kept.
    """
    wanted = parsed(spec)
    listing = _kept_listing(wanted)
    if not listing:
        _check_may_download(spec, watcher)
        watcher.report(f"asking for the files of {spec}")
        listing = _listed(wanted, spec, watcher)
    chosen = _chosen(wanted, listing, spec)
    missing = [one for one in chosen if not one[0].path.exists()]
    if missing:
        _check_may_download(spec, watcher)
    if missing and not importlib.util.find_spec("pyarrow"):  # before gigabytes are downloaded
        raise InputError(
            f"the tables of {spec} need another package to be read: {install_command('parquet')}"
        )
    found: list[FileSource] = []
    for number, (file, url) in enumerate(chosen, start=1):
        fetch = partial(_fetch, wanted, spec, url, f"file {number:,} of {len(chosen):,}")
        if file.path.exists():
            found.append(file)
        elif wanted.prefix == STREAMED:
            found.append(StreamedFile(file.path, file.spec, file.name, MAGIC, fetch))
        else:
            fetch(file.path, watcher)
            found.append(file)
    return found


def _fetch(wanted: HubName, spec: str, url: str, which: str, path: Path, watcher: Watcher) -> None:
    """Download a file.

    Raises:
        InputError: It is not available, or cannot be kept.
        Cancelled: `watcher.cancelled` returned true; what has arrived is kept.
    """
    _check_may_download(spec, watcher)
    watcher.report(f"downloading {spec}: {which}")
    try:
        fetch_file(url, path, watcher, token=_token())
    except DownloadError as error:
        _fail(wanted, error)
    except OSError as error:
        raise cannot_keep(spec, path, error) from None


def remove(spec: str) -> int:
    """Delete all that was downloaded of a dataset; return how many bytes.

    Raises:
        InputError: Nothing was, or it cannot be deleted.
    """
    folder = parsed(spec).folder
    size = sum(one.stat().st_size for one in folder.rglob("*") if one.is_file())
    if not folder.exists():
        raise InputError(f"{spec} is not in the cache: there is nothing to remove")
    try:
        remove_tree(folder)
    except OSError as error:
        raise InputError(f"{folder} cannot be deleted ({error.strerror}): allow it") from None
    return size


def _hub() -> str:
    """Return the address of the hub, as Hugging Face's own library takes it."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _token() -> str:
    return os.environ.get("HF_TOKEN", "").strip()


def _check_may_download(spec: str, watcher: Watcher) -> None:
    if is_offline():
        raise InputError(
            f"{spec} is not in the cache, and GPT_TUI_OFFLINE is set: unset that (env -u "
            "GPT_TUI_OFFLINE), or name a file"
        )
    watcher.check_may_download(spec)


def _kept_listing(wanted: HubName) -> Listing:
    """Return the list of files of an earlier download: later ones are of the same files."""
    try:
        return _as_listing((wanted.folder / LISTING).read_bytes())
    except OSError:
        return {}


def _listed(wanted: HubName, spec: str, watcher: Watcher) -> Listing:
    url = f"{_hub()}/api/datasets/{quote(wanted.dataset)}/parquet"
    try:
        body = fetch_url(url, watcher, max_bytes=MOST_LISTED, token=_token())
    except DownloadError as error:
        _fail(wanted, error)
    listing = _as_listing(body)
    if not listing:
        raise InputError(
            f"the hub has no tables of {wanted.dataset}: download its files from "
            f"{_hub()}/datasets/{wanted.dataset}, and name their folder"
        )
    _chosen(wanted, listing, spec)  # a name that must be completed keeps nothing
    place = wanted.folder / LISTING
    try:
        write_atomically(place, body)
    except OSError as error:
        raise cannot_keep(spec, place, error) from None
    return listing


def _as_listing(body: bytes) -> Listing:
    """Return the list of files that the hub has sent; empty if it is none."""
    try:
        found = json.loads(body)
        return {
            str(subset): {str(split): [str(one) for one in urls] for split, urls in splits.items()}
            for subset, splits in found.items()
            if splits
        }
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


def _chosen(wanted: HubName, listing: Listing, spec: str) -> list[tuple[FileSource, str]]:
    """Return the files of the subset and split, and their addresses.

    Raises:
        InputError: There is none such, or one must be named.
    """
    dataset = f"{wanted.prefix}{wanted.dataset}"
    subset = _one_of("subset", wanted.subset, list(listing), USUAL_SUBSET, f"{dataset}/{{}}", spec)
    in_subset = f"{dataset}/{subset}" if wanted.subset or len(listing) > 1 else dataset
    splits = {name.removeprefix(PARTIAL): name for name in listing[subset]}
    split = _one_of("split", wanted.split, list(splits), USUAL_SPLIT, f"{in_subset}:{{}}", spec)
    urls = listing[subset][splits[split]]
    folder = wanted.folder / _as_file(subset) / _as_file(split)
    found = []
    for number, url in enumerate(urls[: wanted.files or None]):
        name = f"{number:05}.parquet"
        # the hub's own address whoever lists it: only there may a token go
        address = f"{_hub()}{quote(urlsplit(url).path, safe='/%')}"
        found.append((FileSource(folder / name, f"{spec} ({name})", name), address))
    return found


def _one_of(what: str, name: str, names: list[str], usual: str, form: str, spec: str) -> str:
    """Return the subset or split that is meant."""
    if name in names:
        return name
    if name:
        raise InputError(f"{spec} has no {what} {name!r}: {suggest(name, names)}")
    if usual in names or len(names) == 1:
        return usual if usual in names else names[0]
    several = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    raise InputError(
        f"{spec} has several {what}s ({several}): name one, as in {form.format(names[0])}"
    )


def _as_file(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name).strip(".") or "_"


def _fail(wanted: HubName, error: DownloadError) -> NoReturn:
    """Say what an answer of the hub means.

    Raises:
        InputError: Always.
    """
    name, page = wanted.dataset, f"{_hub()}/datasets/{wanted.dataset}"
    if error.code == "GatedRepo" or error.status == 403:
        raise InputError(
            f"the dataset {name} is for those who accept its conditions: accept them at {page}, "
            "and set HF_TOKEN to a token of yours"
        ) from None
    if error.status in (401, 404):
        raise InputError(
            f"{_hub()} has no dataset {name}, or it is private: check its name (OWNER/NAME), or "
            "set HF_TOKEN to a token that may read it"
        ) from None
    raise InputError(
        f"{wanted.prefix}{name} could not be downloaded ({error}): try again, or download its "
        f"files from {page}, and name their folder"
    ) from None
