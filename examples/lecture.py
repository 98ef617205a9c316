"""The library as the lecture uses it: a new model, its shapes, attention, training, text.

python examples/lecture.py                             # the rung layer-norm, 300 steps
python examples/lecture.py --preset multi-head --steps 1000
python examples/lecture.py --run first                 # and then a run that you have trained
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch

import engine
from data.batches import split_tokens
from data.corpora.load import load_corpus
from data.tokenizers import CharTokenizer
from engine.config.presets import preset_config
from engine.model import LanguageModel
from engine.training.trainer import Runtime, Trainer

PROMPT = "Rome"


def main(argv: Sequence[str] | None = None) -> None:
    """Look at a new model, train it for some steps, and let it write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--preset", default="layer-norm", help="gpt-tui presets lists them")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--run", help="a run of yours to load in the end: its name or folder")
    args = parser.parse_args(argv)

    look_at(engine.new(args.preset))
    write(train(args.preset, args.steps))
    if args.run:
        write(engine.load(args.run))


def look_at(model: LanguageModel) -> None:
    """Print what goes in, what comes out, and who looks at whom."""
    assert model.tokenizer is not None  # engine.new and engine.load set it
    print(f"{model.parameter_count():,} parameters, {model.vocab_size} different characters")

    input_ids = torch.tensor(model.tokenizer.encode(PROMPT))[None]  # (B, T) = (1, 4)
    logits = model(input_ids)  # (B, T, vocab_size)
    print(f"{PROMPT!r} -> ids {tuple(input_ids.shape)} -> logits {tuple(logits.shape)}")

    for block, weights in enumerate(model.attention_weights(input_ids)):  # (B, n_head, T, T)
        last = weights[0, 0, -1]  # (T,), what the last token takes from each token
        print(f"block {block}, head 0, {PROMPT[-1]!r} looks at {PROMPT!r}:", rounded(last))


def train(preset: str, steps: int) -> LanguageModel:
    """Train a preset from the weights that ``engine.new`` gives, on the CPU in fp32."""
    config = preset_config(preset)
    text = load_corpus(config.data.corpus).text
    tokenizer = CharTokenizer.train(text)
    split = split_tokens(tokenizer.encode(text))  # 90 % to train on, 10 % to measure
    runtime = Runtime(
        device="cpu",
        precision="fp32",
        threads=torch.get_num_threads(),
        micro_batch_size=config.train.batch_size,
        compile=False,
    )
    trainer = Trainer(config, runtime, split, tokenizer.vocab_size)
    for step in range(1, steps + 1):
        result = trainer.train_step()
        if step in (1, steps) or step % 100 == 0:
            print(f"step {step:,}: train loss {result.loss:.3f}")
    print(f"validation loss {trainer.evaluate().loss:.3f}")
    trainer.model.tokenizer = tokenizer
    return trainer.model


def write(model: LanguageModel) -> None:
    """Print a text that goes on from the prompt."""
    assert model.tokenizer is not None
    start = torch.tensor(model.tokenizer.encode(PROMPT))  # (T,)
    tokens = model.generate(start, max_length=100, temperature=0.8, seed=1)  # (T + 100,)
    print(model.tokenizer.decode(tokens.tolist()))


def rounded(row: torch.Tensor) -> str:
    """Some numbers (T,) in a line."""
    return " ".join(f"{number:.2f}" for number in row.tolist())


if __name__ == "__main__":
    main()
