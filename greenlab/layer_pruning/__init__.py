"""Layer pruning: drop the block of layers that changes its input least, then heal what is left.

After "The Unreasonable Ineffectiveness of the Deeper Layers" (Gromov et al., arXiv:2403.17887, sec. 3) and the block
influence of ShortGPT (Men et al., arXiv:2403.03853, eq. 1). Everything here is real: the layers are gone, the model
that is left is smaller, faster, can be saved and loaded, and the model it came from is untouched.
"""

from greenlab.layer_pruning.distances import block_distances, block_influence
from greenlab.layer_pruning.drop import best_block, drop_layers, layers_to_drop
from greenlab.layer_pruning.heal import HealConfig, Healed, heal

__all__ = [
    "HealConfig",
    "Healed",
    "best_block",
    "block_distances",
    "block_influence",
    "drop_layers",
    "heal",
    "layers_to_drop",
]
