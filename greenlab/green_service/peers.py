"""The default service in two other calculators, EcoLogits and mlsysim, and what the gaps consist of.

Both are development extras, pinned; ``python -m greenlab.green_service.peers`` computes the two tables that are
committed, data/studies/green_service/peers.csv and peers_gap.csv, and `load` reads them without either package.

EcoLogits (methodology on ecologits.ai) estimates a request of somebody else's service: a regression of
ML.ENERGY's joules on the active parameters, 64 requests at once, output tokens only. mlsysim (mlsysbook.ai) estimates a
fleet: a roofline at half of the peak, and a power that is 30 % of the rated one at rest. Both get the design's own
numbers where they have a field for them.
"""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd

from greenlab.core import facts, studies
from greenlab.core.model import cost
from greenlab.green_service import passes
from greenlab.green_service.committed import table
from greenlab.green_service.design import DEFAULT, Service
from greenlab.green_service.energy import J_PER_KWH, S_PER_DAY
from greenlab.green_service.evaluation import Outcome, evaluate

VERSIONS = {"EcoLogits": "0.11.3", "mlsysim": "0.3.0"}
COUNTRY = {"DE": ("DEU", "Germany")}  # the default region's name in EcoLogits and in mlsysim
PEERS = ("peer", "version", "quantity", "unit", "ours", "theirs", "ratio")
GAP = ("peer", "version", "step", "why", "energy_j", "change_j")


def load() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The committed comparison of the default service.

    Returns:
        Two tables. Figures of a request: peer, version, quantity, unit, ours, theirs, ratio (theirs over ours; nan
        where the peer has no such figure). The gap in energy, step by step from ours to theirs: peer, version, step,
        why, energy_j, change_j [J].
    """
    return table("green_service", "peers").copy(), table("green_service", "peers_gap").copy()


def ecologits(service: Service = DEFAULT) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A request of the service in EcoLogits, and the steps between its energy and ours.

    Raises:
        ModuleNotFoundError: if EcoLogits is not installed.
    """
    from ecologits.electricity_mix_repository import electricity_mixes
    from ecologits.impacts.llm import compute_llm_impacts_dag

    outcome, count = evaluate(service), cost.parameters(service.shape)
    numbers = outcome.assumed.values()
    mix = electricity_mixes.find_electricity_mix(COUNTRY[service.region][0])
    found = compute_llm_impacts_dag(
        model_active_parameter_count=float(count.active) / 1e9,
        model_total_parameter_count=float(count.total) / 1e9,
        output_token_count=float(service.output_tokens),
        request_latency=float("inf"),
        if_electricity_mix_adpe=mix.adpe,
        if_electricity_mix_pe=mix.pe,
        if_electricity_mix_gwp=mix.gwp,
        if_electricity_mix_wue=mix.wue,
        datacenter_pue=numbers["pue"],
        datacenter_wue=numbers["wue_l_per_kwh"],
    )
    theirs = {
        "energy": J_PER_KWH * found["request_energy"],
        "carbon of electricity": 1e3 * found["request_usage_gwp"],
        "carbon of manufacture": 1e3 * found["request_embodied_gwp"],
        "water": 1e3 * found["request_usage_wcf"],
        "whole answer": found["generation_latency"],
    }
    each, pue, batch = outcome.energy, numbers["pue"], int(found["batch_size"])
    their_host_j = J_PER_KWH * found["server_energy"]
    fuller = evaluate(service.replace(batch=batch)).energy.writing_j
    writing = float(each.writing_j)
    machines = float(each.machines_j)
    without_reading = machines - float(each.reading_j)
    without_waiting = without_reading - float(each.waiting_j)
    with_their_host = without_waiting - float(each.host_j) + their_host_j
    at_their_batch = with_their_host - writing + float(fuller)
    token_j = J_PER_KWH * found["gpu_energy"] / service.output_tokens
    steps = [
        ("ours", "", pue * machines),
        ("input tokens", "they are not counted there", pue * without_reading),
        ("accelerators that wait", "machines are counted while they work only", pue * without_waiting),
        ("hosts", "the same power, for the time of the request and shared by its batch only", pue * with_their_host),
        ("batch", f"it is fixed at {batch}; the design has {service.batch}", pue * at_their_batch),
        ("joules of a token", f"{token_j:.3f} J of a serving system against "
         f"{float(fuller) / service.output_tokens:.3f} J of the bare model at that batch", theirs["energy"]),
    ]  # fmt: skip
    return _figures("EcoLogits", outcome, theirs), _gap("EcoLogits", steps)


