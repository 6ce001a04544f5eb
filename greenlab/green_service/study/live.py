"""Levers measured alone, in pairs and all together on this machine: SmolLM2 as it is, answering a question of the book.

Three levers can really be combined. Fewer layers: six of thirty are cut out and the rest is healed (`healed`). Fewer
bits: the matrices of the layers in 8 bits, with integer products (`matrices`). Retrieval: the best passage of the book
is put into the prompt, which costs time and buys right answers. Matrices of a ternary model's size run beside them for
their time alone, as nobody trained SmolLM2 so.

The instructions of the prompt were read before (chapter 8). An answer reads the rest and writes a fixed number of
tokens, so that all settings do equal work. Models of floats, healed models of fewer bits and whole ones of fewer bits
take turns apart from each other, each time beside the unchanged one, so that not all of them are in memory at once.
With one thread the seconds are CPU seconds, which other programs do not lengthen. Time and joules are those of one run
here; the loss is computed in it, too, on a page that no lever was made with; the share of right answers is the
committed study's (`python -m greenlab.green_service.study`), as fifty-three questions take minutes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import pandas as pd
import torch

from greenlab import retrieval
from greenlab.core import assets, checks, grid, studies
from greenlab.core.energy.meter import measure_call
from greenlab.core.energy.receipt import Receipt
from greenlab.core.machine import release_memory
from greenlab.core.model import scoring
from greenlab.core.model.cost import TransformerShape
from greenlab.core.model.decoder import decoder_layers
from greenlab.green_service import Kernel, Profile, Variant, combine, combine_parts
from greenlab.green_service.study import matrices, parts
from greenlab.green_service.study.healed import load_healed
from greenlab.retrieval.prompt import frame_of
from greenlab.retrieval.questions import load_questions

HEALED, BITS, FOUND, TERNARY = "fewer layers, healed", "8 bits", "retrieval", "ternary-shaped"
NAMES = {HEALED: "fewer layers", BITS: "fewer bits", FOUND: "retrieval"}  # as `combine` calls them
QUESTION = "q002"  # held back in chapter 8; the book's best passage answers it
PASSAGE_TOKENS = 200
PAGE_TOKENS = 128  # of the text whose loss is computed
TOLERANCE = 0.02  # of quality, as `ledger.record` has it
HOURS_OF_SLACK = 24
NONE, ALL = "nothing changed", "all three"


@dataclass(frozen=True)
class Setting:
    """One way to answer: which of the levers are pulled."""

    name: str
    healed: bool = False
    bits: int = 32
    found: bool = False


SETTINGS = (
    Setting(NONE),
    Setting(HEALED, healed=True),
    Setting(BITS, bits=8),
    Setting(FOUND, found=True),
    Setting(f"{HEALED} + {BITS}", healed=True, bits=8),
    Setting(f"{HEALED} + {FOUND}", healed=True, found=True),
    Setting(f"{BITS} + {FOUND}", bits=8, found=True),
    Setting(ALL, healed=True, bits=8, found=True),
    Setting(TERNARY, bits=2),
    Setting(f"{HEALED} + {TERNARY} + {FOUND}", healed=True, bits=2, found=True),
)


@dataclass(frozen=True, eq=False)
class Material:
    """What answers: the whole and the healed model, the tokenizer, and the prompt without and with a passage.

    Attributes:
        floats: the models by whether layers were cut.
        tokenizer: of all of them.
        prompts: token ids without and with a passage.
        heads: the instructions at the beginning of each.
        page: a text to compute the loss on, `(1, S)`.
    """

    floats: dict[bool, Any]
    tokenizer: Any
    prompts: dict[bool, list[int]]
    heads: dict[bool, list[int]]
    page: torch.Tensor

    def tokens(self, found: bool) -> int:
        """Tokens that an answer reads: those of its prompt behind the instructions."""
        return len(self.prompts[found]) - len(self.heads[found])


@dataclass(frozen=True)
class Combined:
    """What was measured, and what was predicted.

    Attributes:
        table: one row a setting: what, healed, bits, retrieval, time_s, left_pct (of the time of nothing changed),
            energy_j, low_j, high_j [J], basis, loss [nats/token, nan where the weights are random].
        predicted: one row a lever, then each pair, "product" and "together": what, measured_pct, counts_pct, parts_pct,
            kernel_pct (of the time before): by counts, from the profile's parts with the kernel as bytes have it, and
            with the kernel as it was timed alone.
        profile: of the unchanged model.
        kernels: what the matrices of each kind leave of the float ones' time, by bits.
        before, after: receipts of an answer with nothing changed, and with all three.
        spread: longest over shortest round of the unchanged model.
        variants: before and after in counts.
    """

    table: pd.DataFrame
    predicted: pd.DataFrame
    profile: Profile
    kernels: dict[int, Kernel]
    before: Receipt
    after: Receipt
    spread: float
    variants: tuple[Variant, Variant]

    def overlap(self, column: str = "measured_pct") -> float:
        """What is left together over the product of what each lever leaves alone.

        Args:
            column: of ``predicted``.

        Raises:
            ValueError: if it has no such column.
        """
        checks.one_of("column", column, tuple(self.predicted.columns[1:]))
        left = self.predicted.set_index("what")[column]
        return float(left["together"] / left["product"])


def material(
    llm: tuple[Any, Any] | None = None, healed: Any = None, *, passage: str | None = None, page: str | None = None
) -> Material:
    """Load or make everything that answers.

    Args:
        llm: model and tokenizer; None is SmolLM2.
        healed: the same model with fewer layers; None merges the committed corrections.
        passage: what retrieval gives; None searches the book.
        page: text for the loss; None is the book's evaluation text.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the committed file is missing or altered, or the prompt does not fit the model.
    """
    model, tokenizer = assets.load_smollm2() if llm is None else llm
    cut = load_healed(model) if healed is None else healed
    row: Any = load_questions().set_index("id").loc[QUESTION]
    if passage is None:
        index = retrieval.BM25Index(retrieval.Corpus.from_book(passage_tokens=PASSAGE_TOKENS))
        passages = [index.corpus[int(i)] for i in index.search(row["question"], 1)["passage"]]
    else:
        passages = list(retrieval.Corpus.from_texts({"passage": passage}))
    prompts, heads = {}, {}
    for found in (False, True):
        given = passages if found else []
        prompts[found] = list(retrieval.build_prompt(row["question"], given, (model, tokenizer), n_new_tokens=32).ids)
        heads[found] = list(frame_of(tokenizer, "auto", with_passages=found)[0])
    text = scoring.held_out_text("evaluation") if page is None else page
    ids = torch.tensor([tokenizer(text).input_ids[:PAGE_TOKENS]])
    return Material({False: model, True: cut}, tokenizer, prompts, heads, ids)


def _answer(reading: Any, ids: list[int], n_tokens: int) -> list[int]:
    """Read the rest of a prompt and write exactly so many tokens: the first comes with the prompt's pass."""
    reading.read(ids)
    written = [int(reading.log_probabilities.argmax())]
    while len(written) < n_tokens:
        reading.read(written[-1:])
        written.append(int(reading.log_probabilities.argmax()))
    return written


