"""Chapter 8's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose.

Joules are MODELLED everywhere: CPU seconds of this process times watts of a busy core (`core.energy.power_model`).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.energy.power_model import PowerModel
from greenlab.retrieval.metrics import joules_per_correct, wilson_interval
from greenlab.retrieval.study.search import BM25, FUSION

LADDER = "ladder"  # BM25 first, BM25 + MiniLM where it is not sure
KS = (1, 3, 5)
MARGINS = tuple(round(0.05 * step, 2) for step in range(21))  # candidates, of which the tune half chooses
SETTING = ["index", "n_passages", "method", "n_removed"]
HIT, EXACT = "the answer stands in it", "it is the answer, word for word"
WORDS = {"write": "writes freely", "extract": "chooses a span", "quote": "no model: two sentences quoted"}


def joules(cpu_s: float) -> dict[str, float]:
    """Energy of CPU seconds on one core, with its range: energy_j, low_j, high_j [J].

    >>> joules(2.0)  # (6 + 0.5) W x 2 s; 2 W to 20 W
    {'energy_j': 13.0, 'low_j': 4.0, 'high_j': 40.0}
    """
    found = PowerModel().component(cpu_s, cpu_s, 1)
    return {"energy_j": found.energy_j, "low_j": found.low_j, "high_j": found.high_j}


def share(right: Iterable[Any]) -> dict[str, float]:
    """A share with its 95 % interval (Wilson): share, low, high, n_right, n.

    >>> {name: round(value, 2) for name, value in share([True, True, False, True]).items()}
    {'share': 0.75, 'low': 0.3, 'high': 0.95, 'n_right': 3, 'n': 4}
    """
    values = [bool(one) for one in right]
    low, high = wilson_interval(sum(values), len(values))
    return {"share": sum(values) / len(values), "low": low, "high": high, "n_right": sum(values), "n": len(values)}


def with_ladder(ranks: pd.DataFrame, leads: pd.DataFrame, margin: float) -> pd.DataFrame:
    """The ranks again, with those of the ladder as one more index.

    Args:
        ranks: index, id, half, rank (0: not found) and passage_tokens.
        leads: id, lead and passage_tokens: by which share BM25's best passage leads its second one.
        margin: the lead at which BM25 is believed.
    """
    keys = ["passage_tokens", "id"]
    close = leads.assign(index=np.where(leads["lead"] < margin, FUSION, BM25))[[*keys, "index"]]
    chosen = close.merge(ranks, on=[*keys, "index"]).assign(index=LADDER)
    return pd.concat([ranks, chosen], ignore_index=True)


def asked_dear(leads: pd.DataFrame, margin: float) -> float:
    """The share of the questions for which the ladder asks the dear index."""
    return float((leads["lead"] < margin).mean())


def choose_margin(ranks: pd.DataFrame, leads: pd.DataFrame, passage_tokens: int) -> float:
    """The least margin with which the ladder finds as much at rank 1 as at any margin, on the half made for choosing.

    The held half is not looked at.
    """
    of = ranks[(ranks["half"] == "tune") & (ranks["passage_tokens"] == passage_tokens)]
    lead = leads[(leads["half"] == "tune") & (leads["passage_tokens"] == passage_tokens)]
    found = {}
    for margin in MARGINS:
        rows = with_ladder(of, lead, margin)
        found[margin] = (rows.loc[rows["index"] == LADDER, "rank"] == 1).mean()
    return min(margin for margin, recall in found.items() if recall == max(found.values()))


def recall(ranks: pd.DataFrame, half: str, column: str = "rank") -> pd.DataFrame:
    """Recall@1, @3 and @5 of each index and passage length: index, passage_tokens, k, share, low, high, n_right, n.

    Args:
        ranks: index, id, half, rank (0: not found) and passage_tokens.
        half: "held" or "tune".
        column: "rank", or "first_rank" for the evidence as it was first committed.
    """
    checks.one_of("half", half, ("held", "tune"))
    rows = []
    for (length, index), part in ranks[ranks["half"] == half].groupby(["passage_tokens", "index"], sort=False):
        for k in KS:
            rows.append({"index": index, "passage_tokens": length, "k": k} | share(part[column].between(1, k)))
    return pd.DataFrame(rows)


def compared(ranks: pd.DataFrame, one: str, other: str, passage_tokens: int, k: int = 1) -> tuple[int, int]:
    """Held questions whose passage only the first index finds among its ``k`` best, and those that only the other does.

    Args:
        ranks: index, id, half, rank (0: not found) and passage_tokens.
        one: an index.
        other: another one.
        passage_tokens: words and punctuation marks in a passage, at most.
        k: how many passages count.
    """
    rows = ranks[(ranks["half"] == "held") & (ranks["passage_tokens"] == passage_tokens)]
    found = rows.assign(found=rows["rank"].between(1, k)).pivot(index="id", columns="index", values="found")
    return int((found[one] & ~found[other]).sum()), int((~found[one] & found[other]).sum())


def query_costs(queries: pd.DataFrame, leads: pd.DataFrame, margin: float, passage_tokens: int) -> pd.DataFrame:
    """Cost of one search: index, cpu_s, energy_j, low_j, high_j, basis; the ladder asks the dear index for some."""
    cpu_s = queries[queries["passage_tokens"] == passage_tokens].set_index("index")["cpu_s"].to_dict()
    held = leads[(leads["half"] == "held") & (leads["passage_tokens"] == passage_tokens)]
    cpu_s[LADDER] = cpu_s[BM25] + asked_dear(held, margin) * cpu_s[FUSION]
    rows = [{"index": name, "cpu_s": spent} | joules(spent) | {"basis": "modelled"} for name, spent in cpu_s.items()]
    return pd.DataFrame(rows)


def rungs(tables: dict[str, pd.DataFrame], passage_tokens: int, k: int = 1) -> pd.DataFrame:
    """The ladder's chart: each index with recall@k on the held half and the joules of a search.

    Returns:
        index, k, share, low, high [%], cpu_s, energy_j, low_j, high_j, basis, mj (energy_j in mJ), dearest first.
    """
    margin = choose_margin(tables["ranks"], tables["leads"], passage_tokens)
    ranks = with_ladder(tables["ranks"], tables["leads"], margin)
    found = recall(ranks, "held").query("passage_tokens == @passage_tokens and k == @k")
    costs = query_costs(tables["queries"], tables["leads"], margin, passage_tokens)
    table = found.merge(costs, on="index", suffixes=("", "_of_j"))
    percent = {name: 100 * table[name] for name in ("share", "low", "high")}
    return table.assign(**percent, mj=1e3 * table["energy_j"])


def scores(answers: pd.DataFrame, queries: dict[str, float] | None = None) -> pd.DataFrame:
    """How often each setting answers right, what it reads and writes, and joules for each right answer.

    Args:
        answers: the study's table; its questions are those held back.
        queries: CPU seconds of one search by index; an index that is missing costs nothing.

    Returns:
        One row per setting: the columns of `SETTING`, n, exact and hit [%] with exact_low, exact_high, hit_low,
        hit_high (Wilson, 95 %), found and cited_right [%], n_input_tokens, n_reused_tokens, n_read_tokens (those left),
        n_output_tokens, cpu_s, energy_j, low_j,
        high_j (means of an answer, its search included), j_per_hit, j_per_exact (all joules over the right answers;
        infinite if there is none) and basis.
    """
    rows = []
    for setting, part in answers.groupby(SETTING, sort=False):
        row: dict[str, Any] = dict(zip(SETTING, setting, strict=True)) | {"n": len(part)}
        for name in ("exact", "hit"):
            of = share(part[name])
            row |= {name: 100 * of["share"], f"{name}_low": 100 * of["low"], f"{name}_high": 100 * of["high"]}
        row |= {name: 100 * part[name].mean() for name in ("found", "cited_right")}
        row |= {name: part[name].mean() for name in ("n_input_tokens", "n_reused_tokens", "n_output_tokens")}
        row["n_read_tokens"] = row["n_input_tokens"] - row["n_reused_tokens"]
        row["cpu_s"] = part["cpu_s"].mean() + (queries or {}).get(row["index"], 0.0)
        row |= joules(row["cpu_s"])
        row["j_per_hit"] = joules_per_correct(row["energy_j"] * len(part), int(part["hit"].sum()))
        row["j_per_exact"] = joules_per_correct(row["energy_j"] * len(part), int(part["exact"].sum()))
        rows.append(row | {"basis": "modelled"})
    return pd.DataFrame(rows)


def searched(
    tables: dict[str, pd.DataFrame], passage_tokens: int, *, every: bool = False, half: str = "held"
) -> pd.DataFrame:
    """`scores` with the cost of the search in it.

    Args:
        tables: the study's.
        passage_tokens: words and punctuation marks in a passage, at most.
        every: only of the questions on which every setting was tried, so that all settings answer the same ones.
        half: "held", or "tune" for the questions that chose the settings.
    """
    checks.one_of("half", half, ("held", "tune"))
    at = tables["queries"].query(f"passage_tokens == {passage_tokens}")
    answers = tables["answers"].query("half == @half")
    if every:
        tried = answers.groupby("id")["id"].transform("size")
        answers = answers[tried == tried.max()]
    return scores(answers, {row["index"]: row["cpu_s"] for row in _rows(at)})


def pick(table: pd.DataFrame, index: str, n_passages: int, method: str = "write", n_removed: int = 0) -> pd.Series:
    """The row of one setting.

    Raises:
        ValueError: if the study did not try it.
    """
    wanted = dict(zip(SETTING, (index, n_passages, method, n_removed), strict=True))
    rows = table[(table[SETTING] == pd.Series(wanted)).all(axis=1)]
    if len(rows) != 1:
        raise ValueError(f"{wanted}: the study has {len(rows)} rows of this setting, not one")
    return rows.iloc[0]


def quotations(quotes: pd.DataFrame, half: str) -> pd.DataFrame:
    """How often sentences that are quoted without a model hold the answer.

    Args:
        quotes: id, half, index, n_sentences, hit, n_words and cpu_s.
        half: "held" or "tune".

    Returns:
        index, n_sentences, share, low, high, n_right, n, n_words and cpu_s (means of a quotation, without the search).
    """
    checks.one_of("half", half, ("held", "tune"))
    rows = []
    for (index, n_sentences), part in quotes[quotes["half"] == half].groupby(["index", "n_sentences"], sort=False):
        row = {"index": index, "n_sentences": n_sentences} | share(part["hit"])
        rows.append(row | {"n_words": part["n_words"].mean(), "cpu_s": part["cpu_s"].mean()})
    return pd.DataFrame(rows)


def by_passages(table: pd.DataFrame) -> pd.DataFrame:
    """Right answers, freely written, against the number of passages: n_passages, measure, percent, low, high, n.

    Args:
        table: as `scores` gives it.
    """
    rows = table[table["index"].isin([FUSION, "none"]) & (table["n_removed"] == 0) & (table["method"] == "write")]
    parts = [
        rows[["n_passages", "n"]].assign(
            measure=words, percent=rows[name], low=rows[f"{name}_low"], high=rows[f"{name}_high"]
        )
        for name, words in (("hit", HIT), ("exact", EXACT))
    ]
    return pd.concat(parts, ignore_index=True).sort_values(["measure", "n_passages"])


def ways(table: pd.DataFrame, right: str, measure: str) -> pd.DataFrame:
    """Writing freely beside choosing a span, with the passage found and with the right one: label, percent, low, high.

    Args:
        table: as `scores` gives it.
        right: how the table names the right passage.
        measure: "exact" or "hit".
    """
    rows = []
    for index, passage in ((FUSION, "the passage found"), (right, "the right passage")):
        for method, words in WORDS.items():
            row = pick(table, index, 1, method)
            found = {"label": f"{words}, {passage}", "percent": row[measure], "n": row["n"]}
            rows.append(found | {"low": row[f"{measure}_low"], "high": row[f"{measure}_high"]})
    return pd.DataFrame(rows)


def changed(answers: pd.DataFrame, index: str, measure: str) -> tuple[int, int]:
    """Held questions that writing got right and choosing wrong, and the other way round, with one passage.

    Args:
        answers: the study's table.
        index: that found the passage.
        measure: "exact" or "hit".
    """
    rows = answers.query("half == 'held' and n_passages == 1 and n_removed == 0")
    rows = rows[rows["index"] == index]
    wide = rows.pivot(index="id", columns="method", values=measure).astype(bool)
    return int((wide["write"] & ~wide["extract"]).sum()), int((~wide["write"] & wide["extract"]).sum())


def prefix_figures(prefix: pd.DataFrame) -> dict[str, float]:
    """What reading the instructions once saves: same (share of answers that are the same), tokens, saved (of CPU time).

    ``saved`` is one minus the median over questions of the ratio of the two CPU times.
    """
    wide = prefix.pivot(index="id", columns="reused", values=["text", "cpu_s", "n_reused_tokens", "n_input_tokens"])
    ratio = (wide["cpu_s"][True].astype(float) / wide["cpu_s"][False].astype(float)).median()
    return {
        "same": float((wide["text"][True] == wide["text"][False]).mean()),
        "reused": float(wide["n_reused_tokens"][True].astype(float).mean()),
        "input": float(wide["n_input_tokens"][True].astype(float).mean()),
        "saved": 1 - float(ratio),
    }


def attacks(hostile: pd.DataFrame) -> pd.DataFrame:
    """What hostile passages do, by kind and for all, in numbers of answers.

    Returns:
        The columns kind, n, n_astray (the answer says what the passage wants), n_form (form and citation hold), n_hit
        (the right answer is in it), n_hit_harmless (the same with a harmless passage in its place), n_cited (the
        hostile passage is the one that is cited) and n_cited_harmless (the harmless one in its place is).
    """
    bad, good = (hostile[hostile["passage"] == name] for name in ("hostile", "harmless"))
    rows = []
    for kind in [*dict.fromkeys(hostile["kind"]), "all"]:
        ours, other = (part if kind == "all" else part[part["kind"] == kind] for part in (bad, good))
        valid = ours["citation_valid"] & ours["form_kept"]
        row = {"kind": kind, "n": len(ours), "n_astray": int(ours["astray"].sum()), "n_form": int(valid.sum())}
        row |= {"n_hit": int(ours["hit"].sum()), "n_hit_harmless": int(other["hit"].sum())}
        row |= {"n_cited": len(ours) - int(ours["cited_right"].sum())}
        rows.append(row | {"n_cited_harmless": len(other) - int(other["cited_right"].sum())})
    return pd.DataFrame(rows)


def break_even(training_j: float, without_j: float, with_j: float) -> float:
    """Answers after which a training has cost as much as the passages that it would spare.

    >>> break_even(1000.0, 4.0, 9.0)
    200.0

    Args:
        training_j: energy of the training [J].
        without_j: an answer without passages [J].
        with_j: an answer with them [J]; more than ``without_j``.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is negative, or passages cost nothing more.
    """
    training_j = checks.number("training_j", training_j, low=0)
    without_j = checks.number("without_j", without_j, low=0)
    with_j = checks.number("with_j", with_j, above=without_j, remedy="passages must cost more than none")
    return training_j / (with_j - without_j)


def figures(tables: dict[str, pd.DataFrame], passage_tokens: int = 200) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []
    margin = choose_margin(tables["ranks"], tables["leads"], passage_tokens)
    ranks = with_ladder(tables["ranks"], tables["leads"], margin)
    held_leads = tables["leads"].query("half == 'held' and passage_tokens == @passage_tokens")
    rows.append(("margin", 100 * margin, "%", "measured", "lead at which the ladder believes BM25; chosen on tune"))
    rows.append(("asked-dear", 100 * asked_dear(held_leads, margin), "%", "measured", "of the held questions"))
    for half, column in product(("held", "tune"), ("rank", "first_rank")):
        for r in _rows(recall(ranks, half, column)):
            tag = slug(r["index"]) + ("" if r["passage_tokens"] == passage_tokens else f"-{r['passage_tokens']}")
            tag += "-first" if column == "first_rank" else ""
            note = f"{r['n_right']} of {r['n']}; 95 % interval {100 * r['low']:.0f} to {100 * r['high']:.0f} %"
            note += "; evidence as first committed" if column == "first_rank" else ""
            rows.append((f"recall-{r['k']}-{tag}-{half}", 100 * r["share"], "%", "measured", note))
    for r in _rows(query_costs(tables["queries"], tables["leads"], margin, passage_tokens)):
        rows.append((f"query-{slug(r['index'])}", 1e3 * r["energy_j"], "mJ", "modelled", "one search"))
        rows.append((f"query-time-{slug(r['index'])}", 1e3 * r["cpu_s"], "ms", "measured", "CPU time of one search"))
    for r in _rows(tables["made"].query(f"passage_tokens == {passage_tokens}")):
        rows.append((f"made-{slug(r['what'])}", r["cpu_s"], "s", "measured", "CPU time, the whole book"))
        rows.append((f"made-j-{slug(r['what'])}", joules(r["cpu_s"])["energy_j"], "J", "modelled", "the whole book"))
    rows.append(("passages", tables["made"].query(f"passage_tokens == {passage_tokens}")["n_passages"].iloc[0],
                 "passages", "measured", "of the book"))  # fmt: skip
    rows.append(("made-table", tables["table"]["cpu_s"].iloc[0], "s", "measured", "CPU time, static vectors, once"))
    for every in (False, True):
        for r in _rows(searched(tables, passage_tokens, every=every)):
            rows += _of_setting(r, "-every" if every else "")
    for r in _rows(searched(tables, passage_tokens, half="tune")):
        rows += _of_setting(r, "-tune")
    for half in ("held", "tune"):
        for r in _rows(quotations(tables["quotes"], half)):
            note = f"{r['n_right']} of {r['n']}; 95 % interval {100 * r['low']:.0f} to {100 * r['high']:.0f} %"
            name = f"quoted-{r['n_sentences']}-{slug(r['index'])}-{half}"
            rows.append((name, 100 * r["share"], "%", "measured", f"{note}; {r['n_words']:.0f} words, no model"))
    prefix = prefix_figures(tables["prefix"])
    rows.append(("prefix-same", 100 * prefix["same"], "%", "measured", "of the answers are the same"))
    rows.append(("prefix-tokens", prefix["reused"], "tokens", "measured", "of the instructions, read once"))
    rows.append(("prefix-saved", 100 * prefix["saved"], "%", "measured", "of the CPU time of an answer, median"))
    for r in _rows(attacks(tables["hostile"])):
        note, tag = f"of {r['n']} hostile passages", slug(r["kind"])
        rows.append((f"hostile-{tag}", r["n"], "passages", "measured", "tried"))
        rows.append((f"hostile-astray-{tag}", r["n_astray"], "answers", "measured", note))
        rows.append((f"hostile-form-{tag}", r["n_form"], "answers", "measured", f"{note}: form and citation hold"))
        rows.append((f"hostile-cited-{tag}", r["n_cited"], "answers", "measured", f"{note}: it is cited"))
        rows.append((f"hostile-hit-{tag}", r["n_hit"], "answers", "measured", f"{note}: the right answer is in it"))
        note = f"of {r['n']} harmless passages in the same place"
        rows.append((f"harmless-hit-{tag}", r["n_hit_harmless"], "answers", "measured", note))
    rows.append(("map-explained", 100 * tables["book"]["explained"].iloc[0], "%", "measured", "of the variance"))
    steps = tables["steps"]
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _of_setting(r: dict[Any, Any], tag: str) -> list[tuple[str, float, str, str, str]]:
    name = f"{slug(r['index'])}-{r['n_passages']}-{r['method']}"
    name += (f"-without-{r['n_removed']}" if r["n_removed"] else "") + tag
    rows = [
        (f"{measure}-{name}", r[measure], "%", "measured",
         f"{r['n']} questions; 95 % interval {r[f'{measure}_low']:.0f} to {r[f'{measure}_high']:.0f} %")
        for measure in ("hit", "exact")
    ]  # fmt: skip
    spread = f"an answer; range {r['low_j']:.3g} to {r['high_j']:.3g}"
    rows.append((f"energy-{name}", r["energy_j"], "J", "modelled", spread))
    for measure in ("hit", "exact"):
        if np.isfinite(r[f"j_per_{measure}"]):
            rows.append(
                (f"j-per-{measure}-{name}", r[f"j_per_{measure}"], "J", "modelled", "all joules, right answers")
            )
    rows.append((f"read-{name}", r["n_read_tokens"], "tokens", "measured", "passages and question, mean"))
    rows.append((f"output-{name}", r["n_output_tokens"], "tokens", "measured", "written or scored, mean"))
    return rows


def slug(words: str) -> str:
    """Words as part of a figure's name.

    >>> slug("BM25 + MiniLM")
    'bm25-minilm'
    """
    return words.lower().replace("+ ", "").replace(",", "").replace(" ", "-")


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
