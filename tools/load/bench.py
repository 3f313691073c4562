"""Measures tapd against its peers on this machine, in this run.

The server runs on one processor and the load on another; both sides are measured in turns. Single numbers belong to
this machine and this minute; the ratios are what is kept."""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time

from files import files
from http_get import http
from proxy import proxy
from rig import ROOT, STOP_TIMEOUT_S, RedisServer, Rig, Server, Total, Trouble, compare, scratch
from turns import turns

LISTEN = ["--listen", "tcp:0:interface=127.0.0.1"]
QUIET = ["--log-level", "warning"]
ROUNDS_MIN = 5  # fewer are only for trying the bench itself

ECHO_SLICES = 16  # of one round, per server
ECHO_SLICE_S = 0.2
ECHO_CASES = (  # connections, requests in flight on each, wanted ratio
    (50, 1, 0.97),
    (50, 16, 1.0),
    (1000, 1, 0.92),
)

# position, connections, wanted ratio, requests per start, starts per round of tapd and of Twisted. Each start begins
# at the position again, so that both compute the same numbers; the faster one is started more often.
FIBONACCI_CASES = (
    (1, 1, 1.4, 2000, 5, 5),
    (1, 50, 1.4, 2000, 5, 5),
    (20_000, 1, 7.5, 500, 10, 2),
    (100_000, 1, 85, 100, 20, 2),
)

DURABLE_SLICES = 6
DURABLE_CASES = (  # connections, requests in flight on each, wanted ratio to Redis
    (1, 1, 1.2),
    (50, 1, 1.2),
    (500, 1, 1.4),
    (50, 16, 2.5),
)
DURABLE_OFF_RATIO_MIN = 0.97

SYNC_PLACES = ("loop", "thread", "adaptive")
SYNC_CASES = ((1, 1), (50, 1), (50, 16))
SYNC_DELAYS_MS = (0, 20)
SYNC_SLICE_S = 0.4

MEMORY_CONNECTIONS = 5000
DESCRIPTORS_SPARE = 200
MEMORY_RSS_MAX_MB = 5
MEMORY_CONNECTION_MAX_BYTES = 600

START_RATIO_MAX = 3
START_DAEMON_MAX_MS = 10


def tapd(rig, *words):
    """A worker alone that saves nothing."""
    return [rig.tapd, "-n", "--no-keeper", "-o", *words, *QUIET]


# echo

def echo_round(rig, connections, depth, seconds):
    """One Total each for tapd and the raw server, measured in short turns: A B, B A, A B, ..."""
    totals = (Total(), Total())
    with scratch() as ours_dir, scratch() as raw_dir:
        with Server(rig, tapd(rig, "echo", *LISTEN), ours_dir) as ours, Server(rig, [rig.raw_echo], raw_dir) as raw:
            for number in range(ECHO_SLICES):
                turns = [(totals[0], ours), (totals[1], raw)]
                for total, server in turns if number % 2 == 0 else reversed(turns):
                    total.add(rig.load(server, "--connections", connections, "--depth", depth, "--size", 64,
                                       "--warmup", 0.05, "--seconds", seconds))
    return totals


def echo(rig, options):
    for connections, depth, want in ECHO_CASES:
        what = f"echo, {connections:,} connections, 64 bytes, {depth} in flight"
        print(f"{what}: tapd and a raw epoll server")
        rounds = (echo_round(rig, connections, depth, options.seconds) for _ in range(options.rounds))
        compare(rig, what, "raw epoll", rounds, want)


# durable

def written_bytes(directory):
    """Of the device under a directory, by everybody; None when it is none (tmpfs)."""
    device = os.stat(directory).st_dev
    for line in pathlib.Path("/proc/diskstats").read_text(encoding="ascii").splitlines():
        fields = line.split()
        if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
            return int(fields[9]) * 512
    return None


def turns_of(rig, slices, first, second, load):
    """One Total each for two servers, measured in short turns: A B, B A, A B, ..."""
    totals = (Total(), Total())
    for number in range(slices):
        turns = [(totals[0], first), (totals[1], second)]
        for total, server in turns if number % 2 == 0 else reversed(turns):
            total.add(load(server))
    return totals


