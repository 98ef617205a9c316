"""Our own kernels for the CPU, held to PyTorch's and to the reference path."""

from __future__ import annotations

import math
import multiprocessing
import platform
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from data.batches import Split
from data.errors import InputError
from engine import kernels
from engine.config.presets import PRESETS
from engine.distributed.team import ProcessLost, Team
from engine.kernels import compiler, library
from engine.model.attention import reference_weights
from engine.model.positions import Rotary, rotary, rotate
from engine.optim.muon import COEFFICIENTS, ITERATIONS, Muon, shared_out
from engine.protocol import Warned
from engine.training.runtime import resolve_runtime
from engine.training.trainer import Runtime, Trainer
from tests.engine.conftest import MakeConfig, MakeTrainer, Rig, assert_same_bits, weights
from tests.engine.training.test_compile import settings_of

needs_gnu = pytest.mark.skipif(
    not shutil.which("g++") or not sys.platform.startswith("linux"),
    reason="native kernels need Linux and g++",
)
pytestmark = needs_gnu


def gradients(y: Tensor, upstream: Tensor, *of: Tensor) -> list[Tensor]:
    return [g.double() for g in torch.autograd.grad(y, of, upstream.to(y.dtype))]


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """As far apart as that share of the largest number."""
    largest = expected.abs().max().item() or 1.0
    assert (found.double() - expected).abs().max().item() <= tolerance * largest


# -- the arithmetic


sizes = st.one_of(st.integers(1, 70), st.sampled_from([128, 513, 1030]))


@settings(max_examples=60, deadline=None)
@given(rows=sizes, out=sizes, width=sizes, bias=st.booleans(), threads=st.integers(1, 3))
def test_a_linear_layer_is_torchs(
    rows: int, out: int, width: int, bias: bool, threads: int
) -> None:
    torch.manual_seed(rows * out + width)
    torch.set_num_threads(threads)
    shapes = [(rows, width), (out, width), (out,)][: 2 + bias]
    ours = [torch.randn(shape, requires_grad=True) for shape in shapes]
    exact = [tensor.detach().double().requires_grad_() for tensor in ours]
    upstream = torch.randn(rows, out)
    y, expected = kernels.linear(*ours, *[None][bias:]), F.linear(*exact)
    assert_near(y, expected, 1e-5)
    for found, wanted in zip(
        gradients(y, upstream, *ours), gradients(expected, upstream, *exact), strict=True
    ):
        assert_near(found, wanted, 1e-5)


def test_a_linear_layer_takes_what_lies_scattered_in_memory_and_nothing_at_all() -> None:
    weight = torch.randn(60, 40, requires_grad=True)
    bias = torch.randn(60, 2)[:, 0]
    x = torch.randn(40, 7).mT
    torch.testing.assert_close(kernels.linear(x, weight, bias), F.linear(x, weight, bias))
    torch.testing.assert_close(kernels.linear(x[0], weight, bias), F.linear(x[0], weight, bias))
    torch.autograd.backward(kernels.linear(x[:0], weight, None).sum())
    assert weight.grad is not None and torch.equal(weight.grad, torch.zeros(60, 40))


