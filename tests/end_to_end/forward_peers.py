"""The port forwarder between real programs: echo over all pairs of endpoints, half-close, iperf3, and Twisted beside it.

forward_peers.py TAPD KEY CERTIFICATE ROOT MEGABYTES: prints what was done, a line each; an exception is a failed test."""

import contextlib
import hashlib
import os
import re
import socket
import ssl
import subprocess
import sys
import threading

TAPD, KEY, CERTIFICATE, ROOT, MEGABYTES = sys.argv[1:6]
QUIET = ["-n", "--no-keeper", "-o", "--pidfile=", "--log-level", "warning"]
PATIENCE_S = 300


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_ports(process, count):
    ports = []
    while len(ports) < count:
        line = process.stdout.readline()
        assert line, "it has ended: " + process.stderr.read()
        found = re.match(r"listening (\S+) (\w+):(?:.*:)?(\S+)$", line)
        if found:
            ports.append(found.group(3))
    return ports


@contextlib.contextmanager
def program(*words, ports=0):
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, wait_for_ports(process, ports)
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


LISTEN = {
    "tcp": "tcp:0:interface=127.0.0.1",
    "unix": "unix:{}.sock",
    "tls": f"tls:0:interface=127.0.0.1:privateKey={KEY}:certKey={CERTIFICATE}",
}


def connect(kind, port, name):
    if kind == "unix":
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE_S)
        client.connect(name + ".sock")
        return client
    client = socket.create_connection(("127.0.0.1", int(port)), PATIENCE_S)
    if kind == "tls":
        client = ssl.create_default_context(cafile=ROOT).wrap_socket(client, server_hostname="localhost")
    return client


def echoed_in_turns(client, megabytes):
    """The same by TLS: Python's may not be used by two threads at once, so each block is waited for."""
    for number in range(megabytes * 4):
        block = number.to_bytes(8, "big") * (1 << 15)
        client.sendall(block)
        got = bytearray()
        while len(got) < len(block):
            piece = client.recv(len(block) - len(got))
            assert piece, f"block {number} ended after {len(got)} bytes"
            got += piece
        assert got == block, f"block {number} came back as another"
        if number % 256 == 255:
            print(number // 4, "MB", flush=True)


def echoed(client, megabytes):
    """Sends so much and hashes what comes back, at the same time; then whether the end came back too."""
    piece = os.urandom(1 << 20)
    sent, got = hashlib.sha256(), hashlib.sha256()

    def send():
        for number in range(megabytes):
            block = number.to_bytes(8, "big") + piece[8:]
            sent.update(block)
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send)
    sender.start()
    left = megabytes << 20
    while left:
        block = client.recv(min(left, 1 << 18))
        assert block, f"{left} bytes are missing"
        got.update(block)
        if left >> 26 != (left - len(block)) >> 26:
            print(left >> 20, "MB to go", flush=True)  # whoever waits for us sees that we live
        left -= len(block)
    sender.join()
    assert sent.digest() == got.digest(), "other bytes came back"
    assert client.recv(1) == b"", "more came than was sent"


def all_pairs(megabytes):
    with program(TAPD, *QUIET, "echo", *[word for kind in LISTEN for word in ("--listen", LISTEN[kind].format("target"))],
                 ports=3) as (_, targets):
        there = {"tcp": f"tcp:127.0.0.1:{targets[0]}", "unix": "unix:target.sock",
                 "tls": f"tls:localhost:{targets[2]}:trustRoots={ROOT}"}
        for front in LISTEN:
            for back in there:
                name = f"{front}-{back}"
                with program(TAPD, *QUIET, "portforward", "--listen", LISTEN[front].format(name), "--to", there[back],
                             ports=1) as (_, ports):
                    with connect(front, ports[0], name) as client:
                        if front == "tls":
                            echoed_in_turns(client, megabytes)
                        else:
                            echoed(client, megabytes)
                print("echoed", name, flush=True)


def refused():
    with program(TAPD, *QUIET, "portforward", "--listen", LISTEN["tcp"], "--to", f"tcp:127.0.0.1:{free_port()}",
                 ports=1) as (process, ports):
        with connect("tcp", ports[0], "") as client:
            client.sendall(b"x")
            try:
                assert client.recv(1) == b"never", "an orderly end"
            except ConnectionResetError:
                pass
        process.terminate()
        said = process.stderr.read()
        assert said.count("Connection refused") == 1, said
    print("refused", flush=True)


TWISTED = """
import sys
from twisted.internet import reactor
from twisted.protocols.portforward import ProxyFactory
port = reactor.listenTCP(0, ProxyFactory('127.0.0.1', int(sys.argv[1])), interface='127.0.0.1')
print(f'listening twisted tcp:127.0.0.1:{port.getHost().port}', flush=True)
reactor.run()
"""


def iperf(port, *options):
    length = [] if "-n" in options else ["-t", "1"]
    run = subprocess.run(["iperf3", "-c", "127.0.0.1", "-p", str(port), *length, *options], capture_output=True, text=True,
                         timeout=PATIENCE_S)
    assert run.returncode == 0, run.stdout + run.stderr
    return re.search(r"([\d.]+ \w+/sec)\s+receiver", run.stdout).group(1)


def cpu_s(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as stat:
        return int(stat.read().split()[0]) / 1e9


def under_iperf():
    port = free_port()
    with program("iperf3", "-s", "-p", str(port), "--forceflush") as (server, _):
        while "Server listening" not in server.stdout.readline():
            assert server.poll() is None
        forwarders = {"tapd": [TAPD, *QUIET, "portforward", "--listen", LISTEN["tcp"], "--to", f"tcp:127.0.0.1:{port}"],
                      "twisted": ["/usr/bin/python3", "-c", TWISTED, str(port)]}
        for name, command in forwarders.items():
            with program(*command, ports=1) as (process, ports):
                rates = [iperf(ports[0], *options) for options in ([], ["-R"], ["--bidir"], ["-P", "8"])]
                before = cpu_s(process.pid)
                iperf(ports[0], "-n", "500M")
                used = cpu_s(process.pid) - before
            print(f"iperf3 {name}: {', '.join(rates)}; {used * 1000 / 500:.2f} ms of CPU a megabyte", flush=True)


all_pairs(int(MEGABYTES))
refused()
under_iperf()