def durable_round(rig, connections, depth, seconds, per_request):
    """tapd's sequence, one record and one gated reply a request, and Redis' INCR with appendfsync always."""
    command = [rig.tapd, "-n", "--no-keeper", "sequence", *LISTEN, *QUIET]

    def load(server):
        text = "INCR c" if isinstance(server, RedisServer) else "NEXT c"
        before = written_bytes(server.directory)
        report = rig.load(server, "--mode", "ask", "--text", text, "--connections", connections, "--depth", depth,
                          "--warmup", 0.1, "--seconds", seconds)
        if not isinstance(server, RedisServer) and before is not None:
            # The requests of the warm-up are written too: a tenth of a second of them.
            asked = report["requests"] * (1 + 0.1 / seconds)
            per_request.append((written_bytes(server.directory) - before) / asked)
        return report

    with scratch() as ours_dir, scratch() as redis_dir:
        with Server(rig, command, ours_dir) as ours, RedisServer(rig, redis_dir) as redis:
            return turns_of(rig, DURABLE_SLICES, ours, redis, load)


def durable_off_round(rig, seconds):
    """The same service with its state saved at the stop only, and with nothing to save at all."""
    words = [rig.tapd, "-n", "--no-keeper", "sequence", *LISTEN, *QUIET]
    with scratch() as kept_dir, scratch() as lost_dir:
        with Server(rig, [*words, "--durability", "shutdown"], kept_dir) as kept, Server(rig, [*words, "-o"], lost_dir) as lost:
            return turns_of(rig, DURABLE_SLICES, kept, lost, lambda server: rig.load(
                server, "--mode", "ask", "--text", "NEXT c", "--connections", 50, "--depth", 1, "--warmup", 0.05,
                "--seconds", seconds))


def durable(rig, options):
    if shutil.which("redis-server") is None:
        raise Trouble("needs redis-server (tools/setup --bench installs it)")
    for connections, depth, want in DURABLE_CASES:
        what = f"every reply durable, {connections} connection{'s' if connections > 1 else ''}, {depth} in flight"
        print(f"{what}: tapd's sequence and Redis' INCR with appendfsync always")
        per_request = []
        rounds = (durable_round(rig, connections, depth, options.seconds, per_request) for _ in range(options.rounds))
        compare(rig, what, "Redis", rounds, want)
        if per_request:
            print(f"  written to the disk for each request: {statistics.median(per_request):,.0f} bytes\n")
    what = "durability shutdown, 50 connections"
    print(f"{what}: tapd with a store, and with -o")
    compare(rig, what, "without a store", (durable_off_round(rig, options.seconds) for _ in range(options.rounds)),
            DURABLE_OFF_RATIO_MIN)


# sync

SYNC_CONFIG = """
[application]
name = "Sync"
[[service]]
name = "sequence"
kind = "sequence"
listen = ["tcp:0:interface=127.0.0.1"]
[[service]]
name = "echo"
kind = "echo"
listen = ["unix:echo.sock"]
"""


