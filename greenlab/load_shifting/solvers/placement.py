"""Sharing capacity among jobs that run in one piece or pay for their pauses: place one after the other, then improve.

Packing such jobs is NP-hard, so this is a heuristic: several orders are tried (least slack, earliest deadline, most
work first), each job takes the best place that is left, and then jobs are taken out and put back one at a time until
nothing improves. A job that finds no room may push out one that can go elsewhere. `bounds.linear_program` says how far
the result is at most from the best.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit
from greenlab.load_shifting.solvers.chunks import solve_one

EPS = 1e-9


@njit(cache=True)
def _best_piece(values, left, z, begin, end, size, power, earliest):
    """Cheapest start at which every step has room for the job, or the earliest such start.

    Returns the start (-1 for none), and its cost for 1 kW.

    The last step needs room for the part of it that is used.
    """
    whole = int(size + EPS)
    part = size - whole
    if part <= EPS:
        part = 0.0
    room = power * (1.0 - EPS)
    best, best_s = np.inf, -1
    free = 0  # steps with room in a row, up to the one looked at
    running = 0.0
    last = int(np.floor(end - size + EPS))
    for t in range(begin, last + whole):
        if left[z, t] >= room:
            free += 1
            running += values[z, t]
        else:
            free, running = 0, 0.0
        if free > whole:
            running -= values[z, t - whole]
        s = t - whole + 1
        if free >= whole and s >= begin and whole > 0:
            if part > 0.0 and left[z, s + whole] < room * part:
                continue
            cost = running + (part * values[z, s + whole] if part > 0.0 else 0.0)
            if cost < best:
                best, best_s = cost, s
            if earliest:
                break
    if whole == 0:
        for s in range(begin, last + 1):
            if left[z, s] >= room * part:
                cost = part * values[z, s]
                if cost < best:
                    best, best_s = cost, s
                if earliest:
                    break
    return best, best_s


@njit(cache=True)
def _book(left, z, start, stop, power):
    t = int(start + EPS)
    while t < stop - EPS:
        left[z, t] -= power * (min(stop, t + 1.0) - max(start, float(t)))
        t += 1


@njit(cache=True)
def _find(
    values,
    left,
    j,
    may,
    home,
    first,
    end,
    size,
    power,
    pausing,
    overhead,
    shortest,
    move_cost,
    move_steps,
    per_step,
    earliest,
):
    """Best place of one job in the room that is left: cost, zone, chunks.

    With ``earliest`` the wait for room counts before the cost.
    """
    best, best_z, best_chunks = np.inf, -1, np.zeros((0, 2))
    best_wait = (1 << 60) if earliest else 0  # without `earliest` no place waits, and the cost alone decides
    for z in range(values.shape[0]):
        begin = first[j] + move_steps[j, z]
        if not may[j, z] or end[j] - begin < size[j] - 1e-7:
            continue
        wait = 0
        if pausing[j]:
            stop = int(np.ceil(end[j] - EPS))
            row = values[z, begin:stop].copy()
            share = np.minimum(left[z, begin:stop] / power[j], 1.0)
            cost, chunks = solve_one(row, share, end[j] - begin, size[j], overhead[j], shortest[j], True)
            chunks = chunks + begin
        else:
            cost, s = _best_piece(values, left, z, begin, end[j], size[j], power[j], earliest)
            chunks = np.array([[float(s), s + size[j]]])
            if earliest:
                wait = s - begin
        cost = cost * per_step[j] + move_cost[j, z]
        if cost == np.inf or wait > best_wait:
            continue
        if wait < best_wait or cost < best or (cost == best and z == home[j]):
            best, best_z, best_chunks = cost, z, chunks
            if earliest:
                best_wait = wait
    return best, best_z, best_chunks


@njit(cache=True)
def _place(
    values,
    room,
    order,
    may,
    home,
    first,
    end,
    size,
    power,
    pausing,
    overhead,
    shortest,
    move_cost,
    move_steps,
    per_step,
    earliest,
    rounds,
):
    """Place jobs in an order, then take each out and put it back; return cost, zone and chunks of every job."""
    n = len(first)
    left, cost, zone = room.copy(), np.full(n, np.inf), np.full(n, -1)
    chunks = [np.zeros((0, 2)) for _ in range(n)]
    for r in range(rounds + 1):
        changed = False
        for j in order:
            if r > 0 and zone[j] >= 0:
                for c in range(len(chunks[j])):
                    _book(left, zone[j], chunks[j][c, 0], chunks[j][c, 1], -power[j])
            found, z, where = _find(
                values,
                left,
                j,
                may,
                home,
                first,
                end,
                size,
                power,
                pausing,
                overhead,
                shortest,
                move_cost,
                move_steps,
                per_step,
                earliest,
            )
            if found < cost[j] - 1e-9 * max(1.0, abs(found)):
                cost[j], zone[j], chunks[j] = found, z, where
                changed = True
            for c in range(len(chunks[j])):
                _book(left, zone[j], chunks[j][c, 0], chunks[j][c, 1], power[j])
        if not changed:
            break
    # a job without a place pushes one other job out of its way, if that one can go elsewhere
    for j in order:
        if zone[j] >= 0 or rounds == 0:
            continue
        for other in order:
            if zone[other] < 0 or not (chunks[other][0, 0] < end[j] and chunks[other][-1, 1] > first[j]):
                continue
            for c in range(len(chunks[other])):
                _book(left, zone[other], chunks[other][c, 0], chunks[other][c, 1], -power[other])
            mine, z, where = _find(
                values,
                left,
                j,
                may,
                home,
                first,
                end,
                size,
                power,
                pausing,
                overhead,
                shortest,
                move_cost,
                move_steps,
                per_step,
                earliest,
            )
            done = False
            if mine < np.inf:
                for c in range(len(where)):
                    _book(left, z, where[c, 0], where[c, 1], power[j])
                theirs, other_z, elsewhere = _find(
                    values,
                    left,
                    other,
                    may,
                    home,
                    first,
                    end,
                    size,
                    power,
                    pausing,
                    overhead,
                    shortest,
                    move_cost,
                    move_steps,
                    per_step,
                    earliest,
                )
                if theirs < np.inf:
                    cost[other], zone[other], chunks[other] = theirs, other_z, elsewhere
                    cost[j], zone[j], chunks[j] = mine, z, where
                    done = True
                else:
                    for c in range(len(where)):
                        _book(left, z, where[c, 0], where[c, 1], -power[j])
            for c in range(len(chunks[other])):
                _book(left, zone[other], chunks[other][c, 0], chunks[other][c, 1], power[other])
            if done:
                break
    return cost, zone, chunks
