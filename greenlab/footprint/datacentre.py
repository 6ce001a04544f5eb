"""A data centre's electricity: computing, other IT equipment, cooling and losses, and the ratio PUE that sums it up.

PUE is total energy over IT energy (ISO/IEC 30134-2). It says how good the building is, not how much is computed per
joule.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlab.footprint.checks import HOURS_PER_YEAR, Amount, check_amount, check_pue, check_share, check_together


@dataclass(frozen=True)
class DatacentreEnergy:
    """Energy of a data centre by part, in any one unit of energy; the field names say kWh.

    Attributes:
        compute_kwh: servers [kWh].
        other_it_kwh: storage and network [kWh].
        cooling_kwh: [kWh].
        losses_kwh: power supplies, transformers, light [kWh].

    Each is a number, or an array or Series of one shape.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is negative, two do not fit together, or there is no IT energy.
    """

    compute_kwh: Amount
    other_it_kwh: Amount
    cooling_kwh: Amount
    losses_kwh: Amount

    def __post_init__(self) -> None:
        names = ("compute_kwh", "other_it_kwh", "cooling_kwh", "losses_kwh")
        for name in names:
            object.__setattr__(self, name, check_amount(name, getattr(self, name), "kWh"))
        check_together(**{name: getattr(self, name) for name in names})
        if not np.all(np.asarray(self.it_kwh) > 0):
            raise ValueError("compute_kwh + other_it_kwh is 0: a data centre without IT energy has no PUE")

    @property
    def it_kwh(self) -> Amount:
        """Energy of the IT equipment [kWh]."""
        return self.compute_kwh + self.other_it_kwh

    @property
    def overhead_kwh(self) -> Amount:
        """Energy of everything else [kWh]."""
        return self.cooling_kwh + self.losses_kwh

    @property
    def total_kwh(self) -> Amount:
        """What the meter of the building counts [kWh]."""
        return self.it_kwh + self.overhead_kwh

    @property
    def pue(self) -> Amount:
        """Total energy over IT energy; 1 is a building without overhead."""
        return self.total_kwh / self.it_kwh


def datacentre_energy(
    *,
    compute_kwh: Amount,
    other_it_kwh: Amount = 0.0,
    cooling_kwh: Amount | None = None,
    losses_kwh: Amount = 0.0,
    pue: Amount | None = None,
) -> DatacentreEnergy:
    """Energy of a data centre from its parts; or from its IT energy and its PUE, all overhead then counted as cooling.

    Args:
        compute_kwh: servers [kWh].
        other_it_kwh: storage and network [kWh].
        cooling_kwh: [kWh]; or give ``pue``.
        losses_kwh: power supplies, transformers, light [kWh].
        pue: total energy over IT energy, 1 or more, instead of ``cooling_kwh``.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, two do not fit together, both or none of ``cooling_kwh`` and ``pue``
            are given, or the losses alone exceed the overhead that the PUE leaves.

    The split of an IEA report of 2024, 40 parts computing, 20 other equipment, 40 cooling:

    >>> round(datacentre_energy(compute_kwh=40, other_it_kwh=20, cooling_kwh=40).pue, 2)
    1.67
    >>> datacentre_energy(compute_kwh=80, other_it_kwh=20, pue=1.25).cooling_kwh
    25.0
    """
    compute, other = check_amount("compute_kwh", compute_kwh, "kWh"), check_amount("other_it_kwh", other_it_kwh, "kWh")
    losses = check_amount("losses_kwh", losses_kwh, "kWh")
    if (cooling_kwh is None) == (pue is None):
        raise ValueError(f"cooling_kwh={cooling_kwh!r} and pue={pue!r}: give exactly one of them")
    if pue is None:
        return DatacentreEnergy(compute, other, cooling_kwh, losses)
    pue = check_pue(pue)
    check_together(compute_kwh=compute, other_it_kwh=other, losses_kwh=losses, pue=pue)
    cooling = (compute + other) * (pue - 1) - losses
    rounding = np.asarray((np.asarray(cooling) < 0) & (np.asarray(cooling) > -1e-9 * np.asarray(compute + other)))
    cooling = cooling if not rounding.any() else cooling * ~rounding
    remedy = "the PUE leaves less overhead than losses_kwh; give smaller losses or a larger pue"
    return DatacentreEnergy(compute, other, check_amount("cooling_kwh", cooling, "kWh", remedy=remedy), losses)


def split_energy(
    total_kwh: Amount, *, compute: Amount, other_it: Amount, cooling: Amount, losses: Amount = 0.0
) -> DatacentreEnergy:
    """Split a total by shares of it, fractions that add to 1.

    Args:
        total_kwh: the whole [kWh], above 0.
        compute: share of the servers.
        other_it: share of storage and network.
        cooling: share of cooling.
        losses: share of power supplies, transformers, light.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if a share is out of range, or they do not add to 1 within half a percent.

    >>> split_energy(460e9, compute=0.4, other_it=0.2, cooling=0.4).cooling_kwh / 1e9  # TWh
    184.0
    """
    shares = {
        name: check_share(name, share)
        for name, share in (("compute", compute), ("other_it", other_it), ("cooling", cooling), ("losses", losses))
    }
    total = check_amount("total_kwh", total_kwh, "kWh", above=True)
    check_together(total_kwh=total, **shares)
    total_share = sum(shares.values())
    if not np.all(np.abs(np.asarray(total_share) - 1) <= 0.005):
        sums = np.atleast_1d(np.asarray(total_share))
        first = sums[np.abs(sums - 1) > 0.005][0]
        raise ValueError(f"compute + other_it + cooling + losses = {first:.4g}, not 1: put what is missing into losses")
    return DatacentreEnergy(*(total * share for share in shares.values()))


def overhead_share(pue: Amount) -> Amount:
    """The part of all energy that is not IT: ``1 - 1 / pue``.

    Args:
        pue: total energy over IT energy, 1 to 5.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is out of range.

    >>> overhead_share(1.25)
    0.19999999999999996
    """
    return 1 - 1 / check_pue(pue)


def servers_energy(
    n_servers: Amount,
    power_kw: Amount,
    *,
    utilization: Amount = 1.0,
    pue: Amount = 1.0,
    hours: Amount = HOURS_PER_YEAR,
) -> Amount:
    """Energy of a fleet [kWh]: servers times power times hours, a year of them by default.

    Args:
        n_servers: how many there are.
        power_kw: rated power of one [kW].
        utilization: the mean share of ``power_kw`` that is drawn; 1 is a worst case that no fleet keeps up for a year.
        pue: total energy of the building over its IT energy, 1 or more.
        hours: how long [h].

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, or two do not fit together.

    1.5 million servers of 6.5 kW at full load for a year, in TWh (A. de Vries, Joule 7(10):2191, 2023):

    >>> round(servers_energy(1.5e6, 6.5) / 1e9, 1)
    85.4
    """
    servers = check_amount("n_servers", n_servers, "servers")
    power = check_amount("power_kw", power_kw, "kW", high=1000.0, remedy="a server draws kilowatts: 6.5, not 6500")
    share, pue, hours = check_share("utilization", utilization), check_pue(pue), check_amount("hours", hours, "h")
    check_together(n_servers=servers, power_kw=power, utilization=share, pue=pue, hours=hours)
    return servers * power * share * pue * hours
