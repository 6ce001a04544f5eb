"""The Software Carbon Intensity: a rate, grams per unit of work (ISO/IEC 21031:2024; Green Software Foundation, SCI 1.1)."""

from __future__ import annotations

from greenlab.footprint.checks import Amount, amount, check_share, intensity


def embodied_share(
    embodied_g: Amount, *, hours_used: Amount, lifetime_h: Amount, share_of_device: Amount = 1.0
) -> Amount:
    """Manufacture that counts for a piece of work [g CO2e]: ``M = TE * TS * RS``, the standard's terms.

    Args:
        embodied_g: manufacture of the whole device, TE [g CO2e].
        hours_used: time reserved for the work [h].
        lifetime_h: how long the device will be used [h]; TS is the quotient of the two.
        share_of_device: the part of the device that is reserved, RS.

    A server of 1,000 kg used for a year of its four, half of it reserved:

    >>> embodied_share(1e6, hours_used=8760, lifetime_h=4 * 8760, share_of_device=0.5)
    125000.0
    """
    lifetime = amount("lifetime_h", lifetime_h, "h", above=True)
    time_share = amount("hours_used", hours_used, "h") / lifetime
    amount(
        "hours_used / lifetime_h", time_share, "", high=1.0, remedy="a device cannot be used for longer than it lives"
    )
    return amount("embodied_g", embodied_g, "g") * time_share * check_share("share_of_device", share_of_device)


def sci(
    *,
    energy_kwh: Amount,
    functional_units: Amount,
    embodied_g: Amount = 0.0,
    region: str | None = None,
    intensity_g_per_kwh: Amount | None = None,
) -> Amount:
    """Grams of CO2e per unit of work: ``((E * I) + M) per R``, location-based; offsets do not count.

    Args:
        energy_kwh: electricity of the software, E [kWh].
        functional_units: how much work it did, R: prompts, tokens, users.
        embodied_g: manufacture, M [g CO2e].
        region: a code or name of data/facts/grid_intensity.csv; or give the next one.
        intensity_g_per_kwh: of the grid where the electricity is used, I [g/kWh].

    Raises:
        ValueError: if an amount is out of range, the region is unknown, or there is no unit of work to divide by.

    Ten kilowatt-hours at 400 g/kWh and 1 kg of manufacture over a thousand prompts:

    >>> sci(energy_kwh=10, intensity_g_per_kwh=400, embodied_g=1000, functional_units=1000)
    5.0
    """
    units = amount(
        "functional_units", functional_units, "units", above=True, remedy="the SCI is a rate, per unit of work"
    )
    operational = amount("energy_kwh", energy_kwh, "kWh") * intensity(region, intensity_g_per_kwh)
    return (operational + amount("embodied_g", embodied_g, "g")) / units
