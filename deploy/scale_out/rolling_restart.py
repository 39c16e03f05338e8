#!/usr/bin/env python3
"""Several Kilns behind nginx, all restarted one after the other under load: no request may fail.

    deploy/scale_out/rolling_restart.py --binary target/release/kiln

runs deploy/nginx/kiln.conf as it is (addresses and ports replaced) in front of the real binary on this machine, lets clients send
photos over kept connections, and meanwhile ends each server with SIGTERM, waits until it is gone and starts it anew. Every answer has to be a
200 with a prediction and the request's own id. Prints what was counted; exits with 1 if anything failed, and with 3 where there is no nginx.

It is not a benchmark: servers, nginx and clients share the machine's cores. Python's standard library alone.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
KEY = "rolling-restart-0123456789"
READY_WITHIN = 60.0


def free_ports(number):
    """Ports that nobody listens on now. They are held together, so that they differ."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kiln:
    """One server, which keeps its port over restarts."""

    def __init__(self, options, port, folder):
        self.port, self.log = port, open(folder / f"kiln-{port}.log", "ab")
        self.command = [
            str(options.binary), "serve", "--listen", f"127.0.0.1:{port}", "--device", "cpu", "--threads", "1", "--decode-threads", "1",
            "--drain-delay", options.drain_delay, "--grace", options.grace, "--trusted-proxy", "127.0.0.1/32", "--log-format", "json",
            "--cache-dir", str(folder / "cache"),
        ]  # fmt: skip
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            self.command, env={**os.environ, "KILN_API_KEY": KEY}, stdout=self.log, stderr=self.log
        )

    def wait_ready(self):
        until = time.monotonic() + READY_WITHIN
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise SystemExit(f"kiln ended with {self.process.returncode}; see {self.log.name}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=1)
                connection.request("GET", "/health/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"kiln was not ready within {READY_WITHIN} s; see {self.log.name}")

    def end(self):
        """SIGTERM, and how long it took to go; its status has to be 0."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=120)
        if status != 0:
            raise SystemExit(f"kiln ended with {status}; see {self.log.name}")
        return time.monotonic() - began


def nginx_config(folder, port, servers):
    """deploy/nginx/kiln.conf with other addresses, inside the least that nginx wants around it."""
    text = (ROOT / "deploy/nginx/kiln.conf").read_text()
    # Each is checked to be there, or the test would run something else than what users take.
    lines = re.findall(r"^ +server \S+:8080 (.*);$", text, re.M)
    assert len(lines) >= 1 and len(set(lines)) == 1, "the servers of kiln.conf are not alike"
    block = "\n".join(f"    server 127.0.0.1:{server} {lines[0]};" for server in servers)
    text, found = re.subn(r"(^ +server \S+:8080 .*;\n)+", block + "\n", text, flags=re.M)
    assert found == 1, "the servers of kiln.conf are not together"
    text, found = re.subn(r"^    listen 80;$", f"    listen 127.0.0.1:{port};", text, flags=re.M)
    assert found == 1, "kiln.conf does not listen on 80"
    text, found = re.subn(r"/var/log/nginx/kiln.log", str(folder / "access.log"), text)
    assert found == 1, "kiln.conf has no access log"
    paths = "".join(f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    main = (
        f"daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{ worker_connections 1024; }}\n"
        f"http {{\n{paths}{text}\n}}\n"
    )
    path = folder / "nginx.conf"
    path.write_text(main)
    return path


class Load:
    """Clients that send one picture after the other, each over a connection of its own that is kept."""

    def __init__(self, port, clients, picture):
        self.port, self.picture = port, picture
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.answers, self.failures = [], []  # (moment, seconds); sentences
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]

    def client(self):
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            request_id = str(uuid.uuid4())
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                headers = {"X-API-Key": KEY, "X-Request-Id": request_id, "Content-Type": "image/jpeg"}
                connection.request("POST", "/predict/raw?top_k=1", self.picture, headers)
                answer = connection.getresponse()
                failure = judge(answer, answer.read(), request_id)
            except (OSError, http.client.HTTPException) as error:
                failure, connection = f"{type(error).__name__}: {error}", None
            ended = time.monotonic()
            with self.lock:
                if failure:
                    self.failures.append(f"{request_id} after {ended - began:.3f} s: {failure}")
                else:
                    self.answers.append((ended, ended - began))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=70)


def judge(answer, body, request_id):
    """What is wrong with an answer, if anything."""
    if answer.status != 200:
        return f"{answer.status} {body[:300]!r}"
    if answer.headers.get("X-Request-Id") != request_id:
        return f"the id came back as {answer.headers.get('X-Request-Id')}"
    top = json.loads(body)["predictions"][0]["class_id"]
    return None if 281 <= top <= 285 else f"the cat is taken for class {top}"


def report(load, access_log, began, ended, restarts):
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
        quantile = lambda part: seconds[min(len(seconds) - 1, int(part * len(seconds)))]
        print(f"longest pause      {max(pauses) * 1000:.0f} ms between two answers")
        print(f"latency            median {quantile(0.5) * 1000:.0f} ms, p99 {quantile(0.99) * 1000:.0f} ms, longest {seconds[-1] * 1000:.0f} ms")
    print(f"SIGTERM to the end {', '.join(f'{gone:.1f}' for gone in restarts)} s")
    print("answered by        " + ", ".join(f"{server}: {count}" for server, count in sorted(last.items())))
    print("tried again after  " + (", ".join(f"{status}: {count}" for status, count in again.items()) or "nothing"))
    for failure in load.failures[:10]:
        print(f"FAILED {failure}")
    return not load.failures and len(load.answers) > 0 and all(count > 0 for count in last.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=pathlib.Path, default=ROOT / "target/release/kiln")
    parser.add_argument("--servers", type=int, default=3)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="how often all servers are restarted")
    parser.add_argument("--pause", type=float, default=3.0, help="seconds of load before, between and after the restarts")
    parser.add_argument("--drain-delay", default="2s")
    parser.add_argument("--grace", default="30s")
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
        balancer = subprocess.Popen([nginx, "-c", nginx_config(folder, port, ports), "-p", folder, "-e", folder / "error.log"])
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
        well = report(load, folder / "access.log", began, ended, restarts)
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