def mlsysim(service: Service = DEFAULT) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A request of the service in mlsysim, and the steps between its energy and ours.

    Its own serving model gives the time of a request, which gives the accelerators at the design's utilization; its
    sustainability model gives energy, carbon and water of a day of them.

    Raises:
        ModuleNotFoundError: if mlsysim is not installed.
    """
    from mlsysim.hardware.registry import Hardware
    from mlsysim.infrastructure.registry import Grids
    from mlsysim.models.registry import Models
    from mlsysim.solvers import ServingModel, SustainabilityModel
    from mlsysim.systems.registry import Systems
    from mlsysim.systems.types import Fleet as TheirFleet

    outcome = evaluate(service)
    model, chip = Models.Language.Llama3_8B, Hardware.Cloud.H100
    context = service.prompt_tokens + (service.output_tokens + 1) // 2
    read = ServingModel().solve(model, chip, seq_len=service.prompt_tokens, batch_size=service.batch)
    write = ServingModel().solve(model, chip, seq_len=context, batch_size=service.batch)
    prompts_s, step_s = float(read.ttft.to("s").magnitude), float(write.itl.to("s").magnitude)
    busy_s = (prompts_s + service.output_tokens * step_s) / service.batch  # its prompts are read together
    per_second = service.requests_per_day / S_PER_DAY
    devices = -(-per_second * busy_s // service.utilization)
    flops = _request_flops(service)
    peak = 1e12 * facts.value(f"{service.device}.peak_dense_tflops_bf16")
    on_s = devices / per_second
    node = Systems.Nodes.DGX_H100.model_copy(update={"accelerators_per_node": 1})
    # a fleet has to name a network; it has no part in the energy
    fabric = next(value for value in vars(Systems.Fabrics).values() if type(value).__name__ == "NetworkFabric")
    fleet = TheirFleet(name="service", node=node, count=int(devices), fabric=fabric)
    grid = getattr(Grids, COUNTRY[service.region][1])
    day = SustainabilityModel().solve(fleet, duration_days=1, datacenter=grid, mfu=flops / (on_s * peak))
    requests = service.requests_per_day
    machines_j = float(day.it_energy_kwh.to("kWh").magnitude) * J_PER_KWH / requests
    theirs = {
        "energy": machines_j * day.pue,
        "carbon of electricity": 1e3 * day.carbon_footprint_kg / requests,
        "carbon of manufacture": 1e3 * day.embodied_carbon_kg / requests,
        "water": 1e3 * day.water_usage_liters / requests,
        "whole answer": prompts_s + service.output_tokens * step_s,
    }
    each, pue = outcome.energy, outcome.assumed["pue"].value
    ours_on_s = outcome.machines.n_devices / per_second
    chips_j = float(each.machines_j) - float(each.host_j)
    power_w, their_power_w = chips_j / ours_on_s, machines_j / on_s
    steps = [
        ("ours", "", pue * float(each.machines_j)),
        ("hosts", "they are not counted there", pue * chips_j),
        ("building", f"a PUE of {day.pue:g} comes with the grid; the design assumes {pue:g}", day.pue * chips_j),
        ("accelerator seconds", f"{on_s:.3f} s are switched on for a request, by a roofline, against {ours_on_s:.3f} s",
         day.pue * power_w * on_s),
        ("power of an accelerator", f"{their_power_w:.0f} W in the mean, 30 % of the rated power at rest, against "
         f"{power_w:.0f} W", theirs["energy"]),
    ]  # fmt: skip
    return _figures("mlsysim", outcome, theirs), _gap("mlsysim", steps)


def _request_flops(service: Service) -> float:
    context = service.prompt_tokens + (service.output_tokens + 1) // 2
    prompt = passes.prompt_pass(service.shape, n_tokens=service.prompt_tokens)
    token = passes.decode_pass(service.shape, batch=1, context=context)
    return prompt.flops + service.output_tokens * token.flops


def _figures(peer: str, outcome: Outcome, theirs: dict[str, float]) -> pd.DataFrame:
    ours = {
        "energy": ("J", outcome.energy.total_j),
        "carbon of electricity": ("g", outcome.carbon.operational_g),
        "carbon of manufacture": ("g", outcome.carbon.embodied_g),
        "water": ("mL", outcome.water.total_ml),
        "whole answer": ("s", outcome.latency.total_s),
    }
    rows = [
        (peer, VERSIONS[peer], quantity, unit, float(value), theirs[quantity], theirs[quantity] / float(value))
        for quantity, (unit, value) in ours.items()
    ]
    return pd.DataFrame(rows, columns=list(PEERS))


def _gap(peer: str, steps: list[tuple[str, str, float]]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    before = steps[0][2]
    for step, why, energy_j in steps:
        row = {"peer": peer, "version": VERSIONS[peer], "step": step, "why": why, "energy_j": energy_j}
        rows.append(row | {"change_j": energy_j - before})
        before = energy_j
    return pd.DataFrame(rows, columns=list(GAP))


def main() -> int:
    """Compute both tables again and write them into data/studies/green_service."""
    from importlib import metadata

    for peer, version in VERSIONS.items():
        if metadata.version(peer.lower()) != version:
            print(
                f"greenlab: {peer} {metadata.version(peer.lower())} is installed, {version} is pinned", file=sys.stderr
            )
            return 1
    both = [ecologits(), mlsysim()]
    folder = studies.folder("green_service")
    folder.mkdir(parents=True, exist_ok=True)
    for name, position in (("peers", 0), ("peers_gap", 1)):
        found = pd.concat([pair[position] for pair in both], ignore_index=True)
        found.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
