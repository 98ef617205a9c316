"""What a text is, in figures, and whether the model and the run suit it, in words."""

from __future__ import annotations

from dataclasses import dataclass

from data.program import named
from tui.inside.layout import Picture, below, wrapped
from tui.text.numbers import format_amount, format_count, format_unit

LABEL = 11  # columns
PER_PARAMETER = 20.0  # tokens: Hoffmann et al. 2022 ("Chinchilla")
FAR = 10.0  # times too few or too many
VERY_FAR = 1000.0  # too few: parameters for a token say it better
AS_GOOD_AS_NEW = 4.0  # epochs: Muennighoff et al. 2023
MANY_EPOCHS = 100.0
MOST_OF_A_RECIPE = 2000.0  # epochs: gpt-from-scratch has 1000


@dataclass(frozen=True)
class Described:
    """What only reading all of the text tells.

    Attributes:
        size: Bytes of UTF-8.
        longest: The name of the longest document, and its characters.
        odd: Characters that are probably not meant, in words; empty if there are none.
        told: What is unusual about the text, in sentences.
    """

    size: int
    documents: int
    longest: tuple[str, int]
    odd: str
    told: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """What is known of a text, its tokens and the run that learns it.

    Attributes:
        source: Where it is from.
        characters: 0 if that is not known.
        token_bytes: Of all tokens together; 0 if they were not counted yet.
        described: None until the text was read.
        undescribed: Why it cannot be, if it cannot.
        steps: Of the whole run.
        windows: In a step.
        block_size: Tokens of a window.
        per_epoch: Tokens that windows have until all of the training split was seen.
        recipe: The preset whose model and run it is, unchanged; empty if there is none.
    """

    name: str
    source: str
    characters: int
    tokenizer: str
    vocab_size: int
    train: int
    val: int
    token_bytes: int
    parameters: int
    steps: int
    windows: int
    block_size: int
    per_epoch: int
    described: Described | None = None
    undescribed: str = ""
    recipe: str = ""

    @property
    def tokens(self) -> int:
        return self.train + self.val

    @property
    def longest_context(self) -> int:
        """Tokens of the longest window that both splits have, with the target after it."""
        return max(0, min(self.train, self.val) - 1)

    @property
    def is_too_short(self) -> bool:
        """Whether no window of the model's context fits."""
        return self.longest_context < self.block_size

    @property
    def epochs(self) -> float:
        """How often training goes through the training split."""
        return self.steps * self.windows * self.block_size / max(1, self.per_epoch)


def draw_facts(facts: Facts, width: int) -> Picture:
    """Draw the figures, then what is to be said of them."""
    picture = Picture()
    for label, value in _rows(facts):
        lines = wrapped(value, width - LABEL - 1)
        for number, row in enumerate(lines.rows):
            picture.add((f" {'' if number else label:{LABEL}}", "dim"), *row)
    for sentence, style in judged(facts):
        lines = wrapped(sentence, width - 2, style)
        for row in lines.rows:
            row.insert(0, (" ", "ink"))
        picture = below(picture, lines)
    return picture


def _rows(facts: Facts) -> list[tuple[str, str]]:
    found = facts.described
    size = f"{format_unit(found.size, 'B')} in UTF-8, " if found else ""
    per_token = facts.token_bytes / facts.tokens if facts.token_bytes else 0.0
    each = f", {per_token:.2f} bytes each" if per_token else ""
    rows = [
        ("text", named(facts.name)),
        *([("from", facts.source)] if facts.source != facts.name else []),
        ("size", f"{size}{format_count(facts.characters, 'character')}"),
    ]
    if found:
        longest = f", the longest {found.longest[1]:,} characters ({named(found.longest[0])})"
        rows += [
            ("documents", f"{found.documents:,}{longest if found.documents > 1 else ''}"),
            ("odd", found.odd or "no odd characters"),
        ]
    else:
        rows.append(("documents", facts.undescribed or "reading the text …"))
    rows += [
        ("tokens", f"{facts.tokens:,}{each}"),
        ("vocabulary", f"{facts.vocab_size:,} ({facts.tokenizer})"),
        ("split", f"{facts.train:,} to train on, {facts.val:,} ({_share(facts)}) to validate"),
        ("run", _run(facts)),
        ("model", format_count(facts.parameters, "parameter")),
    ]
    return [*rows, *(("note", one) for one in (found.told if found else ()))]


def _share(facts: Facts) -> str:
    return f"{100 * facts.val / facts.tokens:.3g}%"


def _run(facts: Facts) -> str:
    seen = facts.steps * facts.windows * facts.block_size
    if facts.is_too_short:
        return f"none: the text is too short for a context of {facts.block_size:,} tokens"
    return (
        f"{format_count(facts.steps, 'step')} of {format_count(facts.windows, 'window')} of "
        f"{format_count(facts.block_size, 'token')}: {format_amount(seen)} tokens, "
        f"{_times(facts.epochs)} the training split"
    )


def _times(epochs: float) -> str:
    return f"{epochs:.3g} times" if epochs < 1000 else f"{epochs:,.0f} times"


def judged(facts: Facts) -> list[tuple[str, str]]:
    """Return what to expect of model, run and text together, in sentences with their styles.

    A model learns a text by heart if it is large for it and sees it often; either alone is usual.
    """
    if facts.is_too_short:
        return [(_too_short(facts), "bad")]
    per_parameter = facts.train / facts.parameters
    told = [(f"{_ratio(per_parameter)}{_of_size(per_parameter)}", "dim")]
    seen = f"The run sees the text {_times(facts.epochs)}"
    is_large = per_parameter < PER_PARAMETER
    if facts.epochs < 1:
        told.append((f"The run sees about {facts.epochs:.2g} of the text, no part twice.", "dim"))
    elif facts.epochs <= AS_GOOD_AS_NEW:
        told.append((f"{seen}: nearly as good as that much new text.", "dim"))
    elif not is_large:
        told.append((f"{seen}, and the model is too small to learn it by heart.", "dim"))
    elif facts.epochs <= MANY_EPOCHS or (facts.recipe and facts.epochs <= MOST_OF_A_RECIPE):
        meant = f", as the preset {facts.recipe} means it" if facts.recipe else ""
        told.append((
            f"{seen}{meant}: expect the validation loss to be lowest before the end. The best "
            "checkpoint is kept.", "dim"))  # fmt: skip
    else:
        told.append((
            f"{seen}, and the model is large for it: it will learn it by heart. Take more text, a "
            "smaller model, or set train.max_steps lower.", "bad"))  # fmt: skip
    return told


def _too_short(facts: Facts) -> str:
    longest = facts.longest_context
    shorter = f", or set model.block_size to {longest:,} or less" if longest else ""
    return (
        f"The text is too short for the model: its context needs {facts.block_size + 1:,} tokens "
        f"to train on and as many to validate. Take a longer text{shorter}."
    )


def _ratio(per_parameter: float) -> str:
    if per_parameter < PER_PARAMETER / VERY_FAR:
        return f"The model has {1 / per_parameter:,.0f} parameters for each token"
    return (
        f"{format_amount(per_parameter)} tokens a parameter, where Chinchilla's rule of thumb has "
        f"{PER_PARAMETER:.0f}"
    )


def _of_size(per_parameter: float) -> str:
    if per_parameter < PER_PARAMETER / FAR:
        far = "far too large a" if per_parameter < PER_PARAMETER / VERY_FAR else "a large"
        return f": {far} model for the text."
    if per_parameter > PER_PARAMETER * FAR:
        return ": a small model for the text. A larger one reaches a lower loss, given the time."
    return "."
