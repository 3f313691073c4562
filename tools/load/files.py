"""tools/bench files: tapd's `files` by HTTP and nginx with sendfile, the same files and the same load: CPU per request."""

import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import time

from rig import READY_TIMEOUT_S, Server, Trouble, scratch

FILES_RATIO_MAX = 1.3
FILES_SLICES = 4  # of one round, per server
FILES_CASES = (  # name, bytes, connections of the load
    ("1k", 1024, 50),
    ("1m", 1 << 20, 10),
)

NGINX_CONFIG = """
daemon off;
master_process off;
pid nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    include /etc/nginx/mime.types;
    sendfile on;
    tcp_nopush on;
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class Nginx(Server):
    """A single nginx process, ready when it accepts."""

    CONFIG = NGINX_CONFIG

    def __init__(self, rig, directory, root):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.free_port = probe.getsockname()[1]
        (directory / "nginx.conf").write_text(self.CONFIG.format(port=self.free_port, root=root), encoding="ascii")
        super().__init__(rig, ["nginx", "-p", directory, "-c", directory / "nginx.conf"], directory)

    def wait_for_port(self):
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.free_port), timeout=1):
                    return self.free_port
            except OSError:
                time.sleep(0.02)
        raise Trouble("nginx did not start", code=1)


def cpu_s(pid):
    """Of all threads of a process: the pool's too."""
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def load_slice(rig, server, name, size, connections, seconds):
    """Requests and the server's CPU seconds."""
    before = cpu_s(server.process.pid)
    run = subprocess.run(["taskset", "-c", str(rig.load_cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
                          f"http://127.0.0.1:{server.port}/{name}"], capture_output=True, text=True)
    used = cpu_s(server.process.pid) - before
    counted = re.search(r"(\d+) requests in [\d.]+\w+, ([\d.]+)(\w+) read", run.stdout)
    if run.returncode != 0 or counted is None or "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        raise Trouble(f"wrk:\n{run.stdout}{run.stderr}", code=1)
    requests = int(counted.group(1))
    read = float(counted.group(2)) * {"KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}[counted.group(3)]
    if read < 0.9 * requests * size:
        raise Trouble(f"{requests} requests gave {read} bytes only", code=1)
    return requests, used


def files_round(rig, root, case, seconds):
    """(requests a second, CPU us per request) of tapd and of nginx, in turns: A B, B A, A B, ..."""
    endpoint = "tcp:0:interface=127.0.0.1"
    command = [rig.tapd, "-n", "--no-keeper", "-o", "files", "--listen", endpoint, "--http", endpoint, "--root", root,
               "--log-level", "warning"]
    with scratch() as ours_dir, scratch() as nginx_dir:
        with Server(rig, command, ours_dir) as ours, Nginx(rig, nginx_dir, root) as nginx:
            sums = {ours: [0, 0.0], nginx: [0, 0.0]}
            for server in sums:
                load_slice(rig, server, *case, 1)
            for number in range(FILES_SLICES):
                for server in (ours, nginx) if number % 2 == 0 else (nginx, ours):
                    requests, used = load_slice(rig, server, *case, seconds)
                    sums[server][0] += requests
                    sums[server][1] += used
    return [(requests / (FILES_SLICES * seconds), used / requests * 1e6) for requests, used in sums.values()]


def files(rig, options):
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise Trouble(f"needs {program} (tools/setup --bench installs it)")
    with scratch() as root:
        root.chmod(0o755)
        for name, size, _ in FILES_CASES:
            (root / name).write_bytes(os.urandom(size))
            os.utime(root / name, (time.time() - 3600,) * 2)
        for case in FILES_CASES:
            print(f"files, {case[1]:,} bytes, {case[2]} connections: tapd and nginx with sendfile")
            print(f"  round  {'tapd req/s':>12}  {'nginx req/s':>12}  {'CPU us/request':>19}  {'ratio':>7}")
            ratios = []
            for number in range(1, options.rounds + 1):
                ours, theirs = files_round(rig, root, case, max(1, round(options.seconds)))  # wrk knows whole seconds
                ratios.append(ours[1] / theirs[1])
                cpu = f"{ours[1]:.1f} / {theirs[1]:.1f}"
                print(f"  {number:<6} {ours[0]:>12,.0f}  {theirs[0]:>12,.0f}  {cpu:>19}  {ratios[-1]:>7.3f}", flush=True)
            rig.judge(f"files, {case[1]:,} bytes, CPU per request, ratio to nginx", statistics.median(ratios),
                      FILES_RATIO_MAX, at_most=True)
            print()
