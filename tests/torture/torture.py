"""Tortures the real tapd: whatever kills it or fails below it, nothing a client was told is lost or repeated.

Each part ends with a sentence. Exit codes: 0 no violation, 1 violations (the evidence is kept and named), 64 usage,
69 something needed is missing, 77 this machine does not permit it."""

import argparse
import pathlib
import subprocess
import sys
import time

import lives
import recorded
from rig import ROOT, SERVICES, EXIT_SKIPPED, Rig, Skip, Trouble

PARTS = {
    "syscalls": lives.syscalls,
    "faults": lives.faults,
    "recorded": recorded.recorded,
}
TARGETS = ("tapd", "tap", "tap_recover_probe", "tap_faults")


def build(directory, *cmake_options):
    targets = [word for name in TARGETS for word in ("--target", name)]
    command = [ROOT / "tools/build", "--tests", "--no-setup", "--dir", directory, *targets, "--", *cmake_options]
    if subprocess.run(command, stdout=subprocess.DEVNULL).returncode != 0:
        raise Trouble("tools/build failed")


def run_part(name, options, build_dir, seeded_bug=None):
    """Prints the part's sentence. How many violations; None when it was skipped."""
    rig = Rig(build_dir, options.service, seeded_bug)
    rig.check_binaries()
    print(f"{name}: {PARTS[name].__doc__}", flush=True)
    began = time.monotonic()
    try:
        sentence = PARTS[name](rig, options)
    except Skip as reason:
        rig.finish()
        print(f"{name}: skipped, {reason}", flush=True)
        return None
    rig.finish()
    verdict = "no violation" if not rig.violations else f"{len(rig.violations)} VIOLATIONS, kept in {rig.root}"
    print(f"{name}: {sentence}: {verdict} ({time.monotonic() - began:.0f} s)", flush=True)
    return len(rig.violations)


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/torture", description=__doc__)
    parser.add_argument("what", choices=[*PARTS, "all"])
    parser.add_argument("--seconds", type=float, default=30, help="kill: for so long (%(default)s)")
    parser.add_argument("--rounds", type=int, help="syscalls, faults: so many points, sampled; otherwise all")
    parser.add_argument("--states", type=int, default=2000, help="recorded: so many disks (%(default)s)")
    parser.add_argument("--requests", type=int, default=1200, help="recorded: turns of the first life (%(default)s)")
    parser.add_argument("--service", choices=SERVICES, default="fibonacci")
    parser.add_argument("--no-build", action="store_true", help="torture the binaries that are there")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build", help="where they are (build)")
    options = parser.parse_args(arguments)
    options.build_dir = options.build_dir.resolve()
    return options


def main():
    options = parse(sys.argv[1:])
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
