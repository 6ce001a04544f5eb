"""Chapter 9, load shifting: moves flexible computing to clean hours and clean regions, and compares it with the best.

Everything is simulated over the hours of `greenlab.core.grid.traces.Traces`; nothing is run. Without a capacity every
policy that optimizes is exact. With one, jobs that may pause share each region's room exactly; which region each takes,
jobs in one piece, paid pauses and which jobs to give up when not all can be on time are heuristics, which `bounds`
judges.

* `Jobs`, `workload`: the work; `Transfer`, `AR1`: moving it, and what is believed about the coming hours
* `simulate` with one of `POLICIES`, giving a `Schedule`: `metrics`, `timeline`, `missed`
* `bounds.optimum`, `bounds.linear_program`: what no schedule can beat, for jobs that stay in a region and for those
  that migrate
* `pareto`, `compare_signals`: carbon against cost, one signal against another

The loops are compiled by numba when they are first used, and kept on disk; `warm_up` does it before a reader waits.
"""

from greenlab.load_shifting import bounds, workload
from greenlab.load_shifting.forecast import AR1
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.pareto import compare_signals, pareto
from greenlab.load_shifting.policies import POLICIES, Policy
from greenlab.load_shifting.schedule import Schedule
from greenlab.load_shifting.simulate import SIGNALS, simulate
from greenlab.load_shifting.transfer import Transfer
from greenlab.load_shifting.warm import warm_up

__all__ = [
    "AR1",
    "POLICIES",
    "SIGNALS",
    "Jobs",
    "Policy",
    "Schedule",
    "Transfer",
    "bounds",
    "compare_signals",
    "pareto",
    "simulate",
    "warm_up",
    "workload",
]