def measure_together(rounds: int = 3, n_tokens: int = 12, *, given: Material | None = None) -> Combined:
    """Time and meter an answer with each lever alone, with each pair, and with all; predict each from the model before.

    Args:
        rounds: how often each answer is written, in turn; the shortest time counts, and joules are the mean.
        n_tokens: tokens that each writes, 2 or more.
        given: of `material`; None is SmolLM2 and the committed corrections.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range, or the committed file is missing or altered.
    """
    rounds = checks.integer("rounds", rounds, low=1, high=100)
    n_tokens = checks.integer("n_tokens", n_tokens, low=2, high=1000)
    own = material() if given is None else checks.instance("given", given, Material)
    release_memory()  # what merging and searching left
    whole = own.floats[False]
    shape = TransformerShape.from_config(whole.config)
    before = Variant(len(decoder_layers(whole)), own.tokens(False), n_tokens)
    after = Variant(len(decoder_layers(own.floats[True])), own.tokens(True), n_tokens, layer_bits=8)
    turns = [_turns(own, {(fewer, 32): model for fewer, model in own.floats.items()}, rounds, n_tokens)]
    packed = _packed(own.floats[True])
    own = dataclasses.replace(own, floats={False: whole})  # the healed floats are done with: their memory is used again
    release_memory()
    turns.append(_turns(own, {(True, bits): made for bits, made in packed.items()}, rounds, n_tokens))
    packed.clear()
    release_memory()
    packed = _packed(whole)
    release_memory()  # what packing left
    turns.append(_turns(own, {(False, bits): made for bits, made in packed.items()}, rounds, n_tokens))
    prefix = retrieval.Prefix(whole, own.heads[False])
    watched = parts.profile(whole, prefix, rounds)
    kernels = {bits: parts.kernel_alone(whole, packed[bits], rounds) for bits in (8, 2)}
    reading_s = _reading_s(prefix, own, rounds)
    del own, packed, prefix, whole
    release_memory()
    table = _table(turns)
    times = [_seconds(receipt) for receipt in turns[0].receipts[NONE]]
    said = _predictions(shape, before, after, watched, kernels[8], reading_s, min(times))
    best = [min(one.receipts[name], key=_seconds) for one, name in ((turns[0], NONE), (turns[1], ALL))]
    return Combined(
        table, _beside(table, said), watched, kernels, best[0], best[1], max(times) / min(times), (before, after)
    )


