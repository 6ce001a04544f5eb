"""SmolLM2 in the reader's browser: what is built for the page on which chapter 6 prunes it without Python.

``quantize``: the two formats of the weights; ``files``: the shards that are downloaded; ``assemble``: the kernel;
``site``: the folder for a web server. ``python -m greenlab.tab FOLDER`` writes it. The scripts are in docs/tab.
"""

from greenlab.tab.assemble import assemble
from greenlab.tab.files import cuts
from greenlab.tab.quantize import Quantized, pack_4bit, quantize_4bit, quantize_8bit, round_vectors
from greenlab.tab.site import build, fragment

__all__ = ["Quantized", "assemble", "build", "cuts", "fragment", "pack_4bit", "quantize_4bit", "quantize_8bit"]
__all__ += ["round_vectors"]
