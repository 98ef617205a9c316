"""Resolve the ``auto`` settings of ``system``: device, kernels, precision, threads, micro-batch."""

from __future__ import annotations

import math
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import torch

from data.batches import Split
from engine import kernels
from engine.config.model_size import flops_per_token
from engine.config.presets import Gpu, default_preset, nvidia_gpu
from engine.config.schema import Config, ModelConfig, SystemConfig
from engine.distributed.environment import local_processes, started_processes
from engine.machine.limits import bounded_threads, cores
from engine.machine.memory import refusing_failures
from engine.machine.processes import TookTooLong, ending_with
from engine.program import VERSION
from engine.training.memory_probe import check_gpu_memory, largest_micro_batch
from engine.training.precision import SUPPORTED
from engine.training.trainer import Runtime, Trainer

QUANTUM_SECONDS = 0.2  # longest micro-batch, roughly, so that a pause takes effect promptly
PROBE_TOKENS = 768  # per forward and backward pass of a measurement, roughly
PROBE_FLOPS = 6e9  # … but not more work than this
PROBE_SECONDS = 0.15  # for each combination, unless a single pass takes longer
SLOW_SECONDS = 2.0  # a pass that takes longer is not repeated
MEASURING_SECONDS = 10.0  # after which the remaining combinations are skipped
HOPELESS = 2.0  # times the fastest: such a precision is not measured with fewer threads
TRITON_SECONDS = 120.0  # timeout of the first kernel that Triton compiles
ESTIMATE_SECONDS = 0.5  # of training, from which the time of all steps is estimated

# what tells processors of one name apart, on x86 and on ARM
CPU_KIND = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")
MOST_EXACT = 8  # processes that add up their gradients exactly by default
LONG_SECONDS = 20.0  # a single sequence that takes longer is worth a warning
PASS_FLOPS = 2.5e10  # of a pass over one sequence; a shorter one is measured in place of a longer

Say = Callable[[str], None]


def resolve_runtime(
    config: Config, split: Split, vocab_size: int, report: Say, warn: Say
) -> Runtime:
    """Resolve every ``auto`` of the ``system`` section, by measuring where it matters.

    Call it in the thread that will train, because torch's thread count is set per thread.

    Args:
        report: Called with a line of progress; an exception it raises cancels.
        warn: Called with a sentence for each setting that is not available here, and what replaces
            it.

    Raises:
        InputError: One micro-batch of the requested size does not fit into memory.
    """
    device = resolve_device(config.system.device, warn)
    if device == "cpu" and config.preset == default_preset() != default_preset("cpu"):
        warn(f"the preset {config.preset} is made for a GPU: on a CPU, {default_preset('cpu')} is")
    config = config.replace({"system.threads": resolve_threads(config.system.threads, warn)})
    kernels = resolve_kernels(device, config.system, report, warn)
    precision = resolve_precision(device, config.system.precision, warn)
    config = config.replace({"system.precision": precision, "system.kernels": kernels})
    system = config.system
    if device == "cpu":
        runtime = _measure_cpu(config, split, vocab_size, report, warn)
    else:
        if system.shard and started_processes() > 1:  # the whole model fits no GPU, it seems
            micro = _micro_batch_beside_a_part(system.micro_batch_size, warn)
        else:
            micro = _fitting_micro_batch(config, split, vocab_size, device, report)
        threads = system.threads or min(torch.get_num_threads(), cores())
        graph = device == "cuda" and system.cuda_graph and not system.shard
        runtime = Runtime(device, precision, threads, micro, system.compile, kernels, graph)
    processes, reduce = started_processes(), system.reduce
    if reduce == "auto":
        reduce = "fast" if processes > MOST_EXACT or system.shard else "exact"
    return replace(runtime, processes=processes, reduce=reduce, shard=system.shard)


def resolve_threads(asked: int, warn: Say) -> int:
    """Return the number of threads to use; 0 stays, to be measured."""
    if asked <= (most := bounded_threads(asked)):
        return asked
    there = cores()
    warn(
        f"system.threads is {asked}, and this process may use {there} core{'s' * (there > 1)}: "
        f"training with {most} threads instead"
    )
    return most


def use_threads(threads: int) -> None:
    """Set PyTorch's number of threads, for this thread alone; what a run records is bounded."""
    torch.set_num_threads(bounded_threads(threads))


