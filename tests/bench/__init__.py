"""Speed, side by side: each ``bench_*.py`` has ``run()``, which gives a DataFrame or a list of them; ``make bench`` prints them.

Ratios, never asserted.
"""
