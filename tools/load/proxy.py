"""tools/bench proxy: the filter-proxy's processor time per request, beside privoxy's and HAProxy's, and its memory."""

import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

from rig import READY_TIMEOUT_S, Server, Trouble, scratch

SLICES = 3  # of one round, per server
SLICE_S = 1  # wrk takes whole seconds
CONNECTIONS = 50
BODY_BYTES = 1024
RULES = 2000
PRIVOXY_RATIO_MIN = 2
HAPROXY_RATIO_MAX = 1.5
BIG_BYTES = 1 << 30
GROWTH_MAX_MB = 10
NEEDED = {"privoxy": "privoxy", "haproxy": "haproxy", "nginx": "nginx", "wrk": "wrk", "curl": "curl"}
TICKS = os.sysconf("SC_CLK_TCK")


def program(name):
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise Trouble(f"needs {name} (tools/setup --bench installs it)")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class PortServer(Server):
    """A server that is ready when its port accepts. `cpu`: where it runs, the server's by default."""

    def __init__(self, rig, command, directory, port):
        self.free_port = port
        super().__init__(rig, command, directory)

    def wait_for_port(self):
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.free_port), timeout=1).close()
                return self.free_port
            except OSError:
                time.sleep(0.02)
        self.errors.seek(0)
        raise Trouble(f"`{self.command[0]}` did not answer:\n{self.errors.read()[-1000:]}", code=1)


class LoadSide:
    """As a Rig, for servers that belong to the load."""

    def __init__(self, rig):
        self.server_cpu = rig.load_cpu


def origin(rig, directory):
    port = free_port()
    root = directory / "www"
    root.mkdir()
    (root / "1k").write_bytes(b"x" * BODY_BYTES)
    with open(root / "1g", "wb") as big:
        big.truncate(BIG_BYTES)
    (directory / "nginx.conf").write_text(f"""daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 1000; default_type text/plain;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; }} }}""", encoding="ascii")
    return PortServer(LoadSide(rig), [program("nginx"), "-p", directory, "-c", directory / "nginx.conf"], directory, port)


def start_sink():
    """An origin for one upload, which reads all of it before it answers; returns its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def swallow():
        with listener, listener.accept()[0] as connection, connection.makefile("rb") as stream:
            left = 0
            while (line := stream.readline()) not in (b"\r\n", b""):
                if line.lower().startswith(b"content-length:"):
                    left = int(line.partition(b":")[2])
            while left > 0 and (piece := stream.read1(1 << 20)):
                left -= len(piece)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    threading.Thread(target=swallow, daemon=True).start()
    return listener.getsockname()[1]


def rules_text():
    """As long as a list for advertisements, none of which is asked for."""
    hosts = ", ".join(f'"*.ads{number}.example"' for number in range(RULES))
    return f'[default]\nblock = ["cookies"]\n[[rule]]\nname = "ads"\nhosts = [{hosts}]\nblock = ["connections", "images"]\n'


def tapd_proxy(rig, directory, filters):
    words = [rig.tapd, "-n", "--no-keeper", "filter-proxy", "--listen", "tcp:0:interface=127.0.0.1", "--allow-private",
             "--log-level", "warning"]
    if filters:
        (directory / "rules.toml").write_text(rules_text(), encoding="ascii")
        words += ["--rules", directory / "rules.toml"]
    return Server(rig, words, directory)


def privoxy(rig, directory, filters):
    """As Debian configures it, kept connections on both sides; `filters`: the actions and filters that come with it."""
    port = free_port()
    lines = [f"listen-address 127.0.0.1:{port}", "confdir /etc/privoxy", f"logdir {directory}", "keep-alive-timeout 300",
             "default-server-timeout 300", "connection-sharing 1", "socket-timeout 300", "max-client-connections 512",
             "tolerate-pipelining 1", "toggle 1", "accept-intercepted-requests 0", "listen-backlog 128"]
    if filters:
        lines += ["actionsfile match-all.action", "actionsfile default.action", "filterfile default.filter"]
    (directory / "privoxy.conf").write_text("\n".join(lines) + "\n", encoding="ascii")
    return PortServer(rig, [program("privoxy"), "--no-daemon", directory / "privoxy.conf"], directory, port)


def haproxy(rig, directory, origin_port):
    port = free_port()
    (directory / "haproxy.cfg").write_text(f"""global
  nbthread 1
  maxconn 2000
defaults
  mode http
  timeout connect 10s
  timeout client 300s
  timeout server 300s
  http-reuse always
frontend in
  bind 127.0.0.1:{port}
  default_backend out
backend out
  server origin 127.0.0.1:{origin_port}
