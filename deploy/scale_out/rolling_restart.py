#!/usr/bin/env python3
"""Restarts several Kiln servers behind nginx one after the other under load, and checks that no request fails.

    deploy/scale_out/rolling_restart.py --binary target/release/kiln

The test runs deploy/nginx/kiln.conf (with other addresses and ports) in front of the real binary on this machine. Clients send
photos over kept connections. Meanwhile each server is stopped with SIGTERM and started again after it has ended. Every response
must have status 200, a prediction and the id of its request. Prints statistics. Exits with 1 if anything failed, and with 3 if
nginx is not installed.

This is not a benchmark: servers, nginx and clients share the cores of one machine. It needs Python's standard library only.
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


def report(load, access_log, start, end, restarts, ports):
    """Prints the statistics and returns whether the test succeeded."""
    times = sorted(time for time, _ in load.responses)
    pauses = [after - before for before, after in zip(times, times[1:])]
    seconds = sorted(seconds for _, seconds in load.responses)
    lines = [json.loads(line) for line in access_log.read_text().splitlines()]
    answered_by = collections.Counter(line["servers"].split(", ")[-1] for line in lines)
    retried = collections.Counter(line["statuses"].rsplit(", ", 1)[0] for line in lines if ", " in line["servers"])
    print(f"answered           {len(load.responses)}, failed {len(load.failures)}, restarts {len(restarts)}")
    print(f"throughput         {len(times) / (end - start):.0f} requests/s over {end - start:.1f} s")
    if pauses:
        median, p99 = (seconds[int(part * (len(seconds) - 1))] * 1000 for part in (0.5, 0.99))
        print(f"longest pause      {max(pauses) * 1000:.0f} ms between two responses")
        print(f"latency            median {median:.0f} ms, p99 {p99:.0f} ms, longest {seconds[-1] * 1000:.0f} ms")
    print(f"SIGTERM to exit    {', '.join(f'{stop:.1f}' for stop in restarts)} s")
    print("answered by        " + ", ".join(f"{server}: {count}" for server, count in sorted(answered_by.items())))
    print("retried after      " + (", ".join(f"{status}: {count}" for status, count in retried.items()) or "nothing"))
    for failure in load.failures[:10]:
        print(f"FAILED {failure}")
    idle = [port for port in ports if not answered_by[f"127.0.0.1:{port}"]]
    for port in idle:
        print(f"FAILED 127.0.0.1:{port} answered no request")
    return not load.failures and not idle


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/kiln")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="number of restarts of each server")
    parser.add_argument(
        "--pause", type=float, default=3.0, help="seconds of load before, between and after the restarts"
    )
    parser.add_argument("--drain-delay", default="2s")
    parser.add_argument("--shutdown-grace", default="30s")
    parser.add_argument("--keep", action="store_true", help="keep the logs after a successful test")
    options = parser.parse_args()
    if not (nginx := shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")):
        print("SKIPPED: nginx is not installed (Debian: nginx-light)")
        return 3
    folder = pathlib.Path(tempfile.mkdtemp(prefix="kiln-scale-out-"))
    image = (ROOT / "tests/data/photos/cat_640x480.jpg").read_bytes()
    port, *ports = free_ports(options.servers + 1)
    servers = [Kiln(options, number, folder) for number in ports]
    balancer = None
    succeeded = False
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
        start, restarts = time.monotonic(), []
        with Load(port, options.clients, image) as load:
            time.sleep(options.pause)
            for server in servers * options.rounds:
                restarts.append(server.stop())
                server.start()
                server.wait_ready()
                time.sleep(options.pause)
        end = time.monotonic()
        succeeded = report(load, folder / "access.log", start, end, restarts, ports)
        return 0 if succeeded else 1
    finally:
        if balancer:
            balancer.terminate()
            balancer.wait(timeout=10)
        for server in servers:
            if server.process and server.process.poll() is None:
                server.process.kill()
                server.process.wait()
        if succeeded and not options.keep:
            shutil.rmtree(folder)
        else:
            print(f"logs: {folder}")


if __name__ == "__main__":
    sys.exit(main())
