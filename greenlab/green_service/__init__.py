"""Chapter 10, a green service: traffic, model, machines and place in, joules, grams, water, dollars and seconds out.

A learner designs a service and sees what each lever changes, how well that is known, and that savings do not multiply.

* ``design``: `Service`, the choices; ``models``: what can be chosen
* ``assumptions``: everything that is not chosen, with its band and its source
* ``passes``: joules and seconds of a forward pass, fitted to what was measured on an H100
* ``energy``, ``carbon``, ``water``, ``cost``, ``latency``, ``quality``: one request, one idea each
* ``evaluation``: `evaluate`, `bands`, `parts`, `sensitivity`
* ``levers``, ``waterfall``, ``shares``: lever by lever from a baseline to a design
* ``break_even``, ``rebound``: what a lever costs once, and what people do with a saving
* ``card``: the sustainability card, as Markdown and as JSON that can be loaded again
* ``challenges``, ``greenwash``: three levels with a score; ten claims and what they leave out
* ``combined``: levers together on the reader's own machine, predicted from counts and from parts
* ``peers``: the default service in two other calculators
* ``committed``: the tables of the studies that all of it stands on

Technique files read committed tables, facts and ``core`` only; that they agree with chapters 1 and 2 is tested.
"""

from greenlab.green_service.assumptions import Assumption, Assumptions, assumptions, typed
from greenlab.green_service.break_even import break_even, invested, pays_back
from greenlab.green_service.card import (
    Card,
    choices,
    decode_card,
    differences,
    lever_by_lever,
    load_card,
    make_card,
    read_card,
    save_card,
)
from greenlab.green_service.challenges import CHALLENGES, Challenge, Goal, Score, challenge, refusals, score
from greenlab.green_service.combined import (
    Kernel,
    Parts,
    Profile,
    Variant,
    by_bytes,
    combine,
    combine_parts,
    predict_from_parts,
    predict_time,
)
from greenlab.green_service.design import DEFAULT, Service, regions
from greenlab.green_service.evaluation import QUANTITIES, Outcome, bands, draws, evaluate, parts, sensitivity
from greenlab.green_service.greenwash import CLAIMS, KINDS, Judgement, ProductClaim, judge
from greenlab.green_service.levers import EVIDENCE, LEVERS, Lever, apply, evidence, pulled
from greenlab.green_service.models import MODELS, Model, model
from greenlab.green_service.quality import Effect, effects, own_study, quality_kept, quality_table, without_layers
from greenlab.green_service.rebound import rebound
from greenlab.green_service.shares import shares
from greenlab.green_service.waterfall import claimed, overlaps, waterfall

__all__ = ["DEFAULT", "EVIDENCE", "LEVERS", "MODELS", "QUANTITIES", "Assumption", "Assumptions", "Effect", "Lever"]
__all__ += ["Model", "Outcome", "Service", "apply", "assumptions", "bands", "claimed", "draws", "effects", "evaluate"]
__all__ += ["evidence", "model", "overlaps", "own_study", "parts", "pulled", "quality_kept", "quality_table", "regions"]
__all__ += ["break_even", "invested", "pays_back", "rebound", "sensitivity", "shares", "typed", "waterfall"]
__all__ += ["Card", "choices", "decode_card", "differences", "lever_by_lever", "load_card", "make_card", "read_card"]
__all__ += ["save_card"]
__all__ += ["CHALLENGES", "Challenge", "Goal", "Score", "challenge", "refusals", "score"]
__all__ += ["CLAIMS", "KINDS", "Judgement", "ProductClaim", "judge"]
__all__ += ["Kernel", "Parts", "Profile", "Variant", "by_bytes", "combine", "combine_parts", "predict_from_parts"]
__all__ += ["predict_time", "without_layers"]
