"""What the measurements of tools/bench share: building, pinned servers, the load, tables, and the verdict."""

import contextlib
import json
import math
import os
import pathlib
import re
import resource
import select
import signal
import socket
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY_TIMEOUT_S = 20
STOP_TIMEOUT_S = 15
EXIT_UNAVAILABLE = 69


class Trouble(Exception):
    """Ends the bench: a sentence, and the exit code."""

    def __init__(self, sentence, code=EXIT_UNAVAILABLE):
        super().__init__(sentence)
        self.code = code


class Rig:
    """Where the binaries are, which processors are used, and what was wanted and missed."""

    def __init__(self, build_dir):
        self.tapd = build_dir / "bin/tapd"
        self.tap = build_dir / "bin/tap"
        self.load_binary = build_dir / "bench/tap_load"
        self.raw_echo = build_dir / "bench/tap_raw_echo"
        self.http_peer = build_dir / "tests/http_peer"
        self.missed = []
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            raise Trouble("needs two processors: one for the server, one for the load")
        self.server_cpu, self.load_cpu = cpus[:2]
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def build(self):
        targets = [word for name in ("tapd", "tap", "tap_load", "tap_raw_echo") for word in ("--target", name)]
        if subprocess.run([ROOT / "tools/build", *targets], stdout=subprocess.DEVNULL).returncode != 0:
            raise Trouble("tools/build failed")

    def check_binaries(self):
        for binary in (self.tapd, self.tap, self.load_binary, self.raw_echo):
            if not os.access(binary, os.X_OK):
                raise Trouble(f"{binary} is not there: build it, or leave out --no-build")

    def load(self, server, *options):
        """Runs tap_load against a server and returns what it printed."""
        return self.run_load(["--port", server.port, "--server-pid", server.process.pid, *options])

    def first_answer(self, command, directory, *options):
        options = ["--first-answer", "--server-cpu", self.server_cpu, *options, "--", *command]
        return self.run_load(options, cwd=directory)

    def run_load(self, options, cwd=None):
        command = ["taskset", "-c", str(self.load_cpu), str(self.load_binary), *map(str, options)]
        with tempfile.TemporaryFile("w+") as errors:  # a file: a daemon may keep it open
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, cwd=cwd, text=True)
            if run.returncode != 0:
                errors.seek(0)
                raise Trouble(f"{' '.join(map(str, options))}:\n{errors.read().strip()}", code=1)
        return json.loads(run.stdout)

    def judge(self, what, value, want, unit="", at_most=False, noise=None):
        """Prints a number beside the wanted one, and remembers if it is missed."""
        reached = value <= want if at_most else value >= want
        bound = "at most" if at_most else "at least"
        told = f"{value:.4g}{unit}" + (f" (noise {noise:.2g})" if noise is not None else "")
        verdict = "reached" if reached else "MISSED"
        if not reached and noise is not None and abs(value - want) <= noise:
            verdict += " by less than the noise: more rounds would tell"
        print(f"  {what}: {told}, wanted {bound} {want:g}{unit}: {verdict}")
        if not reached:
            self.missed.append(what)


class Server:
    """A server process on the server's processor; ready when it has printed what READY finds, `listening ... PORT`.

    Use as a context manager. Leaving it sends SIGTERM, and SIGKILL to what does not go.
    """

    READY = rb"^listening .*?(\d+)\s*\n"

    def __init__(self, rig, command, directory):
        self.command = [str(word) for word in command]
        self.directory = pathlib.Path(directory)
        self.errors = open(self.directory / "stderr.txt", "w+", encoding="utf-8", errors="replace")
        self.process = subprocess.Popen(
            ["taskset", "-c", str(rig.server_cpu), *self.command],
            cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors)
        try:
            self.port = self.wait_for_port()
        except BaseException:
            self.stop()
            raise

    def wait_for_port(self):
        output = b""
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            if not select.select([self.process.stdout], [], [], 0.2)[0]:
                continue
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                break
            output += piece
            found = re.search(self.READY, output, re.MULTILINE)
            if found:
                return int(found.group(1))
        self.errors.seek(0)
        said = (output.decode(errors="replace") + self.errors.read()).strip() or "nothing"
        raise Trouble(f"`{' '.join(self.command)}` did not print `listening ... PORT`; it said:\n{said}", code=1)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                print(f"  note: `{self.command[0]}` did not stop within {STOP_TIMEOUT_S} s of SIGTERM and was killed")
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class RedisServer(Server):
    """A Redis that syncs its log before it answers, ready when it answers."""

    def __init__(self, rig, directory):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.free_port = probe.getsockname()[1]
        super().__init__(rig, ["redis-server", "--port", self.free_port, "--bind", "127.0.0.1", "--save", "",
                               "--appendonly", "yes", "--appendfsync", "always", "--dir", directory], directory)

    def wait_for_port(self):
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.free_port), timeout=1) as connection:
                    connection.sendall(b"PING\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return self.free_port
            except OSError:
                time.sleep(0.02)
        raise Trouble("redis-server did not answer", code=1)


@contextlib.contextmanager
def scratch():
    """A fresh directory for a server to run in."""
    with tempfile.TemporaryDirectory(prefix="tapd-bench-") as directory:
        yield pathlib.Path(directory)


class Total:
    """Requests, seconds and processor time of several runs of one server."""

    def __init__(self):
        self.requests = self.seconds = self.server_cpu_s = 0
        self.p99s = []

    def add(self, report):
        self.requests += report["requests"]
        self.seconds += report["seconds"]
        self.server_cpu_s += report["server_cpu_seconds"]
        self.p99s.append(report["p99_us"])

    def rate(self):
        return self.requests / self.seconds

    def cpu_us(self):
        return self.server_cpu_s / self.requests * 1e6

    def p99(self):
        return statistics.median(self.p99s)


def compare(rig, what, peer_name, rounds, want):
    """Prints each round (a pair of Totals: ours, the peer's) and judges the median of the rounds' ratios.

    The ratio is taken within a round, where both were measured in turns, because a noisy machine drifts more between
    rounds than within one.
    """
    peer = f"{peer_name} req/s"
    print(f"  round  {'tapd req/s':>14}  {peer:>18}  {'ratio':>7}  {'CPU us/request':>19}  {'p99 us':>19}")

    def row(name, ours, theirs, ratio, cpus, p99s):
        cpu = f"{cpus[0]:.2f} / {cpus[1]:.2f}"
        print(f"  {name:<6} {ours:>14,.0f}  {theirs:>18,.0f}  {ratio:>7.3f}  {cpu:>19}  {p99s[0]:>8.0f} / {p99s[1]:.0f}",
              flush=True)

    kept = []
    for number, pair in enumerate(rounds, 1):
        kept.append(pair)
        rates = [total.rate() for total in pair]
        row(number, *rates, rates[0] / rates[1], [t.cpu_us() for t in pair], [t.p99() for t in pair])
    ratios = [ours.rate() / theirs.rate() for ours, theirs in kept]
    median = statistics.median
    row("median", *(median(pair[i].rate() for pair in kept) for i in (0, 1)), median(ratios),
        [median(pair[i].cpu_us() for pair in kept) for i in (0, 1)],
        [median(pair[i].p99() for pair in kept) for i in (0, 1)])
    print(f"  the rounds' ratios lie between {min(ratios):.3f} and {max(ratios):.3f}")
    noise = None
    if len(ratios) > 1:  # the standard error of a median
        noise = 1.25 * statistics.stdev(ratios) / math.sqrt(len(ratios))
    rig.judge(f"{what}, ratio to {peer_name}", median(ratios), want, noise=noise)
    print()