def echo_p99_ms(directory, going):
    """Of a client of the other service in the same process, asking one thing after the other as long as it is going."""
    took = []
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(directory / "echo.sock"))
        while going() or not took:
            begin = time.monotonic()
            client.sendall(b"x")
            client.recv(1)
            took.append(time.monotonic() - begin)
    return sorted(took)[len(took) * 99 // 100] * 1000


def sync_slice(rig, server, connections, depth):
    """Requests a second, their p99, and the p99 of the echo beside them; both in ms."""
    report = []
    load = threading.Thread(target=lambda: report.append(rig.load(
        server, "--mode", "ask", "--text", "NEXT c", "--connections", connections, "--depth", depth, "--warmup", 0.2,
        "--seconds", SYNC_SLICE_S)))
    load.start()
    beside = echo_p99_ms(server.directory, load.is_alive)
    load.join()
    return report[0]["requests_per_second"], report[0]["p99_us"] / 1000, beside


def sync(rig, options):
    faults = options.build_dir / "torture/libtap_faults.so"
    if not faults.exists():
        raise Trouble(f"needs {faults} (tools/build --tests makes it)")
    print("where the journal is synced: `sequence` under load, and one client of `echo` in the same process")
    print(f"  {'each sync takes':<16} {'clients':>8}  {'in the':<9} {'requests/s':>11}  {'p99 ms':>7}  {'echo p99 ms':>11}")
    for delay_ms in SYNC_DELAYS_MS:
        with contextlib.ExitStack() as ending:
            servers = {}
            for place in SYNC_PLACES:
                directory = ending.enter_context(scratch())
                (directory / "sync.toml").write_text(SYNC_CONFIG, encoding="ascii")
                words = ["env", f"LD_PRELOAD={faults}", f"TAPD_TORTURE_STORE={directory}/Sync.state",
                         f"TAPD_TORTURE_DELAY_MS={delay_ms}", f"TAPD_TORTURE_SWITCH={directory}/sync.toml",
                         f"TAPD_SYNC_IN={place}"]
                servers[place] = ending.enter_context(
                    Server(rig, [*words, rig.tapd, "-n", "--no-keeper", "-c", "sync.toml", *QUIET], directory))
            for connections, depth in SYNC_CASES:
                seen = {place: [] for place in SYNC_PLACES}
                for number in range(options.rounds):
                    for place in SYNC_PLACES if number % 2 == 0 else reversed(SYNC_PLACES):
                        seen[place].append(sync_slice(rig, servers[place], connections, depth))
                for place in SYNC_PLACES:
                    rate, p99, beside = (statistics.median(column) for column in zip(*seen[place]))
                    disk = f"{delay_ms} ms longer" if delay_ms else "as it is"
                    print(f"  {disk:<16} {f'{connections}x{depth}':>8}  {place:<9} {rate:>11,.0f}  {p99:>7.1f}  {beside:>11.2f}",
                          flush=True)


# fibonacci

def fibonacci_pair(position):
    """F(position) and F(position + 1), where F(1) = F(2) = 1: the state whose next answer is the position-th number."""
    a, b = 0, 1
    for _ in range(position):
        a, b = b, a + b
    return a, b


def run_tap(rig, *words):
    run = subprocess.run([rig.tap, *words], capture_output=True, text=True)
    if run.returncode != 0:
        raise Trouble(f"`tap {' '.join(map(str, words))}` failed:\n{(run.stdout + run.stderr).strip()}", code=1)


def set_numbers(node, a, b):
    """Sets "a" and "b" in every object that has both; tells how many had."""
    if isinstance(node, list):
        return sum(set_numbers(item, a, b) for item in node)
    if not isinstance(node, dict):
        return 0
    if "a" in node and "b" in node:
        node["a"], node["b"] = str(a), str(b)
        return 1
    return sum(set_numbers(item, a, b) for item in node.values())


def make_archive(rig, directory, position):
    """A Fibonacci archive whose next answer is the position-th number."""
    made, made_json, edited = (directory / name for name in ("made.tap", "made.json", "edited.tap"))
    run_tap(rig, "make", "fibonacci", "--name", "Bench", *LISTEN, "--framing", "line", "-o", made)
    run_tap(rig, "convert", made, made_json)
    content = json.loads(made_json.read_text(encoding="utf-8"))
    if set_numbers(content, *fibonacci_pair(position)) != 1:
        raise Trouble('the archive as JSON should have one object with the numbers "a" and "b"', code=1)
    made_json.write_text(json.dumps(content, indent=4), encoding="utf-8")
    run_tap(rig, "convert", made_json, edited)
    return edited


def python_with_twisted():
    for python in (sys.executable, "/usr/bin/python3"):
        run = subprocess.run([python, "-c", "import twisted"], stderr=subprocess.DEVNULL)
        if run.returncode == 0:
            return python
    return None


def ask_once(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"?\n")
        with connection.makefile("rb") as replies:
            return replies.readline().strip().decode("ascii")


def fibonacci_start(rig, command, connections, requests, expected):
    """Starts a server, checks its first answer, and measures the following ones."""
    with scratch() as directory, Server(rig, command, directory) as server:
        answer = ask_once(server)
        if answer != expected:
            raise Trouble(f"{command[0]} first answered {answer[:40]}..., expected {expected[:40]}...", code=1)
        return rig.load(server, "--mode", "ask", "--connections", connections, "--requests", requests)


def fibonacci(rig, options):
    python = python_with_twisted()
    if python is None:
        print("fibonacci: skipped, Twisted is not installed (tools/setup --bench installs it)")
        return
    peer = [python, ROOT / "tools/load/fibonacci_twisted.py", "--framing", "line", "--position"]
    for position, connections, want, requests, our_starts, peer_starts in FIBONACCI_CASES:
        what = f"fibonacci, number {position:,}, {connections} connection{'s' if connections > 1 else ''}"
        print(f"{what}: tapd and Twisted")
        expected = str(fibonacci_pair(position + 1)[1])
        with scratch() as directory:
            archive = make_archive(rig, directory, position)

            def one_round():
                ours, theirs = Total(), Total()
                for number in range(max(our_starts, peer_starts)):
                    if number < our_starts:
                        ours.add(fibonacci_start(rig, tapd(rig, "-f", archive), connections, requests, expected))
                    if number < peer_starts:
                        theirs.add(fibonacci_start(rig, [*peer, position], connections, requests, expected))
                return ours, theirs

            compare(rig, what, "Twisted", (one_round() for _ in range(options.rounds)), want)


# memory

def kilobytes(pid, file, field):
    text = pathlib.Path(f"/proc/{pid}/{file}").read_text(encoding="ascii", errors="replace")
    return sum(int(value) for value in re.findall(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE))


def worker_of(pid):
    """The keeper's worker: its largest child; the process itself if it has none."""
    children = []
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            if re.search(rf"^PPid:\s+{pid}$", status.read_text(errors="replace"), re.MULTILINE):
                children.append(int(status.parent.name))
        except OSError:
            continue  # ended meanwhile
    return max(children, key=lambda child: kilobytes(child, "status", "VmRSS"), default=pid)


def open_used_connections(port, count):
    """Connections that have each been answered once and then say nothing."""
    connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=10)
        connection.sendall(b"x" * 64)
        if len(connection.recv(64, socket.MSG_WAITALL)) != 64:
            raise Trouble("a connection was not answered", code=1)
        connections.append(connection)
    return connections


