"""The benchmarks of training and their peers: what is read, reckoned and refused."""

from __future__ import annotations

import importlib.util
import json
import math
import pickle
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks import loss_race, programs, throughput, time_to_loss
from benchmarks.loss_race import OurRun, interleaved
from benchmarks.nanogpt import NanoGptLog, recipe_flags
from benchmarks.peers import Peer, gpt2_shape, load_text, parse_peers, write_nanogpt_data
from benchmarks.race import Setup, Timed
from benchmarks.report import parameters_row
from benchmarks.throughput import Limits
from benchmarks.time_to_loss import Reached
from benchmarks.workers import ask, hf, matmul_peak, nanogpt_loss, our_loss, products
from benchmarks.workers.measure import whole_split_loss
from data.batches import validation_windows
from data.errors import InputError
from engine.config.presets import preset_config
from engine.config.schema import Config, ModelConfig
from engine.model import build_model
from tests.benchmarks.fake_nanogpt import write_fake_nanogpt
from tests.benchmarks.front_door import benchmark

LOG = """\
tokens per iteration will be: 768
num decayed parameter tensors: 18, with 802,944 parameters
num non-decayed parameter tensors: 9, with 1,152 parameters
step 0: train loss nan, val loss nan
iter 0: loss 4.2356, time 312.45ms, mfu -100.00%
iter 1: loss 4.2401, time 41.20ms, mfu -100.00%
step 2: train loss 4.2, val loss 4.2
iter 2: loss nan, time 940.05ms, mfu 0.02%
iter 3: loss 4.1, time 40.80ms, mfu 0.02%
"""
EVERY_TENTH = """\
step 0: train loss nan, val loss nan
iter 0: loss 4, time 1.00ms, mfu 1%
iter 10: loss 4, time 1.00ms, mfu 1%
iter 20: loss 4, time 1.00ms, mfu 1%
step 30: train loss nan, val loss nan
iter 30: loss 4, time 1.00ms, mfu 1%
"""
TINY = ["--preset", "tiny", "--threads", "1", "--set", "system.micro_batch_size=16"]


