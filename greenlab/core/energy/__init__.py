"""Joules of a block of code: counters, a power model where there are none, and receipts with a range and a basis."""

from greenlab.core.energy.meter import compare_backends, measure, measure_call
from greenlab.core.energy.receipt import Component, Receipt, grid_intensity, merge

__all__ = ["Component", "Receipt", "compare_backends", "grid_intensity", "measure", "measure_call", "merge"]