def close_all(connections):
    for connection in connections:
        connection.close()


def memory_round(rig, connections):
    command = [rig.tapd, "-n", "-o", "echo", *LISTEN, "--max-connections", 2 * connections, *QUIET]
    with scratch() as directory, Server(rig, command, directory) as server:
        worker = worker_of(server.process.pid)
        resident = kilobytes(worker, "status", "VmRSS")
        keeper = kilobytes(server.process.pid, "status", "VmRSS") if worker != server.process.pid else 0
        close_all(open_used_connections(server.port, 1))  # what is allocated once is not a connection's
        dirty = [kilobytes(worker, "smaps_rollup", "Private_Dirty")]
        anonymous = [kilobytes(worker, "smaps_rollup", "Anonymous")]
        held = open_used_connections(server.port, connections)
        dirty.append(kilobytes(worker, "smaps_rollup", "Private_Dirty"))
        anonymous.append(kilobytes(worker, "smaps_rollup", "Anonymous"))
        close_all(held)
    per_connection = [(after - before) * 1024 / connections for before, after in (dirty, anonymous)]
    return resident / 1024, keeper / 1024, *per_connection


def memory(rig, options):
    connections = MEMORY_CONNECTIONS
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < connections + DESCRIPTORS_SPARE:
        raise Trouble(f"needs {connections + DESCRIPTORS_SPARE} descriptors per process: ulimit -Hn")
    print(f"memory: tapd echo with its keeper, {connections:,} connections, each answered once and then idle")
    print(f"  {'round':<6}  {'worker MB':>9}  {'keeper MB':>9}  {'dirty B/connection':>18}  {'anonymous B/connection':>22}")

    def row(name, worker, keeper, dirty, anonymous):
        print(f"  {name:<6}  {worker:>9.2f}  {keeper:>9.2f}  {dirty:>18.0f}  {anonymous:>22.0f}", flush=True)

    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(memory_round(rig, connections))
        row(number, *rounds[-1])
    medians = [statistics.median(column) for column in zip(*rounds)]
    row("median", *medians)
    rig.judge("resident when idle (VmRSS of the worker)", medians[0], MEMORY_RSS_MAX_MB, " MB", at_most=True)
    rig.judge("user memory per idle connection", max(medians[2:]), MEMORY_CONNECTION_MAX_BYTES, " B", at_most=True)


# start

def stop_daemon(directory):
    """Stops the daemon that was started in the directory, if there is one."""
    if not (directory / "tapd.pid").exists():
        return
    pid = int((directory / "tapd.pid").read_text(encoding="ascii"))
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP_TIMEOUT_S
    while (directory / "tapd.pid").exists() or pathlib.Path(f"/proc/{pid}").exists():
        if time.monotonic() > end:
            raise Trouble(f"the daemon {pid} did not stop within {STOP_TIMEOUT_S} s of SIGTERM", code=1)
        time.sleep(0.002)


