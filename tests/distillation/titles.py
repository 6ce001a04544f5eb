"""What proves the titles of chapter 4's charts, computed from the committed tables."""

import re
from functools import lru_cache

import torch

from greenlab.core import assets, facts, studies
from greenlab.distillation import study, view
from greenlab.distillation.study import mistakes
from greenlab.distillation.study import tables as work

SIZES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}


@lru_cache(maxsize=1)
def models():
    return study.load("models")["models"]


@lru_cache(maxsize=1)
def lead():
    """By student and seed: how far the taught student is ahead of the lone one at equal joules [nats/character]."""
    losses = models().set_index(["model", "seed"])["loss"]
    return {
        size: [losses[f"{size}, same energy", seed] - losses[f"{size}, distilled", seed] for seed in (0, 1, 2)]
        for size in work.STUDENTS
    }


def the_gradient_falls_without_t2():
    norms = study.load("gradients")["gradients"].query("student == 'trained' and divergence == 'forward_kl'")
    by_t = norms.groupby("temperature")[["norm", "norm_without"]].mean()
    fall = by_t["norm_without"].loc[1] / by_t["norm_without"].loc[20]
    changes = by_t["norm"].max() / by_t["norm"].min()
    return bool(by_t.index.max() == 20 and round(fall) == 554 and round(changes, 1) == 1.6)


def the_public_form_drops_next_to_its_ends():
    generator = torch.Generator().manual_seed(0)  # as in the chapter
    teacher, student = (torch.randn(256, 100, generator=generator, dtype=torch.float64) for _ in range(2))
    norm = mistakes.ends(2 * student, 2 * teacher).query("form == @mistakes.PUBLIC").set_index("place")["norm"]
    return bool(norm.iloc[0] > 1000 * norm.iloc[1] and norm.iloc[-1] > 1000 * norm.iloc[-2])


def the_lone_half_ties_and_smaller_ones_win():
    half = lead()["half"]
    tie = min(half) < 0 < max(half) and abs(sum(half) / 3) < 0.01
    return tie and all(max(lead()[size]) < 0 for size in ("quarter", "eighth"))


def half_to_four_fifths_at_equal_steps_and_no_sure_gain():
    losses = models().set_index(["model", "seed"])["loss"]
    teacher = losses["teacher"].iloc[0]
    closed = []
    for size in work.STUDENTS:
        alone, taught = losses[f"{size}, alone"], losses[f"{size}, distilled"]
        closed.append(100 * ((alone - taught) / (alone - teacher)).mean())
    gains = [size for size in work.STUDENTS if min(lead()[size]) > 0]
    return round(min(closed)) == 47 and round(max(closed)) == 80 and not gains


def one_is_the_best_temperature_at_each_weight():
    swept = work.sweep(models()).pivot(index="alpha", columns="temperature", values="loss")
    return swept.columns.min() == 1 and bool((swept.idxmin(axis=1) == 1).all()) and swept.shape == (3, 3)


def the_lone_student_is_ahead_with_the_teachers_training_counted():
    losses = models().set_index(["model", "seed"])["loss"]
    alone, taught = losses["half, teacher's energy too"], losses["half, distilled"]
    return bool(round(taught.mean() - alone.mean(), 2) == 0.18 and alone.max() < taught.min())


@lru_cache(maxsize=1)
def measured():
    """Joules a written token by model and batch, from the accelerator's own table."""
    rows = studies.load("accelerator", "summary")["summary"].query("context == 512 and section == 'decode'")
    rows = rows[rows["layers"].isna()]
    return {(row["what"], int(row["batch"])): row["j_per_unit"] for row in rows.to_dict("records")}


def step_j(what):
    rows = studies.load("accelerator", "summary")["summary"].query("section == 'training'").set_index("what")
    return rows.loc[what, "j_per_unit"]


LEARNS, TAUGHT = "Llama-3.2-1B: training step", "Llama-3.2-1B with Llama-3.1-8B as teacher: training step"


def the_small_shape_takes_a_fifth_at_every_batch():
    drawn = sorted(set(work.accelerator_writing()["batch"]))
    shares = [100 * measured()["Llama-3.2-1B", n] / measured()["Llama-3.1-8B", n] for n in drawn]
    return len(drawn) == 4 and round(min(shares)) == 21 and round(max(shares)) == 23


