"""Mixture of experts: many feed-forward parts in memory, few of them at work for each token.

After Switch Transformer (arXiv:2101.03961), Mixtral (arXiv:2401.04088), OLMoE (arXiv:2409.02060) and DeepSeek-V3
(arXiv:2412.19437). Everything here is real: no expert computes for a token that did not choose it.

* ``router``: a score for every expert, the best ``top_k`` of them, and their weights
* ``dispatch``: tokens to their experts and back
* ``layer``: `MoE`, a feed-forward part for `core.model.gpt.GPT`
* ``balancing``: the losses and the bias that give experts equal work
* ``tables``: where the tokens went
* ``reference``: the layer again, token by token
"""

from greenlab.mixture_of_experts.balancing import (
    balanced_loss,
    load_balancing_loss,
    moe_layers,
    recorded,
    update_bias,
    z_loss,
)
from greenlab.mixture_of_experts.layer import MoE
from greenlab.mixture_of_experts.reference import token_by_token
from greenlab.mixture_of_experts.router import Routing
from greenlab.mixture_of_experts.tables import balance, load, routing

__all__ = [
    "MoE",
    "Routing",
    "balance",
    "balanced_loss",
    "load",
    "load_balancing_loss",
    "moe_layers",
    "recorded",
    "routing",
    "token_by_token",
    "update_bias",
    "z_loss",
]
