"""Everything that the tables of chapter 9's study depend on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """The settings; a step is run again when one of them changes.

    The works of ``works`` are (name, gigabytes moved, kilowatt-hours computed, basis of the kilowatt-hours): "cited"
    from facts or "assumed" by us. The gigabytes are our estimates in every row.
    """

    year: int = 2019  # the only one that all 25 countries have
    years: tuple[int, ...] = (2018, 2019, 2020)
    home: str = "DE"
    duration_h: float = 24.0
    slack_h: float = 24.0
    slacks_h: tuple[float, ...] = (0, 6, 12, 24, 48, 96, 168)
    durations_h: tuple[float, ...] = (1, 6, 24, 96)
    forecast_zones: tuple[str, ...] = ("DE", "GB", "ES", "PL", "DK")
    forecast_durations_h: tuple[float, ...] = (6, 24)
    forecast_every_h: int = 7  # no divisor of a day: every hour of the day comes up
    error: float = 0.2
    errors: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4)
    rho: float = 0.97
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    checkpoints_h: tuple[float, ...] = (0, 0.1, 0.25, 0.5, 1.0)
    idle_shares: tuple[float, ...] = (0, 0.1, 0.2, 0.3, 0.5)
    day_hours: tuple[int, int] = (6, 22)
    day_price: float = 0.25
    night_price: float = 0.15
    front_duration_h: float = 8.0
    duck_zones: tuple[str, ...] = ("DE", "ES", "IT", "US-CAL")
    signal_zones: tuple[str, ...] = ("DE", "GB", "ES", "PL")
    reach_km: tuple[float, ...] = (0, 500, 1000, 1500, 2000, 3000, 5000)
    reach_every_h: int = 3
    fleet_zones: tuple[str, ...] = ("DE", "PL", "FR", "SE", "ES", "GB", "IT", "DK")
    fleet_weeks: tuple[int, ...] = (3, 11, 19, 27, 35, 43)  # the first of the weeks that are counted
    fleet_counted: int = 2  # weeks whose jobs are counted
    fleet_margin: int = 2  # weeks of arrivals before and after them, so that the machines are as full at both ends
    utilisation: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    flexible_share: float = 0.25
    transfer_pairs: tuple[tuple[str, str], ...] = (("PL", "SE"), ("DE", "SE"), ("GB", "FR"), ("DE", "DK"), ("FR", "SE"))
    transfer_data_gb: tuple[float, ...] = (0, 100, 1_000, 10_000, 30_000, 100_000, 300_000)
    works: tuple[tuple[str, float, float, str], ...] = (
        ("train GPT-3 (0.5 trillion tokens)", 1_000, 1_287_000, "cited"),
        ("train BLOOM (1.6 TB of text)", 1_600, 433_196, "cited"),
        ("fine-tune a 7B model for a day", 40, 130, "assumed"),
        ("one chat prompt", 1e-5, 0.00024, "cited"),
        ("describe 1 TB of photographs", 1_000, 100, "assumed"),
        ("transcode an hour of video", 20, 0.5, "assumed"),
    )
