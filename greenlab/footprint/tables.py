"""Tidy tables for chapter 1: facts with their confidence, and what `greenlab.footprint` makes of them. No long run."""

from __future__ import annotations

from typing import Any

import pandas as pd

from greenlab.core import checks, facts, studies
from greenlab.core.facts import low_high, value
from greenlab.footprint import inference_footprint, split_energy, training_footprint

CERTAIN = ("seen", "secondary")  # all else is drawn hollow
KNOWN = ("known", "inferred, unverified or rumour")
SCOPE_WIDE, SCOPE_NARROW = "with cryptocurrencies", "data centres only"
GEMINI_PARTS = {
    "accelerators at work": "gemini-tpu-energy", "host processor and memory": "gemini-host-energy",
    "machines kept ready": "gemini-idle-energy", "cooling and losses": "gemini-overhead-energy",
}  # fmt: skip


def trend(quantity: str) -> pd.DataFrame:
    """One row per model and count: model, date, count (all or active parameters, tokens, FLOP), amount, certain.

    Args:
        quantity: parameters, tokens or compute.

    Raises:
        TypeError: if the quantity is no text.
        ValueError: if it is unknown.
    """
    columns = {
        "parameters": {"params_total": "all parameters", "params_active": "parameters used for a token"},
        "tokens": {"training_tokens": "training tokens"},
        "compute": {"training_compute_flop": "training compute"},
    }
    checks.one_of("quantity", quantity, tuple(columns))
    rows = []
    for model in facts.table("models").to_dict("records"):
        for column, count in columns[quantity].items():
            if pd.isna(model[column]):
                continue
            if column == "params_active" and model[column] == model["params_total"]:
                continue  # a dense model is one point
            found = facts.fact(f"{model['id']}.{column}")
            rows.append(
                {
                    "model": model["model"], "date": pd.Timestamp(model["year_month"]), "count": count, "amount":
                    model[column],
                    "confidence": found.confidence, "known": KNOWN[found.confidence not in CERTAIN],
                }
            )  # fmt: skip
    return pd.DataFrame(rows).sort_values("date").reset_index(drop=True)


def tokens_per_parameter() -> pd.DataFrame:
    """Training tokens over the parameters that a token uses, by model: model, date, ratio."""
    models = facts.table("models").dropna(subset=["training_tokens", "params_active"])
    ratio = models["training_tokens"] / models["params_active"]
    return pd.DataFrame({"model": models["model"], "date": pd.to_datetime(models["year_month"]), "ratio": ratio})


def scopes() -> pd.DataFrame:
    """What the IEA said of data centres, by report: year, energy_twh, low_twh, high_twh [TWh], scope, what."""
    low, high = low_high("iea-dc-2026-forecast")
    rows = [
        (2022, value("iea-dc-2022"), None, None, SCOPE_WIDE, "estimate"),
        (2026, value("iea-dc-2026-forecast"), low, high, SCOPE_WIDE, "forecast of January 2024"),
        (2024, value("iea-dc-2024"), None, None, SCOPE_NARROW, "estimate"),
        (2025, value("iea-dc-2025"), None, None, SCOPE_NARROW, "estimate"),
        (2030, value("iea-dc-2030"), None, None, SCOPE_NARROW, "projection of April 2026"),
    ]
    return pd.DataFrame(rows, columns=["year", "energy_twh", "low_twh", "high_twh", "scope", "what"])


def world_shares() -> pd.DataFrame:
    """Share of data centres in the world's electricity, by what is counted and of what: label, share_percent [%].

    What is generated is more than what is consumed, by the losses of grids and by what power stations use themselves.
    """
    consumed, generated = value("world-electricity-consumption-2022"), value("world-electricity-generation-2022")
    rows = [
        ("2022 with crypto, of all consumed", value("iea-dc-2022") / consumed),
        ("2022 with crypto, of all generated", value("iea-dc-2022") / generated),
        ("2025 without, of all generated", value("iea-dc-2025") / value("world-electricity-2025")),
        (
            "2025 AI-focused, of all generated",
            value("iea-ai-dc-2025") / value("world-electricity-2025"),
        ),
    ]
    return pd.DataFrame([(label, 100 * share) for label, share in rows], columns=["label", "share_percent"])


