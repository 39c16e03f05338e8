#!/usr/bin/env python3
"""Several Kilns behind nginx, all restarted one after the other under load: no request may fail.

    deploy/scale_out/rolling_restart.py --binary target/release/kiln

runs deploy/nginx/kiln.conf as it is (addresses and ports replaced) in front of the real binary on this machine, lets
clients send photos over kept connections, and meanwhile ends each server with SIGTERM, waits until it is gone and
starts it anew. Every answer has to be a 200 with a prediction and the request's own id. Prints what was counted;
exits with 1 if anything failed, and with 3 where there is no nginx.

It is not a benchmark: servers, nginx and clients share the machine's cores. Python's standard library alone.
"""

import argparse
import collections
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from load import Load
from servers import ROOT, Kiln, free_ports, nginx_config


def report(load, access_log, began, ended, restarts, ports):
    """Prints what was counted, and tells whether all is well."""
    moments = sorted(moment for moment, _ in load.answers)
    pauses = [after - before for before, after in zip(moments, moments[1:])]
    seconds = sorted(seconds for _, seconds in load.answers)
    lines = [json.loads(line) for line in access_log.read_text().splitlines()]
    last = collections.Counter(line["servers"].split(", ")[-1] for line in lines)
    again = collections.Counter(line["statuses"].rsplit(", ", 1)[0] for line in lines if ", " in line["servers"])
    print(f"answered           {len(load.answers)}, failed {len(load.failures)}, restarts {len(restarts)}")
    print(f"throughput         {len(moments) / (ended - began):.0f} requests/s over {ended - began:.1f} s")
    if pauses:
        middle, late = (seconds[int(part * (len(seconds) - 1))] * 1000 for part in (0.5, 0.99))
        print(f"longest pause      {max(pauses) * 1000:.0f} ms between two answers")
        print(f"latency            median {middle:.0f} ms, p99 {late:.0f} ms, longest {seconds[-1] * 1000:.0f} ms")
    print(f"SIGTERM to the end {', '.join(f'{gone:.1f}' for gone in restarts)} s")
    print("answered by        " + ", ".join(f"{server}: {count}" for server, count in sorted(last.items())))
    print("tried again after  " + (", ".join(f"{status}: {count}" for status, count in again.items()) or "nothing"))
    for failure in load.failures[:10]:
        print(f"FAILED {failure}")
    idle = [port for port in ports if not last[f"127.0.0.1:{port}"]]
    for port in idle:
        print(f"FAILED nothing was answered by 127.0.0.1:{port}")
    return not load.failures and not idle


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/kiln")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="how often all servers are restarted")
    parser.add_argument(
        "--pause", type=float, default=3.0, help="seconds of load before, between and after the restarts"
    )
    parser.add_argument("--drain-delay", default="2s")
    parser.add_argument("--shutdown-grace", default="30s")
    parser.add_argument("--keep", action="store_true", help="keep the logs even if all is well")
    options = parser.parse_args()
    if not (nginx := shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")):
        print("SKIPPED: no nginx here (Debian: nginx-light)")
        return 3
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kiln-scale-out-"))
    picture = (ROOT / "tests/data/photos/cat_640x480.jpg").read_bytes()
    port, *ports = free_ports(options.servers + 1)
    servers = [Kiln(options, number, folder) for number in ports]
    balancer = None
    well = False
    try:
        for server in servers:
            server.start()
        for server in servers:
            server.wait_ready()
        balancer = subprocess.Popen(
            [nginx, "-c", nginx_config(folder, port, ports), "-p", folder, "-e", folder / "error.log"]
        )
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            if balancer.poll() is not None:
                raise SystemExit(f"nginx ended; see {folder}/error.log")
            time.sleep(0.05)
        began, restarts = time.monotonic(), []
        with Load(port, options.clients, picture) as load:
            time.sleep(options.pause)
            for server in servers * options.rounds:
                restarts.append(server.end())
                server.start()
                server.wait_ready()
                time.sleep(options.pause)
        ended = time.monotonic()
        well = report(load, folder / "access.log", began, ended, restarts, ports)
        return 0 if well else 1
    finally:
        if balancer:
            balancer.terminate()
            balancer.wait(timeout=10)
        for server in servers:
            if server.process and server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        if well and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs: {folder}")


if __name__ == "__main__":
    sys.exit(main())
