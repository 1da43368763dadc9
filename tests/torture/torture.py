# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs one campaign: the inner half of ./run."""

import argparse
import importlib
import os
import random
import sys
import time
import traceback
from pathlib import Path

from box import Box

DEFAULT_ROUNDS = {"kill": 500, "power": 100, "hostile": 10000, "faults": 100, "ties": 500}
FAILURES_MAX = 5


class Skip(Exception):
    """It cannot be tried here."""


def attempt(campaign, seed):
    """One round; returns whether all is well. What a round does depends on its seed alone."""
    campaign.note = []
    try:
        campaign.round(random.Random(seed), seed)
        return True
    except Exception:
        trace = traceback.format_exc().splitlines()
        print(f"FAILED: {campaign.name}, seed {seed}: {'; '.join(campaign.note)}", *trace[-12:], sep="\n    ")
        rounds = f"--rounds {campaign.batch}"
        print(f"    replay: tests/torture/run {campaign.name} {rounds} --seed {seed}", flush=True)
        return False


def main():
    parser = argparse.ArgumentParser(prog="tests/torture/run")
    parser.add_argument("campaign", choices=DEFAULT_ROUNDS)
    parser.add_argument("--rounds", type=int, help="default: kill and ties 500, power and faults 100, hostile 10000")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; the next ones count on from there")
    parser.add_argument("--verbose", action="store_true", help="say what each round does")
    options = parser.parse_args()
    name, rounds = options.campaign, options.rounds or DEFAULT_ROUNDS[options.campaign]

    begun = time.monotonic()
    n_failed = done = 0
    seed = options.seed
    box = campaign = None
    while done < rounds and n_failed < FAILURES_MAX:
        if not campaign:
            box = Box("torture")
            campaign = importlib.import_module(f"campaign_{name}").Campaign(box, rounds, seed)
            campaign.name = name
            try:
                campaign.start()
            except Skip as e:
                print(f"skipped: {e}", file=sys.stderr)
                return 77
        good = attempt(campaign, seed)
        done += campaign.batch
        seed += 1
        if options.verbose:
            print(f"seed {seed - 1}: {'; '.join(campaign.note)}", flush=True)
        if not good:
            n_failed += 1
            directory = Path(os.environ["AGENTD_FAILURES"], f"torture-{name}-{seed - 1}")
            try:
                box.save(directory)
                print(f"    box: {directory}")
            except Exception as e:
                print(f"    (box not saved: {e})")
        if not good and done < rounds:
            campaign.finish()
            box.destroy()  # the next one begins with a fresh one
            campaign = None
    figures = campaign.finish() if campaign else ""
    print(f"{name}: {done} rounds from seed {options.seed} on in {time.monotonic() - begun:.0f} s, "
          f"{n_failed} failed{'; ' if figures else ''}{figures}")
    if campaign:
        box.destroy()
    return 1 if n_failed else 0


if __name__ == "__main__":
    sys.modules["torture"] = sys.modules["__main__"]
    sys.exit(main())