def yardsticks() -> pd.DataFrame:
    """A year's electricity of countries and of what is compared with them: label, energy_twh [TWh], kind, in order of
    size.
    """
    rows = [
        ("One chatbot, 0.34 Wh a prompt", chatbot_twh(), "AI"),
        ("A chat for every Google search", value("devries-google-energy"), "AI"),
        ("Ireland", value("ireland-electricity-2024"), "country"),
        ("1.5 million AI servers", value("servers-85p4-twh"), "AI"),
        ("Sweden", value("sweden-electricity"), "country"),
        ("AI-focused data centres, 2025", value("iea-ai-dc-2025"), "AI"),
        ("All data centres, 2025", value("iea-dc-2025"), "AI"),
        ("Germany", value("germany-electricity"), "country"),
        ("Japan", value("japan-electricity"), "country"),
    ]
    return pd.DataFrame(rows, columns=["label", "energy_twh", "kind"]).sort_values("energy_twh", ignore_index=True)


def chatbot_twh() -> float:
    """A year of ChatGPT's prompts at the energy that its maker states [TWh]."""
    year = inference_footprint(
        accelerator_wh=value("chatgpt-prompt"), queries_per_day=value("chatgpt-prompts-per-day"), region="WORLD"
    )
    return float(year.year_twh)


def building_mwh() -> dict[str, float]:
    """Training energy of GPT-3 and BLOOM with the building's overhead [MWh]; BLOOM's is published without."""
    return {
        "GPT-3": value("gpt3-training-energy"),
        "BLOOM": value("bloom-training-energy") * value("bloom-pue"),
    }


def multipliers() -> pd.DataFrame:
    """GPT-3's and BLOOM's training with their buildings, and each on the other's grid: label, carbon_t [t CO2e]."""
    grids = {"GPT-3": value("gpt3-intensity"), "BLOOM": value("bloom-intensity")}
    rows = []
    for name, energy_mwh in building_mwh().items():
        for place, intensity in grids.items():
            run = training_footprint(  # a megawatt-hour is 1,000 h of 1 kW
                device_hours=1e3 * energy_mwh, power_w=1000.0, intensity_g_per_kwh=intensity
            )
            where = "where it ran" if name == place else f"on {place}'s grid"
            rows.append((f"{name}, {where}", run.carbon_t))
    return pd.DataFrame(rows, columns=["label", "carbon_t"]).sort_values("carbon_t", ignore_index=True)


def bloom_lifecycle() -> pd.DataFrame:
    """BLOOM's training by part: label, carbon_t [t CO2e]."""
    rows = [
        ("electricity of the GPUs at work", value("bloom-training-carbon")),
        ("electricity of idle machines", value("bloom-idle-carbon")),
        ("manufacture of the hardware", value("bloom-embodied-carbon")),
    ]
    return pd.DataFrame(rows, columns=["label", "carbon_t"])


def gemini_parts() -> pd.DataFrame:
    """A median prompt by part: label, energy_wh [Wh]."""
    return pd.DataFrame([(label, value(id)) for label, id in GEMINI_PARTS.items()], columns=["label", "energy_wh"])


def prompts() -> pd.DataFrame:
    """Published energies of one text prompt: label, energy_wh [Wh], in order of date."""
    rows = [
        ("ChatGPT, a guess of 2023", value("chatgpt-prompt-2023")),
        ("GPT-4o, Epoch AI, February 2025", value("gpt4o-prompt")),
        ("ChatGPT, OpenAI, June 2025", value("chatgpt-prompt")),
        ("Gemini, Google, August 2025", value("gemini-median-prompt")),
    ]
    return pd.DataFrame(rows, columns=["label", "energy_wh"])


ANSWERS = {  # measured by one method: ML.ENERGY v3.0, GPUs alone, most frugal published setting on H100
    "Chat, Llama-3.1-8B": "mlenergy-chat-llama-8b",
    "Chat, Qwen3-14B": "mlenergy-chat-qwen-14b",
    "Chat, Llama-3.1-405B": "mlenergy-chat-llama-405b",
    "Reasoning, Qwen3-14B": "mlenergy-reasoning-qwen-14b",
    "Reasoning, Qwen3-235B": "mlenergy-reasoning-qwen-235b",
    "Image, SANA 1.6B": "mlenergy-image-sana",
    "Image, FLUX.1-dev": "mlenergy-image-flux",
    "Video of 6 s, CogVideoX-2B": "mlenergy-video-cogvideox",
    "Video of 5 s, Wan 2.1 14B": "mlenergy-video-wan",
    "Video of 9 s, HunyuanVideo": "mlenergy-video-hunyuan",
}
TOKENS = {  # of our own study on an H100; the joules are those of the GPU
    "One token, Llama-3.1-8B, 64 users": "decode-llama-3p1-8b-batch-64-context-512",
    "One token, Llama-3.1-8B, one user": "decode-llama-3p1-8b-batch-1-context-512",
}
OWN_TOKEN = "One token, SmolLM2's size, a processor"


