"""Short scripted lives of a daemon, ended or hit by an error at every call on its store, one call after the other."""

import concurrent.futures
import errno
import random
import shutil

from rig import Client, Cut, Ledger, Trouble

LANES = 2
FAULT_LANES = 6  # these mostly wait: for a disk that has room again, or for a client's patience to end
SAMPLE_SEED = 20
SCRIPT_TIMEOUT_S = 4  # an answer that waits for a full disk comes after a second or more
ERRORS = ("EIO", "ENOSPC", "EROFS")
EXIT_CODES_WITH_ERRORS = (0, 65, 70, 73, 77)
EXIT_IO = 70


class Bases:
    """Stores to begin from, each with the ledger of its past: none, one that was stopped, one that was not."""

    def __init__(self, rig):
        self.rig = rig
        self.made = {"first": (None, 0)}
        self.made["resume"] = (self._live(stop=True), 5)
        torn = self._live(stop=False)
        self._tear(torn)
        self.made["recover"] = (torn, 5)

    def _live(self, stop):
        directory = self.rig.new_directory("base")
        ledger = Ledger()
        with self.rig.daemon(directory) as daemon:
            client = Client(self.rig.service, ledger, daemon.port)
            for _ in range(5):
                client.ask()
            if stop:
                daemon.stop()
            else:
                daemon.kill()
        assert ledger.highest == 5 and not ledger.violations
        return directory

    def _tear(self, directory):
        """Half a batch behind the last whole one, as a write that was under way leaves it."""
        segment = max(self.rig.store(directory).glob("*-[0-9]*.wal"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
        content = segment.read_bytes()
        used = len(content.rstrip(b"\0"))
        offset = -(-used // 4096) * 4096
        with open(segment, "r+b") as file:
            file.seek(offset)
            file.write(random.Random(SAMPLE_SEED).randbytes(700))

    def take(self, name, what):
        """A fresh copy of a base, and its ledger."""
        source, told = self.made[name]
        directory = self.rig.new_directory(what, source)
        ledger = Ledger()
        for number in range(1, told + 1):
            ledger.tell(number, ledger.ask())
        return directory, ledger

    def remove(self):
        for directory, _ in self.made.values():
            if directory:
                shutil.rmtree(directory)


def script(rig, daemon, ledger):
    """The life: a few requests, some at once, another connection, a clean stop. The exit code."""
    if not daemon.ready:
        return daemon.process.returncode
    try:
        one = Client(rig.service, ledger, daemon.port, SCRIPT_TIMEOUT_S)
        for _ in range(3):
            one.ask()
        other = Client(rig.service, ledger, daemon.port, SCRIPT_TIMEOUT_S)
        other.ask(4)
        one.ask()
        one.close()
        other.close()
    except Cut:
        pass
    return daemon.stop()


def read_log(directory):
    """The calls on the store: (number, pid, call, name, result)."""
    path = directory / "calls.log"
    if not path.exists():
        return []
    return [line.split(" ", 4) for line in path.read_text(encoding="utf-8").splitlines()]


def live_once(rig, bases, base, what, check, **plan):
    """One life with one fault, and what has to be true afterwards. Whether the fault was met."""
    directory, ledger = bases.take(base, "life")
    plan["log"] = directory / "calls.log"
    with rig.daemon(directory, rig.preload(directory, **plan)) as daemon:
        code = script(rig, daemon, ledger)
        said = daemon.said()
    calls = read_log(directory)
    met = len(calls) if "at" not in plan else max((int(call[0]) for call in calls), default=0) >= plan["at"]
    check(ledger, calls, code, said)
    rig.check_afterwards(directory, ledger)
    rig.close_round(directory, f"{what} ({base}, call {plan.get('at', '-')})", ledger)
    return met


def count_calls(rig, bases, base):
    return live_once(rig, bases, base, "no fault", check_clean)


def check_clean(ledger, _calls, code, said):
    if code != 0:
        ledger.violation(f"without a fault it ended with {code}: {said}")


def check_killed(_ledger, _calls, _code, _said):
    pass


def check_error(ledger, calls, code, said):
    """What a daemon may do when a call fails."""
    if code not in EXIT_CODES_WITH_ERRORS:
        ledger.violation(f"after an error it ended with {code}: {said}")
    failed = {}
    for number, pid, call, name, result in calls:
        if call == "sent":
            ledger.violation("a reply left after a sync had failed")
        if call not in ("fdatasync", "fsync") or name == ".":
            continue
        if (pid, name) in failed:
            ledger.violation(f"call {number}: {name} was synced again after its sync had failed at {failed[pid, name]}")
        if result == f"injected-{errno.EIO}":
            failed[pid, name] = number
            # A seal that fails at a clean stop costs nothing: the archive that follows holds everything.
            saved = any(later[2] == "renameat" and later[3].endswith(".tap") and later[4] == "ok" and
                        int(later[0]) > int(number) for later in calls)
            if name.endswith(".wal") and code != EXIT_IO and not (code == 0 and saved):
                ledger.violation(f"the journal's sync failed at call {number} and it ended with {code}, not {EXIT_IO}")


def run_points(rig, bases, points, lanes_max):
    """Points: (base, what, check, plan). How many were met."""
    lanes = concurrent.futures.ThreadPoolExecutor(lanes_max)
    try:
        done = [lanes.submit(live_once, rig, bases, base, what, check, **plan) for base, what, check, plan in points]
        return sum(1 for result in done if result.result())
    finally:
        lanes.shutdown(cancel_futures=True)


def sample(points, rounds):
    if rounds is None or rounds >= len(points):
        return points
    return random.Random(SAMPLE_SEED).sample(points, rounds)


def prove_alarm(rig, bases):
    """A store that has lost its journal must not pass."""
    directory, ledger = bases.take("recover", "planted")
    for segment in rig.store(directory).glob("*.wal"):
        segment.unlink()
    rig.check_afterwards(directory, ledger)
    shutil.rmtree(directory)
    if not ledger.violations:
        raise Trouble("a store without its journal passes: this check is blind", code=1)


def syscalls(rig, options):
    """SIGKILL before every call on the store, and inside every write."""
    bases = Bases(rig)
    points = []
    for base in bases.made:
        calls = count_calls(rig, bases, base)
        print(f"  a life that begins with '{base}' makes {calls} calls on its store")
        # Threads make the count of one life differ from another's by a few.
        for at in range(1, calls + 4):
            points.append((base, "killed before", check_killed, {"at": at, "do": "kill"}))
            points.append((base, "torn", check_killed, {"at": at, "do": "tear"}))
    points = sample(points, options.rounds)
    prove_alarm(rig, bases)
    met = run_points(rig, bases, points, LANES)
    bases.remove()
    return f"{met} kills at {len(points)} points (the others lay behind the life's end)"


def faults(rig, options):
    """Every call on the store fails, once or from there on, with EIO, ENOSPC or EROFS."""
    bases = Bases(rig)
    points = []
    for base in bases.made:
        calls = count_calls(rig, bases, base)
        for name in ERRORS:
            for onwards in (0, 1):
                for at in range(1, calls + 1):
                    plan = {"at": at, "do": getattr(errno, name), "onwards": onwards}
                    points.append((base, f"{name}{' from there on' if onwards else ''}", check_error, plan))
    points = sample(points, options.rounds)
    met = run_points(rig, bases, points, FAULT_LANES)
    bases.remove()
    return f"{met} failing calls at {len(points)} points"