def no_room(device: str) -> str:
    """Return what to do about a model for which there is too little memory."""
    if device == "cpu":
        return (
            "this model and its optimizer do not fit into the memory: lower model.n_layer or "
            "model.n_embd, or close other programs"
        )
    return (
        "this model and its optimizer do not fit into the GPU's memory: lower model.n_layer or "
        "model.n_embd, or set system.device to cpu"
    )


def usable_here(runtime: Runtime, warn: Say) -> Runtime:
    """Return the recorded runtime of a run, without what this machine does not have."""
    precision = resolve_precision(runtime.device, runtime.precision, warn)
    threads = resolve_threads(runtime.threads, warn)
    return replace(runtime, precision=precision, threads=threads, processes=started_processes())


def resolve_device(asked: str, warn: Say) -> str:
    """Return the requested device if it is available, else the fastest one."""
    there = available_devices()
    best = there[0]
    if asked == "auto" and best == "cpu" and (gpu := nvidia_gpu()) is not Gpu.NONE:
        reason = _why_no_cuda()
        if gpu is Gpu.BROKEN:
            reason = f"its driver does not answer (nvidia-smi fails or hangs), and {reason}"
        warn(f"this machine seems to have an NVIDIA GPU, but {reason}: training on the CPU")
    if asked in ("auto", "cuda") and (why := why_no_kernels()):
        warn(f"{why}: training on the CPU (see pytorch.org for other builds)")
        return "cpu"
    if asked in ("auto", *there):
        return best if asked == "auto" else asked
    warn(
        f"system.device is {asked}, but PyTorch finds no such device on this machine: "
        f"training on {best} instead"
    )
    return best


