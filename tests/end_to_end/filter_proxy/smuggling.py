"""Sends 200 and more conflicting or malformed requests through a filter-proxy and looks at what reaches the origin.

What arrives is written down byte by byte, and then read by a strict pattern, by Python's http.server and by a real nginx
(where it is installed): all have to see the same requests, and none that was hidden in another.

Usage: smuggling.py PROXY_PORT DIRECTORY
"""
import concurrent.futures
import http.server
import io
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t\x20-\x7e\x80-\xff]*")
START = re.compile(rb"[A-Z]+ (/[\x21-\x7e]*|\*) HTTP/1\.1")
PATIENCE_S = 0.8


def cases(origin):
    """(name, bytes): N stands for the case's number, so that the path tells which it is."""
    inner = b"GET http://%s/smuggled HTTP/1.1\r\nHost: %s\r\n\r\n" % (origin, origin)
    length = str(len(inner)).encode()
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)

    def request(method=b"POST", fields=(), body=b"", version=b"HTTP/1.1", end=b"\r\n", host=True, target=None):
        lines = [method + b" " + (target or b"http://%s/N" % origin) + b" " + version]
        if host:
            lines.append(b"Host: " + origin)
        return end.join(lines + list(fields)) + end + end + body

    codings = [b"chunked", b" chunked", b"chunked ", b"\tchunked", b"Chunked", b"xchunked", b"chunked, identity", b"identity",
               b"identity, chunked", b"chunked;x", b"\"chunked\"", b"chunked,", b",chunked", b"gzip, chunked", b"chunked\x0b",
               b"\x0bchunked", b"chunked\x00", b"cow", b"", b"chunked chunked", b"chunked\r\n ", b"\r\n chunked", b"chun\tked"]
    names = [b"Transfer-Encoding:", b"Transfer-Encoding :", b"Transfer_Encoding:", b"Transfer.Encoding:", b" Transfer-Encoding:",
             b"Transfer-Encoding\t:", b"X: y\nTransfer-Encoding:", b"X: y\rTransfer-Encoding:", b"\x00Transfer-Encoding:",
             b"Transfer-Encoding", b"transfer-encodin\xc4\x9f:"]
    for coding in codings:  # with a length too, and alone
        for name in (names[0],):
            yield "both", request(fields=[b"Content-Length: 5", name + b" " + coding], body=chunked)
            yield "coding", request(fields=[name + b" " + coding], body=chunked)
    for name in names[1:]:
        yield "name", request(fields=[b"Content-Length: " + length, name + b" chunked"], body=b"0\r\n\r\n" + inner)
        yield "name alone", request(fields=[name + b" chunked"], body=chunked)
    lengths = [b"+3", b"-1", b"0x3", b"3,3", b"3, 3", b"3 3", b"", b"3.0", b"1e1", b"\xb2", b"99999999999999999999", b"3\x00",
               b"\x0b3", b"3\r\n ", b"00000000000000000000003", b"18446744073709551619", b"'3'", b"3;x", b"\t3\x0c", b"three"]
    for value in lengths:
        yield "length", request(fields=[b"Content-Length: " + value], body=b"abc" + inner)
        yield "length GET", request(b"GET", fields=[b"Content-Length: " + value], body=b"abc" + inner)
    for name in (b"Content-Length :", b"Content_Length:", b"Content.Length:", b" Content-Length:", b"Content-Length\t:", b"Content-Length",
                 b"X: y\nContent-Length:", b"X: y\rContent-Length:"):
        yield "length's name", request(fields=[b"Content-Length: 0", name + b" " + length], body=inner)
        yield "length's name alone", request(fields=[name + b" " + length], body=inner)
    for first, second in ((b"3", b"3"), (b"3", b"4"), (b"0", length), (length, b"0"), (b"3", b"")):
        yield "two lengths", request(fields=[b"Content-Length: " + first, b"Content-Length: " + second], body=b"abc" + inner)
    for size in (b"0x1", b"+1", b"-1", b" 1", b"1 ", b"1\t", b"g", b"", b"1;\n", b"1\n", b"1;a\rb", b"fffffffffffffffff", b"1_0", b"\x001",
                 b"1;x=\"\r\n\"", b"10000000000000001", b"1,1", b"1 1"):
        yield "chunk", request(fields=[b"Transfer-Encoding: chunked"], body=size + b"\r\na\r\n0\r\n\r\n" + inner)
    for ending in (b"1\r\nab\r\n0\r\n\r\n", b"1\r\na\n0\r\n\r\n", b"1\na\r\n0\r\n\r\n", b"1\r\na\r0\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n",
                   b"0\r\nHost: x\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\n\n", b"0\r\n\n", b"0\r\n x: y\r\n\r\n",
                   b"0\r\nno colon\r\n\r\n", b"0\r\r\n\r\n", b"1\r\na0\r\n\r\n"):
        yield "chunk's end", request(fields=[b"Transfer-Encoding: chunked"], body=ending + inner)
    for method in (b"GET", b"HEAD", b"TRACE", b"CONNECT"):
        yield "fat", request(method, fields=[b"Content-Length: " + length], body=inner)
        yield "fat chunked", request(method, fields=[b"Transfer-Encoding: chunked"], body=chunked)
    for value in (b"Content-Length", b"close, content-length", b"Transfer-Encoding", b"Host", b"keep-alive, HOST"):
        yield "connection", request(fields=[b"Connection: " + value, b"Content-Length: " + length], body=inner)
    for host in (b"Host: other.example", b"host:" + origin, b"Host: " + origin + b"\r\nHost: " + origin, b"Host : " + origin, b"Host: a b",
                 b"Host: " + origin + b"@x", b"Host: a/b", b"Host:\x00" + origin, b"Host: " + origin + b",x", b"X: y", b"Host:",
                 b" Host: " + origin):
        yield "host", request(b"GET", [host], host=False)
        yield "second host", request(b"GET", [host])
    for target in (b"/N", b"*", b"http://u@" + origin + b"/N", b"http:/" + origin + b"/N", b"//" + origin + b"/N", b"http://" + origin + b"/N#x",
                   b"http://" + origin + b"/\xffN", b"http://" + origin + b"/N\\x", b"http://" + origin + b"\\N", b"https://" + origin + b"/N",
                   b"ftp://" + origin + b"/N", b"http://" + origin + b":/N", b"http://" + origin + b":99999/N", b"http:///N", b"http://[/N",
                   b"http://" + origin + b"/N\x0bx", b"http://" + origin + b"/N\tx", b"http://0x7f.1/N"):
        yield "target", request(b"GET", target=target)
    for version in (b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"HTTP/1.1x", b"HTTP/1,1", b"", b"HTTP /1.1",
                    b" HTTP/1.1", b"\tHTTP/1.1", b"HTTP/1.1\tx"):
        yield "version", request(b"GET", version=version)
    for method in (b"G ET", b"GET\x00", b"GET\t", b" GET", b"GET:", b"G\nET", b"get", b"\xffGET", b"GET\x0b", b"(GET)"):
        yield "method", request(method)
    for end in (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r"):
        yield "line ends", request(fields=[b"Content-Length: " + length], body=inner, end=end)
    for field in (b"no colon", b": no name", b"a b: c", b"X: a\x00b", b"X: a\x7fb", b"X:\r\n folded", b"X: a\nY: b", b"X: a\rY: b", b"X\xe9: b",
                  b"(X): b", b"X: a\x08b", b"X: \x1b[31m"):
        yield "field", request(b"GET", [field])
    yield "1.0 chunked", request(fields=[b"Transfer-Encoding: chunked"], body=chunked, version=b"HTTP/1.0")
    yield "expect", request(fields=[b"Expect: 200-maybe", b"Content-Length: " + length], body=inner)
    yield "upgrade", request(b"GET", [b"Connection: upgrade, http2-settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__"])
    yield "upgrade body", request(fields=[b"Connection: upgrade", b"Upgrade: x", b"Content-Length: " + length], body=inner)


class Origin:
    """Writes down what each connection brings, answers its first request, and ends it a little later."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self.port = self.listener.getsockname()[1]
        self.streams = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.record, args=(connection,), daemon=True).start()

    def record(self, connection):
        stream = bytearray()
        self.streams.append(stream)
        connection.settimeout(PATIENCE_S / 2)
        answered = False
        try:
            while piece := connection.recv(65536):
                stream += piece
                if b"\r\n\r\n" in stream and not answered:
                    answered = True
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except OSError:
            pass
        connection.close()


def send(port, text):
    """What the proxy answers until it ends or is quiet."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        try:
            client.sendall(text)
            while piece := client.recv(65536):
                answer += piece
        except OSError:
            pass
    return answer


def read_strictly(stream):
    """(method, path) of each request by RFC 9112 and nothing else; an AssertionError when it is not what it should be."""
    seen = []
    rest = bytes(stream)
    while rest:
        head, mark, rest = rest.partition(b"\r\n\r\n")
        if not mark:
            break  # a request that was broken off: no reader acts on half a head
        start, *fields = head.split(b"\r\n")
        assert START.fullmatch(start), start
        assert all(FIELD.fullmatch(field) for field in fields), fields
        names = [field.partition(b":")[0].lower() for field in fields]
        values = dict(zip(names, (field.partition(b":")[2].strip() for field in fields)))
        framing = [name for name in names if re.sub(rb"[^a-z]", b"-", name) in (b"content-length", b"transfer-encoding")]
        assert names.count(b"host") == 1 and len(framing) <= 1, fields
        assert not {b"connection", b"te", b"upgrade", b"keep-alive", b"expect"} & set(names), fields
        seen.append(tuple(start.decode().split(" ")[:2]))
        if b"content-length" in values:
            rest = rest[int(values[b"content-length"]):]
        elif b"transfer-encoding" in values:
            assert values[b"transfer-encoding"] == b"chunked", fields
            while rest:
                size, mark, rest = rest.partition(b"\r\n")
                assert not mark or re.fullmatch(rb"[0-9a-f]+", size), size
                if not mark:
                    break
                piece = int(size, 16) + 2
                assert len(rest) < piece or rest[piece - 2:piece] == b"\r\n", rest
                rest = rest[piece:]
                if size == b"0":
                    break
    return seen


def read_as_python(stream):
    """The same by http.server, whose handler reads the body that it is told of."""
    seen = []

    class Reader(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self):
            self.rfile, self.wfile = io.BytesIO(bytes(stream)), io.BytesIO()
            self.client_address, self.close_connection = ("test", 0), False
            while not self.close_connection:
                self.handle_one_request()

        def log_message(self, *_):
            pass

        def take(self):
            seen.append((self.command, self.path))
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline().strip() or b"0", 16):
                    self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            elif self.command not in ("GET", "HEAD"):  # as those that have no use for one
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def __getattr__(self, name):
            if name.startswith("do_"):
                return self.take
            raise AttributeError(name)

    Reader()
    return seen