def spelled_out(qkv: Tensor, n_head: int, n_kv_head: int, norm: str, rope: Rotary | None) -> Tensor:
    """The same attention by the reference's functions."""
    B, T, width = qkv.shape
    hs = width // (n_head + 2 * n_kv_head)
    parts = torch.split(qkv, [n_head * hs, n_kv_head * hs, n_kv_head * hs], dim=-1)
    q, k, v = (part.view(B, T, -1, hs).transpose(1, 2) for part in parts)
    if norm == "layer":
        q, k = F.layer_norm(q, [hs]), F.layer_norm(k, [hs])
    if norm == "rms":
        q, k = F.rms_norm(q, [hs], eps=1e-5), F.rms_norm(k, [hs], eps=1e-5)
    if rope:
        q, k = rotate(q, rope), rotate(k, rope)
    k, v = (x.repeat_interleave(n_head // n_kv_head, dim=1) for x in (k, v))
    return (reference_weights(q, k) @ v).transpose(1, 2).reshape(B, T, -1)


@settings(max_examples=80, deadline=None)
@given(
    T=st.one_of(st.integers(1, 40), st.sampled_from([64, 97, 200])),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    pairs=st.sampled_from([1, 4, 5, 16, 20, 32]),
    norm=st.sampled_from(["none", "layer", "rms"]),
    turned=st.booleans(),
    threads=st.integers(1, 3),
)
def test_attention_is_the_references(
    T: int, heads: tuple[int, int], pairs: int, norm: str, turned: bool, threads: int
) -> None:
    torch.manual_seed(T + pairs)
    torch.set_num_threads(threads)
    hs, (n_head, n_kv_head) = 2 * pairs, heads
    qkv = torch.randn(2, T, (n_head + 2 * n_kv_head) * hs, requires_grad=True)
    exact = qkv.detach().double().requires_grad_()
    rope = rotary(torch.arange(T), hs, torch.float32) if turned else None
    exact_turns = (rope[0].double(), rope[1].double()) if rope else None
    upstream = torch.randn(2, T, n_head * hs)
    y = kernels.attention(qkv, n_head, n_kv_head, norm=norm, epsilon=1e-5, rope=rope)
    expected = spelled_out(exact, n_head, n_kv_head, norm, exact_turns)
    assert_near(y, expected, 1e-5)
    (found,), (wanted,) = gradients(y, upstream, qkv), gradients(expected, upstream, exact)
    assert_near(found, wanted, 1e-4 if norm != "none" and hs == 2 else 1e-5)


def test_attention_in_bf16_is_exact_but_for_the_rounding_of_what_goes_in_and_out() -> None:
    torch.manual_seed(1)
    qkv = torch.randn(2, 64, 3 * 128, dtype=torch.bfloat16, requires_grad=True)
    exact = qkv.detach().double().requires_grad_()
    upstream = torch.randn(2, 64, 128, dtype=torch.bfloat16)
    y = kernels.attention(qkv, 2, 2)
    expected = spelled_out(exact, 2, 2, "none", None)
    assert y.dtype == torch.bfloat16
    assert ((y.double() - expected).abs() <= expected.abs() * 2**-8 + 1e-5).all()
    (found,), (wanted,) = gradients(y, upstream, qkv), gradients(expected, upstream, exact)
    assert_near(found, wanted, 2**-6)  # y was rounded on the way to them


def dropped(qkv: Tensor, p: float, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return kernels.attention(qkv, 2, 2, dropout=p)


def test_dropout_of_the_weights_is_the_same_forwards_and_backwards() -> None:
    T = hs = 64
    torch.manual_seed(1)
    qkv = torch.randn(3, T, 6 * hs)
    qkv[..., 4 * hs :] = torch.eye(T).repeat(1, 2)  # the values: so that y is the weights
    kept = (dropped(qkv, 0.3, 7) != 0).view(3, T, 2, hs).transpose(1, 2).double() / 0.7
    exact = torch.randn(3, T, 6 * hs, dtype=torch.double)
    exact[..., : 4 * hs] = qkv[..., : 4 * hs]
    exact.requires_grad_()
    ours = exact.detach().float().requires_grad_()
    parts = torch.split(exact, 2 * hs, dim=-1)
    q, k, v = (part.view(3, T, 2, hs).transpose(1, 2) for part in parts)
    expected = ((reference_weights(q, k) * kept) @ v).transpose(1, 2).reshape(3, T, -1)
    y, upstream = dropped(ours, 0.3, 7), torch.randn(3, T, 2 * hs)
    assert_near(y, expected, 1e-6)
    (found,), (wanted,) = gradients(y, upstream, ours), gradients(expected, upstream, exact)
    assert_near(found, wanted, 5e-6)
    assert torch.equal(y, dropped(ours, 0.3, 7))
    assert not torch.equal(y, dropped(ours, 0.3, 8))


def test_dropout_drops_the_share_it_is_asked_to_everywhere() -> None:
    T = hs = 64
    qkv = torch.zeros(20, T, 6 * hs)
    qkv[..., 4 * hs :] = torch.eye(T).repeat(1, 2)
    kept = (dropped(qkv, 0.2, 3) != 0).view(20, T, 2, hs).transpose(1, 2)  # (B, nh, T, T)
    possible = torch.ones(T, T, dtype=torch.bool).tril()
    decisions = kept[..., possible].float()  # (B, nh, T (T + 1) / 2)
    n = decisions.numel()
    assert abs(decisions.mean().item() - 0.8) < 4 * math.sqrt(0.16 / n)
    of_rows = kept.float().sum(-1) / torch.arange(1, T + 1)  # (B, nh, T)
    of_columns = kept.float().sum(-2) / torch.arange(T, 0, -1)
    for shares in (of_rows[..., T // 2 :], of_columns[..., : T // 2]):
        assert shares.min() > 0.5 and shares.mean().item() == pytest.approx(0.8, abs=0.01)
    one, next_row = kept[:, :, 40, :40].float(), kept[:, :, 41, :40].float()
    together = (one * next_row).mean().item()
    assert together == pytest.approx(0.64, abs=0.04)  # neighbours know nothing of each other


@pytest.mark.parametrize("n", [1, 15, 16, 1000])
def test_gelu_is_torchs(n: int) -> None:
    x = torch.linspace(-12, 12, n, requires_grad=True)
    exact = x.detach().double().requires_grad_()
    y, expected = kernels.gelu(x), F.gelu(exact)
    torch.testing.assert_close(y.double(), expected, atol=1e-6, rtol=2e-6)
    (found,), (wanted,) = (
        gradients(*given) for given in ((y, torch.ones(n), x), (expected, torch.ones(n), exact))
    )
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-6)


def each_kernel() -> dict[str, Callable[[Tensor], Tensor]]:
    """Each of (2, 24, 24) -> a tensor."""
    weight = torch.arange(24.0 * 24).view(24, 24).sin()
    return {
        "linear": lambda x: kernels.linear(x, weight, None),
        "gelu": kernels.gelu,
        "attention": lambda x: kernels.attention(x, 2, 2, norm="rms", epsilon=1e-5),
    }


@pytest.mark.parametrize("name", list(each_kernel()))
def test_what_is_not_a_number_is_not_hidden(name: str) -> None:
    x = torch.randn(2, 24, 24)
    x[1, 3, 5] = float("nan")
    assert each_kernel()[name](x)[1].isnan().any()
    assert not each_kernel()[name](x)[0].isnan().any()


@pytest.mark.parametrize("name", list(each_kernel()))
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    torch.manual_seed(0)
    found = []
    x = torch.randn(2, 24, 24, requires_grad=True)
    for threads in (1, 2, 3, 5):
        torch.set_num_threads(threads)
        y = each_kernel()[name](x)
        found.append((y, *torch.autograd.grad(y, x, torch.ones_like(y))))
    for one in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(one, found[0], strict=True))


@pytest.fixture(scope="module")
def compiled_before() -> Path:
    """The library that all tests share."""
    return compiler.compiled()


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """As on a machine where nothing has been compiled yet; the folder for it."""
    folder = tmp_path / "kernels"
    monkeypatch.setenv("GPT_TUI_KERNELS", str(folder))
    for cached in (library.load, compiler._compiler):
        cached.cache_clear()
    yield folder
    for cached in (library.load, compiler._compiler):
        cached.cache_clear()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of this kind")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"])
def test_narrower_processors_compute_the_same(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, processor: str
) -> None:
    if processor == "x86-64-v3" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    monkeypatch.setattr(compiler, "FOR_THIS_PROCESSOR", (f"-march={processor}",))
    kernels.load()
    for T, norm in ((1, "none"), (19, "layer"), (110, "rms")):
        for heads, hs in (((2, 2), 12), ((4, 2), 32)):
            qkv = torch.randn(2, T, (heads[0] + 2 * heads[1]) * hs, requires_grad=True)
            exact = qkv.detach().double().requires_grad_()
            y = kernels.attention(qkv, *heads, norm=norm, epsilon=1e-5)
            expected, upstream = spelled_out(exact, *heads, norm, None), torch.randn_like(y)
            assert_near(y, expected, 3e-6)
            (found,), (wanted,) = (
                gradients(y, upstream, qkv),
                gradients(expected, upstream, exact),
            )
            assert_near(found, wanted, 5e-6)
    for rows, out, width in ((1, 1, 1), (37, 65, 130), (128, 64, 32), (7, 50, 600)):
        x, weight = torch.randn(rows, width), torch.randn(out, width, requires_grad=True)
        y, upstream = kernels.linear(x, weight, None), torch.randn(rows, out)
        assert_near(y, F.linear(x.double(), weight.double()), 2e-6)
        (found,) = gradients(y, upstream, weight)
        assert_near(found, upstream.double().T @ x.double(), 3e-6)
    x = torch.linspace(-9, 9, 37)
    torch.testing.assert_close(kernels.gelu(x), F.gelu(x), atol=1e-6, rtol=2e-6)


def orthogonal(gradient: Tensor) -> Tensor:
    """Newton and Schulz's five steps as published, in fp64."""
    tall = gradient.size(0) > gradient.size(1)
    x: Tensor = gradient.double().mT if tall else gradient.double()
    x = x / x.norm()
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + b * gram @ x + c * gram @ gram @ x
    return x.mT if tall else x


@pytest.mark.parametrize("rank", [3, None])
@pytest.mark.parametrize(
    "shape", [(1, 5), (5, 1), (16, 16), (20, 7), (33, 130), (128, 128), (150, 70)]
)
def test_muon_orthogonalises_as_published(shape: tuple[int, int], rank: int | None) -> None:
    torch.manual_seed(0)
    gradient = torch.randn(shape)
    if rank:  # as gradients are: most singular values are small
        low = torch.randn(shape[0], rank) @ torch.randn(rank, shape[1])
        gradient = low + 1e-3 * gradient
    weight, average = torch.ones(shape), torch.zeros(shape)
    kernels.muon_step([gradient], [average], [weight], momentum=0.0, rate=0.5, keep=0.75)
    moved = 0.5 * max(1, shape[0] / shape[1]) ** 0.5 * orthogonal(gradient)
    assert_near(weight - 0.75, -moved, 1e-3 if rank else 1e-4)
    assert torch.equal(average, gradient)


def test_muon_moves_whatever_is_stacked_in_a_weight_each_for_itself() -> None:
    torch.manual_seed(0)
    stacked, plain = (torch.randn(40, 12, requires_grad=True) for _ in range(2))
    same = [w.detach().clone().requires_grad_() for w in (stacked, plain)]
    ours, theirs = (
        Muon([(one, [12, 12, 16]), (other, [40])], torch.float64, 0.9, 0.1)
        for one, other in ((stacked, plain), same)
    )
    ours.native = True
    for _ in range(3):
        for mine, reference in zip((stacked, plain), same, strict=True):
            mine.grad = torch.randn_like(mine)
            reference.grad = mine.grad.clone()
        ours.step(0.02, torch.tensor(False))
        theirs.step(0.02, torch.tensor(False))
    before = stacked.detach().clone()
    ours.step(0.02, torch.tensor(True))  # an overflow: nothing moves
    assert torch.equal(stacked.detach(), before)
    for mine, reference in zip((stacked, plain), same, strict=True):
        assert_near(mine, reference.double(), 1e-4)
        for name, state in ours.state[mine].items():
            assert_near(state, theirs.state[reference][name].double(), 1e-6)


@pytest.mark.parametrize("clip", [0.5, 5.0, float("inf")])
def test_clipping_is_torchs(clip: float) -> None:
    torch.manual_seed(0)
    shapes = [(3,), (64, 64), (1,), (20_000,), (130, 70)]
    ours = [torch.randn(shape) / 100 for shape in shapes]
    theirs = [torch.nn.Parameter(torch.zeros(shape)) for shape in shapes]
    for parameter, gradient in zip(theirs, ours, strict=True):
        parameter.grad = gradient.clone()
    found = kernels.clip_gradients(ours, clip)
    torch.testing.assert_close(found, torch.nn.utils.clip_grad_norm_(theirs, clip))
    for gradient, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)
    assert kernels.clip_gradients([torch.tensor([1.0, float("nan")])], clip).isnan()


