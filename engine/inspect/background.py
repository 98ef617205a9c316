"""Look inside models in the engine's thread, between two quanta of training.

Looking computes without gradients and draws no random numbers, so that the run keeps its bits.
What takes long, such as what each part of a model is worth, is done a piece at a time.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from engine.machine.memory import described_failure
from engine.protocol import Event, Inspect, Inspected, Warned

if TYPE_CHECKING:
    from data.batches import Tokens
    from data.tokenizers import Tokenizer
    from engine.inspect.moments import Excerpts
    from engine.inspect.over_moments import Known
    from engine.model import LanguageModel

NOW = "now"
# views made in pieces, between which weights must not change
LONG = ("heads", "worth", "positions")
LARGEST_COPY = 256 * 2**20  # bytes of a model that is copied for them
KEPT_MODELS = 2  # of moments that were looked at last, and texts: two can be beside each other
REST = 32  # times as long as a piece took, training goes on before the next one


@dataclass(frozen=True, eq=False)
class Subject:
    """A model to look into, with what its texts are made of."""

    model: LanguageModel
    tokenizer: Tokenizer
    step: int
    val: Callable[[], Tokens]  # the validation split, which may have to be read
    run: Path | None = None  # its folder
    costs: Known = field(default_factory=dict)  # of the text over the moments, as far as known


Key = tuple[str, int]  # the view and the side that are asked for


class Inspector:
    """Answers ``Inspect``; a new question takes the place of the one before of the same view."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._moments: OrderedDict[tuple[Path, str], Subject] = OrderedDict()
        self._excerpts: dict[Path, Excerpts] = {}
        self._asked: dict[Key, Inspect] = {}  # not begun yet
        self._work: dict[Key, tuple[Inspect, Iterator[Inspected]]] = {}
        self._costs: tuple[Path | None, tuple[int, ...], Known] = None, (), {}  # of one text
        self._due = 0.0  # when the next piece may be done beside training

    @property
    def under_way(self) -> bool:
        return bool(self._asked or self._work)

    def ask(self, command: Inspect) -> None:
        """Take a question; whoever moves a cursor asks many, of which the newest counts."""
        key = command.view, command.side
        self._asked.pop(key, None)
        self._asked[key] = command

    def questions(self) -> list[Inspect]:
        """Return what was asked since, to be begun."""
        asked, self._asked = [*self._asked.values()], {}
        return asked

    def begin(self, command: Inspect, subject: Subject | None, path: Path | None) -> None:
        """Begin with the answer, and give all of it if it is a short one.

        Args:
            subject: The open run's model as it is now; None if it has none here.
            path: The folder of the open run; None if none is open.
        """
        run = Path(command.run) if command.run else path
        is_open = run is not None and path is not None and run == path
        key = command.view, command.side
        self._work.pop(key, None)
        try:
            if run is None:
                raise InputError("there is no run open: start one first")
            own = subject if is_open else None
            if command.moment == NOW and own:
                chosen = _still(own) if command.view in LONG else own
            else:
                chosen = self._stored(run, command, own)
            chosen = dataclasses.replace(chosen, run=run)
        except Exception as error:
            self._refuse(command, error)
            return
        self._work[key] = command, self._answers(command, chosen)
        self._take_piece(key)

    def advance(self, beside_training: bool) -> bool:
        """Do a piece of work, if there is any and it is time for it; return whether it was done."""
        if not self._work or (beside_training and time.perf_counter() < self._due):
            return False
        key = next(iter(self._work))
        began = time.perf_counter()
        self._take_piece(key)
        took = time.perf_counter() - began
        self._due = began + took * (1 + REST)
        return True

    def stop(self) -> None:
        """Refuse what is not done yet, and forget the models of moments."""
        begun = [command for command, _ in self._work.values()]
        for command in (*begun, *self._asked.values()):
            self._emit(command.refused("the run was closed before this was measured"))
        self._work.clear()
        self._asked.clear()
        self._moments.clear()

    def _take_piece(self, key: Key) -> None:
        command, answers = self._work[key]
        try:
            answer = next(answers)
        except Exception as error:
            del self._work[key]
            self._refuse(command, error)
            return
        if answer.share >= 1:
            del self._work[key]
        self._emit(answer)

    def _answers(self, command: Inspect, subject: Subject) -> Iterator[Inspected]:
        from engine.inspect.surprise import token_texts
        from engine.inspect.views import ids_of, look

        try:
            ids, left_out = ids_of(command, subject)
        except InputError:
            if command.view != "embeddings":  # which are the same without a text
                raise
            ids, left_out = [], 0
        if command.view == "moments":
            if self._costs[:2] != (subject.run, tuple(ids)):
                self._costs = subject.run, tuple(ids), {}
            subject = dataclasses.replace(subject, costs=self._costs[2])
        tokens = token_texts(subject.tokenizer, ids)
        for share, found in look(command.view, subject, ids, command.options):
            yield Inspected(
                command.view,
                subject.step,
                tuple(ids),
                tokens,
                left_out,
                found,
                share,
                request_id=command.request_id,
            )

    def _stored(self, run: Path, command: Inspect, own: Subject | None) -> Subject:
        """Return the model of a moment from the run's folder."""
        from engine.inspect.moments import load_moment
        from engine.runs.checkpoint_names import list_snapshots

        if not run.is_dir():
            raise InputError(f"the folder of the run {run.name!r} is gone: {run}")
        which = "latest" if command.moment == NOW else str(command.moment)
        newest = list_snapshots(run)[-1:] if which == "latest" else ()
        key = (run, f"{which} {[one.name for one in newest]}")
        if key not in self._moments:
            loaded = load_moment(run, which, lambda message: self._emit(Warned(message)))
            assert loaded.model.tokenizer
            val = own.val if own else lambda: self._val_of(run)
            self._moments[key] = Subject(loaded.model, loaded.model.tokenizer, loaded.step, val)
            while len(self._moments) > KEPT_MODELS:
                self._moments.popitem(last=False)
        self._moments.move_to_end(key)
        return self._moments[key]

    def _val_of(self, run: Path) -> Tokens:
        from engine.inspect.moments import read_excerpts

        if run not in self._excerpts:
            self._excerpts[run] = read_excerpts(run)
            while len(self._excerpts) > KEPT_MODELS:
                del self._excerpts[next(iter(self._excerpts))]  # the first that was read
        return self._excerpts[run].val

    def _refuse(self, command: Inspect, error: Exception) -> None:
        message = str(error)
        if not isinstance(error, InputError):
            told = described_failure(error) or f"{type(error).__name__}: {error}"
            message = f"this model cannot be looked into: {told}"
        self._emit(command.refused(message))


def _still(subject: Subject) -> Subject:
    """Return a copy of a model whose weights training does not change.

    Raises:
        InputError: It would take too much memory.
    """
    size = sum(one.numel() * one.element_size() for one in subject.model.parameters())
    if size > LARGEST_COPY:
        raise InputError(
            f"measuring this takes a copy of the weights, {size / 1e9:,.1f} GB: go to a moment "
            f"whose weights are kept, which is read from the disk"
        )
    return dataclasses.replace(subject, model=copy.deepcopy(subject.model))