@dataclass(frozen=True)
class _Turns:
    """Receipts of each setting's answers, by its name, and the loss of each model."""

    receipts: dict[str, list[Receipt]]
    losses: dict[tuple[bool, int], float]


def _turns(own: Material, models: Mapping[tuple[bool, int], Any], rounds: int, n_tokens: int) -> _Turns:
    """Let every setting that the models can take answer in turn, and beside them the unchanged model."""
    settings = [one for one in SETTINGS if one.name == NONE or (one.healed, one.bits) in models]
    models = {(False, 32): own.floats[False], **models}
    prefixes = {
        (key, found): retrieval.Prefix(model, own.heads[found])
        for key, model in models.items()
        for found in (False, True)
        if any((one.healed, one.bits, one.found) == (*key, found) for one in settings)
    }
    receipts: dict[str, list[Receipt]] = {one.name: [] for one in settings}
    for turn in range(rounds + 1):
        for one in settings:
            reading = prefixes[(one.healed, one.bits), one.found].start()
            rest = own.prompts[one.found][len(own.heads[one.found]) :]
            n = n_tokens if turn else 2  # the first turn warms up

            def work(reading: Any = reading, rest: list[int] = rest, n: int = n) -> list[int]:
                return _answer(reading, rest, n)

            receipt = measure_call(work, one.name, min_time_s=0, warmup=0)[1]
            if turn:
                receipts[one.name].append(receipt)
    del prefixes
    losses = {key: scoring.text_loss(model, own.page) if key[1] != 2 else float("nan") for key, model in models.items()}
    return _Turns(receipts, losses)


def _packed(model: Any) -> dict[int, Any]:
    """The model with matrices of fewer bits, by the bits."""
    return {8: matrices.eight_bits(model), 2: matrices.ternary_shaped(model)}


def _seconds(receipt: Receipt) -> float:
    """Time of a receipt [s], by the clock that `parts.clock` says."""
    return max(receipt.cpu_s if torch.get_num_threads() == 1 else receipt.time_s, 1e-9)


def _reading_s(prefix: retrieval.Prefix, own: Material, rounds: int) -> float:
    """Time of reading the prompt without a passage, by the unchanged model [s]."""
    rest = own.prompts[False][len(own.heads[False]) :]
    times = []
    for _ in range(rounds + 1):
        reading = prefix.start()
        times.append(measure_call(partial(reading.read, rest), "reading", min_time_s=0, warmup=0)[1])
    return min(_seconds(receipt) for receipt in times)