# -- training


def native_trainer(make_trainer: MakeTrainer, **changes: Any) -> Trainer:
    trainer = make_trainer(**changes)
    system = trainer.config.system
    trainer.compute_with(Runtime("cpu", system.precision, 1, 4, False, "native"))
    return trainer


NO_DROPOUT = {"model__dropout": 0.0, "model__attn_dropout": 0.0}


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [
        *((name, "fp32", 1e-5) for name in PRESETS if not name.startswith("gpt2")),
        ("fast", "bf16", 1e-2),
        ("nanogpt-cpu", "bf16", 1e-2),
    ],
)
def test_every_preset_trains_as_with_torchs_kernels(
    make_trainer: MakeTrainer, name: str, precision: str, tolerance: float
) -> None:
    changes = settings_of(name) | NO_DROPOUT | {"system__precision": precision}
    plain, ours = make_trainer(**changes), native_trainer(make_trainer, **changes)
    for _ in range(4):
        expected = plain.train_step()
        found = ours.train_step()
        assert found.loss.item() == pytest.approx(expected.loss.item(), rel=tolerance)
        assert found.grad_norm.item() == pytest.approx(
            expected.grad_norm.item(), rel=20 * tolerance
        )
    assert ours.evaluate().loss == pytest.approx(plain.evaluate().loss, rel=tolerance)


