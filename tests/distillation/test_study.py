"""The committed study of chapter 4 is whole, its figures follow from its tables, its models are as good as it says."""

import itertools
import math
from functools import partial

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core import studies
from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import TrainingConfig, evaluate, fit
from greenlab.distillation import distil, study
from greenlab.distillation.study import gradients, mistakes, policy, students
from greenlab.distillation.study import tables as work

TINY = students.Config(
    seeds=(0,), steps=4, teacher_steps=4, better_teacher_steps=4, few_teacher_steps=4, eval_windows=4, policy_steps=2
)


@pytest.fixture(scope="module")
def tables():
    return study.load()


@pytest.fixture(scope="module")
def losses(tables):
    return work.by_model(tables["models"]).set_index("model")["loss"]


def test_the_figures_follow_from_the_tables(tables):
    again, stored = work.figures(tables).set_index("name")["value"], tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.index.is_unique
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-3, abs=1e-4)


def test_every_student_of_the_plan_has_every_seed(tables):
    models, config = tables["models"], study.CONFIG
    teachers = models[models["seed"] == students.TEACHER_SEED]
    assert set(teachers["model"]) == set(students.TEACHERS.values())
    seeds = models[models["seed"] != students.TEACHER_SEED].groupby("model")["seed"].apply(set)
    assert seeds.map(lambda found: found == set(config.seeds)).all()
    assert {"half, alone", "half, distilled", "eighth, same energy", study.WRITTEN} <= set(seeds.index)
    # sizes, better teacher, few data, half the rate, sweep, divergences, teacher's text, its energy, controls
    assert len(seeds) == 9 + 1 + 4 + 3 + 8 + 2 + 1 + 1 + 2


def test_what_the_chapter_says_of_the_gap_holds(tables):
    """At equal steps most of the gap; at equal energy much of it on 200 kB, and nothing that is sure on all plays."""
    closed = work.gaps(tables["models"]).set_index(["student", "against"])
    assert (closed["closed_min"] <= closed["closed"]).all()
    assert (closed["closed"] <= closed["closed_max"]).all()
    assert closed.loc[("half", "equal steps"), "closed_min"] >= 60
    assert closed.loc[("few", "equal energy"), "closed_min"] >= 30
    assert closed.loc[("half", "equal energy"), "closed_min"] < 0 < closed.loc[("half", "equal energy"), "closed_max"]
    assert closed.loc[("eighth", "equal energy"), "closed_max"] < 0
    fair = work.fair_gap(tables["models"]).set_index("against")["closed"]
    assert fair["equal steps"] >= 60


def test_the_finding_on_the_gap_counts_a_gain_or_a_loss_only_where_all_seeds_agree(tables):
    table = work.gaps(tables["models"])
    assert work.gap_finding(table) == "47 to 80 % of the gap at equal steps; at equal energy no sure gain"
    better = table.assign(closed_min=table["closed_min"].where(table["student"] != "half", 1.0))
    assert work.gap_finding(better).endswith("at equal energy a sure gain for some")
    all_ahead = table.assign(closed_min=1.0)
    assert work.gap_finding(all_ahead).endswith("at equal energy a sure gain")


def test_who_is_ahead_at_equal_energy_seed_by_seed(tables):
    ahead = work.ahead_at_equal_energy(tables["models"]).set_index(["student", "seed"])["ahead"]
    models = tables["models"].set_index(["model", "seed"])["loss"]
    assert ahead["half", 1] == pytest.approx(models["half, same energy", 1] - models["half, distilled", 1])
    assert (ahead["half"] < 0).sum() == 2
    assert (ahead[["quarter", "eighth"]] < 0).all()
    assert (ahead["few"] > 0).all()