def read_as_nginx(streams, directory):
    """The same by nginx, for each stream; None where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        return None
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    (directory / "body").mkdir()
    (directory / "nginx.conf").write_text(f"""daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
events {{ worker_connections 512; }}
http {{ log_format f '$request_method $request_uri'; access_log {directory}/seen.log f; client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{ listen 127.0.0.1:{port}; underscores_in_headers on; location / {{ return 200 ok; }} }} }}""", encoding="ascii")
    server = subprocess.Popen([program, "-p", str(directory), "-c", str(directory / "nginx.conf")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        log, seen = directory / "seen.log", []
        for stream in streams:
            before = log.stat().st_size
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(bytes(stream))
                client.shutdown(socket.SHUT_WR)
                while client.recv(65536):
                    pass
            lines = log.read_bytes()[before:].decode().splitlines()
            seen.append([tuple(line.split(" ")[:2]) for line in lines if line.strip(" ")])
        return seen
    finally:
        server.terminate()
        server.wait()


def main():
    proxy_port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    origin = Origin()
    name = b"127.0.0.1:%d" % origin.port
    sent = [(what, text.replace(b"/N", b"/case-%d" % number, 1).replace(b"/\xffN", b"/\xffcase-%d" % number, 1))
            for number, (what, text) in enumerate(cases(name))]
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda one: send(proxy_port, one[1]), sent))
    print("all are answered", flush=True)
    time.sleep(PATIENCE_S)
    streams = [bytes(stream) for stream in origin.streams]
    statuses = {}
    for answer in answers:
        status = answer[9:12].decode("latin-1") or "none"
        statuses[status] = statuses.get(status, 0) + 1
    offences = []
    python = []
    strict = []
    for stream in streams:
        try:
            strict.append(read_strictly(stream))
        except AssertionError as offence:
            strict.append(None)
            offences.append(f"not as it should be: {offence} in {stream!r}")
        python.append(read_as_python(stream))
    nginx = read_as_nginx(streams, directory)
    for number, stream in enumerate(streams):
        readers = [strict[number], python[number]] + ([nginx[number]] if nginx is not None else [])
        # nginx logs a request that was broken off as well (400); it does nothing for it.
        if any(seen is None or [one for one in seen] != readers[0] for seen in readers):
            offences.append(f"read in different ways, {readers}: {stream!r}")
        if any("smuggled" in path for seen in readers if seen for _, path in seen):
            offences.append(f"a hidden request was read: {stream!r}")
    for offence in offences:
        print("offence:", offence)
    print(f"{len(sent)} requests, answered {statuses}; {len(streams)} streams reached the origin; nginx "
          f"{'was asked' if nginx is not None else 'is not installed'}; {len(offences)} offences")
    return 1 if offences or len(sent) < 200 or not streams else 0


if __name__ == "__main__":
    sys.exit(main())
