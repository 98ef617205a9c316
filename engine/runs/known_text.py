"""Find the texts of a run again: prepared in the cache, where they were, or where they are now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from data.batches import Split
from data.corpora.corpus import Corpus
from data.download import NotHere, Watcher
from data.errors import InputError, NotFound
from data.paths import quoted
from data.prepared import store
from data.program import named
from data.specs import STANDARD_INPUT, called, has_place, specs_of
from data.tokenizers import Tokenizer, make_tokenizer
from data.tokenizers.kinds import needs_text
from engine.config.changes import as_typed, format_options
from engine.config.schema import Config, DataConfig
from engine.config.setting import Value
from engine.program import program
from engine.runs.folder import typed_name
from engine.runs.records import CorpusFacts, TextFacts
from engine.runs.text import check_fit, split_texts, text_at, validation_of
from engine.runs.tokenizer_file import read_tokenizer


class TextMissing(InputError):
    """A text of a run is not where it was, is another one now, or cannot be tokenized.

    Attributes:
        in_app: The same for a person who has the run open in the app, where other commands help.
    """

    in_app: InputError | None = None


@dataclass(frozen=True)
class Places:
    """Where the texts of a run are now; empty where they were.

    Attributes:
        data: Of the text that it is trained on.
        val: Of the one that it is validated on.
    """

    data: str = ""
    val: str = ""


NOWHERE_ELSE = Places()


def places_of(known: TextFacts | None, asked: str) -> list[str]:
    """Return where a text of a run may be, the latest place first.

    Args:
        asked: As it was set.
    """
    source = known.get("source", "") if known else ""
    return list(dict.fromkeys((source, asked))) if has_place(source) else [asked]


def places_now(known: CorpusFacts, corpus: Corpus) -> CorpusFacts:
    """Return what a run recorded of its texts, with where they are now."""
    if has_place(corpus.source):
        known = {**known, "source": corpus.source}
    if (val := known.get("val")) and corpus.validation and has_place(corpus.validation.source):
        known = {**known, "val": {**val, "source": corpus.validation.source}}
    return known


def load_known_text(
    path: Path,
    config: Config,
    known: CorpusFacts | None,
    watcher: Watcher,
    places: Places = NOWHERE_ELSE,
    changes: Mapping[str, Value] | None = None,
) -> tuple[Corpus, Tokenizer, Split]:
    """Load the texts of a run, and its tokens.

    Args:
        known: What the run recorded of them; None if its first program was killed before that.
        changes: Of its settings, which a command that is suggested repeats.

    Raises:
        TextMissing: A text is not there, or has changed.
        InputError: It does not suit the model.
    """
    data = config.data
    if places.val and not data.val:
        raise TextMissing(
            f"the run {path.name!r} is validated on a part of its text: leave --val out"
        )
    kind = data.tokenizer
    tokenizer = read_tokenizer(path, kind, known is not None and known.get("documents", 1) > 1)
    suggested = _Suggestion(path, places, changes or {})
    corpus = _Text(
        "--data", known, data.corpus, lambda place: _find_corpus(place, data, known, watcher)
    ).find(places.data, tokenizer, suggested)
    if data.val:
        validation = _Text(
            "--val",
            known.get("val") if known else None,
            data.val,
            lambda place: validation_of(replace(data, val=place), watcher),
        ).find(places.val, tokenizer, suggested)
        corpus = replace(corpus, validation=validation)
    if not known:
        tokenizer = read_tokenizer(path, kind, corpus.count > 1)
    try:
        made = tokenizer or make_tokenizer(data, corpus, watcher)
        try:
            split = split_texts(corpus, made, data, watcher)
        except InputError as error:
            if error.is_shortage or not (tokenizer and needs_text(kind) and corpus.readers):
                raise
            # without a checkpoint nothing else tells that the run's file is another tokenizer's
            made = make_tokenizer(data, corpus, watcher)
            split = split_texts(corpus, made, data, watcher)
    except InputError as error:
        if error.is_shortage or isinstance(error, NotHere):
            raise
        raise TextMissing(*error.problems) from None
    check_fit(config.model, made, split, corpus.validation is None)
    return corpus, made, split


@dataclass(frozen=True)
class _Suggestion:
    """What a command needs that names where a text is now, besides that."""

    run: Path
    places: Places
    changes: Mapping[str, Value]

    def commands(self, option: str) -> tuple[str, str]:
        """Return what continues the run without a screen, and what opens it in the app."""
        there = {"--data": self.places.data, "--val": self.places.val, option: ""}
        named_too = "".join(f" {name} {quoted(place)}" for name, place in there.items() if place)
        more = f" {format_options(as_typed(self.changes))}" if self.changes else ""
        words = f"{typed_name(self.run)}{named_too} {option} PATH"
        return f"{program()} train --resume {words}{more}", f"{program()} open {words}"


@dataclass(frozen=True)
class _Text:
    """One of the texts of a run.

    Attributes:
        option: That says where it is now.
        facts: What the run recorded of it.
        asked: As it was set.
        load: Loads what is at a place.
    """

    option: str
    facts: TextFacts | None
    asked: str
    load: Callable[[str], Corpus]

    def find(self, now: str, tokenizer: Tokenizer | None, suggested: _Suggestion) -> Corpus:
        """Return the text; without readers, if only its tokens are needed.

        Args:
            now: Where it is now; empty if it is not elsewhere.

        Raises:
            TextMissing: It is not there, or is another one now.
            InputError: Too many files are open, or it would have to be downloaded unasked.
        """
        if not now and self.facts and tokenizer and (kept := _kept(self.facts, tokenizer)):
            return kept
        problems: list[str] = []
        for place in [now] if now else places_of(self.facts, self.asked):
            if STANDARD_INPUT in specs_of(place) and not now:
                problems.append("standard input cannot be read again")
                continue
            try:
                found = self.load(place)
                if not self.facts or self.facts["sha256"] == found.sha256:
                    return found
            except NotFound:
                problems.append(f"there is no file {named(place)}")
            except InputError as error:
                if error.is_shortage or isinstance(error, NotHere):
                    raise
                problems += error.problems
            else:
                problems.append(found.note or f"{named(place)} is another text: its hash differs")
        raise self._missing(now, "; ".join(problems), suggested)

    def _missing(self, now: str, why: str, suggested: _Suggestion) -> TextMissing:
        name = named(self.facts["name"] if self.facts else called(self.asked))
        purpose = "trained" if self.option == "--data" else "validated"
        text = f"the text {name} that the run {suggested.run.name!r} is {purpose} on"
        if now:
            return TextMissing(f"{self.option} is not {text} ({why})")
        way_out = f"{text} was not found ({why}): put it back, or name where it is: "
        resume, reopen = suggested.commands(self.option)
        error = TextMissing(f"{way_out}{resume}")
        error.in_app = InputError(f"{way_out}{reopen}")
        return error


def _kept(known: TextFacts, tokenizer: Tokenizer) -> Corpus | None:
    """Return a text as it was prepared, wherever its files are now."""
    found = store.find(known["sha256"], tokenizer.fingerprint)
    if found is None:
        return None
    return Corpus(
        name=known["name"],
        characters=found.characters,
        size=0,
        count=known.get("documents", 0),
        sha256=known["sha256"],
        source=known.get("source", ""),
        readers=(),
        note=known["note"],
    )


def _find_corpus(
    place: str, data: DataConfig, known: CorpusFacts | None, watcher: Watcher
) -> Corpus:
    """Load the text of a run; where its hash differs, as earlier versions read it."""
    found = text_at(place, data, watcher)
    if known and known["sha256"] != found.sha256 and len(specs_of(place)) == 1:
        with suppress(InputError):
            before = text_at(place, data, watcher, as_before=True)
            if known["sha256"] == before.sha256:
                return before
    return found
