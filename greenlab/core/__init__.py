"""The code that all chapters use. Import the module you need: ``from greenlab.core.model import cost``."""
