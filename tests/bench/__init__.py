"""Speed, side by side: each ``bench_*.py`` has ``run() -> DataFrame``; ``make bench`` prints them. Ratios, never asserted."""