def test_with_dropout_the_same_seed_takes_the_same_course(make_trainer: MakeTrainer) -> None:
    one, other = (native_trainer(make_trainer, model__dropout=0.2) for _ in range(2))
    losses = [[trainer.train_step().loss.item() for _ in range(3)] for trainer in (one, other)]
    assert losses[0] == losses[1]
    assert_same_bits(weights(one.model), weights(other.model))


def test_the_average_of_the_weights_is_evaluated_by_the_same_kernels(
    make_trainer: MakeTrainer,
) -> None:
    trainer = native_trainer(make_trainer, optim__ema_decay=0.9)
    trainer.train_step()
    trainer.evaluate()
    assert trainer.average is not None
    assert all(block.attention.native for block in trainer.average.model.blocks)  # type: ignore[union-attr]


def test_pytorchs_own_threads_do_the_work() -> None:
    """A second OpenMP would bring threads that get into the way of the first's."""
    kernels.load()
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert len({line.split()[-1] for line in maps if "libgomp" in line}) == 1


# -- choosing them, and what can go wrong


def quiet(message: str) -> None:
    """Nobody listens."""


def settle(
    config: Any, split: Split, warn: Callable[[str], None], report: Callable[[str], None] = quiet
) -> str:
    return resolve_runtime(config, split, 90, report, warn).kernels


