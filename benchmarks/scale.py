"""``benchmarks scale``: what a step would take on 8 to 4,096 GPUs, by a model of its cost.

Nothing is trained. Bytes and messages are those of ``engine.distributed.team``; compute is what was
measured on one GPU; links have published rates. docs/scale.md explains it.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row

GPU_COUNTS = (1, 8, 64, 512, 4096)


@dataclass(frozen=True)
class Cluster:
    """Nodes of GPUs; rates in operations or bytes a second and GPU, in one direction."""

    flops: float = 4.0e14  # bf16, as a step of our GPT-2 reaches on one H200
    memory_rate: float = 3.35e12  # of an H100's own memory
    memory: float = 80e9  # bytes
    node: int = 8
    inside: float = 4.5e11  # NVLink 4
    between: float = 4.5e10  # 400 Gb/s of InfiniBand, of which 90 % are reached
    inside_latency: float = 10e-6  # seconds a message
    between_latency: float = 20e-6
    control: float = 100e-6  # to tell all processes of a node one thing, over TCP


@dataclass(frozen=True)
class Shape:
    """A model and what each GPU has of a step."""

    name: str
    parameters: float
    tokens: int  # of a step, on each GPU

    @property
    def gradient_bytes(self) -> float:
        return 4 * self.parameters  # fp32

    @property
    def bytes_held(self) -> float:
        """Weights, gradients, a flat copy of them with what is received, and AdamW's averages."""
        return (4 + 4 + 4 + 2 + 8) * self.parameters


SHAPES = (
    Shape("124 M", 124e6, 65_536),
    Shape("350 M", 354e6, 32_768),
    Shape("1.5 B", 1.56e9, 16_384),
    Shape("7 B", 6.7e9, 8_192),
)


@dataclass(frozen=True)
class Cost:
    """Seconds of a step."""

    compute: float
    update: float
    reduction: float

    @property
    def efficiency(self) -> float:
        """Compared with one GPU, which adds nothing up."""
        alone = self.compute + self.update
        return alone / (alone + self.reduction)


def exchanges(gpus: int, numbers: int) -> list[tuple[int, int]]:
    """Return the messages that each process sends for an exact sum: (distance, numbers).

    First halves of what is left, to ever farther partners, then the same back.
    """
    sent, left = [], numbers
    for bit in range(gpus.bit_length() - 1):
        half = left // 2
        sent.append((1 << bit, half))
        left -= half
    return sent + sent[::-1]


def cost(shape: Shape, gpus: int, cluster: Cluster) -> Cost:
    """Estimate a step; reduction is not hidden behind compute, as in a CUDA graph."""
    compute = 6 * shape.parameters * shape.tokens / cluster.flops
    # AdamW reads weight, gradient and both averages, and writes three of them
    update = 28 * shape.parameters / cluster.memory_rate
    if gpus == 1:
        return Cost(compute, update, 0.0)
    reduction = cluster.control * math.log2(max(2, gpus // cluster.node))
    for distance, numbers in exchanges(gpus, int(shape.parameters)):
        near = distance < cluster.node
        rate, wait = (
            (cluster.inside, cluster.inside_latency)
            if near
            else (cluster.between, cluster.between_latency)
        )
        reduction += wait + 4 * numbers / rate
    # into a flat tensor, out of it, and the additions
    reduction += 6 * shape.gradient_bytes / cluster.memory_rate
    return Cost(compute, update, reduction)


def parser() -> BenchmarkParser:
    """Declare the options."""
    return BenchmarkParser("scale", "predicted steps on 8 to 4,096 GPUs", preset=None)


def measure(args: argparse.Namespace) -> Report:
    """Predict steps of all shapes."""
    cluster, rows, result = Cluster(), [], {}
    for shape in SHAPES:
        for gpus in GPU_COUNTS:
            one = cost(shape, gpus, cluster)
            fits = shape.bytes_held < cluster.memory
            total = one.compute + one.update + one.reduction
            told = f"{1e3 * total:,.0f} ms, of which {1e3 * one.reduction:,.1f} to add up"
            told += f"; {one.efficiency:.0%}" if fits else "; does not fit into 80 GB"
            rows.append(Row(f"{shape.name}, {gpus:,} GPU{'s' * (gpus > 1)}", "", told))
            result[f"{shape.name}/{gpus}"] = {
                "step_ms": round(1e3 * total, 2),
                "efficiency": round(one.efficiency, 3),
                "fits": fits,
            }
    return rows, result
