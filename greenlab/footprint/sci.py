"""The Software Carbon Intensity: a rate, grams per unit of work (ISO/IEC 21031:2024; Green Software Foundation, SCI
1.1).
"""

from __future__ import annotations

from greenlab.footprint.checks import Amount, check_amount, check_intensity, check_share, check_together


def embodied_share(
    embodied_g: Amount, *, hours_used: Amount, lifetime_h: Amount, share_of_device: Amount = 1.0
) -> Amount:
    """Manufacture that counts for a piece of work [g CO2e]: ``M = TE * TS * RS``, the standard's terms.

    Args:
        embodied_g: manufacture of the whole device, TE [g CO2e].
        hours_used: time reserved for the work [h].
        lifetime_h: how long the device will be used [h]; TS is the quotient of the two.
        share_of_device: the part of the device that is reserved, RS, from 0 to 1.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, two do not fit together, or the work takes longer than the device
            lives.

    A server of 1,000 kg used for a year of its four, half of it reserved:

    >>> embodied_share(1e6, hours_used=8760, lifetime_h=4 * 8760, share_of_device=0.5)
    125000.0
    """
    whole = check_amount("embodied_g", embodied_g, "g")
    hours = check_amount("hours_used", hours_used, "h")
    lifetime = check_amount("lifetime_h", lifetime_h, "h", above=True)
    share = check_share("share_of_device", share_of_device)
    check_together(embodied_g=whole, hours_used=hours, lifetime_h=lifetime, share_of_device=share)
    remedy = "a device cannot be used for longer than it lives"
    time_share = check_amount("hours_used / lifetime_h", hours / lifetime, "", high=1.0, remedy=remedy)
    return whole * time_share * share


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

    Returns:
        [g CO2e per unit], a float or shaped like the arguments.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, two do not fit together, the region is unknown, or there is no unit of
            work to divide by.

    Ten kilowatt-hours at 400 g/kWh and 1 kg of manufacture over a thousand prompts:

    >>> sci(energy_kwh=10, intensity_g_per_kwh=400, embodied_g=1000, functional_units=1000)
    5.0
    """
    remedy = "the SCI is a rate, per unit of work"
    units = check_amount("functional_units", functional_units, "units", above=True, remedy=remedy)
    energy, embodied = check_amount("energy_kwh", energy_kwh, "kWh"), check_amount("embodied_g", embodied_g, "g")
    grid = check_intensity(region, intensity_g_per_kwh)
    check_together(energy_kwh=energy, intensity_g_per_kwh=grid, embodied_g=embodied, functional_units=units)
    return (energy * grid + embodied) / units
