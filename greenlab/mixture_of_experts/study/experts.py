"""What experts have in common: who goes to which expert, and what one has to know to guess it.

All tables come from one table of routed tokens (`routed`): the first choice of each token in each layer, with the kind
of text that it stands in, the kind of token that it is, and the token itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.mixture_of_experts import routing
from greenlab.mixture_of_experts.study.text import pieces, token_kind

# What may be known of a token, and the columns that say it.
KNOWN = {
    "nothing": [],
    "the kind of text": ["kind"],
    "the kind of token": ["token_kind"],
    "the token": ["token"],
    "the token and the one before": ["before", "token"],
}


@torch.no_grad()
def routed(model: nn.Module, tokenizer: Any, ids: dict[str, Tensor], context_length: int) -> pd.DataFrame:
    """Send texts through a model and note where each token went first.

    Args:
        model: with mixture-of-experts layers.
        tokenizer: what made the ids.
        ids: token ids ``(N,)`` by kind of text.
        context_length: tokens in a window.

    Returns:
        One row a token and layer: kind, window, position, layer, token (id), before (id of the token before, -1 at the
        start of a window), token_kind and expert (the first choice).
    """
    found, words = [], {}  # type: ignore[var-annotated]
    for kind, row in ids.items():
        windows = row[: len(row) // context_length * context_length].view(-1, context_length)
        table = routing(model, windows)
        table = table[table["rank"] == 0].rename(columns={"sequence": "window"})
        before = torch.nn.functional.pad(windows, (1, 0), value=-1)[:, :-1].numpy()
        table = table.assign(kind=kind, before=before[table["window"], table["position"]])
        for token in table["token"].unique():
            words.setdefault(int(token), token_kind(pieces(tokenizer, [int(token)])[0]))
        found.append(table.assign(token_kind=table["token"].map(words)))
    columns = ["kind", "window", "position", "layer", "token", "before", "token_kind", "expert"]
    return pd.concat(found, ignore_index=True)[columns]


def shares(table: pd.DataFrame, by: str) -> pd.DataFrame:
    """Of the tokens of each sort, the share that goes to each expert.

    Args:
        table: as `routed` gives it.
        by: the column that sorts tokens, "kind" or "token_kind".

    Returns:
        The columns layer, expert, ``by`` and share; the shares of a layer and sort add up to 1.

    Raises:
        ValueError: if a column is missing.
    """
    _check_columns(table, "layer", "expert", by)
    counts = table.groupby(["layer", by, "expert"]).size().unstack(fill_value=0)
    share = counts.div(counts.sum(axis=1), axis=0).stack().rename("share").reset_index()  # type: ignore[call-overload]
    return share[["layer", "expert", by, "share"]]


def guesses(learned: pd.DataFrame, asked: pd.DataFrame) -> pd.DataFrame:
    """How often one guesses a token's expert right, by what one knows of the token.

    The guess is the expert that most tokens of the same sort went to in ``learned``; a sort that did not occur there is
    guessed like any token.

    Args:
        learned: as `routed` gives it, of one text.
        asked: the same of another.

    Returns:
        The columns layer, known (a key of `KNOWN`) and right, a share.

    Raises:
        ValueError: if a column is missing.
    """
    rows = []
    for table in (learned, asked):
        _check_columns(table, "layer", "expert", "kind", "token_kind", "token", "before")
    for layer, tokens in asked.groupby("layer"):
        seen = learned[learned["layer"] == layer]
        common = int(seen["expert"].mode()[0])
        for known, columns in KNOWN.items():
            guess: Any = common
            if columns:
                usual = _most_frequent(seen, columns)
                guess = tokens[columns].merge(usual, on=columns, how="left")["guess"].fillna(common).to_numpy()
            rows.append({"layer": layer, "known": known, "right": float(np.mean(tokens["expert"].to_numpy() == guess))})
    return pd.DataFrame(rows)


def _check_columns(table: Any, *columns: str) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table is {type(table).__name__}: give a table, as routed gives it")
    if missing := [name for name in columns if name not in table]:
        raise ValueError(f"table lacks the column {missing[0]!r} (it has {', '.join(map(str, table))})")


def _most_frequent(table: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """The most frequent expert of each sort of token; of equally frequent ones the first."""
    counts = table.groupby([*columns, "expert"]).size().rename("n").reset_index()
    best = counts.sort_values(["n", "expert"], ascending=[False, True]).drop_duplicates(columns)
    return best.rename(columns={"expert": "guess"})[[*columns, "guess"]]


def repeats(table: pd.DataFrame) -> pd.DataFrame:
    """How often two neighbouring tokens share their first expert, and how often they would by chance.

    Chance is the sum of the squared shares of the experts: two tokens drawn apart from each other.

    Args:
        table: as `routed` gives it.

    Returns:
        The columns layer, kind, same and chance, shares of the pairs.

    Raises:
        ValueError: if a column is missing.
    """
    _check_columns(table, "kind", "layer", "window", "position", "expert")
    rows = []
    for (layer, kind), tokens in table.groupby(["layer", "kind"]):
        tokens = tokens.sort_values(["window", "position"])
        pairs = tokens["window"].to_numpy()[1:] == tokens["window"].to_numpy()[:-1]
        same = tokens["expert"].to_numpy()[1:] == tokens["expert"].to_numpy()[:-1]
        share = tokens["expert"].value_counts(normalize=True)
        rows.append(
            {"layer": layer, "kind": kind, "same": float(same[pairs].mean()), "chance": float((share**2).sum())}
        )
    return pd.DataFrame(rows)
