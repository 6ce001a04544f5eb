"""The roofline: a piece of work takes at least as long as its arithmetic, and at least as long as its reading.

Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", CACM
52(4) 2009, section 3: attainable rate = min(peak, bandwidth x intensity). It is a bound: kernels, communication between
chips, and waiting come on top, and are the distance between the bound and what `published` quotes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greenlab.core import checks
from greenlab.hardware.device import Device
from greenlab.hardware.work import Number, Work, as_number

SPLITS = ("tensor", "pipeline")


@dataclass(frozen=True)
class Estimate:
    """The bound for a piece of work on some devices. Numbers, or arrays shaped like those of the work.

    Attributes:
        time_s: least time of one forward pass of the batch [s].
        compute_s: what the arithmetic alone takes [s].
        memory_s: what the reading alone takes [s].
        bound: "compute" or "memory", whichever takes longer (a tie is "compute").
        arithmetic: which units do the work; wider than asked where the device has no narrower ones.
        n_devices: how many work together.
        batches: batches under way at once: 1 for "tensor"; for "pipeline" one on each device, as far as memory holds
            the weights once and the KV cache of every batch.
        tokens_per_s: of all devices and all sequences of all batches together.
        stream_tokens_per_s: what one sequence sees.
        power_w: rated power of all devices [W], None where it is not published.
        j_per_token: rated power over tokens_per_s [J], or None. Real chips draw less than rated power while they
            wait for memory, and take longer than the bound: the two errors pull apart.
        basis: always "modelled".
    """

    time_s: Number
    compute_s: Number
    memory_s: Number
    bound: str | NDArray[np.str_]
    arithmetic: str
    n_devices: int
    batches: Number
    tokens_per_s: Number
    stream_tokens_per_s: Number
    power_w: float | None
    j_per_token: Number | None
    basis: str = "modelled"


def attainable(intensity: ArrayLike, peak_flops_per_s: ArrayLike, bandwidth_b_per_s: ArrayLike) -> Number:
    """The roof itself: the most FLOP/s at that intensity.

    >>> attainable(1.0, 989e12, 3.35e12) / 1e12, attainable(1000.0, 989e12, 3.35e12) / 1e12
    (3.35, 989.0)

    Args:
        intensity: [FLOP/B].
        peak_flops_per_s: [FLOP/s].
        bandwidth_b_per_s: [B/s].

    Raises:
        TypeError: if an argument does not hold numbers.
        ValueError: if any is not above 0, or the shapes do not fit.
    """
    why = "both axes of a roofline are logarithmic"
    x = checks.numbers("intensity", intensity, above=0, remedy=why)
    peak = checks.numbers("peak_flops_per_s", peak_flops_per_s, above=0, remedy=why)
    bandwidth = checks.numbers("bandwidth_b_per_s", bandwidth_b_per_s, above=0, remedy=why)
    try:
        return as_number(np.minimum(peak, bandwidth * x))
    except ValueError:
        raise ValueError(
            f"intensity {x.shape}, peak_flops_per_s {peak.shape} and bandwidth_b_per_s {bandwidth.shape} have shapes "
            "that do not fit: give numbers, or arrays of one shape"
        ) from None


def chips_needed(work: Work, device: Device, *, usable: float = 1.0) -> int | NDArray[np.float64]:
    """How many devices hold the weights and the KV cache of a piece of work.

    >>> from greenlab.hardware import decode, device
    >>> lpu, h100 = device("groqchip1"), device("h100-sxm5-80gb")
    >>> chips_needed(decode("Llama-2-70B"), lpu), chips_needed(decode("Llama-2-70B"), h100)
    (601, 2)

    Args:
        work: whose ``resident_b`` counts: one batch.
        device: of which several may be joined.
        usable: share of the memory that is free for weights and cache.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``usable`` is not in (0, 1].
    """
    _kinds(work, device)
    usable = checks.number("usable", usable, above=0, high=1, remedy="it is the share of memory that is free")
    chips = np.ceil(np.asarray(work.resident_b, dtype=float) / (usable * device.memory_b))
    return int(chips) if chips.ndim == 0 else chips


def batches_under_way(work: Work, device: Device, n_devices: int) -> Number:
    """How many batches a pipeline of ``n_devices`` holds at once: one on each, as far as their caches fit.

    Every device works on another batch, and every batch under way has a KV cache in the memory of all devices:
    ``min(n_devices, floor((n_devices * memory - weights) / cache of a batch))``.

    >>> from greenlab.hardware import decode, device
    >>> w = decode("Llama-2-70B", batch=64, context=8192, format="int8 weights")
    >>> batches_under_way(w, device("groqchip1"), 1047)  # 241 GB: 69 GB of weights, and 172 GB of cache for one batch
    1.0

    Args:
        work: one batch.
        device: one of the devices.
        n_devices: how many there are.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if not even one batch fits.
    """
    _kinds(work, device)
    n_devices = checks.integer("n_devices", n_devices, low=1, high=10**9)
    needed = int(np.max(chips_needed(work, device)))
    if needed > n_devices:
        needed_gb, held_gb = np.max(work.resident_b) / 1e9, n_devices * device.memory_b / 1e9
        raise ValueError(
            f"{work.name} in {work.format.name} takes {needed_gb:,.3g} GB and {n_devices} x {device.id} hold "
            f"{held_gb:,.3g} GB: give n_devices={needed} or more, a smaller batch or fewer bits"
        )
    resident_b, cache_b = np.asarray(work.resident_b, dtype=float), np.asarray(work.cache_b, dtype=float)
    free_b = n_devices * device.memory_b - (resident_b - cache_b)
    with np.errstate(divide="ignore", invalid="ignore"):
        fitting = np.where(cache_b > 0, np.floor(free_b / cache_b), np.inf)
    return as_number(np.clip(fitting, 1, n_devices))  # one fits, as was checked: rounding must not lose it


def roofline(work: Work, device: Device, *, n_devices: int = 1, split: str = "tensor") -> Estimate:
    """The least time of a piece of work on a device, what sets it, and the energy at rated power.

    With several devices, ``split`` says who does what. "tensor": every matrix is cut, all work on each token at once,
    so a pass is ``n_devices`` times as fast. "pipeline": each holds some layers, a token visits one after the other, so
    a pass takes as long as on one chip, while other batches are under way on the other chips: as many as there are
        chips, or as
    memory holds caches for (`batches_under_way`). Sending numbers between chips is not counted.

    >>> from greenlab.hardware import decode, device
    >>> e = roofline(decode("Llama-2-7B", context=8), device("a100-sxm4-80gb"))
    >>> e.bound, round(e.tokens_per_s), round(e.j_per_token, 2)
    ('memory', 154, 2.59)

    Args:
        work: from `decode` or `prefill`; its numbers may be arrays.
        device: from `device` or `own_machine.measured_device`.
        n_devices: how many of them.
        split: "tensor" or "pipeline".

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model does not fit in memory, the device has no rate for the format, or an argument is out of
            range.
    """
    checks.one_of("split", split, SPLITS)
    under_way = batches_under_way(work, device, n_devices)  # checks the rest
    batches = 1.0 if split == "tensor" else under_way
    arithmetic = device.arithmetic(work.format.arithmetic)
    on_a_batch = n_devices if split == "tensor" else 1
    compute_s = work.flops / (on_a_batch * device.flops_per_s[arithmetic])
    memory_s = work.bytes_moved / (on_a_batch * device.bandwidth_b_per_s)
    time_s = as_number(np.maximum(compute_s, memory_s))
    bound = np.where(np.asarray(compute_s) >= np.asarray(memory_s), "compute", "memory")
    tokens_per_s = work.tokens * batches / time_s
    power_w = None if device.power_w is None else n_devices * device.power_w
    return Estimate(
        time_s=time_s,
        compute_s=compute_s,
        memory_s=memory_s,
        bound=str(bound) if bound.ndim == 0 else bound,
        arithmetic=arithmetic,
        n_devices=n_devices,
        batches=batches,
        tokens_per_s=tokens_per_s,
        stream_tokens_per_s=work.tokens / work.batch / time_s,
        power_w=power_w,
        j_per_token=None if power_w is None else power_w / tokens_per_s,
    )


def _kinds(work: Work, device: Device) -> None:
    if not isinstance(work, Work):
        raise TypeError(f"work={work!r} is {type(work).__name__}: give what decode(...) or prefill(...) returns")
    if not isinstance(device, Device):
        raise TypeError(
            f"device={device!r} is {type(device).__name__}: give device('h100-sxm5-80gb') or another Device"
        )
