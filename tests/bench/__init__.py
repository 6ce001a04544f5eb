"""Benchmarks: each ``bench_*.py`` has ``run()``, which returns a DataFrame or a list of them.

``make bench`` prints them. The results are ratios; no test asserts them.
"""
