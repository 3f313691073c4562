"""What a machine's end may leave on the disk, at every point of a recorded life, and whether recovery copes.

The real daemon's system calls on its store are recorded with strace, data included. For a crash at any of them the
directory is rebuilt as a POSIX file system may have it then: what was not synced survives or does not, each directory
entry's change and each 512-byte sector for itself, and a file's length apart from its bytes. Recovery runs on each
such disk, gives a number, and runs again. Nothing that was acknowledged before the crash may be missing."""

import concurrent.futures
import os
import pathlib
import queue
import random
import re
import shutil
import subprocess
import tempfile
import time

from rig import Client, Daemon, Ledger, Skip, Trouble

SECTOR = 512
STRING_MAX = 300_000  # the longest write of the program is 256 KiB
PIPELINE = 8
SEED = 7
PLANTED_STATES = 30
PROBES = 2
KEPT_MAX = 10
TRACE_END_TIMEOUT_S = 20

MODELLED = ("openat", "pwrite64", "write", "ftruncate", "fsync", "fdatasync", "renameat", "renameat2", "unlinkat",
            "mkdirat", "mkdir", "sendto", "sendmsg", "writev")
# Would change a store in ways that the model does not know: their use is a reason to extend it.
FOREIGN = ("open", "creat", "pwritev", "pwritev2", "truncate", "fallocate", "copy_file_range", "sendfile", "splice",
           "rename", "unlink", "rmdir", "link", "linkat", "symlinkat", "sync_file_range", "msync", "io_uring_setup",
           "mmap")


# --- recording -------------------------------------------------------------------------------------------------------

def check_strace():
    if shutil.which("strace") is None:
        raise Skip("strace is not installed (tools/setup --test installs it)")
    probe = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        raise Skip(f"strace may not trace here: {probe.stderr.strip()}")


class Recording:
    """One life under strace. The tracer is the daemon's grandchild, so that the daemon is ours to signal."""

    def __init__(self, rig, directory, number):
        self.rig = rig
        self.trace = directory / f"trace-{number}"
        command = ["strace", "-D", "-f", "-y", "-xx", "-s", str(STRING_MAX), "--seccomp-bpf", "-o", str(self.trace),
                   "-e", "trace=" + ",".join(MODELLED + FOREIGN), "--", str(rig.tapd)]
        words = ("--state-dir", rig.store(directory), "--log-level", "warning")
        self.daemon = Daemon(command[0], directory, [*command[1:], "-n", "--no-keeper", *rig.service.words, *words],
                             environment=rig.environment, bare=True)
        if not self.daemon.ready:
            raise Trouble(f"the recorded daemon did not start: {self.daemon.said()}", code=1)

    def finish(self, stop):
        if stop:
            self.daemon.stop()
        else:
            self.daemon.kill()
        end = time.monotonic() + TRACE_END_TIMEOUT_S
        last = rf"^{self.daemon.process.pid} +\+\+\+ (exited|killed)".encode()
        while not re.search(last, self._tail(), re.MULTILINE):
            if time.monotonic() > end:
                raise Trouble("strace did not finish its record", code=1)
            time.sleep(0.02)
        self.daemon.end()

    def _tail(self):
        with open(self.trace, "rb") as file:
            file.seek(max(0, self.trace.stat().st_size - 4096))
            return file.read()


def record(rig, directory, requests):
    """A first life, one that resumes and is killed, one that recovers: the traces."""
    ledger = Ledger()
    traces = []
    for number, stop in ((1, True), (2, False), (3, True)):
        recording = Recording(rig, directory, number)
        try:
            client = Client(rig.service, ledger, recording.daemon.port)
            # The first life alone fills more than a segment when it is asked for enough.
            for turn in range(requests if number == 1 else min(requests, 60)):
                client.ask(PIPELINE if turn % 10 == 9 else 1)
            time.sleep(0.3)  # a barrier is written, and the next segment prepared
            client.ask()
            client.close()
        finally:
            recording.finish(stop)
        traces.append(recording.trace)
    if ledger.violations:
        raise Trouble("; ".join(ledger.violations[:5]), code=1)
    return traces, ledger.highest


