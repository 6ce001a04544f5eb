"""What a training run costs: device hours times watts, the building on top, the grid, idle machines, manufacture.

The first two terms are those of Patterson et al. (arXiv:2104.10350, sec. 2); idle power and manufacture were added by
Luccioni, Viguier and Ligozat for BLOOM (JMLR 24(253), sec. 4), where they doubled the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from greenlab.footprint.checks import Amount, check_amount, check_intensity, check_pue, check_share, check_together

FLOPS_PER_WEIGHT_AND_TOKEN = 6  # two forward, four backward: Kaplan et al., arXiv:2001.08361, sec. 2.1


@dataclass(frozen=True)
class TrainingFootprint:
    """A training run, part by part.

    Attributes:
        device_hours: hours of all accelerators together [h].
        devices_kwh: what the accelerators drew while they worked [kWh].
        idle_kwh: what the cluster drew while it waited [kWh].
        overhead_kwh: cooling and losses of the building on top of both [kWh].
        intensity_g_per_kwh: of the grid [g/kWh].
        embodied_g: manufacture of the hardware, the share of this run [g CO2e].

    Each is a number, or an array or Series of one shape.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.
    """

    device_hours: Amount
    devices_kwh: Amount
    idle_kwh: Amount
    overhead_kwh: Amount
    intensity_g_per_kwh: Amount
    embodied_g: Amount

    def __post_init__(self) -> None:
        names = ("device_hours", "devices_kwh", "idle_kwh", "overhead_kwh", "intensity_g_per_kwh", "embodied_g")
        for name in names:
            unit = {"device_hours": "h", "intensity_g_per_kwh": "g/kWh"}.get(name, name.rpartition("_")[2])
            object.__setattr__(self, name, check_amount(name, getattr(self, name), unit))
        check_together(**{name: getattr(self, name) for name in names})

    @property
    def energy_kwh(self) -> Amount:
        """Everything the meter of the building counts [kWh]."""
        return self.devices_kwh + self.idle_kwh + self.overhead_kwh

    @property
    def energy_mwh(self) -> Amount:
        """The same in the unit that papers print [MWh]."""
        return self.energy_kwh / 1e3

    @property
    def operational_g(self) -> Amount:
        """Emissions of the electricity [g CO2e]."""
        return self.energy_kwh * self.intensity_g_per_kwh

    @property
    def carbon_g(self) -> Amount:
        """Emissions of electricity and manufacture [g CO2e]."""
        return self.operational_g + self.embodied_g

    @property
    def carbon_t(self) -> Amount:
        """The same in tonnes [t CO2e]."""
        return self.carbon_g / 1e6


def training_flops(params_active: Amount, tokens: Amount) -> Amount:
    """Floating-point operations of a training run, ``6 N D`` (Kaplan et al., arXiv:2001.08361, sec. 2.1).

    For a mixture of experts, ``N`` counts the parameters that a token uses.

    Args:
        params_active: parameters that a token uses, N.
        tokens: how many tokens are trained on, D.

    Returns:
        Operations [FLOP], a float or shaped like the arguments.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if it is not above 0.

    >>> training_flops(175e9, 300e9)  # GPT-3; the paper prints 3.14e23
    3.15e+23
    """
    parameters = check_amount("params_active", params_active, "parameters", above=True)
    tokens = check_amount("tokens", tokens, "tokens", above=True)
    check_together(params_active=parameters, tokens=tokens)
    return FLOPS_PER_WEIGHT_AND_TOKEN * parameters * tokens


def device_hours_of(flops: Amount, flops_per_s: Amount, utilization: Amount = 1.0) -> Amount:
    """Hours of one device [h] for ``flops`` operations at a rate [FLOP/s], of which ``utilization`` is reached.

    Args:
        flops: operations of the whole work [FLOP].
        flops_per_s: peak rate of one device [FLOP/s].
        utilization: the share of the peak that is reached, above 0 up to 1.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range; a rate below 1e6 FLOP/s was probably meant in TFLOP/s.

    >>> device_hours_of(3.6e18, 1e15, 0.5)
    2.0
    """
    work = check_amount("flops", flops, "FLOP", above=True)
    rate = check_amount(
        "flops_per_s", flops_per_s, "FLOP/s", low=1e6, remedy="a rate in TFLOP/s must be multiplied by 1e12"
    )
    share = check_share("utilization", utilization, above=True)
    check_together(flops=work, flops_per_s=rate, utilization=share)
    return work / (rate * share) / 3600


def training_footprint(
    *,
    power_w: Amount,
    device_hours: Amount | None = None,
    flops: Amount | None = None,
    flops_per_s: Amount | None = None,
    utilization: Amount | None = None,
    pue: Amount = 1.0,
    region: str | None = None,
    intensity_g_per_kwh: Amount | None = None,
    idle_kwh: Amount = 0.0,
    embodied_g: Amount = 0.0,
) -> TrainingFootprint:
    """Energy and carbon of a training run from what was used and where.

    ``energy = (device_hours * power / 1000 + idle) * pue`` and ``carbon = energy * intensity + embodied``.

    Args:
        power_w: mean power of one device while it works, host share included if you want it counted [W].
        device_hours: hours of all devices together [h]; or give the next three.
        flops: work of the whole run [FLOP].
        flops_per_s: peak rate of one device [FLOP/s]; with ``flops`` only.
        utilization: the share of the peak that is reached, above 0 up to 1; with ``flops`` only, then 1 if left out.
        pue: total energy of the building over its IT energy, 1 or more.
        region: a code or name of data/facts/grid_intensity.csv; or give the next one.
        intensity_g_per_kwh: of the grid [g/kWh].
        idle_kwh: energy of machines that waited, before the building's overhead [kWh].
        embodied_g: the run's share of manufacture [g CO2e]; see `embodied_share`.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if the work is given twice or not at all, an argument would have no effect, an amount is out of
            range, or the region is unknown.

    A thousand hours at 400 W in a building with a tenth on top, on a grid of 100 g/kWh:

    >>> run = training_footprint(device_hours=1000, power_w=400, pue=1.1, intensity_g_per_kwh=100)
    >>> round(run.energy_kwh, 6), round(run.carbon_t, 6)
    (440.0, 0.044)
    """
    if (device_hours is None) == (flops is None):
        raise ValueError(
            f"device_hours={device_hours!r} and flops={flops!r}: give exactly one of them (flops together with "
            f"flops_per_s)"
        )
    if flops is None:
        for name, value in (("flops_per_s", flops_per_s), ("utilization", utilization)):
            if value is not None:
                raise ValueError(f"{name}={value!r} has no effect on device_hours: leave it out, or give flops instead")
    else:
        if flops_per_s is None:
            raise ValueError("flops_per_s is missing: give the peak rate of one device in FLOP/s, such as 312e12")
        device_hours = device_hours_of(flops, flops_per_s, 1.0 if utilization is None else utilization)
    hours = check_amount("device_hours", device_hours, "h")
    power, idle = check_amount("power_w", power_w, "W"), check_amount("idle_kwh", idle_kwh, "kWh")
    pue, grid = check_pue(pue), check_intensity(region, intensity_g_per_kwh)
    embodied = check_amount("embodied_g", embodied_g, "g")
    check_together(
        device_hours=hours, power_w=power, idle_kwh=idle, pue=pue, intensity_g_per_kwh=grid, embodied_g=embodied
    )
    devices = hours * power / 1e3
    return TrainingFootprint(
        device_hours=hours,
        devices_kwh=devices,
        idle_kwh=idle,
        overhead_kwh=(devices + idle) * (pue - 1),
        intensity_g_per_kwh=grid,
        embodied_g=embodied,
    )