def test_practice_closes_most_of_the_gap(tables, losses):
    """A lone student with the teacher's number of steps is nearer to the teacher than to one with half of them."""
    found = work.practice(tables["models"])
    assert tables["models"].query("model == 'half, teacher\\'s steps'")["steps"].eq(study.CONFIG.teacher_steps).all()
    want = (losses["half, alone"] - losses["half, teacher's steps"]) / (losses["half, alone"] - losses["teacher"])
    assert found.share == pytest.approx(want)
    assert 0.5 < found.share < 1
    assert found.practised_least <= found.practised <= found.practised_most


def test_the_control_on_few_data_has_the_energy_of_the_teachers_training(tables):
    table = work.by_model(tables["models"]).set_index("model")
    few, alone = table.loc["few, distilled"], table.loc["few, teacher's energy too"]
    step_j = alone["energy_j"] / alone["steps"]
    assert abs(alone["energy_j"] - few["energy_j"] - table.loc["teacher, 200 kB", "energy_j"]) <= 0.51 * step_j


def test_account_losses_are_those_of_the_accounts_with_their_ranges(tables):
    wide = work.accounts(tables["models"]).set_index("account")
    long = work.account_losses(tables["models"])
    alone = long[long["training"] == "alone, for as long"].set_index("account")["loss"]
    assert alone.to_dict() == pytest.approx(wide["alone_loss"].to_dict())
    assert (long["loss_min"] <= long["loss"]).all()
    assert (long["loss"] <= long["loss_max"]).all()


def test_what_asking_again_costs_by_hand():
    """An answer saves 4 - 1 J; one in five asked again costs 0.8 J of these 3."""
    rows = [(work.LARGE, 1, 4.0), (work.SMALL, 1, 1.0)]
    writing = pd.DataFrame(rows, columns=["model", "batch", "j_per_token"])
    assert work.asked_again(writing)["lost"].to_list() == pytest.approx([0.8 / 3])
    assert work.asked_again(writing, 0.0)["lost"].to_list() == [0.0]
    with pytest.raises(ValueError, match="share"):
        work.asked_again(writing, 1.5)


def test_temperature_one_has_the_lowest_loss_for_every_weight(tables):
    losses = work.sweep(tables["models"]).pivot(index="alpha", columns="temperature", values="loss")
    assert losses.idxmin(axis=1).eq(1.0).all()
    assert losses.loc[0.9].is_monotonic_increasing


def test_equal_energy_is_equal(tables):
    """The lone student's longer training takes the distilled one's joules, to half a step."""
    table = work.by_model(tables["models"]).set_index("model")
    for student in (*work.STUDENTS, work.FEW_STUDENT):
        same, distilled = table.loc[f"{student}, same energy"], table.loc[f"{student}, distilled"]
        step_j = same["energy_j"] / same["steps"]
        assert abs(same["energy_j"] - distilled["energy_j"]) <= 0.51 * step_j, student


def test_the_sweep_is_whole_and_holds_the_usual_student(tables, losses):
    sweep = work.sweep(tables["models"])
    assert set(map(tuple, sweep[["temperature", "alpha"]].to_numpy())) == set(
        itertools.product((1.0, 2.0, 4.0), (0.5, 0.9, 1.0))
    )
    usual = sweep.query("temperature == 1 and alpha == 0.9")["loss"].iloc[0]
    assert usual == pytest.approx(losses["half, distilled"])


def test_the_loss_at_equal_energy_lies_between_the_lone_trainings(tables):
    equal = work.equal_loss(tables["models"])
    table = work.by_model(tables["models"]).set_index("model")
    assert table.loc["half, alone", "steps"] < equal.alone_steps < table.loc["half, teacher's energy too", "steps"]
    assert equal.saved == pytest.approx(1 - equal.distilled_j / equal.alone_j)
    assert equal.saved_least <= equal.saved <= equal.saved_most
    assert equal.saved_with_training < equal.saved


@pytest.mark.assets
def test_the_committed_models_are_as_good_as_the_table_says(tables):
    models, tokenizer = study.load_models()
    *_, held_out = students.texts()
    stored = tables["models"].set_index(["model", "seed"])["loss"]
    for name, (_, seed) in study.SHOWN.items():
        loss = evaluate(models[name], held_out, n_windows=study.CONFIG.eval_windows)
        assert loss == pytest.approx(stored[name, seed], abs=2e-3), name
        assert tokenizer.vocab_size == models[name].config.vocab_size