def _table(turns: list[_Turns]) -> pd.DataFrame:
    """One row a setting; its time is compared with the unchanged model's of the same turns."""
    rows: list[dict[str, Any]] = []
    for one in SETTINGS:
        own = next(each for each in turns if one.name in each.receipts)
        found = own.receipts[one.name]
        time_s, whole_s = (min(_seconds(receipt) for receipt in own.receipts[name]) for name in (one.name, NONE))
        row: dict[str, Any] = {"what": one.name, "healed": one.healed, "bits": one.bits, "retrieval": one.found}
        row |= {"time_s": time_s, "left_pct": 100 * time_s / whole_s}
        row |= {name: sum(getattr(r, name) for r in found) / len(found) for name in ("energy_j", "low_j", "high_j")}
        row["basis"] = "measured" if all(r.basis == "measured" for r in found) else "modelled"
        rows.append(row | {"loss": own.losses[one.healed, one.bits]})
    return pd.DataFrame(rows)


def _predictions(
    shape: TransformerShape, before: Variant, after: Variant, watched: Profile, kernel: Kernel, reading_s: float,
    whole_s: float,
) -> dict[str, dict[str, float]]:  # fmt: skip
    """Shares left by each lever, each pair, the product and all, in three ways."""
    writing_s = max(whole_s - reading_s, 1e-9)

    def ways(then: Variant) -> dict[str, pd.DataFrame]:
        return {
            "counts_pct": combine(shape, before, then, reading_s=reading_s, writing_s=writing_s),
            "parts_pct": combine_parts(watched, before, then),
            "kernel_pct": combine_parts(watched, before, then, kernel),
        }

    changed: dict[str, dict[str, Any]] = {HEALED: {"n_layers": after.n_layers}, BITS: {"layer_bits": after.layer_bits}}
    changed[FOUND] = {"prompt_tokens": after.prompt_tokens}
    pairs = {f"{a} + {b}": changed[a] | changed[b] for a, b in ((HEALED, BITS), (HEALED, FOUND), (BITS, FOUND))}
    found: dict[str, dict[str, float]] = {}
    for way, table in ways(after).items():
        left = table.set_index("what")["left"]
        found[way] = {lever: 100 * float(left[name]) for lever, name in NAMES.items()}
        found[way] |= {name: 100 * float(left[name]) for name in ("product", "together")}
    for pair, fields in pairs.items():
        values: dict[str, Any] = vars(before) | fields
        for way, table in ways(Variant(**values)).items():
            found[way][pair] = 100 * float(table.set_index("what")["left"]["together"])
    return found


