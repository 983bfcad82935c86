#!/usr/bin/env python3
"""Would a pool that workers share save connections? A simulation of more workers than a test machine has.

    benches/curves/pools.py [SEED]

Requests arrive by chance (Poisson), each at a worker and for an endpoint by chance, and hold a connection
for a time (exponential, 20 ms on average). A connection that becomes idle goes back to where it came from,
and may be taken again for as long as `trust_idle` (3 s); the latest one first. Three designs:

- own: each worker keeps its own connections. That is what Switchback does: no lock, no other thread.
- overflow: a worker keeps one idle connection for each endpoint; others go to a store for all workers, and
  whoever has none looks there.
- shared: one store for all workers; no design can reuse more.

It says how many requests found a connection, how many connections were opened a second, and how many were
open on average, idle ones too. It leaves out what sharing costs: a lock or an atomic queue for
each request, and sockets that move between the event loops of two threads, which is two system calls.
"""

import heapq
import random
import sys

HOLD, TRUST, ENDPOINTS, WARM = 0.02, 3.0, 10, 10.0
KEEPS = {"own": None, "overflow": 1, "shared": 0}


def simulate(design, workers, rate, seed):
    """Share of requests that found a connection, openings a second, connections open on average."""
    chance, keep = random.Random(seed), KEEPS[design]
    pools = {}
    ends, now, until = [], 0.0, WARM + max(20.0, 20_000 / rate)
    found = asked = opened = 0
    area = 0.0

    def take(store):
        nonlocal area
        while store:
            since = store.pop()
            if now - since < TRUST:
                area += now - since if now > WARM else 0
                return True
            area += TRUST * (1 + len(store)) if now > WARM else 0
            store.clear()  # those below have been idle for longer
        return False

    while now < until:
        now += chance.expovariate(rate)
        while ends and ends[0][0] <= now:
            end, worker, endpoint = heapq.heappop(ends)
            own = pools.setdefault((worker, endpoint), [])
            home = own if keep is None or len(own) < keep else pools.setdefault(endpoint, [])
            home.append(end)
        worker, endpoint = chance.randrange(workers), chance.randrange(ENDPOINTS)
        hit = take(pools.get((worker, endpoint), [])) or (keep is not None and take(pools.get(endpoint, [])))
        hold = chance.expovariate(1 / HOLD)
        heapq.heappush(ends, (now + hold, worker, endpoint))
        if now > WARM:
            asked, found, opened, area = asked + 1, found + hit, opened + (not hit), area + hold
    left = sum(min(TRUST, now - since) for store in pools.values() for since in store)
    return found / asked, opened / (until - WARM), (area + left) / (until - WARM)


def main():
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print(f"seed {seed}; {ENDPOINTS} endpoints; reused | opened a second | open on average\n")
    print("| requests a second | workers | " + " | ".join(KEEPS) + " |\n|--:|--:|" + "--:|" * len(KEEPS))
    for rate in (10, 100, 1_000, 10_000):
        for workers in (1, 4, 16, 64):
            cells = [simulate(design, workers, rate, seed) for design in KEEPS]
            shown = (f"{reused:.1%} | {opened:,.1f} | {open_:,.0f}".replace(" | ", ", ") for reused, opened, open_ in cells)
            print(f"| {rate:,} | {workers} | " + " | ".join(shown) + " |", flush=True)


main()
