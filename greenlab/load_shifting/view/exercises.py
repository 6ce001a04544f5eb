"""Chapter 9's exercises: the best start, the k cleanest hours, the gigabytes that break even, and rebound."""

from __future__ import annotations

from random import Random
from typing import Any

from greenlab.lab.exercises import exercise

NIGHT = (300.0, 200.0, 400.0, 100.0, 150.0, 500.0)


def _best_start(intensity, duration, slack):  # type: ignore[no-untyped-def]
    sums = [sum(intensity[s : s + duration]) for s in range(slack + 1)]
    return sums.index(min(sums))


def _windows(random: Random) -> tuple[list[float], int, int]:
    """Intensities in steps of 100, so that runs of equal sums are frequent and every sum is exact."""
    duration, slack = random.randint(1, 4), random.randint(0, 6)
    hours = duration + slack + random.randint(0, 5)
    return [100.0 * random.randint(1, 5) for _ in range(hours)], duration, slack


@exercise("load-shifting-best-start", reference=_best_start, inputs=_windows, difficulty="easy", minutes=8)
def _(answer: Any) -> str | None:
    """A run in one piece costs the sum of its hours, so compare sums, not the hours at which they begin."""
    night = list(NIGHT)
    got = answer(night, 2, 4)
    if got == 250.0:
        return "that is what the best run costs; give back the hour at which it starts"
    if answer([300.0, 100.0, 500.0, 200.0, 210.0], 2, 3) == 1:
        return (
            "hour 1 is the cleanest, but the run of two hours that starts there ends in a dirty one: compare whole runs"
        )
    if got != 3:
        return f"for hours {night} and a run of two hours the best start is 3, yours gives {got}"
    if answer([3.0, 2.0, 1.0, 0.0], 2, 1) == 2:
        return (
            "with one hour of slack a run of two hours may start at 0 or 1: the slack bounds the start, not the trace"
        )
    if answer([3.0, 3.0, 3.0], 1, 2) != 0:
        return "of equal runs take the earliest: nobody waits for nothing"
    return None if answer(night, 2, 0) == 0 else "without slack the only start is 0"


def _cleanest_hours(intensity, duration, slack):  # type: ignore[no-untyped-def]
    window = range(duration + slack)
    return sorted(sorted(window, key=lambda hour: intensity[hour])[:duration])


@exercise("load-shifting-cleanest-hours", reference=_cleanest_hours, inputs=_windows, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """A job that may pause takes the cleanest hours of its window, which ends with its deadline."""
    night = list(NIGHT)
    got = answer(night, 2, 2)
    if sorted(got) == [3, 4]:
        return "hour 4 lies after the deadline: with 2 hours of work and 2 of slack the window is hours 0 to 3"
    if got == [3, 1]:
        return "give the hours in the order of time: a job runs in hour 1 before hour 3"
    if got in ([100.0, 200.0], [200.0, 100.0]):
        return "those are the intensities; give back the hours"
    if got != [1, 3]:
        return f"for hours {night}, two of work and two of slack, expected [1, 3], yours gives {got}"
    if answer([200.0, 100.0, 200.0], 2, 1) == [1, 2]:
        return "hours 0 and 2 are equally clean: take the earlier, nobody waits for nothing"
    return None if answer(night, 2, 0) == [0, 1] else "without slack the job runs at once: hours [0, 1]"


def _break_even_gb_per_kwh(home_g, there_g, kwh_per_gb):  # type: ignore[no-untyped-def]
    saved = home_g - there_g
    network = kwh_per_gb * (home_g + there_g) / 2
    return saved / network


def _grids(random: Random) -> tuple[float, ...]:
    home = random.uniform(100, 900)
    return home, home * random.uniform(0.05, 0.95), random.uniform(0.005, 0.2)


@exercise("load-shifting-break-even", reference=_break_even_gb_per_kwh, inputs=_grids, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """Moving pays until the network has used up what the cleaner grid saves."""
    got, want = answer(300.0, 100.0, 0.05), 20.0
    if abs(got - 4000.0) < 1:
        return "0.05 kWh is energy, not carbon: the network's kilowatt-hours have an intensity, the mean of both ends"
    if abs(got - 200 / (0.05 * 300)) < 0.01 or abs(got - 200 / (0.05 * 100)) < 0.01:
        return "the data crosses both grids: count the network at the mean of both intensities"
    if abs(got - 10) < 1e-6:
        return "that counts the network at the sum of both intensities; take their mean"
    if got < 0:
        return "the sign is upside down: moving from 300 to 100 g/kWh saves 200 g each kWh"
    if abs(got - 1 / want) < 1e-6:
        return "that is kWh for each GB; give GB for each kWh"
    if abs(got - want) > 1e-6:
        right = "200 g saved against 0.05 x 200 g a gigabyte is 20 GB"
        return f"from 300 to 100 g/kWh at 0.05 kWh/GB: {right}, yours gives {got:g}"
    return None if answer(100.0, 100.0, 0.05) == 0 else "between equal grids no gigabyte is worth moving: 0"


def _growth_pct() -> float:
    return 100 * (1 / 0.8 - 1)


@exercise("load-shifting-rebound", worked=_growth_pct, tolerance=1e-4, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """A fifth less for each job is gone when there are a quarter more jobs."""
    got = float(answer)
    if abs(got - 20) < 1e-6:
        return "20 % more of 0.8 is 0.96, still a saving: what number times 0.8 is 1?"
    if abs(got - 1.25) < 1e-6:
        return "1.25 times as many jobs, so how many per cent more?"
    if abs(got - 125) < 1e-6:
        return "125 % of the jobs before is how many per cent more?"
    if abs(got - 0.25) < 1e-6:
        return "give per cent: a quarter is 25"
    if not abs(got - 25) < 0.0025:
        return f"{got:g} % more jobs at 0.8 of the carbon is {0.8 * (1 + got / 100):.3f}, not 1"
    return None


def _run_carbon_g(energy_kwh, intensity):  # type: ignore[no-untyped-def]
    return sum(energy * grams for energy, grams in zip(energy_kwh, intensity, strict=True))


def _run_carbon_g_with_bug(energy_kwh, intensity):  # type: ignore[no-untyped-def]
    return sum(energy_kwh) * sum(intensity) / len(intensity)


def _nights(random: Random) -> tuple[list[float], list[float]]:
    hours = random.randint(2, 8)
    return [random.uniform(0, 10) for _ in range(hours)], [random.uniform(20, 900) for _ in range(hours)]


@exercise(
    "load-shifting-find-the-bug",
    reference=_run_carbon_g,
    inputs=_nights,
    bug=_run_carbon_g_with_bug,
    difficulty="easy",
    minutes=5,
    hints=("Try a job that draws 1 kWh in a clean hour and nothing in a dirty one.",),
)
def _(answer: Any) -> str | None:
    """Each hour's energy meets that hour's intensity; a mean over the hours forgets when the job drew."""
    if abs(answer([1.0, 0.0], [100.0, 500.0]) - 300) < 1e-6:
        return "1 kWh in an hour of 100 g/kWh and none in one of 500 give 300 g: the mean counts an hour without work"
    return None
