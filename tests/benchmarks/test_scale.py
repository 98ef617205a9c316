"""The cost model: what it must not get wrong whatever its constants are."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.scale import SHAPES, Cluster, cost, exchanges
from engine.config.model_size import flops_per_token
from engine.config.presets import preset_config


def test_a_sum_sends_twice_the_gradient_but_for_ones_own_share() -> None:
    for gpus in (1, 2, 8, 4096):
        sent = exchanges(gpus, 2**20)
        assert sum(numbers for _, numbers in sent) == 2 * (2**20 - 2**20 // gpus)
        assert len(sent) == 2 * (gpus.bit_length() - 1)


def test_more_gpus_never_make_it_more_efficient_and_faster_links_do() -> None:
    for shape in SHAPES:
        efficiencies = [cost(shape, gpus, Cluster()).efficiency for gpus in (1, 8, 64, 512, 4096)]
        assert efficiencies == sorted(efficiencies, reverse=True) and efficiencies[0] == 1
        faster = replace(Cluster(), between=9e10)
        assert cost(shape, 64, faster).efficiency > efficiencies[2]


def test_the_arithmetic_of_a_token_is_about_what_the_program_counts() -> None:
    config = preset_config("gpt2")
    parameters = 124e6
    assert 0.8 < 6 * parameters / flops_per_token(config.model, 50257) < 1.0  # without attention
