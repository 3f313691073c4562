"""The file service and its foreign clients. files_peers.py LINE_PORT HTTP_PORT ROOT; an exception is a failed test."""

import hashlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time

LINES, HTTP, ROOT = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
URL = f"http://127.0.0.1:{HTTP}"
PATIENCE_S = 60


def run(*words, **more):
    return subprocess.run(words, capture_output=True, timeout=PATIENCE_S, **more)


def content(name):
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read()


def put(name, data):
    with open(os.path.join(ROOT, name), "wb") as file:
        file.write(data)
    os.utime(os.path.join(ROOT, name), (time.time() - 3600,) * 2)


def by_netcat():
    got = run("nc", "-N", "127.0.0.1", str(LINES), input=b"get small\nget ../secret\nget big\n").stdout
    assert got == b"ok 6\nhello\nerror this is no name of a file\nok %d\n" % len(content("big")) + content("big"), got[:200]


def by_curl():
    assert run("curl", "-sf", f"{URL}/big").stdout == content("big")
    assert run("curl", "-sf", "-r", "1000-1999", f"{URL}/big").stdout == content("big")[1000:2000]
    # A download that was cut off goes on where it was.
    with open("part", "wb") as part:
        part.write(content("big")[:3_000_000])
    assert run("curl", "-sf", "-C", "-", "-o", "part", f"{URL}/big").returncode == 0
    with open("part", "rb") as part:
        assert part.read() == content("big")
    run("curl", "-sf", "--etag-save", "etag", "-o", "first", f"{URL}/small")
    again = run("curl", "-sf", "--etag-compare", "etag", "-w", "%{http_code}", "-o", "second", f"{URL}/small")
    assert again.stdout == b"304", again
    now = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    assert run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-z", now, f"{URL}/small").stdout == b"304"
    assert run("curl", "-sI", f"{URL}/small").stdout.count(b"Content-Length: 6") == 1
    for path in ("/../secret", "/..%2fsecret", "/%2e%2e/secret", "/out"):
        got = run("curl", "-s", "--path-as-is", f"{URL}{path}").stdout
        assert b"SECRET" not in got and got[:1] == b"4", (path, got)


def nobody_stalls():
    """Slow readers of big files, and the time that a small one takes meanwhile."""
    slow = []
    for number in range(20):
        client = socket.create_connection(("127.0.0.1", LINES if number % 2 else HTTP), PATIENCE_S)
        client.sendall(b"get big\n" if number % 2 else b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.append(client)
    stop = threading.Event()

    def download():
        while not stop.is_set():
            run("curl", "-sf", "-o", "/dev/null", f"{URL}/big")

    loud = [threading.Thread(target=download) for _ in range(2)]
    for thread in loud:
        thread.start()
    took = []
    connection = http.client.HTTPConnection("127.0.0.1", HTTP, timeout=PATIENCE_S)
    for _ in range(300):
        begin = time.monotonic()
        connection.request("GET", "/small")
        assert connection.getresponse().read() == b"hello\n"
        took.append(time.monotonic() - begin)
    stop.set()
    for thread in loud:
        thread.join()
    took.sort()
    print(f"a small file beside 20 slow and 2 fast readers of a big one: median {took[150] * 1000:.2f} ms, "
          f"p99 {took[297] * 1000:.2f} ms", flush=True)
    for number, client in enumerate(slow):  # they get all of it in the end
        if number % 10:
            client.close()
            continue
        client.sendall(b"")
        client.settimeout(PATIENCE_S)
        got = hashlib.sha256()
        data = b""
        while b"\r\n\r\n" not in data:
            data += client.recv(65536)
        data = data.split(b"\r\n\r\n", 1)[1]
        left = len(content("big"))
        while left:
            got.update(data)
            left -= len(data)
            data = client.recv(min(65536, left)) if left else b""
        assert got.digest() == hashlib.sha256(content("big")).digest()
        client.close()


def shrinks():
    put("shrinking", os.urandom(30_000_000))
    client = socket.create_connection(("127.0.0.1", LINES), PATIENCE_S)
    client.sendall(b"get shrinking\n")
    assert client.recv(3) == b"ok "
    os.truncate(os.path.join(ROOT, "shrinking"), 20_000)
    got = 0
    try:
        while piece := client.recv(1 << 20):
            got += len(piece)
        raise AssertionError(f"an orderly end after {got} bytes")
    except ConnectionResetError:
        pass


put("small", b"hello\n")
put("big", os.urandom(20_000_000))
with open(os.path.join(ROOT, "../secret"), "wb") as secret:
    secret.write(b"SECRET")
os.symlink("../secret", os.path.join(ROOT, "out"))
for step in (by_netcat, by_curl, nobody_stalls, shrinks):
    step()
    print("done", step.__name__, flush=True)
