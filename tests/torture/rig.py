"""What the torture tools share: daemons, clients, and the ledger of what clients were told."""

import math
import os
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30
STOP_TIMEOUT = "1s"  # of the daemons: answers that wait for a full disk are given up then
ANSWER_TIMEOUT_S = 10
EXIT_UNAVAILABLE = 69
EXIT_SKIPPED = 77


class Trouble(Exception):
    """Ends the run without a verdict: a sentence, and the exit code."""

    def __init__(self, sentence, code=EXIT_UNAVAILABLE):
        super().__init__(sentence)
        self.code = code


class Skip(Trouble):
    """This machine cannot do it."""

    def __init__(self, sentence):
        super().__init__(sentence, EXIT_SKIPPED)


class Cut(Exception):
    """The connection ended before the answer was complete."""


class Fibonacci:
    """The fibonacci service as a counter: request, and which of its numbers an answer is (from 1)."""

    kind = "fibonacci"
    words = ("fibonacci", "--framing", "line", "--listen", "tcp:0:interface=127.0.0.1")
    application = "Fibonacci"
    request = b"?\n"
    _LAST_DIGITS = 10**15
    _PHI = math.log10((1 + math.sqrt(5)) / 2)
    _ROOT = math.log10(5) / 2

    def __init__(self):
        self._lasts = [2, 3]
        self._lock = threading.Lock()

    def number(self, text):
        """The n-th answer is F(n + 2). Raises ValueError for what is no answer of this service."""
        if not text.isdigit() or text.startswith("0"):
            raise ValueError(f"'{text[:60]}' is no answer")
        head = text[:15]
        exponent = math.log10(int(head)) + len(text) - len(head)
        number = round((exponent + self._ROOT) / self._PHI) - 2
        if number < 1 or int(text[-15:]) != self._last(number):
            raise ValueError(f"'{text[:60]}' is no Fibonacci number")
        return number

    def _last(self, number):
        with self._lock:
            lasts = self._lasts
            while len(lasts) < number:
                lasts.append((lasts[-1] + lasts[-2]) % self._LAST_DIGITS)
            return lasts[number - 1]


class Sequence:
    """One counter of the sequence service: the answers are the numbers themselves."""

    kind = "sequence"
    words = ("sequence", "--start", "1", "--listen", "tcp:0:interface=127.0.0.1")
    application = "Sequence"
    request = b"NEXT torture\n"

    def number(self, text):
        if not text.isdigit():
            raise ValueError(f"'{text[:60]}' is no answer")
        return int(text)


SERVICES = {service.kind: service for service in (Fibonacci, Sequence)}