def test_the_committed_models_are_small_files():
    assert sum(path.stat().st_size for path in studies.folder("distillation").glob("*.safetensors")) < 3_500_000


# The trainings --------------------------------------------------------------------------------------------------------


@pytest.mark.assets
def test_a_training_with_kept_answers_is_one_with_the_teacher_beside_it(tmp_path):
    """The same student comes out of `distil`, whose teacher reads along."""
    teacher = students.Recipe("teacher", "teacher", 2)
    students.train(tmp_path, TINY, teacher, students.TEACHER_SEED)
    recipe = students.Recipe("half, distilled", "half", TINY.steps, teacher=students.ALL, temperature=2.0)
    found = students.train(tmp_path, TINY, recipe, 0)
    student = GPT(students.gpt_config(TINY, "half"), seed=0)
    read = students.trained(tmp_path, TINY, "teacher", "teacher", students.TEACHER_SEED)
    how = TrainingConfig(steps=TINY.steps, batch_size=TINY.batch_size, learning_rate=TINY.learning_rate, seed=0)
    distil(student, read, students.training_text(students.ALL), how, temperature=2.0, progress=False)
    assert students.score(student, TINY) == pytest.approx(found["loss"], abs=1e-4)
    assert found["n_tokens"] == TINY.steps * TINY.batch_size * TINY.context_length


@pytest.mark.assets
def test_a_fixed_window_is_kept_once_and_given_again(tmp_path):
    config = students.Config(seeds=(0,), steps=3, eval_windows=2)
    students.train(tmp_path, config, students.Recipe("teacher, 200 kB", "teacher", 1), students.TEACHER_SEED)
    said = students.kept_answers.__wrapped__(tmp_path, config, students.FEW, students.FEW, 5)
    teacher = students.trained(tmp_path, config, "teacher, 200 kB", "teacher", students.TEACHER_SEED)
    inputs = [one for one, _ in itertools.islice(students.stream_of(config, students.FEW, 5), 3)]
    for kept, batch in zip(said, inputs, strict=True):
        torch.testing.assert_close(kept, students.answers(teacher, batch), atol=1e-4, rtol=1e-4)


@pytest.mark.assets
def test_students_have_the_shares_of_parameters_that_they_are_named_after():
    counts = {size: students.count(GPT(students.gpt_config(TINY, size))) for size in students.SIZES}
    for size, share in (("half", 1 / 2), ("quarter", 1 / 4), ("eighth", 1 / 8)):
        assert counts[size] / counts["teacher"] == pytest.approx(share, rel=0.06)
    with pytest.raises(ValueError, match="size"):
        students.gpt_config(TINY, "sixteenth")


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_every_window_comes_once_before_any_comes_again(n, batch_size, seed):
    rounds = 3
    batches = itertools.islice(students.shuffled(n, batch_size, seed), math.ceil(rounds * n / batch_size))
    order = torch.cat(list(batches)).tolist()
    for i in range(rounds):
        assert sorted(order[i * n : (i + 1) * n]) == list(range(n))


def test_the_scale_multiplies_the_soft_part_only():
    generator = torch.Generator().manual_seed(0)
    teacher, weight = torch.randn(2, 3, 7, generator=generator), torch.randn(2, 3, 7, generator=generator)
    targets = torch.randint(7, (2, 3), generator=generator)

    class Fixed(torch.nn.Module):
        def forward(self, _):
            return weight

    def value(scale, alpha=0.8):
        recipe = students.Recipe("r", "half", 1, alpha=alpha, scale=scale)
        return students.loss_from(iter([teacher]), recipe)(Fixed(), targets, targets).item()

    hard = F.cross_entropy(weight.flatten(0, 1), targets.flatten()).item()
    assert value(3.0) - 0.2 * hard == pytest.approx(3 * (value(1.0) - 0.2 * hard), rel=1e-4)


