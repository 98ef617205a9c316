"""What settings of the optimizer govern with Muon, which leaves part of the model to AdamW."""

from __future__ import annotations

from engine.config.schema import Config
from engine.config.unused import uses_muon

MATRICES = "the matrices of the blocks"
REST = "embeddings, head, gains and biases"

WITH_MUON = {
    "optim.optimizer": f"it updates {MATRICES}, AdamW the rest",
    "optim.learning_rate": f"for {REST} (AdamW); optim.muon_lr for {MATRICES}",
    "optim.muon_lr": f"for {MATRICES}; optim.learning_rate for {REST}",
    "optim.min_lr": "for AdamW; Muon's rate falls by the same factor",
    "optim.beta1": f"for {REST} (AdamW)",
    "optim.beta2": f"for {REST} (AdamW)",
    "optim.momentum": f"for {MATRICES} (Muon)",
    "optim.weight_decay": f"for {MATRICES} (Muon), embeddings and head (AdamW)",
}


def governed(config: Config, key: str) -> str:
    """Return what a setting applies to; empty if that is all of the model, or needs no words."""
    return WITH_MUON.get(key, "") if uses_muon(config) else ""