@pytest.mark.parametrize(
    ("asked", "got"), [("auto", "native"), ("native", "native"), ("torch", "torch")]
)
def test_auto_takes_our_own(make_config: MakeConfig, split: Split, asked: str, got: str) -> None:
    said: list[str] = []
    assert settle(make_config(system__kernels=asked), split, said.append) == got
    assert said == []


def test_the_compiler_and_our_kernels_exclude_each_other(
    make_config: MakeConfig, split: Split
) -> None:
    assert settle(make_config(system__compile=True), split, quiet) == "torch"
    with pytest.raises(InputError, match=r"turn it off for system\.kernels native"):
        make_config(system__compile=True, system__kernels="native")


def test_compiling_happens_once_and_is_told(
    make_config: MakeConfig, split: Split, fresh: Path
) -> None:
    told: list[str] = []
    settle(make_config(), split, quiet, told.append)
    assert any("compiling the kernels" in line for line in told)
    (made,) = fresh.iterdir()
    library.load.cache_clear()
    told.clear()
    settle(make_config(), split, quiet, told.append)
    assert told == [] and list(fresh.iterdir()) == [made]


def no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def broken_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiler, "FLAGS", (*compiler.FLAGS, "-include", "nowhere.h"))
    monkeypatch.setattr(compiler, "_compiler", lambda: (["g++", *compiler.FLAGS], b""))