def _beside(table: pd.DataFrame, said: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    left = {str(what): float(share) for what, share in table.set_index("what")["left_pct"].items()}
    product = 100.0
    for lever in NAMES:
        product *= left[lever] / 100
    left |= {"product": product, "together": left[ALL]}
    pairs = [name for name in left if name.count(" + ") == 1 and TERNARY not in name]
    rows = [
        {"what": what, "measured_pct": left[what]} | {way: values[what] for way, values in said.items()}
        for what in (*NAMES, *pairs, "product", "together")
    ]
    return pd.DataFrame(rows)


def with_quality(table: pd.DataFrame) -> pd.DataFrame:
    """The measured settings beside what the committed study says of their answers, and what may be claimed.

    A saving may be claimed where time fell and at least 98 % of the cloze accuracy is left. With random weights there
    is no quality, and no saving.

    Args:
        table: of `Combined`.

    Returns:
        The table with accuracy_pct, kept_pct (of the accuracy of nothing changed), hit_pct, hit_low_pct and
        hit_high_pct (right answers to the held questions and their 95 % interval), claim ("yes", "no saving",
        "quality fell" or "no quality").

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if it lacks a column.
    """
    checks.instance("table", table, pd.DataFrame, remedy="measure_together().table")
    if missing := [name for name in ("what", "healed", "bits", "retrieval", "left_pct") if name not in table]:
        raise ValueError(f"table lacks the column {missing[0]!r}: measure_together().table has it")
    quality = _committed_quality()
    whole = quality["whole", False]["accuracy_pct"]
    nothing = dict.fromkeys(("accuracy_pct", "kept_pct", "hit_pct", "hit_low_pct", "hit_high_pct"), float("nan"))
    rows: list[dict[str, Any]] = []
    for given in table.to_dict("records"):
        row = {str(name): value for name, value in given.items()}
        if row["bits"] == 2:
            rows.append(row | nothing | {"claim": "no quality"})
            continue
        model = ("healed" if row["healed"] else "whole") + (", 8 bits" if row["bits"] == 8 else "")
        found = quality[model, bool(row["retrieval"])]
        kept = found["accuracy_pct"] / whole
        claim = "quality fell" if 1 - kept > TOLERANCE else "yes" if row["left_pct"] < 100 else "no saving"
        rows.append(row | found | {"kept_pct": 100 * kept, "claim": claim if row["what"] != NONE else ""})
    return pd.DataFrame(rows)


@lru_cache
def _committed_quality() -> dict[tuple[str, bool], dict[str, float]]:
    tables = studies.load("green_service", "models", "answers")
    models: Any = tables["models"].itertuples()
    accuracy = {str(row.model): 100 * row.right / row.n_items for row in models}
    found: dict[tuple[str, bool], dict[str, float]] = {}
    by_model: Any = tables["answers"].groupby(["model", "n_passages"])
    for (model, n), rows in by_model:
        low, high = retrieval.wilson_interval(int(rows["hit"].sum()), len(rows))
        shares = {"hit_pct": rows["hit"].mean(), "hit_low_pct": low, "hit_high_pct": high}
        found[str(model), bool(n)] = {"accuracy_pct": accuracy[model]} | {k: 100 * x for k, x in shares.items()}
    return found


def shifted(table: pd.DataFrame, zone: str = "DE", year: int = 2019) -> pd.DataFrame:
    """The same joules in another hour: grams at once, and at the cleanest of the next 24 hours, hours known in advance.

    Args:
        table: with the columns what and energy_j [J], such as that of `Combined`.
        zone: a zone with hours, such as "DE".
        year: of the hours.

    Returns:
        One row a setting: what, energy_j, at_once_g, waited_g [g], left_pct (of the first row's grams at once).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, the table is empty, or there are no hours of the zone and year.
    """
    checks.instance("table", table, pd.DataFrame, remedy="measure_together().table")
    if missing := [name for name in ("what", "energy_j") if name not in table]:
        raise ValueError(f"table lacks the column {missing[0]!r}: measure_together().table has it")
    if not len(table):
        raise ValueError("table is empty: give at least one setting")
    saving = best_hour_saving(zone, year)
    mean = float(grid.load(zone, year)["intensity_g_per_kwh"].mean())
    at_once = table["energy_j"] / 3.6e6 * mean
    waited = at_once * (1 - saving)
    return pd.DataFrame({
        "what": table["what"], "energy_j": table["energy_j"], "at_once_g": at_once, "waited_g": waited,
        "left_pct": 100 * waited / at_once.iloc[0],
    })  # fmt: skip


def best_hour_saving(zone: str = "DE", year: int = 2019) -> float:
    """Share of its carbon that an hour's work saves which may wait for the cleanest of the next 24 hours, all known.

    The mean over every hour of the year: grams at the best hour over grams at once.

    Args:
        zone: a zone with hours, such as "DE".
        year: of the hours.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there are no hours of the zone and year.
    """
    hours = grid.load(zone, year)["intensity_g_per_kwh"]
    best = hours[::-1].rolling(HOURS_OF_SLACK + 1).min()[::-1].dropna()
    return float(1 - best.sum() / hours.loc[best.index].sum())
