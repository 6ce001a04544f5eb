"""What every chapter stands on. Import the module you need: ``from greenlab.core import cost``."""
