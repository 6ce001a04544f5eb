"""Load shifting."""

from greenlab.load_shifting import workload
from greenlab.load_shifting.forecast import AR1
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.policies import POLICIES, Policy
from greenlab.load_shifting.schedule import Schedule
from greenlab.load_shifting.simulate import SIGNALS, simulate
from greenlab.load_shifting.transfer import Transfer

__all__ = ["AR1", "POLICIES", "SIGNALS", "Jobs", "Policy", "Schedule", "Transfer", "simulate", "workload"]
