"""The roofline: a work takes at least as long as its arithmetic, and at least as long as its reading.

Williams, Waterman, Patterson, "Roofline: An Insightful Visual Performance Model for Multicore Architectures", CACM 52(4)
2009, section 3: attainable rate = min(peak, bandwidth x intensity). It is a bound: kernels, communication between chips,
and waiting come on top, and are the distance between the bound and what `published` quotes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlab.hardware.device import Device
from greenlab.hardware.work import Number, Work

SPLITS = ("tensor", "pipeline")


@dataclass(frozen=True)
class Estimate:
    """The bound for a work on some devices. Numbers, or arrays shaped like those of the work.

    Attributes:
        time_s: least time of one forward pass of the batch [s].
        compute_s: what the arithmetic alone takes [s].
        memory_s: what the reading alone takes [s].
        bound: "compute" or "memory", whichever takes longer (a tie is "compute").
        arithmetic: which units do the work; wider than asked where the device has no narrower ones.
        n_devices: how many work together.
        tokens_per_s: of all devices and all sequences together.
        stream_tokens_per_s: what one sequence sees.
        power_w: rated power of all devices [W], None where it is not published.
        j_per_token: rated power over tokens_per_s [J], or None. Real chips draw less than rated power while they
            wait for memory, and take longer than the bound: the two errors pull apart.
        basis: always "modelled".
    """

    time_s: Number
    compute_s: Number
    memory_s: Number
    bound: Number
    arithmetic: str
    n_devices: int
    tokens_per_s: Number
    stream_tokens_per_s: Number
    power_w: float | None
    j_per_token: Number | None
    basis: str = "modelled"


def attainable(intensity: Number, peak_flops_per_s: Number, bandwidth_b_per_s: Number) -> Number:
    """The roof itself: the most FLOP/s at that intensity.

    >>> attainable(1.0, 989e12, 3.35e12) / 1e12, attainable(1000.0, 989e12, 3.35e12) / 1e12
    (3.35, 989.0)

    Args:
        intensity: [FLOP/B].
        peak_flops_per_s: [FLOP/s].
        bandwidth_b_per_s: [B/s].

    Raises:
        ValueError: if any is not above 0.
    """
    values = {"intensity": intensity, "peak_flops_per_s": peak_flops_per_s, "bandwidth_b_per_s": bandwidth_b_per_s}
    for name, value in values.items():
        if not np.all(np.asarray(value) > 0):
            raise ValueError(f"{name} must be above 0, got {value!r}: both axes of a roofline are logarithmic")
    rate = np.minimum(peak_flops_per_s, np.multiply(bandwidth_b_per_s, intensity))
    return float(rate) if np.ndim(rate) == 0 else rate


def chips_needed(work: Work, device: Device, *, usable: float = 1.0) -> Number:
    """How many devices hold the weights and the KV cache of a work.

    >>> from greenlab.hardware import decode, device
    >>> lpu, h100 = device("groqchip1"), device("h100-sxm5-80gb")
    >>> chips_needed(decode("Llama-2-70B"), lpu), chips_needed(decode("Llama-2-70B"), h100)
    (601, 2)

    Args:
        work: whose ``resident_b`` counts.
        device: of which several may be joined.
        usable: share of the memory that is free for weights and cache.

    Raises:
        ValueError: if ``usable`` is not in (0, 1].
    """
    if not 0 < usable <= 1:
        raise ValueError(f"usable={usable}: expected above 0 and up to 1; it is the share of memory that is free")
    chips = np.ceil(np.asarray(work.resident_b, dtype=float) / (usable * device.memory_b))
    return int(chips) if chips.ndim == 0 else chips


def roofline(work: Work, device: Device, *, n_devices: int = 1, split: str = "tensor") -> Estimate:
    """The least time of a work on a device, what sets it, and the energy at rated power.

    With several devices, ``split`` says who does what. "tensor": every matrix is cut, all work on each token at once, so a
    pass is ``n_devices`` times as fast. "pipeline": each holds some layers, a token visits one after the other, so a pass
    takes as long as on one chip, while ``n_devices`` batches are under way. Sending numbers between chips is not counted.

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
        ValueError: if the model does not fit in memory, the device has no rate for the format, or an argument is out of range.
    """
    if not (isinstance(n_devices, int) and n_devices >= 1):
        raise ValueError(f"n_devices={n_devices!r}: expected a whole number of 1 or more")
    if split not in SPLITS:
        raise ValueError(f"split={split!r}: expected one of {', '.join(SPLITS)}")
    needed = int(np.max(chips_needed(work, device)))
    if needed > n_devices:
        raise ValueError(
            f"{work.name} in {work.format.name} takes {np.max(work.resident_b) / 1e9:,.3g} GB and {n_devices} x {device.id} "
            f"hold {n_devices * device.memory_b / 1e9:,.3g} GB: give n_devices={needed} or more, a smaller batch or fewer bits"
        )
    arithmetic = device.arithmetic(work.format.arithmetic)
    at_once = n_devices if split == "tensor" else 1
    compute_s = work.flops / (at_once * device.flops_per_s[arithmetic])
    memory_s = work.bytes_moved / (at_once * device.bandwidth_b_per_s)
    time_s: Number = np.maximum(compute_s, memory_s)
    bound: Number = np.where(compute_s >= memory_s, "compute", "memory")
    if np.ndim(time_s) == 0:
        time_s, bound = float(time_s), str(bound)
    tokens_per_s = work.tokens * (n_devices / at_once) / time_s
    power_w = None if device.power_w is None else n_devices * device.power_w
    return Estimate(
        time_s=time_s,
        compute_s=compute_s,
        memory_s=memory_s,
        bound=bound,
        arithmetic=arithmetic,
        n_devices=n_devices,
        tokens_per_s=tokens_per_s,
        stream_tokens_per_s=work.tokens / work.batch / time_s,
        power_w=power_w,
        j_per_token=None if power_w is None else power_w / tokens_per_s,
    )
