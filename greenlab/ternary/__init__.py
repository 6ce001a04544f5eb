"""Chapter 7, ternary weights after BitNet b1.58 (arXiv:2402.17764).

Models are trained in float; they run without multiplications by weights.

* ``quantize``: three values and a scale, `BitLinear` for training, `convert` for after training
* ``packing``: four weights a byte, or five
* ``kernels``, ``portable``, ``codegen``: the exact product of packed weights with 8-bit activations, and how it gets
  fast
* ``linear``: `PackedLinear`, and whole models packed, saved and loaded
* ``estimates``: the paper's memory, throughput and energy from formulas

numba is imported when a kernel first runs.
"""

from greenlab.ternary.linear import PackedLinear, bytes_in_memory, load_model, pack_model, random_packed, save_model
from greenlab.ternary.packing import PackedTernary, load_packed, pack, save_packed, unpack
from greenlab.ternary.quantize import (
    BitBlock,
    BitLinear,
    absmax_quantize,
    absmean_quantize,
    bit_gpt,
    convert,
    round_to_nearest,
)

__all__ = ["BitBlock", "BitLinear", "absmax_quantize", "absmean_quantize", "bit_gpt", "convert", "round_to_nearest"]
__all__ += ["PackedTernary", "load_packed", "pack", "save_packed", "unpack"]
__all__ += ["PackedLinear", "bytes_in_memory", "load_model", "pack_model", "random_packed", "save_model"]
