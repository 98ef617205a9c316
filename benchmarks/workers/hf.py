"""Worker: transformers' GPT-2, trained by a plain loop on the same batches and schedule."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from benchmarks.peers import Text, load_text
from benchmarks.workers import answer
from benchmarks.workers.measure import now, whole_split_loss
from data.batches import take_examples, train_offsets
from engine.config.schema import Config, config_from_dict

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Train it.

    Args:
        request: ``config`` (whose GPT-2 shape and AdamW recipe it takes), ``steps``, ``warm_up``
            (steps that are not timed), ``device``, ``precision``, ``threads``, and ``evaluate``
            to measure the weights at the end.

    Returns:
        ``seconds`` of the steps after the warm-up, ``parameters`` without position embeddings,
        and ``val_loss`` if it was wanted.
    """
    import torch

    config, device = config_from_dict(request["config"]), request["device"]
    torch.set_num_threads(request["threads"])
    torch.manual_seed(config.train.seed)
    text = load_text(config)
    model = _gpt2(config, text.tokenizer.vocab_size).to(device)
    optimizer = _adamw(model, config)
    start = now(device)
    for step in range(request["steps"]):
        if step == request["warm_up"]:
            start = now(device)
        _train_step(model, optimizer, config, text, step, request)
    result = {"seconds": now(device) - start, "parameters": _parameters(model)}
    if request["evaluate"]:
        model.eval()
        result["val_loss"], _ = whole_split_loss(
            lambda ids: model(ids).logits, text.split.val, config.model.block_size, device
        )
    return result


def _gpt2(config: Config, vocab_size: int) -> Any:
    transformers = importlib.import_module("transformers")
    shape = config.model
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=vocab_size,
            n_positions=shape.block_size,
            n_embd=shape.n_embd,
            n_layer=shape.n_layer,
            n_head=shape.n_head,
            embd_pdrop=shape.dropout,
            attn_pdrop=shape.dropout,
            resid_pdrop=shape.dropout,
            use_cache=False,
            bos_token_id=0,
            eos_token_id=0,
        )
    ).train()


def _adamw(model: Any, config: Config) -> torch.optim.Optimizer:
    """AdamW that decays matrices and embeddings alone, as in nanoGPT."""
    import torch

    optim = config.optim
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": optim.weight_decay},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=optim.learning_rate,
        betas=(optim.beta1, optim.beta2),
    )


def _train_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    config: Config,
    text: Text,
    step: int,
    request: dict[str, Any],
) -> None:
    import torch
    from torch.nn import functional as F

    from engine.optim.schedule import learning_rate

    train, block_size = config.train, config.model.block_size
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config.optim, step, request["steps"])
    offsets = train_offsets(
        len(text.split.train),
        block_size,
        train.batch_size * train.grad_accum_steps,
        seed=train.seed,
        step=step,
    )
    for micro_step in range(train.grad_accum_steps):
        part = offsets[micro_step * train.batch_size : (micro_step + 1) * train.batch_size]
        x, y = take_examples(text.split.train, part, block_size)  # (B, T) each
        ids, targets = (torch.from_numpy(one).to(request["device"]) for one in (x, y))
        with _casting(request["device"], request["precision"]):
            logits: Tensor = model(ids).logits  # (B, T, vocab_size)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        (loss / train.grad_accum_steps).backward()  # type: ignore[no-untyped-call]
    if config.optim.grad_clip:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def _casting(device: str, precision: str) -> AbstractContextManager[object]:
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision])


def _parameters(model: Any) -> int:
    counted = (p.numel() for name, p in model.named_parameters() if "wpe" not in name)
    return sum(counted)


if __name__ == "__main__":
    answer(work)