class Ledger:
    """What every client was told. Thread: any.

    No number may be told twice, none may be below one that was told before its request was sent, and none may be
    missing but for requests that were cut off: those may have consumed a number that nobody saw.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.told = set()
        self.highest = 0
        self.cut = 0
        self.refused = 0
        self.violations = []

    def violation(self, sentence):
        with self._lock:
            self.violations.append(sentence)

    def ask(self):
        """To be given to tell(): what had been told when the request was sent."""
        with self._lock:
            return self.highest

    def tell(self, number, asked_at):
        with self._lock:
            if number in self.told:
                self.violations.append(f"number {number} was given twice")
            elif number <= asked_at:
                self.violations.append(f"number {number} was given after {asked_at}")
            self.told.add(number)
            self.highest = max(self.highest, number)

    def cut_off(self, requests):
        with self._lock:
            self.cut += requests

    def refuse(self):
        with self._lock:
            self.refused += 1

    def settle(self):
        """After an answer that was asked for when nothing else was under way."""
        with self._lock:
            missing = self.highest - len(self.told)
            if missing > self.cut:
                self.violations.append(f"{missing} numbers are missing, but only {self.cut} requests were cut off")

    def text(self):
        with self._lock:
            missing = sorted(set(range(1, self.highest + 1)) - self.told)
            lines = [f"told {len(self.told)}, highest {self.highest}, cut off {self.cut}, refused {self.refused}",
                     f"missing: {missing}", *self.violations]
            return "\n".join(lines) + "\n"


class Client:
    """One connection with the line framing, whose answers go into the ledger. Thread: one."""

    def __init__(self, service, ledger, port, timeout=ANSWER_TIMEOUT_S):
        self.service = service
        self.ledger = ledger
        self._rest = b""
        self._waiting = 0
        try:
            self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise Cut(str(error)) from error

    def ask(self, count=1):
        """Sends so many requests at once and waits for as many answers. How many were refused. Raises Cut."""
        asked_at = self.ledger.ask()
        self._waiting = count
        refused = 0
        try:
            self.socket.sendall(self.service.request * count)
            while self._waiting:
                text = self.line()
                self._waiting -= 1
                if text.startswith("ERR "):
                    self.ledger.refuse()
                    refused += 1
                    continue
                try:
                    self.ledger.tell(self.service.number(text), asked_at)
                except ValueError as error:
                    self.ledger.violation(str(error))
        except (OSError, Cut) as error:
            self.ledger.cut_off(self._waiting)
            self._waiting = 0
            self.close()
            raise Cut(str(error)) from error
        return refused

    def line(self):
        while b"\n" not in self._rest:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Cut("end of file")
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode("ascii", "replace").rstrip("\r")

    def close(self):
        self.socket.close()


class Daemon:
    """A tapd under torture; ready (or gone) when the constructor returns.

    Leaving it as a context manager kills what is left of it.
    """

    def __init__(self, tapd, directory, words, keeper=False, environment=None, endpoints=1, bare=False):
        """`bare`: the words are the whole command line, "-n" and all."""
        self.directory = pathlib.Path(directory)
        options = [] if bare else ["-n"] if keeper else ["-n", "--no-keeper"]
        self.command = [str(word) for word in (tapd, *options, *words)]
        self.ports = {}
        self.errors = open(self.directory / "stderr.txt", "ab")
        self.process = subprocess.Popen(
            self.command, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors,
            env={**os.environ, **(environment or {})}, start_new_session=True)
        try:
            self._wait_ready(endpoints)
        except BaseException:
            self.end()
            raise

    def _wait_ready(self, endpoints):
        output = b""
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            if not select.select([self.process.stdout], [], [], 0.2)[0]:
                continue
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                self.process.wait()
                return
            output += piece
            found = re.findall(rb"^listening (\S+) \S*?(\d+)\s*\n", output, re.MULTILINE)
            if len(found) >= endpoints:
                self.ports = {name.decode(): int(port) for name, port in found}
                return
        raise Trouble(f"`{' '.join(self.command)}` was not ready within {READY_TIMEOUT_S} s: {self.said()}", code=1)

    @property
    def ready(self):
        return bool(self.ports)

    @property
    def port(self):
        return next(iter(self.ports.values()))

    def said(self):
        return (self.directory / "stderr.txt").read_text(errors="replace").strip()[-600:]

    def worker(self):
        """The keeper's worker; None while there is none."""
        pid = self.process.pid
        try:
            children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        except OSError:
            return None
        for child in children:
            try:
                if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip() == "tapd-worker":
                    return int(child)
            except OSError:
                continue
        return None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Stops it as `kill $(cat tapd.pid)` does; the exit code, or None when it did not go."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.wait(STOP_TIMEOUT_S)

    def wait(self, timeout):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def end(self):
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Rig:
    """Where the binaries are, which service is tortured, and what was found.

    Each round has a directory of its own; those with violations are kept.
    """

    def __init__(self, build_dir, service="fibonacci", seeded_bug=None, quiet=False):
        self.build_dir = pathlib.Path(build_dir)
        self.tapd = self.build_dir / "bin/tapd"
        self.tap = self.build_dir / "bin/tap"
        self.probe = self.build_dir / "torture/tap_recover_probe"
        self.faults = self.build_dir / "torture/libtap_faults.so"
        self.service = SERVICES[service]()
        self.environment = {"TAPD_SEEDED_BUG": seeded_bug} if seeded_bug else {}
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tapd-torture-")).resolve()
        self.violations = []
        self._quiet = quiet
        self._lock = threading.Lock()
        self._rounds = 0

    def check_binaries(self):
        for binary in (self.tapd, self.tap, self.probe, self.faults):
            if not binary.exists():
                raise Trouble(f"{binary} is not there: build it, or leave out --no-build")

    def new_directory(self, name, copy_of=None):
        with self._lock:
            self._rounds += 1
            directory = self.root / f"{name}-{self._rounds}"
        if copy_of is None:
            directory.mkdir()
        else:
            shutil.copytree(copy_of, directory)
        return directory

    def daemon(self, directory, environment=None, keeper=False):
        words = (*self.service.words, "--state-dir", self.store(directory), "--log-level", "warning",
                 "--stop-timeout", STOP_TIMEOUT)
        return Daemon(self.tapd, directory, words, keeper, {**self.environment, **(environment or {})})

    def store(self, directory):
        return pathlib.Path(directory) / "store"

    def preload(self, directory, **plan):
        """The environment that makes a daemon in this directory meet a fault; see faults.cpp."""
        environment = {"LD_PRELOAD": str(self.faults), "TAPD_TORTURE_STORE": str(self.store(directory))}
        return environment | {f"TAPD_TORTURE_{name.upper()}": str(value) for name, value in plan.items()}

    def verify(self, directory):
        """`tap verify` of the store: nothing, or what it complains of."""
        run = subprocess.run([self.tap, "verify", self.store(directory)], capture_output=True, text=True)
        said = (run.stdout + run.stderr).strip()
        return "" if run.returncode == 0 else f"`tap verify` ended with {run.returncode}: {said}"

    def check_afterwards(self, directory, ledger):
        """What has to be true whatever happened before: it starts, goes on above everything, stops, and is whole."""
        with self.daemon(directory) as daemon:
            if not daemon.ready:
                ledger.violation(f"the next start ended with {daemon.process.returncode}: {daemon.said()}")
                return
            try:
                client = Client(self.service, ledger, daemon.port)
                if client.ask():
                    ledger.violation("the next start refuses changes")
                client.close()
            except Cut as error:
                ledger.violation(f"the next start did not answer: {error}; {daemon.said()}")
            ledger.settle()
            code = daemon.stop()
            if code != 0:
                ledger.violation(f"the next clean stop ended with {code}: {daemon.said()}")
        complaint = self.verify(directory)
        if complaint:
            ledger.violation(complaint)

    def close_round(self, directory, what, ledger):
        """Removes the round's directory, or keeps it with its ledger. Whether nothing was violated."""
        if not ledger.violations:
            shutil.rmtree(directory)
            return True
        (directory / "ledger.txt").write_text(f"{what}\n{ledger.text()}", encoding="utf-8")
        with self._lock:
            for sentence in ledger.violations:
                self.violations.append(f"{what}: {sentence}")
                if len(self.violations) <= 10 and not self._quiet:
                    print(f"  VIOLATION {what}: {sentence[:500]}\n    evidence: {directory}", flush=True)
        return False
