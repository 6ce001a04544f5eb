"""Chapter 1, the footprint of generative AI: from device hours, watts and a grid to kilowatt-hours and grams.

* ``training``: `training_footprint`, from device hours or from FLOPs; idle machines and manufacture where they are
  known
* ``inference``: `inference_footprint` per query and per year; `answer_wh` from tokens
* ``datacentre``: `datacentre_energy` and its split, PUE, and fleets of servers
* ``sci``: the Software Carbon Intensity, ISO/IEC 21031
* ``rebound``: break-even, and what a saving is worth when people use more of it

Pure functions: every amount may be a number, a NumPy array or a pandas Series, and they broadcast. No amount is looked
up silently; a grid is named (``region=``) or given (``intensity_g_per_kwh=``), never assumed.
"""

from greenlab.footprint.datacentre import (
    DatacentreEnergy,
    datacentre_energy,
    overhead_share,
    servers_energy,
    split_energy,
)
from greenlab.footprint.inference import InferenceFootprint, answer_wh, inference_footprint
from greenlab.footprint.rebound import Rebound, break_even, rebound, uses_after_saving
from greenlab.footprint.sci import embodied_share, sci
from greenlab.footprint.training import TrainingFootprint, device_hours_of, training_flops, training_footprint

__all__ = ["DatacentreEnergy", "datacentre_energy", "overhead_share", "servers_energy", "split_energy"]
__all__ += ["InferenceFootprint", "Rebound", "answer_wh", "break_even", "inference_footprint", "rebound"]
__all__ += ["TrainingFootprint", "device_hours_of", "embodied_share", "sci", "training_flops", "training_footprint"]
__all__ += ["uses_after_saving"]