# The bill -------------------------------------------------------------------------------------------------------------

SPEED = [
    {"size": size, "work": work_, "cpu_ms": ms}
    for size in students.SIZES
    for work_, ms in (("step", 10.0), ("read", 3.0), ("write", 50.0), ("step with teacher", 14.0), ("token", 0.5),
                      ("step with kept answers", 11.0))
]  # fmt: skip


@pytest.mark.assets
def test_costs_by_hand():
    config = students.Config(steps=100, teacher_steps=200, batch_size=8)
    costs = study.Costs(config, SPEED)
    alone = students.Recipe("half, alone", "half", 100)
    assert costs.training_s(alone) == pytest.approx(1.0)
    taught = students.Recipe("half, distilled", "half", 100, teacher=students.ALL)
    assert costs.training_s(taught) == pytest.approx(1.4)
    few = students.Recipe("few, distilled", "half", 100, data=students.FEW, teacher=students.FEW)
    windows = len(students.fixed_windows(config))
    assert windows == (students.FEW_CHARACTERS - 1) // 128
    assert costs.training_s(few) == pytest.approx(1.1 + windows / 8 * 0.003)
    assert costs.training_s(students.Recipe(study.WRITTEN, "half", 100)) == pytest.approx(6.0)
    assert costs.steps_for("half", costs.training_s(taught)) == 140
    assert study.teachers_energy(config, costs).steps == 340  # 1.4 s and the teacher's 2 s


def test_gradients_of_divergences_are_made_as_large_as_the_forward_kl():
    rows = pd.DataFrame(
        [("trained", 1.0, "forward_kl", 2.0), ("trained", 1.0, "reverse_kl", 4.0), ("trained", 1.0, "jsd", 0.5),
         ("new", 1.0, "jsd", 9.0), ("trained", 2.0, "jsd", 9.0)],
        columns=["student", "temperature", "divergence", "norm"],
    )  # fmt: skip
    assert study.equal_scales(rows) == {"reverse_kl": 0.5, "jsd": 4.0}


def test_the_gradient_at_the_logits_by_hand():
    """At temperature 1 the gradient of a forward KL is q - p."""
    student, teacher = torch.tensor([[[1.0, 0.0, -1.0]]]), torch.tensor([[[0.0, 2.0, 0.0]]])
    want = (student.softmax(-1) - teacher.softmax(-1)).norm().item()
    got = gradients.norm(student, teacher, torch.zeros(1, 1, dtype=torch.long), 1.0, "forward_kl")
    assert got == pytest.approx(want, rel=1e-5)


# Whose text -----------------------------------------------------------------------------------------------------------


@pytest.mark.assets
def test_a_student_that_is_its_own_teacher_writes_what_the_teacher_would():
    teacher = GPT(students.gpt_config(TINY, "eighth"), seed=3).eval()
    found = policy.judged(teacher, teacher, TINY, n_windows=4)
    assert found["gap"] == pytest.approx(0, abs=1e-5)
    assert found["by_student"] == pytest.approx(math.log(teacher.config.vocab_size), rel=0.1)


@pytest.mark.assets
def test_every_way_to_learn_on_runs_and_changes_the_student(tmp_path):
    students.train(tmp_path, TINY, students.Recipe("teacher", "teacher", 1), students.TEACHER_SEED)
    students.train(tmp_path, TINY, students.Recipe("eighth, alone", "eighth", 1), 0)
    losses = [policy.go_on(tmp_path, TINY, how, 0, "eighth")["loss"] for how in ("not at all", *policy.FURTHER)]
    assert len(set(losses)) == len(losses)


# The mistakes ---------------------------------------------------------------------------------------------------------


