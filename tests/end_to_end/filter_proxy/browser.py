"""A headless Chromium through a filter-proxy, at a local page with images and cookies.

The page is on 127.0.0.1, one of its images too, another on 127.0.0.2, whose images the rules block; cookies of 127.0.0.1
are blocked. Leaves screenshot.png in the directory. Exit code 77: Chromium is not installed.

Usage: browser.py PROXY_PORT DIRECTORY
"""
import http.server
import pathlib
import shutil
import struct
import subprocess
import sys
import threading
import zlib

SKIPPED = 77


def png(red, green, blue, size=120):
    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = (b"\0" + bytes((red, green, blue)) * size) * size
    return (b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
            part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))


def pixels(path):
    """Width, height and rows of (r, g, b) of a PNG as Chromium writes them: 8 bits, RGB or RGBA, not interlaced."""
    data = pathlib.Path(path).read_bytes()
    at, packed, width, height, depth = 8, b"", 0, 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, _, colour = struct.unpack(">IIBB", body[:10])
            depth = {2: 3, 6: 4}[colour]
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    raw, stride, rows, before = zlib.decompress(packed), width * depth, [], bytearray(width * depth)
    for y in range(height):
        kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for x in range(stride):
            left, up = line[x - depth] if x >= depth else 0, before[x]
            corner = before[x - depth] if x >= depth else 0
            guess = left + up - corner
            nearest = min((left, up, corner), key=lambda one: abs(guess - one))
            line[x] = (line[x] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
        rows.append(line)
        before = line
    return [[tuple(line[x * depth:x * depth + 3]) for x in range(width)] for line in rows]


def main():
    proxy_port, directory = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    browser = shutil.which("chromium")
    if browser is None:
        print("skipped: chromium is not installed (apt-get install chromium)")
        return SKIPPED
    seen = []

    class Site(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = self.path
            seen.append((self.headers["Host"].rpartition(":")[0], path, self.headers.get("Cookie"), self.headers.get("Via")))
            kind = "text/html"
            if path == "/":
                port = self.server.server_port
                body = (f"<!DOCTYPE html><body style='margin:0;background:#fff'><h1 style='margin:0'>The page stands</h1>"
                        f"<img src='/green' width=120 height=120><img src='http://127.0.0.2:{port}/red.png' width=120 height=120>"
                        f"<img src='http://127.0.0.2:{port}/red-without-a-name' width=120 height=120>"
                        f"<iframe src='/second' width=200 height=60></iframe>").encode()
            elif path.startswith("/green"):
                kind, body = "image/png", png(0, 160, 0)
            elif path.startswith("/red"):
                kind, body = "image/png", png(220, 0, 0)
            else:
                body = b"<p>second page</p>"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Set-Cookie", "mark=of-the-page; Path=/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    site = http.server.ThreadingHTTPServer(("0.0.0.0", 0), Site)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    shot = directory / "screenshot.png"
    url = f"http://127.0.0.1:{site.server_port}/"
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={directory}/profile", "--disable-dev-shm-usage",
               f"--proxy-server=http://127.0.0.1:{proxy_port}", "--proxy-bypass-list=<-loopback>", "--window-size=600,300",
               "--hide-scrollbars", "--virtual-time-budget=8000", f"--screenshot={shot}", url]
    for _ in range(2):  # the second time it would send back the cookie of the first
        run = subprocess.run(command, capture_output=True, timeout=90)
        print("looked at the page", flush=True)
        if run.returncode != 0 or not shot.exists():
            print(f"chromium ended with {run.returncode}:\n{run.stderr.decode(errors='replace')[-2000:]}")
            return 1
    problems = []
    pages = [one for one in seen if one[:2] == ("127.0.0.1", "/")]
    if len(pages) < 2 or not any(one[1] == "/second" for one in seen):
        problems.append(f"the page was not asked for twice through the proxy: {seen}")
    if any(via is None for _, _, _, via in seen):
        problems.append("something went past the proxy")
    if any(cookie is not None for _, _, cookie, _ in seen):
        problems.append(f"a cookie was sent back: {seen}")
    if any(host == "127.0.0.2" and path == "/red.png" for host, path, _, _ in seen):
        problems.append("the blocked image was asked for")
    colours = {}
    for row in pixels(shot):
        for pixel in row:
            colours[pixel] = colours.get(pixel, 0) + 1
    if colours.get((0, 160, 0), 0) < 10_000:
        problems.append("the image that is allowed is not there")
    if colours.get((220, 0, 0), 0) != 0:
        problems.append("a blocked image is there")
    if colours.get((0, 0, 0), 0) < 100:
        problems.append("the page's text is not there")
    print("; ".join(problems) or f"the page stands, green {colours[(0, 160, 0)]} pixels, red none, {len(seen)} requests, no cookie")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
