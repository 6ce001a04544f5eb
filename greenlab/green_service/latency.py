"""Seconds until the first token and until the last, on a replica that is free. Waiting in a queue is left out.

A queue grows with the share of time in which replicas are busy, and nothing here says how requests arrive. While other
prompts are read, the batch waits too: the time of a whole answer counts one prompt for each request that leaves the
batch while it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenlab.green_service.design import Service
from greenlab.green_service.energy import Fleet, times

Number = Any


@dataclass(frozen=True)
class RequestLatency:
    """Seconds of one request without a queue: numbers, or arrays with one number a draw.

    Attributes:
        first_token_s: reading its prompt [s].
        token_s: between two tokens, without other prompts in between [s].
        total_s: until its last token, other prompts of the batch in between [s].
    """

    first_token_s: Number
    token_s: Number
    total_s: Number


def request_latency(service: Service, assumed: Mapping[str, Number], machines: Fleet) -> RequestLatency:
    """Latency of one request.

    Args:
        service: the design.
        assumed: numbers by name, or draws.
        machines: from `greenlab.green_service.energy.fleet`.
    """
    found = times(service, assumed, machines.devices_per_replica)
    others_s = (service.batch - 1) * found.reading_s  # the batch turns over once while an answer is written
    total_s = found.reading_s + service.output_tokens * found.step_s + others_s
    return RequestLatency(found.reading_s, found.step_s, total_s)
