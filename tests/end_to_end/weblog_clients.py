#!/usr/bin/env python3
"""Clients of two weblog services while a real nginx writes the log: what nginx logs, rotations, kills, and a judgement.

Usage: weblog_clients.py DIRECTORY NGINX_SOCKET NGINX_PID KEEPER_PID PUSH_PORT PULL_PORT PUSHED PULLING RATE SECONDS ROTATE

PUSHED and PULLING clients parse what they get with Python's expat, each tenth with its SAX. RATE requests a second go to
nginx for SECONDS; every ROTATE seconds the log is rotated, and two times the worker that serves is killed. Then it prints
"stop", reads until every document has ended, and judges: in each connection every hit once and none missing, each document
well-formed, a new connection begins with the last 100 hits, the values those of nginx's log. The last line is "good".
"""
import json
import os
import random
import re
import selectors
import signal
import socket
import sys
import threading
import time
import xml.parsers.expat
import xml.sax

DIRECTORY = sys.argv[1]
NGINX_SOCKET = sys.argv[2]
(NGINX_PID, KEEPER, PUSH_PORT, PULL_PORT, PUSHED, PULLING, RATE, SECONDS) = map(int, sys.argv[3:11])
ROTATE = float(sys.argv[11])
KEEP = 100
LOG = os.path.join(DIRECTORY, "access.log")
NUMBER = re.compile(r"GET /n/(\d+) ")
LINE = re.compile(r'([^ ]+) [^ ]+ [^ ]+ \[([^]]*)\] "([^"]*)" (\d+) (\S+) "([^"]*)" "([^"]*)"$')
AGENTS = ["plain", "it's \"quoted\"", "<hit a='&amp;'/>]]>", "gr\u00fc\u00df \u20ac", "\xff\xfe bytes", "tab\there", ""]


class Load(threading.Thread):
    """Requests to nginx, numbered from 1; `sent` have been answered, so they are in the log. More than `asked` are not:
    who is told before how many that will be, hears of it before the log does."""

    def __init__(self, tell_asked):
        super().__init__(daemon=True)
        self.sent = 0
        self.tell_asked = tell_asked
        self.end = time.monotonic() + SECONDS

    def run(self):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(NGINX_SOCKET)
            began = time.monotonic()
            while time.monotonic() < self.end:
                due = min(int((time.monotonic() - began) * RATE), self.sent + 50)
                if due > self.sent:
                    self.ask(connection, due)
                else:
                    time.sleep(0.005)

    def ask(self, connection, up_to):
        lines = b""
        for number in range(self.sent + 1, up_to + 1):
            agent = AGENTS[number % len(AGENTS)].encode("latin-1", "replace" if number % 2 else "ignore")
            lines += b"GET /n/%d HTTP/1.1\r\nHost: x\r\nUser-Agent: %s\r\n\r\n" % (number, agent)
        self.tell_asked(up_to)
        connection.sendall(lines)
        answers = b""
        while answers.count(b"\r\n\r\n") < up_to - self.sent:
            piece = connection.recv(65536)
            if not piece:
                raise SystemExit("nginx has ended the connection: " + repr(answers[-300:]))
            answers += piece
        self.sent = up_to


class SaxParser:
    """The face of expat's parser before xml.sax."""

    def __init__(self, start):
        class Content(xml.sax.handler.ContentHandler):
            def startElement(self, name, attrs):
                start(name, attrs)
        self.parser = xml.sax.make_parser()
        self.parser.setContentHandler(Content())

    def Parse(self, data, last=False):
        if data:
            self.parser.feed(data)
        if last:
            self.parser.close()


