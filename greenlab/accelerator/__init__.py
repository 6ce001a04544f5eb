"""Joules measured on an accelerator: workloads in the real shapes of language models, and the bench that repeats them.

It belongs to chapter 2; chapters 3 to 6 and 9 read its tables. Weights are random: the energy of a product does not
depend on what a weight says (it does depend on zeros, and the study shows how much).

* ``card``: what the driver says of the GPU before a program opens it
* ``bench``: repeat a piece of work under the energy meter
* ``shapes``: the models and layers whose shapes are used
* ``workloads``: what is repeated: a decode step as a CUDA graph, a prompt, a mixture-of-experts layer, a training step

``make study NAME=accelerator`` measures everything that fits the machine's GPU.
"""

from greenlab.accelerator.bench import Bench, Repeat
from greenlab.accelerator.shapes import EXPERT_LAYERS, MODELS, ExpertLayer

__all__ = ["EXPERT_LAYERS", "MODELS", "Bench", "ExpertLayer", "Repeat"]
