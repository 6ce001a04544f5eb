"""greenlab: an interactive textbook and lab on sustainable generative AI.

The map of the book (each chapter has one name, the same everywhere):

* ``greenlab.core``: what every chapter stands on: facts, assets, the energy meter, the cost model,
  hourly grids, a small GPT
* ``greenlab.footprint``: chapter 1, from device hours, watts and a grid to kilowatt-hours and grams
* ``greenlab.hardware``: chapter 2, what limits a chip: rooflines of real chips, models and your own machine
* ``greenlab.layer_pruning``: chapter 6, dropping the layers a model does not need
* ``greenlab.ternary``: chapter 7, weights of three values, packed and fast
* ``greenlab.load_shifting``: chapter 9, moving flexible work to clean hours and regions
* ``greenlab.studies``: the long runs behind the charts, with their committed results
* ``greenlab.lab``: what the reader sees: charts, widgets, receipts, exercises

Importing this package loads nothing heavy; torch is imported by the module that needs it.
"""

__version__ = "0.1.0"
