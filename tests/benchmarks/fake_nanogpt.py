"""A stand-in for a checkout of nanoGPT: it prints what nanoGPT prints, and trains nothing."""

from __future__ import annotations

from pathlib import Path

TRAIN = """\
import pickle, sys
import numpy as np
told = dict(word[2:].split("=", 1) for word in sys.argv[1:])
steps, interval = int(told["max_iters"]), int(told["eval_interval"])
vocab_size = pickle.load(open(told["dataset"] + "/meta.pkl", "rb"))["vocab_size"]
width, context = int(told["n_embd"]), int(told["block_size"])
print("num decayed parameter tensors: 2, with 1,234 parameters")
print("num non-decayed parameter tensors: 1, with %d parameters" % (context * width))
for i in range(steps + 1):
    if i % interval == 0:
        print(f"step {i}: train loss nan, val loss nan")
        if i and (told["always_save_checkpoint"] == "True" or i == interval):  # the first is best
            import os, torch
            os.makedirs(told["out_dir"], exist_ok=True)
            shape = {"vocab_size": vocab_size, "block_size": context}
            model = {"_orig_mod.bias": torch.zeros(vocab_size)}
            saved = {"model_args": shape, "model": model, "iter_num": i}
            torch.save(saved, told["out_dir"] + "/ckpt.pt")
    print(f"iter {i}: loss 4.0, time 50.00ms, mfu -100.00%")
"""

MODEL = """\
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int

class GPT(nn.Module):
    '''Every token is as likely as any other.'''
    def __init__(self, config):
        super().__init__()
        self.bias = nn.Parameter(torch.ones(config.vocab_size))
    def forward(self, idx, targets):
        return self.bias.expand(*idx.shape, -1), None
    def get_num_params(self):
        return 1234
"""


def write_fake_nanogpt(folder: Path) -> Path:
    """Write the three files that make a checkout; each of its iterations "takes" 50 ms."""
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.py").write_text(MODEL)
    (folder / "configurator.py").write_text("")
    return folder