def logits(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_cross_entropy_leaves_the_teachers_entropy_and_has_the_right_gradient():
    teacher, student = logits(0, 64, 100), logits(1, 64, 100)
    p = teacher.softmax(-1)
    assert mistakes.cross_entropy_as_kl(teacher, teacher) == pytest.approx(-(p * p.log()).sum(-1).mean().item())
    wrong = mistakes.gradient_norm(partial(mistakes.cross_entropy_as_kl, teacher_logits=teacher), student)
    right = mistakes.gradient_norm(lambda z: F.kl_div(z.log_softmax(-1), p, reduction="batchmean"), student)
    assert wrong == pytest.approx(right, rel=1e-9)


def test_without_t2_the_gradient_falls_as_its_square():
    teacher, student = logits(0, 64, 20), logits(1, 64, 20)
    norms = [mistakes.gradient_norm(lambda z, t=t: mistakes.without_t2(z, teacher, t), student) for t in (10.0, 20.0)]
    assert norms[0] / norms[1] == pytest.approx(4, rel=0.05)


def test_a_mean_over_everything_is_small_by_the_vocabulary():
    teacher, student = logits(0, 16, 50), logits(1, 16, 50)
    right = F.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="batchmean").item()
    assert mistakes.over_everything(student, teacher).item() == pytest.approx(right / 50)


def test_the_ends_of_the_public_family_jump_and_ours_do_not():
    table = mistakes.ends(2 * logits(1, 64, 50), 2 * logits(0, 64, 50)).pivot(
        index="beta", columns="form", values="norm"
    )
    public, ours = table[mistakes.PUBLIC], table[mistakes.OURS]
    assert public[0.0] == pytest.approx(ours[0.0])
    assert public[1.0] == pytest.approx(ours[1.0])
    assert public[0.0] > 100 * public[0.001]
    assert public[1.0] > 100 * public[0.999]
    assert ours.max() < 6 * ours.min()
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="beta"):
            mistakes.jumping_jsd(logits(0, 2, 3), logits(1, 2, 3), bad)


# Tables ---------------------------------------------------------------------------------------------------------------


def test_a_gap_by_hand():
    rows = [("teacher", 100, 1.0), ("teacher, 200 kB", 100, 1.0)]
    for student in (*work.STUDENTS, work.FEW_STUDENT):
        rows += [(f"{student}, alone", 0, 3.0), (f"{student}, alone", 1, 2.0)]
        rows += [(f"{student}, same energy", 0, 2.0), (f"{student}, same energy", 1, 1.5)]
        rows += [(f"{student}, distilled", 0, 2.0), (f"{student}, distilled", 1, 1.25)]
    table = work.gaps(pd.DataFrame(rows, columns=["model", "seed", "loss"])).set_index(["student", "against"])
    steps = table.loc[("half", work.EQUAL_STEPS)]
    assert (steps["closed"], steps["closed_min"], steps["closed_max"]) == (62.5, 50.0, 75.0)
    energy = table.loc[("half", work.EQUAL_ENERGY)]
    assert (energy["closed"], energy["closed_min"], energy["closed_max"]) == (25.0, 0.0, 50.0)
    with pytest.raises(ValueError, match="model"):
        work.loss_of(pd.DataFrame(rows, columns=["model", "seed", "loss"]), "tenth, alone")


def test_what_the_accelerator_measured_is_read_with_its_range():
    training, writing = work.accelerator_training(), work.accelerator_writing()
    assert set(training["part"]) == set(work.PARTS)
    for table, value in ((training, "mj_per_token"), (writing, "j_per_token")):
        assert (table["low"] < table[value]).all()
        assert (table[value] < table["high"]).all()
        assert set(table["basis"]) == {"measured"}
    assert set(writing["model"]) == {work.LARGE, work.SMALL}
    assert writing.groupby("batch")["model"].nunique().eq(2).all()


def test_fit_is_given_the_training_text_and_not_the_held_out_one():
    _, ids, held_out = students.texts()
    assert torch.equal(students.training_text(students.ALL), ids)
    assert torch.equal(students.training_text(students.FEW), ids[: students.FEW_CHARACTERS])
    assert len(held_out) > 200_000
    assert callable(fit)
