"""Chapter 5, mixture of depths (arXiv:2404.02258).

In some layers only a share of the tokens enters; the others pass by and cost nothing there.

* ``block``: `MoDBlock`, the layer, and `mod_blocks`, the part that makes a `core.model.gpt.GPT` use it
* ``routing``: `routing_mode`, `mod_loss` for training, and `selection`, what the routers chose
"""

from greenlab.mixture_of_depths.block import MoDBlock, Routing, mod_blocks, n_selected
from greenlab.mixture_of_depths.routing import mod_layers, mod_loss, routing_mode, selection

__all__ = ["MoDBlock", "Routing", "mod_blocks", "mod_layers", "mod_loss", "n_selected", "routing_mode", "selection"]