""", encoding="ascii")
    return PortServer(rig, [program("haproxy"), "-db", "-f", directory / "haproxy.cfg"], directory, port)


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(rig, server, origin_port, reverse):
    """Requests that were answered with 2xx, and what the server's processor time was."""
    target = "/1k" if reverse else f"http://127.0.0.1:{origin_port}/1k"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.headers["Host"] = "127.0.0.1:{origin_port}"\n'
                     f'request = function() return wrk.format("GET", "{target}") end\n')
        script.flush()
        before = cpu_s(server.process.pid)
        run = subprocess.run(["taskset", "-c", str(rig.load_cpu), program("wrk"), "-t", "1", "-c", str(CONNECTIONS), "-d",
                              f"{SLICE_S}s", "-s", script.name, f"http://127.0.0.1:{server.port}/"], capture_output=True, text=True)
        used = cpu_s(server.process.pid) - before
    found = re.search(r"(\d+) requests in", run.stdout)
    if run.returncode != 0 or found is None or "Non-2xx" in run.stdout or int(found.group(1)) == 0:
        raise Trouble(f"wrk through `{server.command[0]}`:\n{run.stdout}{run.stderr}", code=1)
    return int(found.group(1)), used


class Used:
    def __init__(self):
        self.requests = self.cpu = 0

    def add(self, pair):
        self.requests += pair[0]
        self.cpu += pair[1]

    def us(self):
        return self.cpu / self.requests * 1e6


def proxy_compare(rig, rounds, what, ours, theirs, peer, want, at_most, origin_port, reverse=False):
    print(f"{what}: tapd and {peer}, {CONNECTIONS} connections, {BODY_BYTES} bytes")
    print(f"  round  {'tapd us/request':>16}  {peer + ' us/request':>20}  {'ratio':>7}")
    ratios = []
    for number in range(1, rounds + 1):
        used = (Used(), Used())
        for slice_number in range(SLICES):
            turns = [(used[0], ours, False), (used[1], theirs, reverse)]
            for total, server, is_reverse in turns if slice_number % 2 == 0 else reversed(turns):
                total.add(load(rig, server, origin_port, is_reverse))
        times = [one.us() for one in used]
        ratios.append(times[0] / times[1] if at_most else times[1] / times[0])
        print(f"  {number:<6} {times[0]:>16.2f}  {times[1]:>20.2f}  {ratios[-1]:>7.3f}", flush=True)
    print(f"  the rounds' ratios lie between {min(ratios):.3f} and {max(ratios):.3f}")
    name = f"{what}, " + (f"times {peer}'s processor time" if at_most else f"times better than {peer}")
    rig.judge(name, statistics.median(ratios), want, at_most=at_most)
    print()


def memory_mb(pid, field):
    text = pathlib.Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE).group(1)) / 1024


def growth(rig, server, what, *words):
    """Of the most memory that the server had while 1 GB went through it."""
    pid = server.process.pid
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")  # VmHWM begins anew
    before = memory_mb(pid, "VmRSS")
    run = subprocess.run(["taskset", "-c", str(rig.load_cpu), program("curl"), "-sS", "-o", "/dev/null", "-w",
                          "%{http_code} %{size_download} %{size_upload}", "-x", f"http://127.0.0.1:{server.port}", *map(str, words)],
                         capture_output=True, text=True)
    code, down, up = run.stdout.split() if run.returncode == 0 else ("", "0", "0")
    if code != "200" or max(int(down), int(up)) != BIG_BYTES:
        raise Trouble(f"curl {what}: {run.stdout} {run.stderr}", code=1)
    rig.judge(f"1 GB {what}, growth", memory_mb(pid, "VmHWM") - before, GROWTH_MAX_MB, " MB", at_most=True)


def proxy(rig, options):
    for name in NEEDED:
        program(name)
    rounds = options.rounds
    with scratch() as web, scratch() as plain_dir, scratch() as other_dir, origin(rig, web) as site, \
            tapd_proxy(rig, plain_dir, False) as plain:
        with privoxy(rig, other_dir, False) as peer:
            proxy_compare(rig, rounds, "proxy without filters", plain, peer, "privoxy", PRIVOXY_RATIO_MIN, False, site.port)
        with scratch() as filters_dir, scratch() as peer_dir, tapd_proxy(rig, filters_dir, True) as filtering, \
                privoxy(rig, peer_dir, True) as peer:
            proxy_compare(rig, rounds, "proxy with filters", filtering, peer, "privoxy", PRIVOXY_RATIO_MIN, False, site.port)
        with scratch() as peer_dir, haproxy(rig, peer_dir, site.port) as peer:
            proxy_compare(rig, rounds, "forward proxy beside a reverse proxy", plain, peer, "HAProxy", HAPROXY_RATIO_MAX, True,
                          site.port, reverse=True)
        growth(rig, plain, "down", f"http://127.0.0.1:{site.port}/1g")
        growth(rig, plain, "up", "-T", web / "www/1g", f"http://127.0.0.1:{start_sink()}/")
