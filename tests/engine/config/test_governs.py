"""With Muon, the settings of the optimizer say which part of the model they govern."""

from __future__ import annotations

from engine.config.governs import WITH_MUON, governed
from engine.config.presets import preset_config
from engine.config.schema import SETTINGS
from engine.config.unused import unused
from engine.model import build_model
from engine.optim.optimizer import block_matrices


def test_with_muon_alone_there_is_something_to_say() -> None:
    muon = preset_config("fast")
    assert muon.optim.optimizer == "muon" and WITH_MUON.keys() <= SETTINGS.keys()
    assert "optim.muon_lr for the matrices" in governed(muon, "optim.learning_rate")
    assert governed(muon, "optim.muon_lr").startswith("for the matrices of the blocks")
    assert not unused(muon).keys() & WITH_MUON.keys()
    adamw = muon.replace({"optim.optimizer": "adamw"})
    assert not any(governed(adamw, key) for key in WITH_MUON)


def test_muon_updates_what_is_said() -> None:
    model = build_model(preset_config("fast").model, vocab_size=7)
    matrices = {id(weight) for weight, _ in block_matrices(model)}
    theirs = {name for name, one in model.named_parameters() if id(one) in matrices}
    assert theirs and all(".attention." in name or ".feed_forward." in name for name in theirs)
    rest = {name for name, one in model.named_parameters() if id(one) not in matrices}
    assert all("embedding" in name or "head" in name or "norm" in name or "bias" in name
               for name in rest), rest  # fmt: skip