def another_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    impostor = tmp_path / "g++"
    impostor.write_text("#!/bin/sh\necho '#define __GNUC__ 4'\necho '#define __clang__ 1'\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def no_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GPT_TUI_KERNELS", str(tmp_path / "file" / "kernels"))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (no_compiler, "no g++ or c++ was found to compile the kernels: install g++"),
        (broken_compiler, "could not compile the kernels ("),
        (another_compiler, " is not a GNU compiler with OpenMP: install g++"),
        (no_room, "(Not a directory): set GPT_TUI_KERNELS to another folder"),
    ],
)
def test_without_them_training_goes_on_with_torchs_and_says_why(
    make_config: MakeConfig,
    split: Split,
    fresh: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: Callable[[pytest.MonkeyPatch, Path], None],
    reason: str,
) -> None:
    with monkeypatch.context() as patch:
        fault(patch, tmp_path)
        said: list[str] = []
        assert settle(make_config(), split, said.append) == "torch"
    (sentence,) = said
    assert sentence.startswith("training with PyTorch's kernels") and reason in sentence
    assert "\n" not in sentence


def test_a_library_in_pieces_is_compiled_again(compiled_before: Path, fresh: Path) -> None:
    content = compiled_before.read_bytes()
    fresh.mkdir()
    path = fresh / compiled_before.name
    path.write_bytes(content[: len(content) // 3])  # to load this would end the program
    kernels.load()
    assert path.read_bytes() == content
    x = torch.randn(3, 5)
    torch.testing.assert_close(kernels.gelu(x), F.gelu(x), atol=1e-6, rtol=1e-5)


def test_what_is_loaded_keeps_its_name_when_its_file_is_gone(
    compiled_before: Path, fresh: Path
) -> None:
    fresh.mkdir()
    shutil.copy(compiled_before, fresh)
    assert kernels.fingerprint() == ""
    kernels.load()
    name = kernels.fingerprint()
    shutil.rmtree(fresh)
    assert name and kernels.fingerprint() == name
    assert not fresh.exists()


def test_a_folder_that_may_not_be_looked_into_is_no_reason_to_stop(
    fresh: Path, monkeypatch: pytest.MonkeyPatch, make_config: MakeConfig, split: Split
) -> None:
    def denied(folder: Path, key: str) -> Path | None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(compiler, "_find", denied)
    said: list[str] = []
    assert settle(make_config(), split, said.append) == "torch"
    assert "(Permission denied): set GPT_TUI_KERNELS to another folder" in said[0]


def test_two_programs_may_compile_at_once(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "SOURCES", ("gelu.cpp",))  # the shortest
    key = compiler._key(*compiler._compiler())
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=compiler.compiled) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    left = list(fresh.iterdir())
    assert compiler._find(fresh, key) in left and all(path.suffix == ".so" for path in left)


def test_a_run_that_loses_its_kernels_goes_on_and_says_what_that_means(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config())
    assert session.trainer.runtime.kernels == "native"
    rig.to_step(session, 3)
    path = rig.close(session)
    library.load.cache_clear()

    def gone() -> Path:
        raise kernels.NoKernels("no C++ compiler was found (g++ or c++)")

    with monkeypatch.context() as patch:
        patch.setattr(library, "compiled", gone)
        opened = rig.open(path, running=True)
        assert opened.trainer.runtime.kernels == "torch"
        slower, bits = (event.message for event in rig.said(Warned))
        assert "no C++ compiler was found" in slower
        assert "kernels native is now torch" in bits
        rig.to_step(opened, 6)


def test_going_back_in_a_run_that_lost_its_kernels_says_why_it_cannot(
    make_config: MakeConfig, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> Path:
        raise kernels.NoKernels("no g++ or c++ was found to compile the kernels: install g++")

    library.load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(library, "compiled", gone)
        with pytest.raises(InputError, match=r"trained with native kernels.*install g\+\+"):
            Trainer(make_config(), Runtime("cpu", "fp32", 1, 4, False, "native"), split, 90)


def test_a_run_that_began_with_them_may_be_compiled_later_and_back(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "compile", lambda self: None)  # what comes of it is not the point
    session = rig.new(make_config())
    rig.to_step(session, 3)
    for asked, whose in ((True, "torch"), (False, "native")):
        session = rig.open(rig.close(session), system__compile=asked)
        assert session.trainer.runtime.kernels == whose


def test_a_run_from_before_there_was_a_choice_keeps_torchs(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(system__kernels="torch"))
    rig.to_step(session, 3)
    database = session.files.database
    known = database.meta()["runtime"]
    del known["asked"]["kernels"], known["resolved"]["kernels"]
    database.set_meta(runtime=known)
    path = rig.close(session)
    opened = rig.open(path)
    assert opened.trainer.runtime.kernels == "torch"
    assert rig.said(Warned) == []


def test_bits_of_a_run_with_them_are_the_same_after_a_break(
    rig: Rig, make_config: MakeConfig
) -> None:
    through, broken = (rig.new(make_config(model__dropout=0.1)) for _ in range(2))
    rig.to_step(through, 8)
    rig.to_step(broken, 4)
    again = rig.open(rig.close(broken))
    rig.to_step(again, 8)
    assert again.trainer.runtime.kernels == "native"
    assert_same_bits(weights(again.trainer.model), weights(through.trainer.model))
    assert np.isfinite(through.trainer.evaluate().loss)


class Pair(Team):
    """One of two processes; the other has computed what it exchanges before, or is lost."""

    shares_memory = True

    def __init__(self, rank: int, theirs: list[Tensor] | None) -> None:
        super().__init__()
        self.rank, self.size, self.theirs = rank, 2, theirs

    def exchange(self, tensors: Sequence[Sequence[Tensor]]) -> None:
        if self.theirs is None:
            raise ProcessLost
        for tensor, one in zip(tensors[1 - self.rank], self.theirs, strict=True):
            tensor.copy_(one)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("is_lost", [False, True])
def test_the_work_of_muon_is_divided_to_the_same_bits_also_when_the_other_is_lost(
    rank: int, is_lost: bool
) -> None:
    torch.manual_seed(0)
    shapes = [(40, 12), (16, 16), (8, 30), (16, 16)]
    whole = [torch.randn(shape, requires_grad=True) for shape in shapes]
    half = [one.detach().clone().requires_grad_() for one in whole]
    for one, same in zip(whole, half, strict=True):
        one.grad = same.grad = torch.randn_like(one)
    alone = Muon([(one, [len(one)]) for one in whole], torch.float32, 0.9, 0.1)
    alone.native = True
    alone.step(0.02)
    moved = [part.of_weight for part in shared_out(alone._parts, 2)[1 - rank]]
    pair = Pair(rank, None if is_lost else moved)
    shared = Muon([(one, [len(one)]) for one in half], torch.float32, 0.9, 0.1, pair)
    shared.native = True
    shared.step(0.02)
    for one, other in zip(whole, half, strict=True):
        assert torch.equal(one, other)
        (before,), (after,) = alone.state[one].values(), shared.state[other].values()
        assert torch.equal(before, after)
