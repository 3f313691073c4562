"""tools/bench http: our HTTP server with a page in memory and nginx with the same in its config, pipelined: CPU per request."""

import shutil
import statistics
import subprocess

from files import NGINX_CONFIG, Nginx, cpu_s
from rig import Server, Trouble, scratch

HTTP_RATIO_MAX = 1.2
HTTP_SLICES = 4  # of one round, per server
HTTP_CASES = (  # connections, requests in flight on each
    (20, 16),
    (50, 1),
)
PAGE_BYTES = 1024
# What wrk sends at once. Its own counting knows of pipelining: a response is a response.
PIPELINE_LUA = """
init = function(args)
  local requests = {}
  for i = 1, %d do requests[i] = wrk.format() end
  together = table.concat(requests)
end
request = function() return together end
"""


class PageNginx(Nginx):
    """Answers from its config, without a file."""

    CONFIG = NGINX_CONFIG.replace("root {root};", "location = /hello {{ return 200 \"" + "h" * PAGE_BYTES + "\"; }}")


class HttpPeer(Server):
    """build/tests/http_peer, which prints its port."""

    READY = rb"^(\d+)\s*\n"


def load_slice(rig, server, script, connections, seconds):
    """Requests and the server's CPU seconds."""
    before = cpu_s(server.process.pid)
    run = subprocess.run(["taskset", "-c", str(rig.load_cpu), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", script,
                          f"http://127.0.0.1:{server.port}/hello"], capture_output=True, text=True)
    used = cpu_s(server.process.pid) - before
    words = run.stdout.split()
    if run.returncode != 0 or "requests" not in words or "Non-2xx" in run.stdout or "Socket errors" in run.stdout:
        raise Trouble(f"wrk:\n{run.stdout}{run.stderr}", code=1)
    return int(words[words.index("requests") - 1]), used


def http_round(rig, directory, case, seconds):
    """(requests a second, CPU us per request) of ours and of nginx, in turns: A B, B A, A B, ..."""
    connections, depth = case
    script = directory / "pipeline.lua"
    script.write_text(PIPELINE_LUA % depth, encoding="ascii")
    with scratch() as ours_dir, scratch() as nginx_dir:
        with HttpPeer(rig, [rig.http_peer], ours_dir) as ours, PageNginx(rig, nginx_dir, nginx_dir) as nginx:
            sums = {ours: [0, 0.0], nginx: [0, 0.0]}
            for server in sums:
                load_slice(rig, server, script, connections, 1)
            for number in range(HTTP_SLICES):
                for server in (ours, nginx) if number % 2 == 0 else (nginx, ours):
                    requests, used = load_slice(rig, server, script, connections, seconds)
                    sums[server][0] += requests
                    sums[server][1] += used
    return [(requests / (HTTP_SLICES * seconds), used / requests * 1e6) for requests, used in sums.values()]


def http(rig, options):
    for program in ("nginx", "wrk"):
        if shutil.which(program) is None:
            raise Trouble(f"needs {program} (tools/setup --bench installs it)")
    if not rig.http_peer.exists():
        raise Trouble(f"needs {rig.http_peer} (tools/build --tests makes it)")
    for case in HTTP_CASES:
        what = f"GET of {PAGE_BYTES:,} bytes, {case[0]} connections, {case[1]} in flight"
        print(f"{what}: our HTTP server and nginx")
        print(f"  round  {'ours req/s':>12}  {'nginx req/s':>12}  {'CPU us/request':>19}  {'ratio':>7}")
        ratios = []
        with scratch() as directory:
            for number in range(1, options.rounds + 1):
                ours, theirs = http_round(rig, directory, case, max(1, round(options.seconds)))  # wrk knows whole seconds
                ratios.append(ours[1] / theirs[1])
                cpu = f"{ours[1]:.2f} / {theirs[1]:.2f}"
                print(f"  {number:<6} {ours[0]:>12,.0f}  {theirs[0]:>12,.0f}  {cpu:>19}  {ratios[-1]:>7.3f}", flush=True)
        rig.judge(f"{what}, CPU per request, ratio to nginx", statistics.median(ratios), HTTP_RATIO_MAX, at_most=True)
        print()
