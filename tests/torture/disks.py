"""Disks that are full, and disks that are slow."""

import contextlib
import select
import socket
import subprocess
import threading
import time

from rig import Client, Cut, Daemon, Fibonacci, Ledger, Skip

SMALL_DISK = "48m"  # room for the journal of two archives, at 16 MiB each, and a little more
TINY_DISK = "24m"  # room for one journal, and for no second
OUTGROWN_NUMBERS = 12000
OUTGROWN_MAX_S = 20  # a compaction that finds no room is tried again after 5 s
BATCHES_MAX = 6000  # a segment holds about a thousand, and the next one is ready already
RESUME_MAX_S = 2.0
FULL_FOR_S = 2.5
QUICK_MAX_S = 0.4
SYNC_DELAY_MS = 500
EARLIEST_S = 0.4
EXIT_FULL = (70, 73)

CONFIG = """[application]
name = "Disks"
durability = "strict"

[[service]]
name = "lines"
kind = "fibonacci"
listen = ["tcp:0:interface=127.0.0.1"]
[service.options]
framing = "line"

[[service]]
name = "plain"
kind = "fibonacci"
listen = ["tcp:0:interface=127.0.0.1"]

[[service]]
name = "echo"
kind = "echo"
listen = ["tcp:0:interface=127.0.0.1"]
"""


def start(rig, directory, store, environment=None):
    """Three services in one daemon: two that change the journal, and one that has no state."""
    config = directory / "tapd.toml"
    config.write_text(CONFIG, encoding="utf-8")
    words = ("-c", config, "--state-dir", store, "--log-level", "warning")
    return Daemon(rig.tapd, directory, words, environment={**rig.environment, **(environment or {})}, endpoints=3)


class Echo:
    """Asks the echo service, again and again when it runs as a thread, and keeps the longest time."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.longest_s = 0.0
        self.answers = 0
        self.failed = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self):
        began = time.monotonic()
        self.socket.sendall(b"x" * 64)
        if len(self.socket.recv(64, socket.MSG_WAITALL)) != 64:
            raise Cut("the echo service hung up")
        self.longest_s = max(self.longest_s, time.monotonic() - began)
        self.answers += 1

    def _run(self):
        try:
            while not self._ending.wait(0.02):
                self.ask()
        except (OSError, Cut) as error:
            self.failed = str(error)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        self._thread.join()
        self.socket.close()

    def judge(self, ledger, when):
        if self.failed:
            ledger.violation(f"the echo service failed {when}: {self.failed}")
        elif self.longest_s > QUICK_MAX_S:
            ledger.violation(f"the echo service took {self.longest_s:.2f} s {when}")


# disk-full

@contextlib.contextmanager
def small_disk(directory, size=SMALL_DISK):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", directory],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        raise Skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def fill(path):
    with open(path, "wb", buffering=0) as file:
        for piece in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * piece)


def ask_until_refused(client, ledger):
    for batches in range(1, BATCHES_MAX + 1):
        if client.ask():
            return batches
    ledger.violation(f"the disk is full, and {BATCHES_MAX} batches were accepted")
    return BATCHES_MAX


def check_plain(port, ledger):
    """Without a framing there is no way to say no but to hang up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        plain.sendall(b"?")
        try:
            answer = plain.recv(100)
        except ConnectionResetError:
            answer = b""
        if answer:
            ledger.violation(f"framing none answered {answer[:40]} on a full disk")


def be_full(daemon, client, filler, ledger):
    """From the first refusal to the first number after there is room again: batches until then, seconds until now."""
    fill(filler)
    batches = ask_until_refused(client, ledger)
    with Echo(daemon.ports["echo"]) as echo:
        check_plain(daemon.ports["plain"], ledger)
        end = time.monotonic() + FULL_FOR_S
        while time.monotonic() < end:
            if not client.ask():
                ledger.violation("a change was accepted while the disk was full")
            time.sleep(0.05)
    echo.judge(ledger, "while the disk was full")
    filler.unlink()
    began = time.monotonic()
    while client.ask():
        if time.monotonic() - began > RESUME_MAX_S:
            ledger.violation(f"changes are still refused {RESUME_MAX_S} s after there is room")
            break
        time.sleep(0.02)
    return batches, time.monotonic() - began


def start_when_full(rig, directory, store, filler, ledger):
    """Killed while the disk is full, started on the full disk, and started again with room."""
    fill(filler)
    with start(rig, directory, store) as daemon:
        if daemon.ready:
            daemon.kill()
        elif daemon.process.returncode not in EXIT_FULL:
            ledger.violation(f"a start on a full disk ended with {daemon.process.returncode}: {daemon.said()}")
    filler.unlink()
    with start(rig, directory, store) as daemon:
        if not daemon.ready:
            ledger.violation(f"after a full disk it ended with {daemon.process.returncode}: {daemon.said()}")
            return
        Client(rig.service, ledger, daemon.ports["lines"]).ask()
        ledger.settle()
        code = daemon.stop()
        if code != 0:
            ledger.violation(f"the clean stop ended with {code}: {daemon.said()}")


