"""The loop's longest turns while a helper folds a gigabyte of journal into a gigabyte of state, and when none does.

A `sequence` takes in millions of names. Then, under the load of many clients, a second client names them all again,
which is what makes a compaction due, as often as there are rounds. Twice a second the worker is asked (SIGQUIT) for its
longest turn without what it waited for the disk; the reports between which the helper ran are put beside the others of
the same run. The worker has a processor for itself; keeper, helper and load share the other one."""

import os
import pathlib
import re
import signal
import socket
import statistics
import threading
import time

from rig import Server, Trouble, scratch

NAMES = 9_000_000
NAME_BYTES = 100
PIECE_NAMES = 20_000
LOAD_CONNECTIONS = 50
REPORT_S = 0.5
WORST_MAX_MS = 5

TURN = re.compile(r"longest turn since the last report took \d+ us, without waiting for the disk (\d+) us")


def count_answers(connection, total):
    """Until there are so many, or the connection ends. Returns how many there were."""
    answers = 0
    while answers < total:
        piece = connection.recv(1 << 20)
        if not piece:
            break
        answers += piece.count(b"\n")
    return answers


def name_all(port, over=threading.Event()):
    """NEXT for every name, as fast as the server answers, unless it is over."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answers = []
        reader = threading.Thread(target=lambda: answers.append(count_answers(connection, NAMES)))
        reader.start()
        for first in range(0, NAMES, PIECE_NAMES):
            if over.is_set():
                break
            connection.sendall(b"".join(b"NEXT %0*d\n" % (NAME_BYTES, name) for name in range(first, first + PIECE_NAMES)))
        connection.shutdown(socket.SHUT_WR)  # the server answers what it has, and ends
        reader.join()
    if not over.is_set() and answers != [NAMES]:
        raise Trouble(f"{answers[0]:,} of {NAMES:,} names were answered", code=1)


def children(pid):
    """Names of a process's children by their pids."""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            found[int(child)] = pathlib.Path(f"/proc/{child}/comm").read_text(encoding="ascii").strip()
    return found


def helper_runs(keeper):
    try:
        return "tapd-compact" in children(keeper).values()
    except FileNotFoundError:  # it has just gone
        return True


class Reports:
    """What the worker says of its turns, each with whether the helper ran meanwhile."""

    def __init__(self, server):
        self.server = server
        self.log = server.directory / "stderr.txt"
        self.seen = 0
        self.folding = []
        self.quiet = []
        self.compactions = 0

    def ask(self):
        """One more report. The first of a run tells of what was before it, and is left out by who asks."""
        before = helper_runs(self.server.process.pid)
        time.sleep(REPORT_S)
        after = helper_runs(self.server.process.pid)
        self.server.process.send_signal(signal.SIGQUIT)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            text = self.log.read_text(encoding="utf-8", errors="replace")
            turns = TURN.findall(text)
            if len(turns) > self.seen:
                self.seen = len(turns)
                self.compactions = text.count("compacted the journal")
                return before, after, int(turns[-1]) / 1000
            time.sleep(0.01)
        raise Trouble("the worker gave no status report", code=1)

    def add(self):
        before, after, worst_ms = self.ask()
        if before and after:
            self.folding.append(worst_ms)
        elif not before and not after:
            self.quiet.append(worst_ms)


def turns(rig, options):
    os.sched_setaffinity(0, {rig.load_cpu})  # we are load too
    with scratch() as directory:
        with Server(rig, [rig.tapd, "-n", "sequence", "--listen", "tcp:0:interface=127.0.0.1"], directory) as server:
            keeper = server.process.pid
            worker = min(children(keeper))
            os.sched_setaffinity(keeper, {rig.load_cpu})
            print(f"{NAMES:,} names of {NAME_BYTES} bytes are taken in")
            begin = time.monotonic()
            name_all(server.port)
            while helper_runs(keeper):
                time.sleep(0.1)
            state = sum(file.stat().st_size for file in directory.glob("*.state/*.tap"))
            print(f"  in {time.monotonic() - begin:.1f} s; the archives have {state / 1e9:.2f} GB, "
                  f"the worker {resident_mb(worker):,} MB")
            reports = Reports(server)
            reports.ask()
            first = reports.compactions
            over = threading.Event()
            load = threading.Thread(target=keep_loading, args=(rig, server, over))
            again = threading.Thread(target=keep_naming, args=(server.port, over))
            load.start()
            again.start()
            try:
                while reports.compactions < first + options.rounds and load.is_alive() and again.is_alive():
                    reports.add()
            finally:
                over.set()
                again.join()
                load.join()
        tell(rig, reports)


def resident_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"VmRSS:\s*(\d+)", status).group(1)) // 1024


def keep_loading(rig, server, over):
    while not over.is_set():
        rig.run_load(["--port", server.port, "--mode", "ask", "--text", "NEXT c", "--connections", LOAD_CONNECTIONS,
                      "--depth", 1, "--warmup", 0, "--seconds", 1])


def keep_naming(port, over):
    while not over.is_set():
        name_all(port, over)


def tell(rig, reports):
    print(f"longest turns of the loop in {REPORT_S} s each, without what it waited for the disk, ms")
    for what, worst in (("while the helper folds", reports.folding), ("while it does not", reports.quiet)):
        if not worst:
            print(f"  {what:<24}   no report")
            continue
        ordered = sorted(worst)
        print(f"  {what:<24} {len(worst):>4} reports: median {statistics.median(worst):.2f}, "
              f"90 of 100 below {ordered[len(ordered) * 9 // 10]:.2f}, the longest {ordered[-1]:.2f}; "
              f"above {WORST_MAX_MS} ms: {sum(ms > WORST_MAX_MS for ms in worst)}")
    if not reports.folding:
        raise Trouble("the helper was never seen at work", code=1)
    rig.judge("the longest turn while the helper folds", max(reports.folding), WORST_MAX_MS, " ms", at_most=True)