def answers() -> pd.DataFrame:
    """What an answer costs, from one token to a video: label, energy_wh, low_wh, high_wh [Wh], basis, by.

    The tokens are ours, from the committed studies of chapters 2 and 7 (the processor's is modelled, with its range);
    the answers are ML.ENERGY's, with the GPUs alone counted.
    """
    decode = studies.load("ternary", "decode")["decode"]
    chosen = (decode["shape"] == "smollm2") & (decode["model"] == "float32") & (decode["threads"] == 2)
    own = decode[chosen].to_dict("records")[0]
    counters = studies.load("accelerator", "figures")["figures"].set_index("name")["value"]
    rows: list[tuple[Any, ...]] = [
        (label, counters[name], None, None, "measured", "this book") for label, name in TOKENS.items()
    ]
    rows.append((OWN_TOKEN, own["j_per_token"], own["low_j"], own["high_j"], own["basis"], "this book"))
    table = pd.DataFrame(rows, columns=["label", "energy_wh", "low_wh", "high_wh", "basis", "by"])
    numbers = ["energy_wh", "low_wh", "high_wh"]
    table[numbers] = table[numbers].astype(float) / 3600
    measured = [(label, value(id), None, None, "measured", "ML.ENERGY") for label, id in ANSWERS.items()]
    table = pd.concat([table, pd.DataFrame(measured, columns=table.columns).astype(dict.fromkeys(numbers, float))])
    return table.sort_values("energy_wh", ignore_index=True)


def training_days() -> pd.DataFrame:
    """How long all of ChatGPT's prompts take as much energy as one training did: model, energy_mwh [MWh], days.

    No energy of Grok 4 is published: the last row is its compute, an outside estimate, at Llama 3.1 405B's efficiency.
    """
    day_mwh = value("chatgpt-prompts-per-day") * value("chatgpt-prompt") / 1e6
    llama = value("llama-3p1-405b.training_energy_mwh")
    scale = value("grok-4.training_compute_flop") / value("llama-3p1-405b.training_compute_flop")
    rows = [
        ("GPT-3", value("gpt3-training-energy")),
        ("Llama 3.1 405B", llama),
        ("Grok 4, if as efficient as Llama 3.1 405B", llama * scale),
    ]
    return pd.DataFrame([(model, mwh, mwh / day_mwh) for model, mwh in rows], columns=["model", "energy_mwh", "days"])


def splits() -> pd.DataFrame:
    """How 100 units of a data centre's electricity split at three PUEs: label, part, share_percent.

    The split of 2024 has no losses of its own; at the other two all that is not IT stands for cooling and losses.
    """
    printed = split_energy(
        100.0,
        compute=value("dc-share-computing") / 100,
        other_it=value("dc-share-other-it") / 100,
        cooling=value("dc-share-cooling") / 100,
    )
    rows = [
        ("as printed in 2024", "IT equipment", printed.it_kwh),
        ("as printed in 2024", "all else", printed.overhead_kwh),
    ]
    for label, pue in (("surveyed average, 2025", value("pue-average")), ("Google's fleet, 2025", value("pue-best"))):
        rows += [(label, "IT equipment", 100 / pue), (label, "all else", 100 - 100 / pue)]
    return pd.DataFrame(rows, columns=["label", "part", "share_percent"])


def trainings() -> pd.DataFrame:
    """Models whose training energy and carbon are both published: model, energy_mwh [MWh], carbon_t [t CO2e], known.

    Some count the building and some do not, both of a row alike. A whole development is no training: it is left out.
    """
    rows = []
    published = facts.table("models").dropna(subset=["training_energy_mwh", "emissions_tco2e"])
    one_run = published[~published["energy_scope"].str.startswith("development")]
    for model in one_run.to_dict("records"):
        columns = ("training_energy_mwh", "emissions_tco2e")
        shaky = any(facts.fact(f"{model['id']}.{column}").confidence not in CERTAIN for column in columns)
        rows.append(
            (
                model["model"],
                model["training_energy_mwh"],
                model["emissions_tco2e"],
                KNOWN[shaky],
            )
        )
    return pd.DataFrame(rows, columns=["model", "energy_mwh", "carbon_t", "known"])