def learning_with_a_teacher_takes_two_and_a_half_times():
    return bool(round(step_j(TAUGHT) / step_j(LEARNS), 1) == 2.5)


def answers_to_pay(log_tokens, batch=64, tokens=300, counts=False):
    teacher_j = facts.value("llama3p1-8b-gpu-hours") * facts.value("h100-sxm5-80gb.tdp_w") * 3600
    saved_j = tokens * (measured()["Llama-3.1-8B", batch] - measured()["Llama-3.2-1B", batch])
    return (10.0**log_tokens * step_j(TAUGHT) + counts * teacher_j) / saved_j


def the_student_has_only_cost_until_the_lines_meet():
    """At every stop of the slider: above the teacher's line before the break-even, below it afterwards."""
    data = view.break_even_twin("t").data
    for log_tokens in range(6, 14):
        lines = data[data["log_tokens"] == log_tokens].pivot(index="queries", columns="who", values="mwh")
        dearer = lines["student made, then answers"] > lines["teacher answers"]
        before = lines.index < answers_to_pay(log_tokens)
        if not (before.any() and not before.all() and (dearer == before).all()):
            return False
    return set(data["log_tokens"]) == set(range(6, 14))


TITLES = {
    "Without T² the gradient falls 554-fold by T = 20; with T² it changes 1.6-fold at most": (
        the_gradient_falls_without_t2
    ),
    "Next to its two ends the public form's gradient drops more than a thousandfold": (
        the_public_form_drops_next_to_its_ends
    ),
    "At equal joules the lone half ties with the taught one; smaller lone students win": (
        the_lone_half_ties_and_smaller_ones_win
    ),
    "47 to 80 % of the gap at equal steps; at equal energy no sure gain": (
        half_to_four_fifths_at_equal_steps_and_no_sure_gain
    ),
    "At each weight T = 1 is best, and it is the lowest that we tried": one_is_the_best_temperature_at_each_weight,
    "With the teacher's training on the bill, the lone student is ahead by 0.18 nats/character": (
        the_lone_student_is_ahead_with_the_teachers_training_counted
    ),
    "The 1B shape writes for 21 to 23 % of the 8B's joules": the_small_shape_takes_a_fifth_at_every_batch,
    "With an 8B teacher, a 1B student learns for 2.5 times the joules": (
        learning_with_a_teacher_takes_two_and_a_half_times
    ),
    "Until the lines meet, the student has only cost": the_student_has_only_cost_until_the_lines_meet,
}


@lru_cache(maxsize=1)
def smollm2():
    return assets.load_smollm2()


@lru_cache(maxsize=16)
def logits(text):
    model, tokenizer = smollm2()
    ids = tokenizer(text, return_tensors="pt").input_ids[:, -64:]
    with torch.no_grad():
        return model(ids if ids.numel() else torch.tensor([[tokenizer.eos_token_id]])).logits[0, -1].double()


def the_likeliest_token_and_its_share(values, title):
    token, over, number = re.fullmatch(r"“(.*)” has (over )?([\d.]+) % of the probability", title, re.S).groups()
    shares = 100 * (logits(values["text"]) / values["temperature"]).softmax(-1)
    named = smollm2()[1].decode([int(shares.argmax())]).replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥")
    step = 10.0 ** -len(number.partition(".")[2])
    share = float(shares.max())
    return token == named and (share > float(number) if over else abs(share - float(number)) <= 0.51 * step)


def the_answers_until_it_has_paid(values, title):
    pattern = r"If it answers as well, the student has paid after ([\d.,]+)(?: (\w+))? answers"
    number, size = re.fullmatch(pattern, title).groups()
    written = float(number.replace(",", "")) * SIZES.get(size, 1)
    return bool(abs(written / answers_to_pay(**values) - 1) < (0.006 if size else 0.51 / written))


LIVE = {
    "soft_widget": (
        lambda: view.soft_widget(*smollm2(), "The capital of France is"),
        the_likeliest_token_and_its_share,
    ),
    "break_even_widget": (view.break_even_widget, the_answers_until_it_has_paid),
}
