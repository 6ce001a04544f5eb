"""greenlab: an interactive textbook and lab on sustainable generative AI.

The map of the book (each chapter has one name, the same everywhere; ``core.chapters`` lists them):

* ``greenlab.core``: what every chapter stands on: facts, assets, the energy meter, hourly grids, a small GPT and its
  cost
* ``greenlab.lab``: the toolkit of the page: charts, widgets, receipts, predictions, exercises, the ledger
* ``greenlab.<chapter>``: the technique's files; ``study``, the long run behind its charts; ``view``, what the reader
  sees

Importing this package loads nothing heavy; torch is imported by the module that needs it.
"""

__version__ = "0.1.0"
