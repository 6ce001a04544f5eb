"""No public function accepts what it cannot mean: the outcome is a ValueError or TypeError that names the argument.

Public are the names in a package's ``__all__`` (functions, what makes an object of a class, and its methods) and, in
the modules of `tests.public_functions.WITHOUT_LIST`, the names without an underscore. Not walked are:

* a chapter's ``view`` and ``study`` (called by its own notebook, with its own tables) and its solvers,
* what builds files and pages of this repository, and what compiles (`core.compiled`),
* the guards (`core.checks`, `core.calls`, `core.names`, and those in ``GUARDS``): they are what refuses, and have tests
  of their own,
* classes whose objects only a function of the package makes, from checked values (``RESULTS``),
* what a model calls at every token, on tensors that the model has checked (``INSIDE``),
* arguments that may be anything (annotated ``Any``), unless ``KINDS`` or ``MODELS`` says what they are.

Each argument of a call that works, from the function's doctest or from `tests.public_calls`, is replaced by the
values of its kind in `tests.public_functions.VALUES`. Two meanings hold everywhere: a finite number, however large, if
the result is finite, and a FileNotFoundError that names the path of a file that is not there. The others stand in
``MEANT``, each with its meaning, which the docstring says too.
"""

from __future__ import annotations

import pytest

from greenlab.core import assets, studies
from greenlab.lab import exercises, predictions
from tests.public_calls import CALLS, files
from tests.public_functions import Public, bad_values, call, from_doctest, outcome, public