def outgrow(rig, ledger):
    """A disk that holds little more than one journal: what fills it is let go. The longest refusal, in seconds."""
    directory = rig.new_directory("disk-outgrown")
    mount = directory / "disk"
    mount.mkdir()
    longest, since = 0, None
    with small_disk(mount, TINY_DISK), start(rig, directory, mount / "store") as daemon:
        client = Client(rig.service, ledger, daemon.ports["lines"])
        before = ledger.refused
        while len(client.ledger.told) < OUTGROWN_NUMBERS or since is not None:
            if client.ask() == 0:
                if since is not None:
                    longest, since = max(longest, time.monotonic() - since), None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > OUTGROWN_MAX_S:
                ledger.violation(f"the journal has filled the disk, and changes are still refused after {OUTGROWN_MAX_S} s")
                break
            time.sleep(0.02)
        if ledger.refused == before:
            ledger.violation("the disk did not become full")
        ledger.settle()
        daemon.stop()
    rig.close_round(directory, "disk-outgrown", ledger)
    return longest


def disk_full(rig, options):
    """A small disk that fills up under load, and has room again."""
    directory = rig.new_directory("disk-full")
    mount = directory / "disk"
    mount.mkdir()
    ledger = Ledger()
    rounds = []
    with small_disk(mount):
        store, filler = mount / "store", mount / "filler"
        with start(rig, directory, store) as daemon:
            try:
                client = Client(rig.service, ledger, daemon.ports["lines"])
                client.ask()
                for _ in range(options.full_rounds):
                    rounds.append(be_full(daemon, client, filler, ledger))
                fill(filler)
                ask_until_refused(client, ledger)
            except Cut as error:
                ledger.violation(f"the connection did not stay: {error}; {daemon.said()}")
            daemon.kill()
        filler.unlink(missing_ok=True)
        start_when_full(rig, directory, store, filler, ledger)
        if ledger.violations:
            subprocess.run(["cp", "-a", store, directory / "store"], check=False)
    rig.close_round(directory, "disk-full", ledger)
    outgrown = Ledger()
    longest = outgrow(rig, outgrown)
    told = ", ".join(f"full after {batches} batches and back after {seconds:.2f} s" for batches, seconds in rounds)
    return (f"{told}; {ledger.refused} changes refused, {len(ledger.told)} numbers told; a journal larger than its disk: "
            f"{len(outgrown.told)} numbers told, {longest:.1f} s without at most")


# slow-sync

class Waiting:
    """A request that was sent, and when the first byte of its answer came."""

    def __init__(self, client):
        self.client = client
        self.asked_at = client.ledger.ask()
        self.sent = time.monotonic()
        client.socket.sendall(client.service.request)

    def wait(self):
        select.select([self.client.socket], [], [], 10)
        took = time.monotonic() - self.sent
        line = self.client.line()
        self.client.ledger.tell(self.client.service.number(line), self.asked_at)
        return took


def slow_sync(rig, options):
    """Every sync takes half a second longer: no byte of a reply may come before it is over."""
    directory = rig.new_directory("slow-sync")
    rig.service = Fibonacci()
    ledger = Ledger()
    switch = directory / "slow"
    environment = rig.preload(directory, delay_ms=SYNC_DELAY_MS, switch=switch)
    earliest = []
    with start(rig, directory, rig.store(directory), environment) as daemon:
        one, other = (Client(rig.service, ledger, daemon.ports["lines"]) for _ in range(2))
        one.ask()
        switch.touch()
        earliest.append(Waiting(one).wait())  # here the loop itself may wait; from now on it may not
        with Echo(daemon.ports["echo"]) as echo:
            for _ in range(options.slow_rounds):
                first = Waiting(one)
                time.sleep(0.1)
                second = Waiting(other)  # a change while the first one's sync is under way
                earliest += [first.wait(), second.wait()]
        echo.judge(ledger, "while syncs were slow")
        switch.unlink()
        if daemon.stop() != 0:
            ledger.violation(f"the clean stop failed: {daemon.said()}")
    early = [took for took in earliest if took < EARLIEST_S]
    if early:
        ledger.violation(f"{len(early)} of {len(earliest)} replies came before their sync was over, the first after "
                         f"{min(early) * 1000:.0f} ms")
    rig.close_round(directory, "slow-sync", ledger)
    return (f"{len(earliest)} replies, none earlier than {min(earliest) * 1000:.0f} ms; meanwhile {echo.answers} "
            f"echoes, none later than {echo.longest_s * 1000:.0f} ms")