@pytest.fixture
def config(small_text_file: Path) -> Config:
    """A small model on a small text, in one thread."""
    return preset_config("tiny").replace(
        {
            "model.n_layer": 1,
            "model.n_embd": 16,
            "model.block_size": 8,
            "train.max_steps": 4,
            "data.corpus": str(small_text_file),
            "system.device": "cpu",
            "system.threads": 1,
            "system.micro_batch_size": 16,
        }
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What looks like nanoGPT."""
    return write_fake_nanogpt(tmp_path / "nanogpt")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, one_thread: None) -> None:
    """Workers do their work here: each start of torch takes a while."""
    workers = {
        "our_loss": our_loss,
        "nanogpt_loss": nanogpt_loss,
        "matmul_peak": matmul_peak,
        "products": products,
    }

    def ask(worker: str, request: dict[str, Any], **_: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(json.dumps(workers[worker].work(request)))
        return told

    monkeypatch.setattr(loss_race, "ask", ask)
    monkeypatch.setattr(throughput, "ask", ask)


def log_of(text: str, arrivals: list[float]) -> NanoGptLog:
    return NanoGptLog.read(zip(arrivals, text.splitlines(), strict=True))


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


# -- nanoGPT's log -------------------------------------------------------------------------------


def test_a_log_tells_iterations_evaluations_and_exact_parameters() -> None:
    log = log_of(LOG, [0, 1, 1, 2, 2.3, 2.4, 3.2, 3.3, 3.4])
    assert [one.number for one in log.iterations] == [0, 1, 2, 3]
    assert [one.seconds for one in log.iterations] == pytest.approx(
        [0.31245, 0.0412, 0.94005, 0.0408]
    )
    assert log.evaluations == {0: 2, 2: 3.2}
    assert log.parameters == 802_944 + 1_152


def test_a_log_of_something_else_holds_nothing() -> None:
    assert NanoGptLog.read([(0.0, "Traceback (most recent call last):\n")]).iterations == []


def test_training_seconds_leave_evaluations_out() -> None:
    log = log_of(LOG, [0, 1, 1, 2, 2.3, 2.4, 3.2, 3.3, 3.4])
    typical = (0.0412 + 0.0408) / 2
    assert log.training_seconds(4) == pytest.approx(0.3 + 0.0412 + typical + 0.0408)
    assert log.training_seconds(2) == pytest.approx(0.3 + 0.0412)


def test_compiling_counts_and_what_comes_before_the_first_iteration_does_not() -> None:
    text = "step 0: train loss nan, val loss nan\n" + "".join(
        f"iter {i}: loss 4, time 10.00ms, mfu 1%\n" for i in range(5)
    )
    log = log_of(text, [100.0, 130.0, 130.01, 130.02, 130.03, 130.04])
    assert log.training_seconds(5) == pytest.approx(30 + 4 * 0.010)


def test_where_only_every_tenth_iteration_is_printed_the_clock_decides() -> None:
    log = log_of(EVERY_TENTH, [0, 5.0, 6.0, 7.0, 60.0, 61.0])
    assert log.training_seconds(30) == pytest.approx(5 + 1 + 1 + 9 * 0.1)
    assert log.after(10) == pytest.approx((10, 1.0))  # the last stretch holds an evaluation


def test_the_warm_up_is_not_timed() -> None:
    times = [500, 400, *[40] * 8, *[20] * 5]
    lines = [f"iter {i}: loss 4, time {ms:.2f}ms, mfu 1%" for i, ms in enumerate(times)]
    log = NanoGptLog.read(zip(accumulate(ms / 1000 for ms in times), lines, strict=True))
    assert log.after(10) == pytest.approx((5, 0.1))
    with pytest.raises(programs.BenchmarkError, match="nothing after its 15 first"):
        log.after(15)


# -- what peers are given ------------------------------------------------------------------------


def test_nanogpt_gets_the_same_text_in_its_own_format(
    tmp_path: Path, small_text: str, config: Config
) -> None:
    write_nanogpt_data(tmp_path, load_text(config))
    meta = pickle.loads((tmp_path / "meta.pkl").read_bytes())
    tokens = np.concatenate(
        [np.fromfile(tmp_path / name, np.uint16) for name in ("train.bin", "val.bin")]
    )
    assert "".join(meta["itos"][token] for token in tokens.tolist()) == small_text
    assert meta["vocab_size"] == len(meta["stoi"]) == len(set(small_text))


def test_nanogpt_is_told_the_shape_in_its_own_words() -> None:
    config = preset_config("nanogpt").replace({"train.batch_size": 8})
    flags = recipe_flags(config)
    assert (flags["n_layer"], flags["n_embd"], flags["block_size"]) == (6, 384, 256)
    assert (flags["dropout"], flags["batch_size"]) == (0.2, 8)
    assert flags["gradient_accumulation_steps"] == 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"model.architecture": "bigram"}, "a peer is a GPT-2"),
        ({"model.attn_dropout": 0.5}, "drops everything at one rate"),
    ],
)
def test_what_is_no_gpt2_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        gpt2_shape(Config().replace(values).model)


def test_a_peer_of_a_modern_model_is_the_gpt2_of_its_size() -> None:
    modern = Config().replace({"model.position": "rotary", "model.norm": "rms", "model.n_layer": 2})
    assert gpt2_shape(modern.model) == ModelConfig(n_layer=2)


def test_one_size_means_within_five_percent() -> None:
    assert parameters_row(104, "it", 100).reached is True
    assert parameters_row(94, "it", 100).reached is False
    assert parameters_row(94, "it", 0).reached is None


# -- the ruler -----------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_windows_side_by_side() -> None:
    tokens = np.random.default_rng(0).integers(0, 7, 50_003)
    table = torch.randn(7, 7, generator=torch.Generator().manual_seed(0))
    loss, windows = whole_split_loss(lambda ids: table[ids], tokens, 8, "cpu")
    assert windows == len(validation_windows(len(tokens), 8)) == 6250
    text = torch.from_numpy(tokens[: windows * 8 + 1])
    assert loss == pytest.approx(F.cross_entropy(table[text[:-1]], text[1:]).item(), rel=1e-5)


def test_the_peak_is_that_of_the_fastest_product(
    monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(matmul_peak, "SIZES", {"cpu": (8, 256)})
    request = {"device": "cpu", "precision": "fp32", "threads": 1, "seconds": 0.0}
    peak = matmul_peak.work(request)
    assert peak["size"] == 256  # in a tiny one, calling takes longer than computing
    assert peak["flops_per_second"] > 1e8


def test_the_products_of_a_step_are_those_that_are_counted(one_thread: None) -> None:
    config = preset_config("nanogpt-cpu").replace({"train.batch_size": 2})
    on = {"device": "cpu", "precision": "fp32", "threads": 1, "vocab_size": 65, "seconds": 0.0}
    told = products.work(on | {"config": config.to_dict()})
    model = build_model(config.model, 65)
    matrices = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    looked_up = model.get_parameter("position_embedding.weight").numel()
    assert told["flops"] == 6 * 2 * 64 * (matrices - looked_up)
    assert told["number"] == 3 * (4 * 4 + 1)  # of each matrix: forwards, and twice backwards
    assert 0 < told["seconds"] < 10


# -- our loss, and transformers' -----------------------------------------------------------------


def test_our_worker_measures_on_the_way_and_at_the_end(config: Config, one_thread: None) -> None:
    told = our_loss.work({"config": config.to_dict(), "every": 3})
    assert [step for step, _, _ in told["points"]] == [3, 4]
    (_, early, before), (_, late, after) = told["points"]
    assert 0 < early < late
    assert after < before < 1.2 * math.log(100)
    assert told["tokens_per_step"] == 16 * 8
    assert told["runtime"]["resolved"]["threads"] == 1


def test_measuring_does_not_change_what_is_trained(config: Config, one_thread: None) -> None:
    often, once = (our_loss.work({"config": config.to_dict(), "every": n}) for n in (1, 0))
    assert often["points"][-1][2] == once["points"][-1][2]


def test_the_seed_makes_another_run(config: Config, one_thread: None) -> None:
    other = config.replace({"train.seed": 5})
    ends = [our_loss.work({"config": c.to_dict(), "every": 0})["points"] for c in (config, other)]
    assert ends[0][-1][2] != ends[1][-1][2]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_transformers_learns_in_a_plain_loop(
    config: Config, one_thread: None, accumulated: int
) -> None:
    pytest.importorskip("transformers")
    config = config.replace({"train.grad_accum_steps": accumulated, "optim.warmup_steps": 0})
    request = {"config": config.to_dict(), "warm_up": 1, "device": "cpu", "precision": "fp32",
               "threads": 1, "evaluate": True}  # fmt: skip
    early, late = (hf.work({**request, "steps": steps}) for steps in (2, 40))
    assert late["val_loss"] < early["val_loss"] - 0.3
    assert 0 < early["seconds"] < late["seconds"]
    width, vocab_size = config.model.n_embd, load_text(config).tokenizer.vocab_size
    biases = 9 * width + 4 * width  # of linear layers, and gains and biases of two norms
    assert late["parameters"] == (
        12 * width**2 + biases + 2 * width + vocab_size * width
    )  # the last norm, and the tied embedding


def test_what_cannot_be_comes_back_from_a_worker_as_one_sentence(config: Config) -> None:
    request = {"config": config.to_dict() | {"data": {"corpus": "no/such.txt"}}, "every": 0}
    with pytest.raises(InputError, match=r"no/such\.txt does not exist"):
        ask("our_loss", request)


def test_a_worker_that_fails_says_why() -> None:
    with pytest.raises(programs.BenchmarkError, match="KeyError: 'config'"):
        ask("our_loss", {})


# -- time to loss --------------------------------------------------------------------------------


def run_of(seed: int, *points: tuple[int, float, float]) -> OurRun:
    return OurRun(seed, {"points": [list(point) for point in points]})


def test_the_first_point_at_or_below_the_target_counts() -> None:
    run = run_of(1, (10, 1.0, 2.5), (20, 2.0, 1.9), (30, 3.0, 1.95))
    assert run.crossing(1.9) == (20, 2.0, 1.9)
    assert run.crossing(1.8) is None
    assert run.loss == 1.95


def test_the_ratio_is_that_of_each_round() -> None:
    rounds = [
        [run_of(1, (10, 1.0, 1.0)), run_of(2, (20, 2.0, 1.0)), run_of(3, (20, 9.0, 1.0))],
        [run_of(1, (10, 4.0, 1.0)), run_of(2, (20, 4.0, 1.0)), run_of(3, (20, 5.0, 1.0))],
    ]
    reached = Reached.of(rounds, 1.5)
    assert reached.ratios([20.0, 20.0]) == [10.0, 5.0]
    told = reached.to_dict(tokens=100)
    assert told["seconds"]["median"] == 4.0
    assert told["steps"]["median"] == 20
    assert told["tokens"] == 2000
    assert told["seconds_per_run"] == [[1.0, 2.0, 9.0], [4.0, 4.0, 5.0]]


def test_a_run_that_never_gets_there_leaves_no_figure() -> None:
    rounds = [[run_of(1, (10, 1.0, 1.0)), run_of(2, (10, 1.0, 2.0))]]
    reached = Reached.of(rounds, 1.5)
    told = reached.to_dict(tokens=100)
    assert (told["reached_by_all"], told["seconds"], told["tokens"]) == (False, None, None)
    assert told["seconds_per_run"] == [[1.0, None]]
    assert reached.row("", 100).measured == "1 of 2 runs got there"


def test_peers_run_among_the_seeds() -> None:
    nanogpt, transformers = Peer("nanogpt"), Peer("hf")
    assert interleaved([1, 2, 3], [nanogpt]) == [1, 2, nanogpt, 3]
    assert interleaved([1, 2, 3], [nanogpt], backwards=True) == [3, nanogpt, 2, 1]
    assert interleaved([1, 2], [nanogpt, transformers]) == [1, nanogpt, 2, transformers]
    assert interleaved([1], []) == [1]


# -- throughput ----------------------------------------------------------------------------------


def test_flops_per_second_come_from_the_closed_form(config: Config) -> None:
    config = config.replace({"model.n_layer": 2, "optim.optimizer": "muon"})
    setup = Setup(config, [], load_text(config), 10, "cpu", 1, "fp32")
    vocab_size = setup.text.tokenizer.vocab_size
    ours, peer = Timed(10, 2.0, 200.0, 1000, "bf16"), Timed(10, 4.0, 400.0, 1000, "fp32")
    arms = throughput._arms(
        setup, [Peer("hf")], [[ours, peer]], {"bf16": Limits(1e9), "fp32": Limits(1e8)}
    )
    weights = 2 * 12 * 16**2 + vocab_size * 16  # 12 C² a block, and the head
    per_token = 6 * weights + 12 * 2 * 16 * 8  # PaLM's 6 N and 12 L (H Q) T
    assert [arm.flops_per_token for arm in arms] == [per_token, per_token]
    assert arms[0].tokens_per_second.median == 5 * 16 * 8
    assert arms[0].mfu == pytest.approx(5 * 16 * 8 * per_token / 1e9)
    assert arms[1].mfu == pytest.approx(2.5 * 16 * 8 * per_token / 1e8)


@pytest.mark.parametrize(
    ("changes", "peer", "precision", "goal"),
    [
        ({}, "nanogpt", "fp32", 1.6),
        ({}, "nanogpt-compiled", "fp32", 1.2),
        ({}, "hf", "fp32", None),
        ({"train.batch_size": 64}, "nanogpt", "fp32", 1.6),
        ({"model.n_layer": 2}, "nanogpt", "fp32", None),
        ({"optim.optimizer": "muon"}, "nanogpt", "fp32", None),
        ({}, "nanogpt", "bf16", None),
    ],
)
def test_a_goal_is_that_of_its_recipe(
    changes: dict[str, Any],
    peer: str,
    precision: str,
    goal: float | None,
    small_text_file: Path,
) -> None:
    config = preset_config("nanogpt-cpu").replace({"data.corpus": str(small_text_file), **changes})
    setup = Setup(config, [], load_text(config), 10, "cpu", 1, "fp32")
    timed = Timed(1, 1.0, 1.0, 1, precision)
    (ours,) = throughput._arms(setup, [], [[timed]], {precision: Limits(1.0)})
    assert throughput._goal(setup, Peer(peer), ours) == goal


# -- the commands --------------------------------------------------------------------------------


@pytest.mark.parametrize("bench", ["throughput", "time-to-loss"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peer", "/nowhere"], "--peer takes nanogpt=PATH or nanogpt-compiled=PATH or hf"),
        (["--peer", "nanogpt"], "--peer takes nanogpt=PATH"),
        (["--peer", "hf=/nowhere"], "--peer takes nanogpt=PATH"),
        (["--peer", "nanogpt=/nowhere"], "is no checkout of nanoGPT"),
        (["--preset", "tinny"], "did you mean 'tiny'?"),
        (["--set", "model.n_layers=2"], "did you mean 'model.n_layer'?"),
        (["--set", "model.n_layer"], "--set takes name=value"),
        (["--precision", "fp8"], "system.precision"),
        (["--threads", "0"], "argument --threads"),
        (["--rounds", "many"], "argument --rounds"),
        (["--data", "no/such.txt"], "no/such.txt does not exist"),
    ],
)
def test_bad_input_gets_one_sentence(
    bench: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark(bench, *arguments) == 2
    answer = capsys.readouterr()
    assert answer.out == ""
    assert words in answer.err
    assert len(answer.err.splitlines()) == 1


def test_all_that_is_wrong_with_the_peers_is_told_at_once(checkout: Path) -> None:
    with pytest.raises(InputError) as refused:
        parse_peers(["gpt-neo", "nanogpt=/nowhere", *[f"nanogpt-compiled={checkout}"] * 2])
    assert len(refused.value.problems) == 3
    assert "--peer nanogpt-compiled is named twice" in refused.value.problems


def test_transformers_that_is_not_installed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert benchmark("throughput", "--peer", "hf") == 2
    assert "pip install transformers" in capsys.readouterr().err


def test_a_target_beside_a_peer_is_refused(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = ["--peer", f"nanogpt={checkout}"]
    assert benchmark("time-to-loss", "--target", "2", *peer) == 2
    assert "--target cannot go with --peer" in capsys.readouterr().err


def test_losses_over_contexts_of_another_length_are_not_compared(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer = ["--peer", f"nanogpt={checkout}", "--peer-preset", "nanogpt"]
    assert benchmark("time-to-loss", *peer) == 2
    problem = capsys.readouterr().err
    assert "fast sees 64 tokens at once and nanogpt 256" in problem
    assert "--set model.block_size=256" in problem


@pytest.mark.usefixtures("in_this_process")
def test_time_to_loss_against_a_peer(
    checkout: Path, small_text: str, small_text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(small_text_file), "--peer", f"nanogpt={checkout}"]
    ours = ["--steps", "30", "--every", "15", "--seeds", "1", "--set", "optim.warmup_steps=0"]
    peer = ["--peer-preset", "tiny"]
    assert benchmark("time-to-loss", "--json", *TINY, *options, *ours, *peer) == 0
    told = last_json(capsys)
    characters = len(set(small_text))
    assert told["target"]["loss"] == pytest.approx(math.log(characters), abs=1e-4)
    assert told["peers"][0]["seconds"]["median"] == pytest.approx(399 * 0.05, abs=1)
    assert told["peers"][0]["tokens"] == 400 * 512
    assert told["target"]["steps"]["median"] == 15
    assert told["target"]["tokens"] == 15 * 512
    seconds = told["target"]["seconds"]["median"]
    expected = told["peers"][0]["seconds"]["median"] / seconds
    assert told["ratio"] == pytest.approx(expected, rel=0.02)
    assert [step for step, _, _ in told["ours"]["runs"][0]["points"]] == [15, 30]
    assert told["peers"][0]["parameters"] == 1234
    assert told["reached"] is False  # a hundred times as many parameters are no comparison
    assert told["machine"]["threads"] == 1
    assert told["peers"][0]["precision"] == "fp32"


@pytest.mark.usefixtures("in_this_process")
def test_a_peer_may_be_taken_at_its_best(
    checkout: Path, small_text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(small_text_file), "--peer", f"nanogpt={checkout}", "--peer-best"]
    ours = ["--steps", "1", "--seeds", "1", "--peer-preset", "tiny"]
    assert benchmark("time-to-loss", "--json", *TINY, *options, *ours) == 0
    (peer,) = last_json(capsys)["peers"]
    assert peer["steps"] == 100  # where it first evaluated, of 400
    assert peer["seconds"]["median"] == pytest.approx(99 * 0.05, abs=1)


@pytest.mark.usefixtures("in_this_process")
def test_time_to_a_loss_of_ones_own(
    small_text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(small_text_file), "--target", "0.1", "--steps", "2", "--seeds", "1"]
    same = ["--same-tokens", "--peer-preset", "tiny"]
    small = ["--set", "model.n_layer=1", "--set", "model.n_embd=16"]
    assert benchmark("time-to-loss", *TINY, *options, *same, *small) == 0
    out = capsys.readouterr().out
    assert "ours to 0.1000" in out
    assert "0 of 1 runs got there" in out
    assert "ours after 204,800 tokens" in out


def test_throughput_against_a_peer(
    checkout: Path,
    small_text_file: Path,
    in_this_process: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(matmul_peak, "SIZES", {"cpu": (256,)})
    monkeypatch.setattr(throughput, "PEAK_SECONDS", 0.0)
    monkeypatch.setattr(throughput, "PRODUCT_SECONDS", 0.0)
    options = ["--data", str(small_text_file), "--rounds", "1", "--steps", "10"]
    peer = ["--peer", f"nanogpt={checkout}", "--peer", f"nanogpt-compiled={checkout}"]
    assert benchmark("throughput", "--json", *TINY, *options, *peer) == 0
    told = last_json(capsys)
    assert [one["name"] for one in told["peers"]] == ["nanogpt", "nanogpt-compiled"]
    assert told["peers"][0]["tokens_per_second"]["median"] == 20 * 512
    assert told["peers"][0]["parameters"] == 1234  # position embeddings taken off
    ours = told["ours"]["tokens_per_second"]["median"]
    assert told["ratio"] == pytest.approx(ours / (20 * 512), abs=1e-3)
    mfu = ours * told["ours"]["flops_per_token"] / told["matmul_peak"]["fp32"]
    assert told["ours"]["mfu"] == pytest.approx(mfu, abs=1e-3)
    assert told["shape"]["tokens_per_step"] == 512
    assert told["products_seconds"]["fp32"] > 0
    assert told["goals"] == {}


@pytest.mark.slow
def test_a_race_of_the_nanogpt_recipe(
    checkout: Path, small_text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--preset", "tiny", "--data", str(small_text_file), "--threads", "1"]
    race = ["--skip-quality", "--peer", f"nanogpt={checkout}", "--steps", "10", "--rounds", "1"]
    assert benchmark("nanogpt-cpu", "--json", *race, *options) == 0
    told = last_json(capsys)
    assert told["peer"] == 20.0
    assert told["ratio"] == pytest.approx(told["ours"] / 20.0, abs=0.01)


def test_the_goals_are_those_of_presets_that_exist() -> None:
    for preset, _, _ in throughput.GOALS:
        preset_config(preset)
    preset_config(time_to_loss.PRESET)
    preset_config(time_to_loss.PEER_PRESET)
