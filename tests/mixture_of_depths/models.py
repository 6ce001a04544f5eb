"""Small models whose numbers are large enough that every part matters, and a slow layer to compare with."""

import math

import torch

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.mixture_of_depths import mod_blocks, mod_layers

VOCAB = 30
SIZES = {"vocab_size": VOCAB, "context_length": 96, "n_layers": 4, "d_model": 16, "n_heads": 4, "d_ff": 24}


def ids(batch, length, seed=1):
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


def spread(capacity=0.25, *, every=2, seed=0, n_kv_heads=2, **kwargs):
    """A model with weights of size 0.3, whose deciders let about half of the tokens enter."""
    model = GPT(GPTConfig(**SIZES, n_kv_heads=n_kv_heads), block=mod_blocks(capacity, every, **kwargs))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.3, generator=generator)
    return model.eval()


def layer(capacity=0.25, seed=0, **kwargs):
    """One skipping layer and its rotary table, both in float64 (a model's table is float32)."""
    d = SIZES["d_model"] // SIZES["n_heads"]
    frequencies = 10_000.0 ** (-torch.arange(0, d, 2).double() / d)
    angles = torch.arange(SIZES["context_length"]).double()[:, None] * frequencies
    rotation = torch.stack([angles.cos(), angles.sin()], dim=-1)
    return mod_layers(spread(capacity, seed=seed, **kwargs).double())[1], rotation


def tokens(batch=2, length=12, seed=0):
    return torch.randn(batch, length, SIZES["d_model"], generator=torch.Generator().manual_seed(seed)).double()


def slow(mod, x, enters, weights):
    """``mod`` on ``x`` (B, S, C), written again: token by token, each with its own list of the tokens that it sees.

    ``enters`` (B, S) says who enters, ``weights`` (B, S) how much the block's change counts.
    """
    block, out = mod.block, []
    attention, feed_forward = block.attention, block.feed_forward
    d = attention.head_dim

    def normed(norm, v):
        return v * (v.pow(2).mean() + norm.eps) ** -0.5 * norm.weight

    def turned(v, position):  # one head (D,)
        angles = position * 10_000.0 ** (-torch.arange(0, d, 2, dtype=v.dtype) / d)
        even, odd = v[0::2], v[1::2]
        pairs = torch.stack(
            [even * angles.cos() - odd * angles.sin(), even * angles.sin() + odd * angles.cos()], dim=-1
        )
        return pairs.flatten()

    for text, inside, weight in zip(x, enters, weights, strict=True):
        rows = list(text)
        seen = [t for t in range(len(text)) if inside[t]]
        for t in seen:
            h = normed(block.attention_norm, text[t])
            queries = (attention.query.weight @ h).view(-1, d)
            heads = []
            for i, query in enumerate(queries):
                scores, values = [], []
                for u in [u for u in seen if u <= t]:
                    g = normed(block.attention_norm, text[u])
                    key = (attention.key.weight @ g).view(-1, d)
                    value = (attention.value.weight @ g).view(-1, d)
                    group = i // (len(queries) // len(key))
                    scores.append(turned(query, t) @ turned(key[group], u) / math.sqrt(d))
                    values.append(value[group])
                heads.append(torch.stack(scores).softmax(0) @ torch.stack(values))
            y = text[t] + attention.output.weight @ torch.cat(heads)
            h = normed(block.feed_forward_norm, y)
            gate = feed_forward.gate.weight @ h
            y = y + feed_forward.down.weight @ (gate * gate.sigmoid() * (feed_forward.up.weight @ h))
            rows[t] = text[t] + weight[t] * (y - text[t])
        out.append(torch.stack(rows))
    return torch.stack(out)
