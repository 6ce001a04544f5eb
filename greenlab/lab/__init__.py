"""What the reader sees: charts, widgets, receipts, predictions, exercises and the book's ledger.

A chapter starts with ``from greenlab.lab import setup; setup()`` and then takes what it needs from here:

* ``predict`` and ``reveal``: commit to a number before seeing it (``predictions``)
* ``check``: the exercises, with hints (``exercises``)
* ``table``: a DataFrame as a table for a reader (``tables``)
* ``show_source`` and ``show_receipt``: the package's code, and what a run cost (``source``, ``receipts``)
* ``keep_receipts``: the same for a chapter that shows its receipts in a form of its own
* ``ledger``: what each chapter saved, and how the savings stack (``ledger``)

Charts (``charts``) and explorers (``widgets``) are used by the chapters' own files in this package. This is the only
place of greenlab that displays anything.
"""

from greenlab.core.machine import release_memory
from greenlab.lab import ledger
from greenlab.lab.environment import setup
from greenlab.lab.exercises import check
from greenlab.lab.predictions import calibration, predict, reveal
from greenlab.lab.receipts import keep_receipts, show_receipt
from greenlab.lab.source import show_source
from greenlab.lab.tables import table

__all__ = ["calibration", "check", "ledger", "predict", "reveal", "setup", "show_receipt", "show_source"]
__all__ += ["keep_receipts", "release_memory", "table"]
