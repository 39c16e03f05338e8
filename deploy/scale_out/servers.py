"""Processes of the test: Kiln servers and nginx on this machine."""

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
READY_TIMEOUT = 60.0


def free_ports(number):
    """Returns free ports. All of them are bound at once, so that they differ."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Kiln:
    """A Kiln server, which keeps its port across restarts."""

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
        deadline = time.monotonic() + READY_TIMEOUT
        while time.monotonic() < deadline:
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
        raise SystemExit(f"kiln was not ready within {READY_TIMEOUT} s; see {self.log.name}")

    def stop(self):
        """Sends SIGTERM and returns the seconds until the server has ended. Fails if its status is not 0."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=120)
        if status != 0:
            raise SystemExit(f"kiln ended with {status}; see {self.log.name}")
        return time.monotonic() - start


def nginx_config(folder, port, servers):
    """Writes deploy/nginx/kiln.conf with other addresses and a minimal main configuration, and returns its path."""
    text = (ROOT / "deploy/nginx/kiln.conf").read_text()
    # Each replacement is checked. Otherwise the test could run another configuration than the one that users install.
    lines = re.findall(r"^ +server \S+:8080 (.*);$", text, re.M)
    assert len(lines) >= 1 and len(set(lines)) == 1, "the server lines of kiln.conf differ"
    block = "\n".join(f"    server 127.0.0.1:{server} {lines[0]};" for server in servers)
    text, found = re.subn(r"(^ +server \S+:8080 .*;\n)+", block + "\n", text, flags=re.M)
    assert found == 1, "the server lines of kiln.conf are not in one block"
    text, found = re.subn(r"^    listen 80;$", f"    listen 127.0.0.1:{port};", text, flags=re.M)
    assert found == 1, "kiln.conf does not listen on port 80"
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
