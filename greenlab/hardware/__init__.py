"""Hardware: what a chip can do at most, what a language model needs, and whether arithmetic or memory sets the time.

* ``device``: chips as numbers, from data/facts
* ``work``: reading a prompt and writing tokens as FLOPs and bytes, for real models in several number formats
* ``roofline``: the least time and the energy of a piece of work on devices, and the chips that hold it
* ``published``: the same beside figures that others measured
* ``own_machine``: the reader's machine, measured, and its decoding predicted
* ``systolic``: the matrix unit of a TPU, cycle by cycle
"""

from greenlab.hardware.device import Device, device, devices
from greenlab.hardware.published import compare_published
from greenlab.hardware.roofline import Estimate, attainable, batches_under_way, chips_needed, roofline
from greenlab.hardware.work import FORMATS, MODELS, NumberFormat, Work, decode, model_shape, prefill

__all__ = ["FORMATS", "MODELS", "Device", "Estimate", "NumberFormat", "Work", "attainable", "batches_under_way"]
__all__ += ["chips_needed", "compare_published", "decode", "device", "devices", "model_shape", "prefill", "roofline"]