# --- reading the record ----------------------------------------------------------------------------------------------

LINE = re.compile(r"^(\d+) +(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$")
HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
DESCRIPTOR = re.compile(r"^(?:-?\d+|AT_FDCWD)(?:<((?:\\x[0-9a-f]{2})*)>)?")


def unhex(text):
    return bytes.fromhex(text.replace("\\x", ""))


class CallRecord:
    """One system call: its arguments when it began, its result when it ended (None: it never did)."""

    def __init__(self, name, text):
        self.name = name
        parts = text.split('"')  # everything inside is hexadecimal
        if any(after.startswith("...") for after in parts[2::2]):
            raise Trouble(f"a {name} is longer than the record keeps", code=1)
        self.strings = [unhex(part) for part in parts[1::2]]
        self.arguments = '""'.join(parts[::2])
        self.result = None

    def end(self, text):
        found = re.search(r"= (-?\d+)(?:<[^>]*>)?(?: [A-Z].*)?$", text)
        self.result = int(found.group(1)) if found else None
        return self

    def path(self, argument=0):
        """What a descriptor leads to; nothing when that has no name any more."""
        text = self.arguments.split(", ")[argument]
        found = DESCRIPTOR.match(text)
        return "" if text.endswith(">(deleted)") else unhex(found.group(1) or "").decode("utf-8", "replace")

    def number(self, from_the_end=1):
        """An argument, counted from the last; the text ends with ') = RESULT' or with ' <unfinished ...>'."""
        inside = re.sub(r"(\)\s*= .*| <unfinished \.\.\.>)$", "", self.arguments)
        return int(inside.split(", ")[-from_the_end])


