"""Tortures the real tapd: whatever kills it or fails below it, nothing a client was told is lost or repeated.

Each part ends with a sentence. Exit codes: 0 no violation, 1 violations (the evidence is kept and named), 64 usage,
69 something needed is missing, 77 this machine does not permit it."""

import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import disks
import killing
import lives
import recorded
import seeded
from rig import EXIT_SKIPPED, ROOT, SERVICES, Rig, Skip, Trouble

PARTS = {
    "kill": killing.kill,
    "syscalls": lives.syscalls,
    "faults": lives.faults,
    "recorded": recorded.recorded,
    "disk-full": disks.disk_full,
    "slow-sync": disks.slow_sync,
}
SHORT = {"seconds": 4, "rounds": 16, "states": 80, "requests": 30, "full_rounds": 1, "slow_rounds": 2,
         "prove_alarm": True}
TARGETS = ("tapd", "tap", "tap_recover_probe", "tap_faults")


def build(directory, *cmake_options):
    targets = [word for name in TARGETS for word in ("--target", name)]
    command = [ROOT / "tools/build", "--tests", "--dir", directory, *targets, "--", *cmake_options]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise Trouble("tools/build failed")


def run_part(name, options, build_dir, seeded_bug=None, expected=False):
    """Prints the part's sentence. How many violations (not kept when they are expected); None when it was skipped."""
    rig = Rig(build_dir, options.service, seeded_bug, quiet=expected)
    rig.check_binaries()
    print(f"{name}: {PARTS[name].__doc__}" + (f" With the bug {seeded_bug}." if seeded_bug else ""), flush=True)
    began = time.monotonic()
    try:
        sentence = PARTS[name](rig, options)
    except Skip as reason:
        print(f"{name}: skipped, {reason}", flush=True)
        return None
    finally:
        if not rig.violations or expected:
            shutil.rmtree(rig.root, ignore_errors=True)
    kept = "as expected" if expected else f"kept in {rig.root}"
    verdict = "no violation" if not rig.violations else f"{len(rig.violations)} VIOLATIONS, {kept}"
    print(f"{name}: {sentence}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return len(rig.violations)


def run_seeded(options):
    directory = ROOT / "build-seeded"
    if not options.no_build:
        build(directory, "-DTAP_SEEDED_BUGS=ON")
    few = seeded.small(options)
    return seeded.seeded(lambda name, bug: run_part(name, few, directory, bug, expected=bug is not None), options)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/torture", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*PARTS, "seeded", "all"], help="; ".join(
        [*(f"{name}: {part.__doc__}" for name, part in PARTS.items()),
         "seeded: Known bugs, compiled in one at a time, are found.", "all: all of them but seeded"]))
    parser.add_argument("--seconds", type=float, default=30, help="kill: for so long (%(default)s)")
    parser.add_argument("--rounds", type=int, help="syscalls, faults: so many points, sampled; otherwise all")
    parser.add_argument("--states", type=int, default=2000, help="recorded: so many disks (%(default)s)")
    parser.add_argument("--requests", type=int, default=1200, help="recorded: turns of the first life (%(default)s)")
    parser.add_argument("--full-rounds", type=int, default=3, help="disk-full: times (%(default)s)")
    parser.add_argument("--slow-rounds", type=int, default=5, help="slow-sync: pairs of requests (%(default)s)")
    parser.add_argument("--prove-alarm", action="store_true",
                        help="recorded: take syncs for nothing once more, which has to be noticed")
    parser.add_argument("--short", action="store_true", help="a little of everything, for tools/test")
    parser.add_argument("--service", choices=SERVICES, default="fibonacci",
                        help="kill, syscalls, faults: which one (%(default)s)")
    parser.add_argument("--no-build", action="store_true", help="torture the binaries that are there")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build", help="where they are (build)")
    options = parser.parse_args(arguments)
    options.build_dir = options.build_dir.resolve()
    if options.short:
        vars(options).update(SHORT)
    return options


def stop_on_signal(_number, _frame):
    raise KeyboardInterrupt


def main():
    options = parse(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop_on_signal)
    if options.what == "seeded":
        return run_seeded(options)
    if not options.no_build:
        build(options.build_dir)
    if options.what != "all":
        found = run_part(options.what, options, options.build_dir)
        return EXIT_SKIPPED if found is None else int(found > 0)
    found = [run_part(name, options, options.build_dir) for name in PARTS]
    return int(any(found))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"tools/torture: {trouble}", file=sys.stderr)
        sys.exit(trouble.code)
    except KeyboardInterrupt:
        sys.exit(130)