def start(rig, options):
    echo_words = ["echo", *LISTEN, *QUIET]
    alone = [rig.tapd, "-n", "--no-keeper"]
    kinds = ("raw epoll", "no keeper", "no keeper, -o", "daemon")
    times = {kind: [] for kind in kinds}
    print("start: milliseconds from exec to the first answer, the store having been sealed by a clean stop")
    print(f"  round  {''.join(f'{kind:>15}' for kind in kinds)}")
    with scratch() as raw_dir, scratch() as alone_dir, scratch() as daemon_dir:
        def one_round():
            yield rig.first_answer([rig.raw_echo], raw_dir)
            yield rig.first_answer([*alone, *echo_words], alone_dir)
            yield rig.first_answer([*alone, "-o", *echo_words], raw_dir)
            try:
                report = rig.first_answer([rig.tapd, *echo_words], daemon_dir, "--daemon")
            finally:
                stop_daemon(daemon_dir)
            yield report

        for number in range(options.rounds + 1):
            reports = list(one_round())
            if any(report["exit_code"] != 0 for report in reports[1:]):
                raise Trouble(f"tapd ended with {[report['exit_code'] for report in reports[1:]]}, not 0", code=1)
            if number == 0:
                continue  # makes the stores
            for kind, report in zip(kinds, reports):
                times[kind].append(report["first_answer_ms"])
            print(f"  {number:<6} {''.join(f'{times[kind][-1]:>15.2f}' for kind in kinds)}", flush=True)
    medians = {kind: statistics.median(times[kind]) for kind in kinds}
    print(f"  median {''.join(f'{medians[kind]:>15.2f}' for kind in kinds)}")
    rig.judge("no keeper, times the raw server's", medians["no keeper"] / medians["raw epoll"], START_RATIO_MAX, "x",
              at_most=True)
    rig.judge("as a daemon", medians["daemon"], START_DAEMON_MAX_MS, " ms", at_most=True)


# what, rounds, and what it is
BENCHES = {
    "durable": (durable, 7, "every reply synced, against Redis"),
    "echo": (echo, 9, "against a raw epoll server"),
    "fibonacci": (fibonacci, 5, "against Twisted"),
    "files": (files, 5, "against nginx"),
    "http": (http, 5, "the HTTP of the framework, pipelined, against nginx"),
    "memory": (memory, 5, "idle, and per connection"),
    "proxy": (proxy, 5, "the filter-proxy, against privoxy and HAProxy"),
    "start": (start, 21, "from exec to the first answer"),
    "sync": (sync, 5, "the journal synced in the loop and in a thread"),
    "turns": (turns, 5, "the loop's longest turns while a gigabyte is compacted, and when nothing is"),
}


def parse(arguments):
    parser = argparse.ArgumentParser(prog="tools/bench", description=__doc__)
    parser.add_argument("what", choices=BENCHES, help="; ".join(f"{what}: {is_}" for what, (_, _, is_) in BENCHES.items()))
    parser.add_argument("--rounds", type=int,
                        help="default: " + ", ".join(f"{what} {rounds}" for what, (_, rounds, _) in BENCHES.items()))
    parser.add_argument("--seconds", type=float, default=ECHO_SLICE_S,
                        help="durable and echo: one of the turns that each server has in a round (%(default)s)")
    parser.add_argument("--assert", dest="must_reach", action="store_true", help="exit 1 if a wanted number is missed")
    parser.add_argument("--no-build", action="store_true", help="measure the binaries that are there")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build",
                        help="where they are (build); another than the default means --no-build")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or BENCHES[options.what][1]
    options.build_dir = options.build_dir.resolve()
    if options.rounds < 1 or (options.must_reach and options.rounds < ROUNDS_MIN):
        parser.error(f"--rounds: at least {ROUNDS_MIN} with --assert, else at least 1")
    return options


def main():
    options = parse(sys.argv[1:])
    if shutil.which("taskset") is None:
        raise Trouble("needs taskset (Debian: apt-get install util-linux)")
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    rig = Rig(options.build_dir)
    if not options.no_build and options.build_dir == ROOT / "build":
        rig.build()
    rig.check_binaries()
    if os.getloadavg()[0] > 0.7:
        print(f"note: the machine is busy (load {os.getloadavg()[0]:.1f}), the numbers will scatter")
    BENCHES[options.what][0](rig, options)
    if rig.missed:
        print(f"missed: {'; '.join(rig.missed)}")
    return 1 if rig.missed and options.must_reach else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Trouble as trouble:
        print(f"tools/bench: {trouble}", file=sys.stderr)
        sys.exit(trouble.code)
    except KeyboardInterrupt:
        sys.exit(130)
