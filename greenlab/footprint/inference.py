"""What an answer costs, and what a year of answers costs.

The parts are those of Elsworth et al. (arXiv:2508.15734, sec. 3): accelerators that work, their hosts, machines kept
ready, and the building. Counting the first part alone more than halves the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlab.footprint.checks import (
    WH_PER_J,
    Amount,
    check_amount,
    check_intensity,
    check_pue,
    check_share,
    check_together,
)

DAYS_PER_YEAR = 365


@dataclass(frozen=True)
class InferenceFootprint:
    """Answers to queries, one of them and a year of them.

    Attributes:
        accelerator_wh, host_wh, idle_wh, overhead_wh: energy of one query by part [Wh].
        queries_per_day: how many there are [1/d].
        intensity_g_per_kwh: of the grid [g/kWh].
        embodied_g: manufacture, the share of one query [g CO2e].

    Each is a number, or an array or Series of one shape.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.
    """

    accelerator_wh: Amount
    host_wh: Amount
    idle_wh: Amount
    overhead_wh: Amount
    queries_per_day: Amount
    intensity_g_per_kwh: Amount
    embodied_g: Amount

    def __post_init__(self) -> None:
        units = {
            "accelerator_wh": "Wh",
            "host_wh": "Wh",
            "idle_wh": "Wh",
            "overhead_wh": "Wh",
            "queries_per_day": "1/d",
            "intensity_g_per_kwh": "g/kWh",
            "embodied_g": "g",
        }
        for name, unit in units.items():
            object.__setattr__(self, name, check_amount(name, getattr(self, name), unit))
        check_together(**{name: getattr(self, name) for name in units})

    @property
    def query_wh(self) -> Amount:
        """Energy of one query [Wh]."""
        return self.accelerator_wh + self.host_wh + self.idle_wh + self.overhead_wh

    @property
    def query_carbon_g(self) -> Amount:
        """Emissions of one query, electricity and manufacture [g CO2e]."""
        return self.query_wh / 1e3 * self.intensity_g_per_kwh + self.embodied_g

    @property
    def year_kwh(self) -> Amount:
        """Energy of a year [kWh]."""
        return self.query_wh / 1e3 * self.queries_per_day * DAYS_PER_YEAR

    @property
    def year_twh(self) -> Amount:
        """The same in the unit of national statistics [TWh]."""
        return self.year_kwh / 1e9

    @property
    def year_carbon_t(self) -> Amount:
        """Emissions of a year [t CO2e]."""
        return self.query_carbon_g * self.queries_per_day * DAYS_PER_YEAR / 1e6


def inference_footprint(
    *,
    accelerator_wh: Amount,
    host_wh: Amount = 0.0,
    idle_wh: Amount = 0.0,
    pue: Amount = 1.0,
    queries_per_day: Amount = 1.0,
    region: str | None = None,
    intensity_g_per_kwh: Amount | None = None,
    embodied_g: Amount = 0.0,
) -> InferenceFootprint:
    """Energy and carbon of a query and of a year of them.

    Args:
        accelerator_wh: energy of the accelerators for one query [Wh]; the whole, if that is all you know.
        host_wh: processor and memory beside them [Wh].
        idle_wh: machines kept ready, the share of one query [Wh].
        pue: total energy of the building over its IT energy, 1 or more.
        queries_per_day: how many there are [1/d].
        region: a code or name of data/facts/grid_intensity.csv; or give the next one.
        intensity_g_per_kwh: of the grid [g/kWh].
        embodied_g: manufacture, the share of one query [g CO2e].

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, two do not fit together, or the region is unknown.

    The parts of a median Gemini prompt add to 0.24 Wh:

    >>> prompt = inference_footprint(accelerator_wh=0.14, host_wh=0.06, idle_wh=0.02, pue=1.09, intensity_g_per_kwh=100)
    >>> round(prompt.query_wh, 2), round(prompt.query_carbon_g, 3)
    (0.24, 0.024)
    """
    accelerator = check_amount("accelerator_wh", accelerator_wh, "Wh")
    host, idle = check_amount("host_wh", host_wh, "Wh"), check_amount("idle_wh", idle_wh, "Wh")
    pue = check_pue(pue)
    check_together(accelerator_wh=accelerator, host_wh=host, idle_wh=idle, pue=pue)
    return InferenceFootprint(
        accelerator_wh=accelerator,
        host_wh=host,
        idle_wh=idle,
        overhead_wh=(accelerator + host + idle) * (pue - 1),
        queries_per_day=check_amount("queries_per_day", queries_per_day, "1/d"),
        intensity_g_per_kwh=check_intensity(region, intensity_g_per_kwh),
        embodied_g=check_amount("embodied_g", embodied_g, "g"),
    )


def answer_wh(
    *, tokens: Amount, params_active: Amount, flops_per_s: Amount, power_w: Amount, utilization: Amount
) -> Amount:
    """Energy of an answer [Wh] from its length: two operations per weight and token, at the rate a device reaches.

    The estimate of Epoch AI, "How much energy does ChatGPT use?" (2025-02). Reading the question is left out.

    Args:
        tokens: length of the answer.
        params_active: weights that a token uses.
        flops_per_s: peak rate of one device [FLOP/s].
        power_w: power of one device with its share of host and building [W].
        utilization: the share of the peak that is reached while writing, above 0 up to 1.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.

    Epoch's inputs: 500 tokens, 100 billion weights in use, an H100 at a tenth of its peak, about 1,050 W:

    >>> round(answer_wh(tokens=500, params_active=100e9, flops_per_s=989.4e12, power_w=1050, utilization=0.1), 2)
    0.29
    """
    length = check_amount("tokens", tokens, "tokens")
    weights = check_amount("params_active", params_active, "parameters", above=True)
    rate = check_amount(
        "flops_per_s", flops_per_s, "FLOP/s", low=1e6, remedy="a rate in TFLOP/s must be multiplied by 1e12"
    )
    share, power = check_share("utilization", utilization, above=True), check_amount("power_w", power_w, "W")
    check_together(tokens=length, params_active=weights, flops_per_s=rate, utilization=share, power_w=power)
    time_s = 2 * length * weights / (rate * share)
    return time_s * power * WH_PER_J
