"""Kilns and an nginx on this machine, each a real process; nothing here knows what is asked of them."""

import http.client
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

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
            str(options.binary),
            "serve",
            "--listen",
            f"127.0.0.1:{port}",
            "--device",
            "cpu",
            "--threads",
            "1",
            "--decode-threads",
            "1",
            "--drain-delay",
            options.drain_delay,
            "--shutdown-grace",
            options.shutdown_grace,
            "--trusted-proxy",
            "127.0.0.1/32",
            "--log-format",
            "json",
            "--cache-dir",
            str(folder / "cache"),
        ]
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
    paths = "".join(
        f"    {name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = (
        f"daemon off;\nworker_processes 2;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log info;\n"
        f"{'user root;' if os.geteuid() == 0 else ''}\nevents {{ worker_connections 1024; }}\n"
        f"http {{\n{paths}{text}\n}}\n"
    )
    path = folder / "nginx.conf"
    path.write_text(main)
    return path