GUARDS = ("core.speed.checked_ids", "lab.state.check_key")
RESULTS = (
    "accelerator.Repeat", "classroom.Learner", "distillation.BreakEven", "distillation.Distilled",
    "green_service.Challenge", "green_service.Goal", "green_service.Judgement", "green_service.Lever",
    "green_service.Outcome", "green_service.ProductClaim", "green_service.Score",
    "footprint.DatacentreEnergy", "footprint.InferenceFootprint", "footprint.Rebound", "footprint.TrainingFootprint",
    "hardware.Estimate", "hardware.Work", "layer_pruning.Healed", "mixture_of_depths.Routing",
    "core.assets.AssetSpec", "core.facts.Claim",
    "core.facts.Fact", "core.grid.Read", "core.model.cost.BytesMoved", "core.model.cost.Flops",
    "core.model.cost.ParameterCount", "core.model.training.TrainingResult", "lab.exercises.Exercise",
    "retrieval.Answer", "retrieval.Prompt", "tab.Quantized",
    "lab.ledger.Entry", "lab.predictions.Question", "load_shifting.Schedule", "load_shifting.bounds.Bound",
)  # fmt: skip
INSIDE = (
    "ternary.BitLinear.forward", "mixture_of_depths.MoDBlock.forward", "mixture_of_depths.MoDBlock.enter",
    "mixture_of_depths.MoDBlock.logits", "mixture_of_depths.MoDBlock.weights", "core.model.gpt.Attention.forward",
    "core.model.gpt.Block.forward",
    "core.model.gpt.LayerCache.append", "core.model.gpt.RMSNorm.forward", "core.model.gpt.SwiGLU.forward",
    "core.model.gpt.at_least_float32", "core.model.gpt.rotate",
    "retrieval.Index.scores",  # each kind of index has its own
)  # fmt: skip
WALKED = {name: one for name, one in public().items() if name not in {*GUARDS, *RESULTS, *INSIDE}}
NEEDS_ASSETS = (  # their call ends in an error where the model weights and texts are not; their arguments are walked
    "core.assets.fetch", "core.assets.load_llm", "core.assets.load_text", "core.assets.save_packages",
    "core.assets.smollm2_matrix",
)  # fmt: skip
MODELS = ("model", "teacher", "tokenizer", "config")  # annotated Any, as transformers has no type for them
TEXTS = (  # words of the caller's own: any text is a meaning
    "characters", "color_title", "description", "details", "label", "note", "on", "question", "source", "subject",
    "text", "title", "unit", "value_title", "x_title", "y_title",
)  # fmt: skip
KINDS = {  # "text": any text is a meaning; "new": any but the empty one; "name": any that can be a file's name
    "green_service.Assumption": {"name": "text", "meaning": "text"},
    "green_service.Effect": {"lever": "text", "remark": "text"},
    "green_service.Model": {"name": "text", "score": "text", "training": "text", "remark": "text"},
    "green_service.Card": {"title": "new"},
    "green_service.make_card": {"title": "new"},
    "hardware.Device": {"id": "text", "name": "text", "kind": "text"},
    "hardware.NumberFormat": {"name": "text"},
    "core.energy.Receipt": {"region": "text"},
    "core.grid.read": {"zone": "text"},
    "core.studies.Steps": {"chapter": "name"},
    "core.studies.folder": {"chapter": "name"},
    "core.studies.save": {"chapter": "name"},
    "core.studies.Steps.run": {"name": "name"},
    "lab.exercises.exercise": {"id": "new"},
    "workshop.Option": {"text": "new", "feedback": "new", "source": "text"},
    "workshop.Question": {"id": "new", "text": "new"},
    "lab.ledger.record": {"technique": "text"},
    "lab.classroom.Answer": {"exercise": "name", "name": "name", "source": "text", "context": "text"},
    "lab.classroom.Submission": {"name": "new"},
    "lab.classroom.collect": {"name": "new"},
    "lab.classroom.from_cell": {"source": "text"},
    "lab.table": {"caption": "text"},
    "retrieval.Passage": {"title": "text", "link": "text"},
    "retrieval.StaticTable": {"embedder_sha256": "text"},
    "retrieval.BM25Index.scores": {"query": "new"},
    "retrieval.DenseIndex.scores": {"query": "new"},
    "retrieval.Fusion.scores": {"query": "new"},
    "retrieval.Index.search": {"query": "new"},
    "retrieval.Ladder.asks_dear": {"query": "new"},
    "retrieval.Ladder.lead": {"query": "new"},
    "retrieval.Ladder.scores": {"query": "new"},
    "retrieval.StaticIndex.scores": {"query": "new"},
    "lab.predict": {"id": "name"},
    "lab.state.path_of": {"section": "name", "key": "name"},
    "lab.state.keep": {"section": "name", "key": "name"},
    "lab.state.save": {"section": "name", "key": "name"},
    "lab.state.set_aside": {"section": "name", "key": "name"},
    "lab.state.forget": {"section": "name", "key": "name"},
    "lab.state.load": {"section": "name"},
    "ternary.PackedLinear.set_extra_state": {"state": "thing"},
    "core.model.training.CharTokenizer.decode": {"ids": "several"},
    "lab.charts.Slider": {"column": "new"},
    "load_shifting.Jobs": {
        "arrival_h": "array", "duration_h": "array", "power_kw": "array", "slack_h": "array", "deadline_h": "array",
        "data_gb": "array", "checkpoint_h": "array", "min_chunk_h": "array",
    },
    "load_shifting.Transfer": {"energy_kwh_per_gb": "array", "delay_h": "array", "speed_gb_per_h": "array"},
    "load_shifting.simulate": {"capacity": "array", "pue": "array", "signal": "array", "forecast": "array"},
    "load_shifting.bounds.linear_program": {"capacity": "array", "pue": "array", "signal": "array"},
}  # fmt: skip
CALLED = {  # a name is called by what it names: no claim 'qqq'
    "id": ("claim", "fact", "exercise", "prediction"), "name": ("table",),
}  # fmt: skip
NO_FILE = {"empty": "no limit", "unknown": "no limit", "nul": "no limit"}
MEANT = {
    "core.facts.matches": {"behind": {"empty": "nothing follows the link", "unknown": "words, none of them a unit"}},
    "ternary.absmax_quantize": {"x": {"cube": "any number of axes"}},
    "ternary.absmean_quantize": {"weight": {"cube": "any number of axes", "scalar": "a single weight"}},
    "ternary.pack": {"q": {"tensor of bool": "zeros and ones", "tensor of negative": "minus ones"}},
    "core.assets.save_packages": {"folder": {"unknown": "it is made"}},
    "workshop.write_student": {"out": {"unknown": "it is made"}},
    "tab.build": {"folder": {"unknown": "it is made"}},
    "tab.fragment": {"base": {"empty": "the page's own folder"}},
    "core.grid.traces.Traces.time": {"step": {"negative": "before the first step"}},
    "core.machine.cpu_quota": {"cgroup": NO_FILE, "membership": NO_FILE},
    "core.machine.available_cores": {"cgroup": NO_FILE, "membership": NO_FILE},
    "core.machine.memory_limit_bytes": {"cgroup": NO_FILE, "membership": NO_FILE},
    "core.machine.available_memory_bytes": {"cgroup": NO_FILE, "membership": NO_FILE},
    "core.model.decoder.check_input_ids": {"input_ids": {"tensor of negative": "the ids are not looked at"}},
    "core.model.training.TrainingConfig": {"clip_norm": {"inf": "does not clip"}},
    "distillation.LossSettings": {"ignore_index": {"negative": "no token has it"}},
    "distillation.distillation_loss": {"ignore_index": {"negative": "no token has it"}},
    "distillation.distillation_loss_fn": {"ignore_index": {"negative": "no token has it"}},
    "distillation.hidden_distillation_loss": {"ignore_index": {"negative": "no token has it"}},
    "distillation.soft_targets": {"logits": {"cube": "any number of axes"}},
    "lab.ledger.record": {"saved_fraction": {"negative": "costs more"}, "quality_after": {"negative": "any score"}},
    "lab.classroom.safe_cells": {"table": {"empty": "any table", "columns": "any table"}},
    "lab.predict": {"low": {"negative": "a quantity below 0"}},
    "lab.reveal": {"truth": {"negative": "a quantity below 0"}},
    "lab.predictions.number_text": {"value": {"negative": "a quantity below 0"}},
    "lab.predictions.how_far": {"guess": {"negative": "below 0"}, "truth": {"negative": "below 0"}},
    "lab.receipts.quantity": {"value": {"negative": "a quantity below 0"}},
    "lab.charts.Slider": {"value": {"negative": "a column may hold values below 0"}},
    "retrieval.make_static_table": {"file": {"unknown": "it is made"}},
    "load_shifting.Jobs": {"arrival_h": {"empty": "no jobs"}, "deadline_h": {"nan": "none, as there is a slack"}},
    "load_shifting.Policy": {"limit": {"negative": "a price below 0"}},
    "load_shifting.Transfer": {
        "delay_h": {"inf": "never", "huge": "after the end of the traces: never"},
        "speed_gb_per_h": {"inf": "at once"},
    },
    "load_shifting.bounds.linear_program": {"capacity": {"inf": "no limit", "array of inf": "no limit in a zone"}},
    "load_shifting.simulate": {"capacity": {"inf": "no limit", "huge": "a limit that nobody reaches"}},
    "load_shifting.workload.ml_project": {"seed": {"huge": "any whole number is a seed"}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return files(tmp_path_factory.mktemp("made"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Nothing is written into the repository, nothing is fetched, and no call sees what another one left."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    monkeypatch.setattr(studies, "STUDIES", tmp_path / "studies")
    monkeypatch.setattr(exercises, "_registry", {})
    monkeypatch.setattr(predictions, "_asked", {})

    def no_network(asset, *_, **__):
        raise assets.AssetError(f"{asset.name}: nothing is fetched in this test")

    monkeypatch.setattr(assets, "download", no_network)


def working_call(one: Public, made):
    found = CALLS[one.name](made) if one.name in CALLS else from_doctest(one)
    assert found is not None, f"{one.name} has no doctest that calls it: add a call to tests/public_calls.py"
    return found


def values_of(one: Public, parameter):
    """Bad values of one argument by name; none where it may be anything."""
    kind = KINDS.get(one.name, {}).get(parameter.name)
    if kind is None and parameter.name in TEXTS and str(parameter.annotation).startswith("str"):
        kind = "text"
    if kind is None and parameter.annotation == "Any" and parameter.name in MODELS:
        kind = "thing"
    values = bad_values(parameter.annotation, kind)
    if parameter.default is None:
        values.pop("none", None)
    return values


@pytest.mark.parametrize("name", WALKED)
def test_every_argument_is_refused_by_name_or_has_a_meaning(name, made):
    one, wrong = WALKED[name], []
    for parameter in one.parameters:
        if parameter.kind is parameter.VAR_KEYWORD:
            said = outcome(one, *working_call(one, made), "qqq", 1, ("qqq",))
            if said:
                wrong.append(f"an argument that there is not, qqq=1: {said}")
            continue
        meant = MEANT.get(name, {}).get(parameter.name, {})
        names = (parameter.name, *CALLED.get(parameter.name, ()))
        for label, value in values_of(one, parameter).items():
            said = outcome(one, *working_call(one, made), parameter.name, value, names)
            if said and label not in meant:
                wrong.append(f"{parameter.name}={label}: {said}")
            if not said and label in meant:
                wrong.append(f"{parameter.name}={label} is refused: take it out of MEANT")
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("name", [name for name in WALKED if name not in NEEDS_ASSETS])
def test_the_call_that_is_varied_works(name, made):
    call(WALKED[name], *working_call(WALKED[name], made))


def test_the_walk_is_not_empty_and_its_lists_name_what_is_there():
    assert len(WALKED) >= 140
    found = set(public())
    for named in (GUARDS, RESULTS, INSIDE, NEEDS_ASSETS, KINDS, MEANT, CALLS):
        assert set(named) <= found, sorted(set(named) - found)
    for name, arguments in [*KINDS.items(), *MEANT.items()]:
        assert set(arguments) <= {parameter.name for parameter in WALKED[name].parameters}, name