class Connection:
    """One document."""

    def __init__(self, client):
        self.client = client
        self.socket = socket.create_connection(("127.0.0.1", client.port), 60)
        self.socket.setblocking(False)
        self.first = self.last = None
        self.missing = set()
        self.hits = self.nones = self.requests = self.doubles = 0
        self.asked_at_begin = None
        self.next_request = time.monotonic() + random.random()
        if client.sax:
            self.parser = SaxParser(self.start)
        else:
            self.parser = xml.parsers.expat.ParserCreate()
            self.parser.StartElementHandler = self.start

    def start(self, name, attributes):
        if name == "hit":
            self.hit(int(NUMBER.match(attributes["request"]).group(1)))
            if self.client.all is not None:
                self.client.all[self.last] = dict(attributes.items())
        elif name == "none":
            self.nones += 1
        elif self.asked_at_begin is None:
            self.asked_at_begin = self.client.asked()

    def hit(self, number):
        self.hits += 1
        if self.first is None:
            self.first = self.last = number
        elif number > self.last:
            self.missing.update(range(self.last + 1, number))
            self.last = number
        elif number in self.missing:
            self.missing.remove(number)
        else:
            self.client.fault("%d came twice (last %d)" % (number, self.last))

    def pull(self, now):
        if now < self.next_request:
            return
        self.next_request = now + 0.2 + random.random()
        double = random.random() < 0.3
        if self.ask(b"new?\nnew?\n" if double else b"new?") and double:
            self.doubles += 1

    def ask(self, request):
        """False when the connection was cut; reading will find that too."""
        try:
            return self.socket.send(request) == len(request)
        except OSError:
            return False

    def ended(self, whole):
        client = self.client
        if whole:
            try:
                self.parser.Parse(b"", True)
            except Exception as wrong:  # the parsers' own kinds
                client.fault("the document is not whole: %s" % wrong)
        elif client.finishing:
            client.fault("the connection was cut at the end")
        if self.missing:
            client.fault("%d hits are missing, such as %d (of %s to %s)" %
                         (len(self.missing), min(self.missing), self.first, self.last))
        client.doubles += self.doubles
        # What the service knew when it said <hits> is not more than this; it tells the last KEEP of it.
        if self.first is not None and self.first > max(1, self.asked_at_begin - KEEP + 1):
            client.fault("began with %d when at most %d were logged" % (self.first, self.asked_at_begin))


class Client:
    def __init__(self, port, pulls, sax, keep_all, asked):
        self.port, self.pulls, self.sax, self.asked = port, pulls, sax, asked
        self.all = {} if keep_all else None
        self.finishing = False
        self.faults = []
        self.connections = self.hits = self.nones = self.doubles = self.last = 0

    def fault(self, sentence):
        if len(self.faults) < 5:
            self.faults.append(("pull: " if self.pulls else "push: ") + sentence)


class Crowd:
    """Clients of one process; told over a pipe what was sent, tells over another what they got."""

    def __init__(self, clients):
        self.clients = clients
        self.selector = selectors.DefaultSelector()
        self.cut = []

    def connect(self, client):
        client.connections += 1
        connection = Connection(client)
        self.selector.register(connection.socket, selectors.EVENT_READ, connection)

    def read(self, connection):
        client = connection.client
        try:
            data = connection.socket.recv(1 << 18)
        except ConnectionError:
            data = None
        if data:
            try:
                connection.parser.Parse(data)
            except (xml.parsers.expat.ExpatError, xml.sax.SAXException) as wrong:
                client.fault("not well-formed: %s in %r" % (wrong, data[:300]))
                data = None
        if data:
            connection.tail = data[-8:]
            return
        self.selector.unregister(connection.socket)
        connection.socket.close()
        whole = getattr(connection, "tail", b"").endswith(b"</hits>\n")
        connection.ended(whole)
        client.hits += connection.hits
        client.nones += connection.nones
        client.last = max(client.last, connection.last or 0)
        if not whole and not client.finishing:
            self.connect(client)

    def go_on(self, told, all_have_asked):
        for client in self.clients:
            self.connect(client)
        asked = False
        while self.selector.get_map():
            for key, _ in self.selector.select(0.05):
                self.read(key.data)
            if told() and not self.clients[0].finishing:
                for client in self.clients:
                    client.finishing = True
            now = time.monotonic()
            for key in list(self.selector.get_map().values()):
                if key.data.client.pulls and not key.data.client.finishing:
                    key.data.pull(now)
            if self.clients[0].finishing and not asked:
                asked = True
                for key in list(self.selector.get_map().values()):
                    if key.data.client.pulls:
                        key.data.ask(b"the rest?")
                all_have_asked()


def worker_of(keeper):
    with open("/proc/%d/task/%d/children" % (keeper, keeper)) as file:
        for child in map(int, file.read().split()):
            with open("/proc/%d/comm" % child) as name:
                if name.read().startswith("tapd"):
                    return child
    return None