def read_trace(path):
    """Yields ("begin" or "end", call) in their order."""
    open_calls = {}
    with open(path, encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = LINE.match(line.rstrip("\n"))
            if not found:
                continue  # a signal, an exit
            pid, resumed, rest, name, arguments = found.groups()
            if resumed:
                call = open_calls.pop((pid, resumed), None)
                if call is not None:
                    yield "end", call.end(rest)
                continue
            call = CallRecord(name, arguments)
            yield "begin", call
            if arguments.endswith("<unfinished ...>"):
                open_calls[pid, name] = call
            else:
                yield "end", call.end(call.arguments)


# --- the disk --------------------------------------------------------------------------------------------------------

class Write:
    """Sectors as they are after it, and the file's length."""

    def __init__(self, sectors, size):
        self.sectors = sectors
        self.size = size
        self.done = False


class Inode:
    """A file: what is durable of it, and what was done since. Sectors that are all zeros are not kept."""

    def __init__(self):
        self.durable = {}
        self.durable_size = 0
        self.current = {}
        self.size = 0
        self.pending = []
        self.version = 0

    def write(self, offset, data):
        sectors = {}
        at = offset
        while at < offset + len(data):
            number, inside = divmod(at, SECTOR)
            piece = data[at - offset:at - offset + SECTOR - inside]
            if len(piece) < SECTOR:
                old = self.current.get(number, bytes(SECTOR))
                piece = old[:inside] + piece + old[inside + len(piece):]
            sectors[number] = piece
            at = (number + 1) * SECTOR
        self.current.update(sectors)
        self.size = max(self.size, offset + len(data))
        return self._add(Write(sectors, self.size))

    def truncate(self, size):
        self.size = size
        self.current = {number: piece for number, piece in self.current.items() if number * SECTOR < size}
        return self._add(Write({}, size))

    def _add(self, write):
        self.pending.append(write)
        self.version += 1
        return write

    def sync(self, covered):
        for write in covered:
            self.durable.update(write.sectors)
            self.durable_size = write.size
        self.durable = {n: piece for n, piece in self.durable.items() if piece.count(0) != SECTOR}
        self.pending = [write for write in self.pending if write not in covered]
        self.version += 1


class Change:
    """One change of directory entries: names that go, and (name, inode) that come."""

    def __init__(self, gone, come):
        self.gone = gone
        self.come = come
        self.done = False


class Directory:
    """Entries of the store, "quarantine/..." included."""

    def __init__(self):
        self.durable = {}
        self.current = {}
        self.pending = []

    def change(self, gone, come):
        change = Change(gone, come)
        apply_change(self.current, change)
        self.pending.append(change)
        return change

    def sync(self, covered):
        for change in covered:
            apply_change(self.durable, change)
        self.pending = [change for change in self.pending if change not in covered]


def apply_change(entries, change):
    for name in change.gone:
        entries.pop(name, None)
    for name, inode in change.come:
        entries[name] = inode


FOLDER = object()  # in the place of an inode: a directory inside the store


class Model:
    """Follows a record: what may be on the disk at each moment, and what has been acknowledged."""

    def __init__(self, rig, store, forgetful=False):
        self.rig = rig
        self.store = str(store)
        self.forgetful = forgetful
        self.directories = {".": Directory(), "quarantine": Directory()}
        self.acknowledged = 0
        self.effects = {}  # of calls that have begun

    def inside(self, path):
        if path == self.store:
            return "."
        return path[len(self.store) + 1:] if path.startswith(self.store + "/") else None

    def place(self, name):
        """The directory of a name inside the store, and its last part."""
        folder, _, last = name.rpartition("/")
        return self.directories[folder or "."], last

    def named(self, call, descriptor, name):
        base = call.path(descriptor)
        return self.inside(os.path.normpath(os.path.join(base, name.decode("utf-8", "replace"))))

    def begin(self, call):
        """Whether anything that matters has begun."""
        if call.name in FOREIGN:
            self.refuse_foreign(call)
            return False
        handler = getattr(self, "begin_" + call.name, None)
        effect = handler(call) if handler else None
        if effect is None:
            return False
        self.effects[id(call)] = effect
        return True

    def refuse_foreign(self, call):
        names = [*call.strings, *(unhex(text) for text in HEX.findall(call.arguments))]
        touches = any(self.store.encode() in name for name in names)
        if call.name == "mmap":
            touches = touches and "MAP_SHARED" in call.arguments and "PROT_WRITE" in call.arguments
        if call.name == "io_uring_setup" or touches:
            raise Trouble(f"the daemon uses {call.name}(2) on its store, which this model does not know", code=1)

    def end(self, call):
        """Whether the disk may look otherwise now."""
        if call.name == "openat":
            self.opened(call)
            return False
        effect = self.effects.pop(id(call), None)
        if effect is None:
            return False
        if call.name in ("fsync", "fdatasync"):
            target, covered = effect
            if call.result == 0 and not self.forgetful:
                target.sync(covered)
            return True
        if call.result is not None and call.result < 0 and isinstance(effect, (Write, Change)):
            raise Trouble(f"{call.name} failed while it was recorded; the model follows what succeeds", code=1)
        if isinstance(effect, (Write, Change)):
            effect.done = True
        return False

    # what calls do

    def opened(self, call):
        if call.result is None or call.result < 0:
            return
        name = self.named(call, 0, call.strings[0])
        if name is None or name in self.directories:
            return
        directory, last = self.place(name)
        if last not in directory.current:
            if "O_CREAT" not in call.arguments:
                raise Trouble(f"{name} was opened, and the record does not tell where it is from", code=1)
            directory.change([], [(last, Inode())]).done = True
        elif "O_TRUNC" in call.arguments:
            raise Trouble(f"{name} was truncated by opening it", code=1)

    def file(self, call):
        """The file or directory that a descriptor stands for; nothing when it is outside the store."""
        name = self.inside(call.path())
        if name is None or name in self.directories:
            return self.directories.get(name)
        directory, last = self.place(name)
        return directory.current.get(last)

    def begin_pwrite64(self, call):
        inode = self.file(call)
        return inode and inode.write(call.number(), call.strings[0])

    def begin_ftruncate(self, call):
        inode = self.file(call)
        return inode and inode.truncate(call.number())

    def begin_write(self, call):
        if self.file(call) is not None:
            raise Trouble("the daemon uses write(2) on its store, which this model does not know", code=1)
        if not call.path().startswith("socket:"):
            return None
        numbers = [line for line in call.strings[0].decode("ascii", "replace").split("\n") if line.isdigit()]
        for line in numbers:
            self.acknowledged = max(self.acknowledged, self.rig.service.number(line))
        return "reply" if numbers else None

    begin_sendto = begin_writev = begin_sendmsg = begin_write

    def begin_fsync(self, call):
        found = self.file(call)
        if found is None:
            return None
        return found, [pending for pending in found.pending if pending.done]

    begin_fdatasync = begin_fsync

    def begin_renameat(self, call):
        source, target = call.strings[:2]
        source = self.named(call, 0, source)
        target = self.named(call, 2, target)
        if source is None or target is None:
            return None
        from_directory, from_name = self.place(source)
        to_directory, to_name = self.place(target)
        inode = from_directory.current[from_name]
        if from_directory is to_directory:
            return from_directory.change([from_name], [(to_name, inode)])
        # Between directories: the file may be found in both, and in neither is not possible.
        to_directory.change([], [(to_name, inode)]).done = True
        return from_directory.change([from_name], [])

    begin_renameat2 = begin_renameat

    def begin_unlinkat(self, call):
        name = self.named(call, 0, call.strings[0])
        if name is None:
            return None
        directory, last = self.place(name)
        if last not in directory.current:
            return None
        return directory.change([last], [])

    def begin_mkdirat(self, call):
        name = self.named(call, 0, call.strings[0])
        if name is None or name == ".":
            return None  # the store's own directory: what is in it is looked at here
        if name != "quarantine":
            raise Trouble(f"a directory {name} in the store is not known to this model", code=1)
        directory, last = self.place(name)
        return None if last in directory.current else directory.change([], [(last, FOLDER)])


# --- what a crash leaves ---------------------------------------------------------------------------------------------

KINDS = ("nothing unsynced", "everything", "entries only", "bytes only", "torn last write", "sectors missing", "mixed")


class Crash:
    """Decides what survives."""

    def __init__(self, kind, rng):
        self.kind = kind
        self.rng = rng
        self.chance = rng.choice((0.1, 0.5, 0.9))
        self.decisions = []

    def keeps_change(self):
        if self.kind == "mixed":
            return self._decide(self.rng.random() < self.chance)
        return self._decide(self.kind not in ("nothing unsynced", "bytes only"))

    def sectors_of(self, write, last):
        """Those of a pending write that reached the disk."""
        numbers = sorted(write.sectors)
        if self.kind in ("nothing unsynced", "entries only"):
            kept = []
        elif self.kind == "sectors missing" and numbers:
            gone = self.rng.choice(numbers)
            kept = [number for number in numbers if number != gone]
        elif self.kind == "torn last write" and last:
            cut = self.rng.randrange(len(numbers) + 1)
            kept = numbers[:cut] if self.rng.random() < 0.5 else numbers[cut:]
        elif self.kind == "mixed":
            kept = [number for number in numbers if self.rng.random() < self.chance]
        else:
            kept = numbers
        self.decisions.append(tuple(kept) if len(kept) != len(numbers) else True)
        return kept

    def size_of(self, inode):
        sizes = [inode.durable_size] + [write.size for write in inode.pending]
        if self.kind in ("nothing unsynced", "entries only"):
            chosen = sizes[0]
        elif self.kind in ("mixed", "sectors missing"):
            chosen = self.rng.choice(sizes)
        else:
            chosen = sizes[-1]
        self.decisions.append(chosen)
        return chosen

    def _decide(self, kept):
        self.decisions.append(kept)
        return kept


def surviving_file(inode, crash):
    sectors = dict(inode.durable)
    for write in inode.pending:
        for number in crash.sectors_of(write, write is inode.pending[-1]):
            sectors[number] = write.sectors[number]
    return sectors, crash.size_of(inode)


def surviving_disk(model, crash):
    """{name: (sectors, size) or FOLDER}, and a signature that tells equal ones."""
    disk = {}
    signature = []
    for folder, directory in model.directories.items():
        entries = dict(directory.durable)
        for change in directory.pending:
            if crash.keeps_change():
                apply_change(entries, change)
        if folder != "." and "quarantine" not in disk:
            continue
        for name in sorted(entries):
            inode = entries[name]
            path = name if folder == "." else f"{folder}/{name}"
            crash.decisions = []
            disk[path] = FOLDER if inode is FOLDER else surviving_file(inode, crash)
            signature.append((path, id(inode), getattr(inode, "version", 0), tuple(crash.decisions)))
    return disk, hash(tuple(signature))


def write_disk(disk, directory):
    for name, content in disk.items():
        path = directory / name
        if content is FOLDER:
            path.mkdir()
            continue
        sectors, size = content
        with open(path, "wb") as file:
            if sectors:
                last = max(sectors)
                empty = bytes(SECTOR)
                file.write(b"".join(sectors.get(number, empty) for number in range(last + 1)))
            file.truncate(size)


# --- probing ---------------------------------------------------------------------------------------------------------

class Prober:
    """Hands disks to the probes and judges what they say. Thread: submit() from one."""

    def __init__(self, rig, ledger):
        self.rig = rig
        self.ledger = ledger
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tapd-torture-", dir=base))
        self.probes = queue.Queue()
        for _ in range(PROBES):
            self.probes.put(subprocess.Popen([rig.probe], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                             env={**os.environ, **rig.environment}))
        self.lanes = concurrent.futures.ThreadPoolExecutor(PROBES)
        self.results = []
        self.states = 0

    def submit(self, disk, acknowledged, where):
        self.states += 1
        directory = self.root / str(self.states)
        directory.mkdir(mode=0o700)
        write_disk(disk, directory)
        while len(self.results) > 8 * PROBES:
            self.results.pop(0).result()
        self.results.append(self.lanes.submit(self._probe, directory, acknowledged, where))

    def _probe(self, directory, acknowledged, where):
        probe = self.probes.get()
        try:
            probe.stdin.write(f"{directory}\n")
            probe.stdin.flush()
            said = probe.stdout.readline().strip()
        finally:
            self.probes.put(probe)
        problem = judge(said, acknowledged)
        if problem:
            kept = self.rig.root / f"disk-{directory.name}"
            if len(self.ledger.violations) < KEPT_MAX:
                shutil.copytree(directory, kept)
            self.ledger.violation(f"{where}: {problem} (what recovery made of it: {kept.name})")
        shutil.rmtree(directory)

    def close(self):
        for result in self.results:
            result.result()
        self.lanes.shutdown()
        while not self.probes.empty():
            probe = self.probes.get()
            probe.stdin.close()
            probe.wait()
        shutil.rmtree(self.root)


def judge(said, acknowledged):
    """What is wrong with a probe's answer; nothing when it is right."""
    words = said.split()
    if not words or words[0] != "recovered":
        return f"recovery {said or 'died'}; {acknowledged} had been acknowledged"
    given, again = int(words[1]), int(words[2])
    if given < acknowledged:
        return f"{given} numbers were recovered, {acknowledged} had been acknowledged"
    if given > acknowledged + PIPELINE:
        return f"{given} numbers were recovered, {acknowledged} had been acknowledged and at most {PIPELINE} asked for"
    if again != given + 1:
        return f"{given} numbers were recovered, one was given, and the next recovery knows {again}"
    return None


def choose_points(weights, states, rng):
    """How many disks to look at, at each point."""
    chosen = [0] * len(weights)
    for index in rng.choices(range(len(weights)), weights, k=states):
        chosen[index] += 1
    return chosen


def events_of(traces):
    """All lives' events in one list."""
    return [event for trace in traces for event in read_trace(trace)]


def weigh(rig, store, events):
    """A weight for each point: starts and stops are rarer than requests and more is at stake in them."""
    model = Model(rig, store)
    weights = []
    for what, call in events:
        if model.begin(call) if what == "begin" else model.end(call):
            entries = sum(len(directory.pending) for directory in model.directories.values())
            weights.append(4 if entries else 1)
    return weights


def crash_everywhere(rig, directory, events, chosen, ledger, forgetful=False):
    """Recovers the chosen number of disks at each point. How many, and the model at the end.

    `forgetful`: syncs are taken for nothing, so that violations have to be found."""
    prober = Prober(rig, ledger)
    model = Model(rig, rig.store(directory), forgetful)
    rng = random.Random(SEED)
    seen = set()
    point = -1
    try:
        for what, call in events:
            if not (model.begin(call) if what == "begin" else model.end(call)):
                continue
            point += 1
            for _ in range(chosen[point]):
                try_crash(model, prober, rng, seen, f"crash at point {point} ({what} of {call.name})")
    finally:
        prober.close()
    return prober.states, model


def file_content(inode):
    empty = bytes(SECTOR)
    return b"".join(inode.current.get(number, empty) for number in range(-(-inode.size // SECTOR)))[:inode.size]


def compare_with_store(model, store, ledger):
    """What the record says is in the store, and what is: a call that the model missed would make all worthless."""
    said = {}
    for folder, directory in model.directories.items():
        for name, inode in directory.current.items():
            if inode is not FOLDER:
                said[name if folder == "." else f"{folder}/{name}"] = inode
    found = {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}
    if found != set(said):
        ledger.violation(f"the store has {sorted(found)}, the record tells of {sorted(said)}")
        return
    for name, inode in said.items():
        if (store / name).read_bytes() != file_content(inode):
            ledger.violation(f"{name} is not what the record says")


def recorded(rig, options):
    """Disks as a machine's end may leave them, rebuilt from the recorded system calls of a real life."""
    check_strace()
    directory = rig.new_directory("recorded")
    traces, given = record(rig, directory, options.requests)
    events = events_of(traces)
    weights = weigh(rig, rig.store(directory), events)
    ledger = Ledger()
    chosen = choose_points(weights, options.states, random.Random(SEED))
    states, model = crash_everywhere(rig, directory, events, chosen, ledger)
    compare_with_store(model, rig.store(directory), ledger)
    if model.acknowledged != given:
        ledger.violation(f"the record shows {model.acknowledged} acknowledged numbers, the client got {given}")
    if options.prove_alarm:
        planted = Ledger()
        few = choose_points(weights, PLANTED_STATES, random.Random(SEED))
        crash_everywhere(rig, directory, events, few, planted, forgetful=True)
        if not planted.violations:
            ledger.violation("nothing is found when syncs are taken for nothing: this check is blind")
    rig.close_round(directory, "recorded", ledger)
    renamed = [call.strings[1] for what, call in events if what == "begin" and call.name == "renameat"]
    segments, archives = (sum(name.endswith(end) for name in renamed) for end in (b".wal", b".tap"))
    return (f"{states} different disks at {len(weights)} points of a life of {given} numbers, {segments} segments and "
            f"{archives} archives")


def try_crash(model, prober, rng, seen, where):
    """One disk that was not seen yet, if there is one left at this point."""
    for _ in range(2 * len(KINDS)):
        kind = rng.choice(KINDS)
        disk, signature = surviving_disk(model, Crash(kind, rng))
        if (signature, model.acknowledged) in seen:
            continue
        seen.add((signature, model.acknowledged))
        prober.submit(disk, model.acknowledged, f"{where}, {kind}")
        return
