"""The healing text of the layer-pruning study: written by the unpruned model, so that nothing has to be downloaded.

A pruned model has to learn to do what the whole model did, so the whole model's own words are the natural text to
practise on: it is asked for many small pieces of prose, and answers with a little randomness. The texts that the book
scores on are not among them: they were written by people, for this book.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

GENRES = (
    "Write a short story about {}.",
    "Explain {} to a curious friend.",
    "Write a letter to a neighbour about {}.",
    "Write a newspaper report about {}.",
    "Describe {} in a few paragraphs.",
    "Write an essay about {}.",
    "What should I know about {}?",
    "Write a dialogue between two friends about {}.",
)
TOPICS = (
    "a lost umbrella", "how rivers shape valleys", "learning to cook", "an old clock", "the night train",
    "keeping bees", "a bridge in a small town", "why leaves change colour", "moving to a new city",
    "a broken radio", "the history of paper", "a football match in the rain", "growing tomatoes",
    "how a camera works", "a quiet library", "the first day at work", "a storm at sea", "saving money",
    "how birds find their way", "a birthday party", "the price of bread", "a mountain hut", "how the heart works",
    "a stray dog", "building a stone wall", "the invention of the telephone", "a school play", "electric cars",
    "a museum at night", "why people tell stories", "a garden in winter", "how glass is made", "a long queue",
    "the planets", "repairing a chair", "a summer job", "sleep", "the village choir", "how vaccines work",
    "a journey by bus", "the colour blue", "a forgotten recipe", "how a city gets its water",
    "an argument about music", "the sound of rain", "a chess game", "how to tie knots", "a new teacher",
    "the oldest tree", "a power cut", "wild mushrooms", "how money was invented", "a lighthouse keeper",
    "a family photograph", "how an engine works", "a market on Saturday", "the fear of heights",
    "a message in a bottle", "how wool becomes a jumper", "a walk by the river",
)  # fmt: skip


def write_text(
    model: Any, tokenizer: Any, *, n_texts: int, n_tokens: int, temperature: float, batch_size: int, seed: int
) -> list[list[int]]:
    """Let the model write ``n_texts`` texts of at most ``n_tokens`` tokens, each to another request.

    Returns:
        One list of token ids for each text: the request in the chat format, then the answer up to its end.
    """
    requests = [genre.format(topic) for topic, genre in itertools.product(TOPICS, GENRES)]
    order = torch.randperm(len(requests), generator=torch.Generator().manual_seed(seed)).tolist()
    if n_texts > len(requests):
        raise ValueError(f"n_texts={n_texts}: there are {len(requests)} different requests; add topics or take fewer")
    chosen = [requests[i] for i in order[:n_texts]]
    texts = []
    for i in tqdm(range(0, n_texts, batch_size), desc="writing", leave=False):
        chats = [f"<|im_start|>user\n{r}<|im_end|>\n<|im_start|>assistant\n" for r in chosen[i : i + batch_size]]
        prompt = tokenizer(chats, return_tensors="pt", padding=True, padding_side="left")
        torch.manual_seed(seed + i)
        rows = model.generate(
            **prompt, max_new_tokens=n_tokens, do_sample=True, temperature=temperature, top_k=0, top_p=1.0,
            pad_token_id=tokenizer.pad_token_id,
        )  # fmt: skip
        for row, mask in zip(rows.tolist(), prompt.attention_mask, strict=True):
            row = row[int((mask == 0).sum()) :]  # without the padding on the left
            end = (
                row.index(tokenizer.eos_token_id, int(mask.sum()))
                if tokenizer.eos_token_id in row[int(mask.sum()) :]
                else None
            )
            texts.append(row[: None if end is None else end + 1])
    return texts


def windows(texts: list[list[int]], length: int) -> Tensor:
    """Join the texts and cut them into windows ``(N, length)``; a rest shorter than a window is left out."""
    stream = torch.tensor(list(itertools.chain.from_iterable(texts)))
    return stream[: len(stream) // length * length].view(-1, length)