def rotate():
    for number in range(60, 0, -1):
        old = "%s.%d" % (LOG, number)
        if os.path.exists(old):
            os.rename(old, "%s.%d" % (LOG, number + 1))
    os.rename(LOG, LOG + ".1")
    os.kill(NGINX_PID, signal.SIGUSR1)


def logged():
    """Each number's fields, as nginx has written them."""
    lines = {}
    for name in os.listdir(DIRECTORY):
        if name.startswith("access.log"):
            with open(os.path.join(DIRECTORY, name), encoding="utf-8", errors="replace") as file:
                for line in file:
                    fields = LINE.match(line.rstrip("\n")).groups()
                    lines[int(NUMBER.match(fields[2]).group(1))] = fields
    return lines


def main():
    # One page shared by the processes: how many requests were made, and whether that is all.
    import mmap
    import struct
    page = mmap.mmap(-1, 16)  # and in the last bytes, which of the processes have asked the last time
    asked = lambda: struct.unpack_from("<q", page, 0)[0]
    over = lambda: page[8] != 0
    kinds = [(PUSH_PORT, False)] * PUSHED + [(PULL_PORT, True)] * PULLING
    clients = [Client(port, pulls, i % 10 == 0, i in (0, PUSHED), asked) for i, (port, pulls) in enumerate(kinds)]
    parts = [clients[0::2], clients[1::2]] if len(clients) > 50 else [clients]
    pipes = []
    for place, part in enumerate(parts):
        read, write = os.pipe()
        if os.fork() == 0:
            Crowd(part).go_on(over, lambda: page.__setitem__(12 + place, 1))
            with os.fdopen(write, "w") as file:
                json.dump([[c.pulls, c.connections, c.hits, c.nones, c.last, c.faults, c.all, c.doubles] for c in part], file)
            os._exit(0)
        os.close(write)
        pipes.append(read)

    load = Load(lambda count: struct.pack_into("<q", page, 0, count))
    load.start()
    began = time.monotonic()
    next_rotation = began + ROTATE
    kills = [began + SECONDS * 0.35, began + SECONDS * 0.7]
    rotations = killed = 0
    while load.is_alive():
        time.sleep(0.005)
        now = time.monotonic()
        if now >= next_rotation:
            rotate()
            rotations += 1
            next_rotation += ROTATE
        worker = worker_of(KEEPER) if kills and now >= kills[0] else None
        if worker is not None:
            os.kill(worker, signal.SIGKILL)
            kills.pop(0)
            killed += 1
    load.join()
    time.sleep(2)  # a worker that was just started has read all of it
    page[8] = 1
    while sum(page[12:]) < len(parts):  # after the end of its connection a client may not ask: it would get a reset
        time.sleep(0.05)
    time.sleep(0.5)
    print("stop", flush=True)
    results = []
    for pipe in pipes:
        with os.fdopen(pipe) as file:
            results += json.load(file)
    faults = [sentence for result in results for sentence in result[5]]
    lines = logged()
    if sorted(lines) != list(range(1, load.sent + 1)):
        faults.append("nginx has logged %d of %d" % (len(lines), load.sent))
    # Two requests at once have two answers, and unless hits came while the first one waited for room, the second is <none/>.
    doubles, nones = sum(r[7] for r in results), sum(r[3] for r in results)
    if nones * 2 < doubles:
        faults.append("%d double requests, %d times <none/>" % (doubles, nones))
    behind = [result[4] for result in results if result[4] != load.sent]
    if behind:
        faults.append("%d clients did not get the last hit, %d, but %s" % (len(behind), load.sent, behind[:5]))
    compared = 0
    for result in results:
        for number, attributes in (result[6] or {}).items():
            names = ("ip", "timestamp", "request", "status", "bytes", "referrer", "agent")
            if tuple(attributes[name] for name in names) != lines[int(number)]:
                faults.append("%s differs from %s" % (attributes, lines[int(number)]))
            compared += 1
    print("%d requests, %d rotations, %d kills, %d push and %d pull clients, %d connections, %d hits, %d times <none/>, "
          "%d hits compared with the log" %
          (load.sent, rotations, killed, PUSHED, PULLING, sum(r[1] for r in results), sum(r[2] for r in results),
           sum(r[3] for r in results), compared))
    for sentence in faults[:20]:
        print(sentence)
    print("bad" if faults or killed != 2 or not compared else "good")


main()
