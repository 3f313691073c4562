"""Workers, and now and then keeper and worker, killed at random under load."""

import os
import random
import signal
import threading
import time

from rig import Client, Cut, Ledger

CLIENTS = 6
PIPELINE = 8
RETRY_S = 0.02
KILLS_PER_KEEPER = 4  # more within ten seconds and the keeper waits, as it should
PAUSES_S = (0.02, 0.6)
START_ATTEMPTS_S = 30
SEED = 11
EXIT_LOCKED = 73


class Load:
    """Clients that ask, and connect again whenever they are cut off."""

    def __init__(self, rig, ledger):
        self.rig = rig
        self.ledger = ledger
        self.port = None
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _run(self, number):
        rng = random.Random(SEED * 100 + number)
        client = None
        while not self.ending.is_set():
            try:
                client = client or Client(self.rig.service, self.ledger, self.port)
                client.ask(rng.randint(1, PIPELINE) if number % 2 else 1)
            except Cut:
                client = None
                self.ending.wait(RETRY_S)
        if client:
            client.close()

    def end(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()


def start(rig, directory, ledger):
    """The keeper; an orphaned worker that is still saving holds the lock for a moment."""
    end = time.monotonic() + START_ATTEMPTS_S
    while True:
        daemon = rig.daemon(directory, keeper=True)
        if daemon.ready:
            return daemon
        code, said = daemon.process.returncode, daemon.said()
        daemon.end()
        if code != EXIT_LOCKED or time.monotonic() > end:
            ledger.violation(f"a start after a kill ended with {code}: {said}")
            return None
        time.sleep(0.05)


def kill_worker(daemon):
    worker = daemon.worker()
    if worker is None:
        return False
    try:
        os.kill(worker, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill_both(daemon, rng):
    """Either at once, or the keeper alone: then the worker saves and ends by itself."""
    if rng.random() < 0.5:
        daemon.process.send_signal(signal.SIGSTOP)
        kill_worker(daemon)
    daemon.kill()


class Counts:
    workers = keepers = 0


def kill_one_keeper(rig, directory, load, ledger, rng, until):
    """The life of one keeper and up to KILLS_PER_KEEPER of its workers."""
    daemon = start(rig, directory, ledger)
    if daemon is None:
        return False
    try:
        load.port = daemon.port
        for _ in range(rng.randint(0, KILLS_PER_KEEPER)):
            time.sleep(rng.uniform(*PAUSES_S))
            if time.monotonic() > until:
                break
            Counts.workers += kill_worker(daemon)
        time.sleep(rng.uniform(*PAUSES_S))
        if daemon.process.poll() is not None:
            ledger.violation(f"the keeper ended by itself with {daemon.process.returncode}: {daemon.said()}")
            return False
        kill_both(daemon, rng)
        Counts.keepers += 1
        return True
    finally:
        daemon.end()


def stop_cleanly(rig, directory, ledger):
    """A last start and a clean stop under no load."""
    daemon = start(rig, directory, ledger)
    if daemon is None:
        return
    with daemon:
        code = daemon.stop()
        if code != 0:
            ledger.violation(f"the clean stop ended with {code}: {daemon.said()}")


def kill(rig, options):
    """SIGKILL at random for workers and keepers under load, and a ledger of what the clients were told."""
    Counts.workers = Counts.keepers = 0
    directory = rig.new_directory("kill")
    ledger = Ledger()
    rng = random.Random(SEED)
    until = time.monotonic() + options.seconds
    load = Load(rig, ledger)
    try:
        while time.monotonic() < until and not ledger.violations:
            if not kill_one_keeper(rig, directory, load, ledger, rng, until):
                break
    finally:
        load.end()
    if not ledger.violations:
        stop_cleanly(rig, directory, ledger)
        rig.check_afterwards(directory, ledger)
    rig.close_round(directory, "kill", ledger)
    return (f"{Counts.workers} workers and {Counts.keepers} keepers killed, {len(ledger.told)} numbers told to "
            f"{CLIENTS} clients, {ledger.cut} requests cut off, {ledger.highest - len(ledger.told)} numbers that nobody saw")