def available_devices() -> list[str]:
    """List the devices that PyTorch can use here, the fastest first."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return [*(device for device, available in there.items() if available), "cpu"]


def is_usable(device: str) -> bool:
    """Return whether a run can train on a device of this machine."""
    return device in available_devices() and not (device == "cuda" and why_no_kernels())


@cache
def why_no_kernels() -> str:
    """Return why PyTorch cannot compute on the GPU that it finds; empty if it can, or finds none.

    A build has kernels for some generations of GPUs alone, which shows at the first one.
    """
    if not torch.cuda.is_available():
        return ""
    try:
        torch.ones(1, device="cuda").add_(1).cpu()
    except RuntimeError as error:
        if "no kernel image" in str(error):
            name, (major, minor) = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
            has = ", ".join(torch.cuda.get_arch_list())
            return f"this PyTorch has no kernels for the {name} (sm_{major}{minor}, it has {has})"
    return ""


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this PyTorch is built without CUDA (see pytorch.org for a build with CUDA)"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.is_available()  # warns about an old driver
    reasons = [str(one.message).split(" (Triggered")[0].strip() for one in said]
    return f"PyTorch cannot use it ({reasons[0] if reasons else 'it finds no device'})"


def resolve_precision(device: str, asked: str, warn: Say) -> str:
    """Return the precision to use; on a CPU ``auto`` stays, to be measured later."""
    supported = list(SUPPORTED[device])
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        supported.remove("bf16")
    if asked == "auto":
        if device == "cpu":
            return "auto"
        # bf16 needs no loss scaling, unlike fp16
        return "bf16" if device == "cuda" and "bf16" in supported else "fp32"
    if asked in supported:
        return asked
    warn(
        f"system.precision is {asked}, but {device} on this machine supports only "
        f"{' and '.join(supported)}: training in fp32 instead"
    )
    return "fp32"


def resolve_kernels(device: str, system: SystemConfig, report: Say, warn: Say) -> str:
    """Return ``torch`` or ``native``; native kernels are compiled now, if they are not yet."""
    if device not in ("cpu", "cuda"):
        if system.kernels == "native":
            warn(f"system.kernels native supports cpu and cuda only: {device} uses PyTorch's")
        return "torch"
    by_default = sys.platform.startswith("linux") and not system.compile
    by_default = by_default and not system.shard
    if system.kernels == "torch" or (system.kernels == "auto" and not by_default):
        return "torch"
    try:
        load_kernels(device, report)
    except kernels.NoKernels as reason:
        warn(
            f"training with PyTorch's kernels, which are slower than the native ones: {reason}, or "
            f"set system.kernels to torch"
        )
        return "torch"
    return "native"


def load_kernels(device: str, report: Say) -> None:
    """Load the native kernels for a device; what ``report`` raises cancels compiling them.

    Raises:
        NoKernels: This machine cannot compile or run them.
    """
    if device != "cuda":
        kernels.load_for(device, report)
        return
    try:
        with ending_with(report, "compiling the kernels for this GPU", TRITON_SECONDS):
            kernels.load_for(device)
    except TookTooLong as error:
        raise kernels.NoKernels(f"Triton does not work here ({error})") from None


def has_kernels(device: str, report: Say = lambda message: None) -> bool:
    """Load the native kernels for a device if possible; return whether they are loaded."""
    try:
        load_kernels(device, report)
    except kernels.NoKernels:
        return False
    return True


def _fitting_micro_batch(
    config: Config, split: Split, vocab_size: int, device: str, report: Say
) -> int:
    """Return the requested size, or the largest that fits; only CUDA reports its memory."""
    system, batch = config.system, config.train.batch_size
    if device != "cuda":
        return system.micro_batch_size or batch
    wanted = min(system.micro_batch_size, batch)
    check_gpu_memory(config.model, vocab_size)
    report("measuring how many sequences fit into the GPU's memory")
    runtime = Runtime(device, system.precision, 1, 1, False, system.kernels)
    with refusing_failures(no_room(device)):
        fits = largest_micro_batch(Trainer(config, runtime, split, vocab_size), wanted)
    torch.cuda.empty_cache()  # return the probe's memory to the device
    return system.micro_batch_size or _largest_divisor(batch, fits)


def _micro_batch_beside_a_part(asked: int, warn: Say) -> int:
    """Return the requested size, or 1: measuring would need a whole model, or all processes."""
    if not asked:
        warn(
            "how many sequences fit beside a part of the model is not measured, so that each pass "
            "has one: a larger system.micro_batch_size is faster"
        )
    return asked or 1


def _measure_cpu(config: Config, split: Split, vocab_size: int, report: Say, warn: Say) -> Runtime:
    system = config.system
    precisions = ["fp32", "bf16"] if system.precision == "auto" else [system.precision]
    threads = [system.threads] if system.threads else _thread_counts()
    plan = [(p, t) for p in precisions for t in threads]
    measure = len(plan) > 1 or not system.micro_batch_size
    with refusing_failures(no_room("cpu")):
        probe = Trainer(
            config, Runtime("cpu", precisions[0], 1, 1, False, system.kernels), split, vocab_size
        )
        fits = largest_micro_batch(probe, system.micro_batch_size)
        size = min(fits, _probe_size(config, probe.model.parameter_count()))
        seconds = _measured(probe, plan, size, report) if measure else {}
    precision, n_threads = min(seconds, key=seconds.__getitem__) if seconds else plan[0]
    use_threads(n_threads)
    each = seconds.get((precision, n_threads), 0.0)
    if each > LONG_SECONDS:
        warn(
            f"one sequence of {config.model.block_size:,} tokens takes about {each:,.0f} seconds "
            f"here, and training pauses and stops only between two: lower model.block_size"
        )
    micro = system.micro_batch_size or _largest_divisor(
        config.train.batch_size, min(fits, QUANTUM_SECONDS / seconds[precision, n_threads])
    )
    return Runtime("cpu", precision, n_threads, micro, system.compile, system.kernels)


def _measured(
    probe: Trainer, plan: list[tuple[str, int]], size: int, report: Say
) -> dict[tuple[str, int], float]:
    """Measure the seconds per sequence of each (precision, threads), as far as time allows.

    All cores come first, in every precision: a processor without instructions for bf16 computes it
    ten times slower, which only fp32 beside it shows.
    """
    seconds: dict[tuple[str, int], float] = {}
    started = time.perf_counter()
    in_turn = sorted(plan, key=lambda way: -way[1])  # in the order of the precisions
    all_cores = in_turn[0][1]
    for number, (precision, threads) in enumerate(in_turn, 1):
        if threads != all_cores:
            if time.perf_counter() - started > MEASURING_SECONDS:
                break
            if seconds[precision, all_cores] > HOPELESS * min(seconds.values()):
                continue
        report(f"measuring which precision and thread count is fastest ({number} of {len(plan)})")
        seconds[precision, threads] = _seconds_per_sequence(probe, precision, threads, size)
    return seconds


def _thread_counts() -> list[int]:
    """Return 1, 2, 4 … and the number of cores this process may use, if all do their share."""
    counts, there = [1], max(1, cores() // local_processes())
    while counts[-1] * 2 < there:
        counts.append(counts[-1] * 2)
    return counts if there == 1 else [*counts, there]


def _probe_size(config: Config, parameters: int) -> int:
    tokens = min(PROBE_TOKENS, PROBE_FLOPS / (6 * parameters))
    return max(1, min(config.train.batch_size, round(tokens / config.model.block_size)))


def _seconds_per_sequence(probe: Trainer, precision: str, threads: int, size: int) -> float:
    """Return the fastest of a few forward and backward passes, per sequence."""
    use_threads(threads)
    probe.compute_with(replace(probe.runtime, precision=precision, threads=threads))
    length, share = _probe_length(probe.config.model, probe.model.vocab_size)
    best, deadline = float("inf"), time.perf_counter() + PROBE_SECONDS
    for attempt in range(5):
        start = time.perf_counter()
        probe.forward_backward(size, length)
        elapsed = time.perf_counter() - start
        if attempt or elapsed > SLOW_SECONDS:  # the first one is a warm-up
            best = min(best, elapsed)
            if start + elapsed > deadline:
                break
    return best / size / share


def _probe_length(model: ModelConfig, vocab_size: int) -> tuple[int, float]:
    """Return how long the sequences of a measurement are, and their share of the work of whole
    ones: with those of the longest context length a pass can take minutes.
    """
    length = model.block_size
    work = whole = _flops_of_a_pass(model, vocab_size, length)
    while length > 1 and work > PASS_FLOPS:
        length //= 2
        work = _flops_of_a_pass(model, vocab_size, length)
    return length, work / whole if whole else 1.0


def _flops_of_a_pass(model: ModelConfig, vocab_size: int, length: int) -> float:
    return length * flops_per_token(replace(model, block_size=length), vocab_size)


def _largest_divisor(number: int, limit: float) -> int:
    """Return the largest divisor of ``number`` up to ``limit``, at least 1."""
    return max(d for d in range(1, number + 1) if number % d == 0 and (d <= limit or d == 1))


def training_seconds(
    config: Config, split: Split, vocab_size: int, report: Say, warn: Say
) -> float:
    """Estimate the time of all steps, without evaluations, samples and checkpoints.

    It trains for about half a second. For ``report`` and ``warn`` see ``resolve_runtime``.

    Raises:
        InputError: One micro-batch of the requested size does not fit into memory.
    """
    runtime = resolve_runtime(config, split, vocab_size, report, warn)
    use_threads(runtime.threads)
    report("training briefly to measure the speed")
    trainer = Trainer(config, runtime, split, vocab_size)
    sequences = config.train.batch_size * config.train.grad_accum_steps
    micro_batches = math.ceil(sequences / min(runtime.micro_batch_size, config.train.batch_size))
    return trainer.total_steps * micro_batches * _seconds_per_micro_batch(trainer)


def _seconds_per_micro_batch(trainer: Trainer) -> float:
    quanta = _quanta(trainer)
    next(quanta)  # warm-up: allocations, and loading kernels
    _wait_for(trainer.device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < ESTIMATE_SECONDS:
        next(quanta)
        _wait_for(trainer.device)
        count += 1
    return (time.perf_counter() - started) / count


def _quanta(trainer: Trainer) -> Iterator[None]:
    """Yield after each micro-batch; the updates run between the steps."""
    while True:
        yield from trainer.step_quanta()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # kernels run asynchronously: wait before reading the clock


def versions() -> dict[str, str]:
    """Return the versions of the libraries, to be recorded with a run."""
    import numpy

    found = {
        "gpt-tui": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }
    if kernels.fingerprint():
        found["native kernels"] = kernels.fingerprint()
    return found


def hardware(device: str) -> dict[str, str | int]:
    """Describe the machine, to be recorded with a run."""
    about = _about_cpu()
    found: dict[str, str | int] = {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": os.cpu_count() or 1,
        "cpu": about.get("model name") or platform.processor() or platform.machine(),
    }
    # a virtual machine may call all processors of a maker the same, whose bits differ
    if kind := " ".join(about[one] for one in CPU_KIND if one in about):
        found["cpu_kind"] = kind
    if device == "cuda":
        found["gpu"] = torch.cuda.get_device_name()
    return found


def _about_cpu() -> dict[str, str]:
    """Return what Linux says of the first processor; nothing elsewhere."""
    found: dict[str, str] = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() in found:
                    break
                found[name.strip()] = value.strip()
    except OSError:
        pass
    return found
