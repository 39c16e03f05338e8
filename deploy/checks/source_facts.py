"""Facts about Kiln, read from its source: metrics, settings, and HTTP paths. Independent of the deployment files."""

import dataclasses
import pathlib
import re

import yaml

# Labels that a scrape or a cluster adds to every metric.
COMMON_LABELS = {"job", "instance", "namespace", "pod", "le"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """Labels by metric name (None for recording rules, whose labels are unknown), defaults by setting, and the paths of GET
    requests.
    """

    metrics: dict
    settings: dict
    paths: set


def read(root: pathlib.Path) -> Facts:
    return Facts(metrics(root), settings(root), paths(root))


def metrics(root):
    """Returns the labels by series name. A histogram has three series."""
    source = (root / "crates/runtime/src/telemetry/metrics/definitions.rs").read_text()
    found = {}
    for kind, name, labels in re.findall(r'= (counter|gauge|histogram)\("([a-z_]+)",(?: \w+,)? &\[([^\]]*)\]', source):
        labels = set(re.findall(r'"(\w+)"', labels)) | COMMON_LABELS
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found.update({name + suffix: labels for suffix in suffixes})
    rules = yaml.safe_load((root / "grafana/rules/kiln.recording.yml").read_text())
    found.update({rule["record"]: None for group in rules["groups"] for rule in group["rules"]})
    found["up"] = set(COMMON_LABELS)
    if len(found) < 40:
        raise SystemExit("deploy/checks/source_facts.py cannot parse crates/runtime/src/telemetry/metrics/definitions.rs")
    return found


def settings(root):
    """Returns the defaults by setting."""
    source = (root / "src/config/settings.rs").read_text()
    rows = re.findall(r'setting\(\s*[A-Z]+,\s*"([a-z-]+)",\s*"[^"]*",\s*"([^"]*)",', source)
    if len(rows) < 40:
        raise SystemExit("deploy/checks/source_facts.py cannot parse src/config/settings.rs")
    return dict(rows)


def paths(root):
    """Returns the paths of GET requests without path parameters."""
    found = set()
    for file in sorted((root / "crates/api/src").rglob("*.rs")):
        source = file.read_text()
        prefix = re.search(r'prefix_path = "([^"]*)"', source)
        for path in re.findall(r'path = "(/[^":]*)", method = "get"', source):
            found.add((prefix.group(1) if prefix else "") + path)
    for needed in ("/health/live", "/health/ready", "/metrics"):
        if needed not in found:
            raise SystemExit(f"deploy/checks/source_facts.py cannot parse crates/api: no {needed}")
    return found


def variable(key):
    """Returns the environment variable of a setting."""
    return "KILN_" + key.upper().replace("-", "_")


def seconds(text):
    """Parses a duration as Kiln does: 30s, 500ms, 2m. Raises ValueError for other text."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)", text.strip())
    if not found:
        raise ValueError(f"'{text}' is not a duration")
    number, unit = found.groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}[unit]
