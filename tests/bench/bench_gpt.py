"""core.model.gpt: tokens per second in training and in cached decoding, against a transformers Llama of the same size.

Both train with the same optimizer, the same loss and no cache. Decoding writes 96 tokens after a prompt of 16, one
sequence; transformers once in a bare loop over its cache and once through its own generate(). Works take turns; a ratio
is the median over rounds. Marks: training and cached decoding at least as fast as transformers.

Run: python tests/bench/bench_gpt.py [THREADS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pandas as pd
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from greenlab.core import speed
from greenlab.core.machine import available_cores
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, make_optimizer, next_token_loss

VOCAB, CONTEXT, BATCH, PROMPT, NEW = 83, 128, 16, 16, 96
OURS, THEIRS = "greenlab", "transformers (sdpa)"
MARK = 1.0  # ours over theirs, in training and in cached decoding


def models() -> tuple[GPT, LlamaForCausalLM]:
    """Return both, with equal sizes."""
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=128, intermediate_size=256, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=CONTEXT, tie_word_embeddings=True, attn_implementation="sdpa",
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    ours = GPT(GPTConfig(VOCAB, CONTEXT, n_layers=4, d_model=128, n_heads=4, d_ff=256))
    theirs = LlamaForCausalLM(config)
    if sum(p.numel() for p in ours.parameters()) != sum(p.numel() for p in theirs.parameters()):
        raise ValueError("the two models differ in size: the comparison would say nothing")
    return ours, theirs


def trainer(model: torch.nn.Module) -> Callable[[], None]:
    """Return one training step on a fixed batch."""
    optimizer = make_optimizer(model.train(), TrainingConfig())
    inputs, targets = torch.randint(0, VOCAB, (2, BATCH, CONTEXT), generator=torch.Generator().manual_seed(0))

    def step() -> None:
        optimizer.zero_grad()
        next_token_loss(model, inputs, targets).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def run(rounds: int = 15, threads: int | None = None) -> pd.DataFrame:
    """Return one row per task and model: tokens per second, ours over it, and whether the mark is met."""
    torch.set_num_threads(threads or available_cores())
    ours, theirs = models()
    training = {OURS: trainer(ours), THEIRS: trainer(theirs)}
    prompt = torch.randint(0, VOCAB, (1, PROMPT), generator=torch.Generator().manual_seed(1))
    limits = {"max_new_tokens": NEW, "min_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    decoding = {
        OURS: lambda: ours.eval().generate(prompt, NEW, temperature=0),
        THEIRS: lambda: speed.run_decode(theirs.eval(), prompt, NEW),
        "transformers generate()": lambda: theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **limits),
    }
    rows = []
    for task, tokens, works in (("training", BATCH * CONTEXT, training), ("cached decoding", NEW, decoding)):
        times = speed.interleave(works, rounds=rounds, warmup=2)
        median, faster = times.groupby("work")["time_s"].median(), 1 / speed.ratios(times, OURS)
        for name in works:
            mark = faster[name] >= MARK if name == THEIRS else None
            row = {"task": task, "model": name, "tokens_per_s": tokens / median[name], "ours_over_it": faster[name]}
            rows.append(row | {"within_mark": mark, "threads": torch.get_num_threads()})
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(
        run(threads=int(sys.argv[1]) if len(sys.argv) > 1 else None).to_string(
            index=False, float_format="{:,.2f}".format
        )
    )
