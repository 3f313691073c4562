"""Whether the torture finds what it is for: a build with one known bug at a time (state/base/seeded.hpp)."""

import copy
import re

from rig import ROOT, Trouble

# Which parts look for a bug, the likeliest first.
FOUND_BY = {
    "reply_before_durable": ("slow-sync", "recorded"),
    "no_data_sync": ("recorded", "syscalls"),
    "rename_before_sync": ("recorded", "syscalls"),
    "no_directory_sync": ("recorded", "syscalls"),
    "append_after_tear": ("syscalls", "recorded"),
    "early_removal": ("syscalls", "recorded"),
}
PARTS = ("recorded", "syscalls", "slow-sync")


def named_bugs():
    text = (ROOT / "state/base/seeded.hpp").read_text(encoding="utf-8")
    return re.findall(r'///< "(\w+)"', text)


def small(options):
    """A run that finds, not one that proves."""
    made = copy.copy(options)
    made.states, made.requests, made.rounds, made.slow_rounds = 300, 40, 60, 2
    return made


def hunt(bug, run_part, options):
    """The parts that found the bug, with how often: all that were tried, up to the first that did."""
    for part in FOUND_BY[bug]:
        found = run_part(part, bug)
        if found:
            return part, found
    return None, 0


def seeded(run_part, options):
    """`run_part(name, bug or None)` tells how many violations. The exit code."""
    missing = set(named_bugs()) ^ set(FOUND_BY)
    if missing:
        raise Trouble(f"seeded.hpp and seeded.py do not name the same bugs: {', '.join(sorted(missing))}", code=1)
    clean = sum(run_part(part, None) or 0 for part in PARTS)
    rows = [(bug, *hunt(bug, run_part, options)) for bug in FOUND_BY]
    print(f"\n  {'bug':<22} {'caught by':<12} {'violations':>10}")
    for bug, part, found in rows:
        print(f"  {bug:<22} {part or 'NOTHING':<12} {found:>10}")
    print(f"  {'(none)':<22} {'-' if not clean else 'ALARM':<12} {clean:>10}")
    missed = [bug for bug, part, _ in rows if part is None]
    verdict = f"{len(rows) - len(missed)} of {len(rows)} seeded bugs were caught"
    if missed:
        verdict += f", not {', '.join(missed)}"
    print(f"seeded: {verdict}; without one there were {clean} violations", flush=True)
    return int(bool(missed or clean))
