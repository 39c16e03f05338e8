"""What is true of Kiln, read from its source: metrics, settings, addresses. Nothing here knows a manifest."""

import dataclasses
import pathlib
import re

import yaml

# What comes with a scrape or a cluster, whatever the metric.
COMMON_LABELS = {"job", "instance", "namespace", "pod", "le"}


@dataclasses.dataclass(frozen=True)
class Facts:
    """Metric name -> its labels (None for recording rules, whose labels are not written down); setting -> default;
    GET paths.
    """

    metrics: dict
    settings: dict
    paths: set


def read(root: pathlib.Path) -> Facts:
    return Facts(metrics(root), settings(root), paths(root))


def metrics(root):
    """Every series name, histograms by their three."""
    source = (root / "crates/runtime/src/telemetry/metrics/names.rs").read_text()
    found = {}
    for kind, name, labels in re.findall(r'= (counter|gauge|histogram)\("([a-z_]+)",(?: \w+,)? &\[([^\]]*)\]', source):
        labels = set(re.findall(r'"(\w+)"', labels)) | COMMON_LABELS
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found.update({name + suffix: labels for suffix in suffixes})
    rules = yaml.safe_load((root / "grafana/rules/kiln.recording.yml").read_text())
    found.update({rule["record"]: None for group in rules["groups"] for rule in group["rules"]})
    found["up"] = set(COMMON_LABELS)
    if len(found) < 40:
        raise SystemExit("crates/runtime/src/telemetry/metrics/names.rs is written otherwise than deploy/checks/facts.py reads it")
    return found


def settings(root):
    """Setting's key -> its default."""
    source = (root / "src/config/settings.rs").read_text()
    rows = re.findall(r'row\(\s*[A-Z]+,\s*"([a-z-]+)",\s*"[^"]*",\s*"([^"]*)",', source)
    if len(rows) < 40:
        raise SystemExit("src/config/settings.rs is written otherwise than deploy/checks/facts.py reads it")
    return dict(rows)


def paths(root):
    """Addresses that answer GET without a parameter in them."""
    found = set()
    for file in sorted((root / "crates/api/src").rglob("*.rs")):
        source = file.read_text()
        prefix = re.search(r'prefix_path = "([^"]*)"', source)
        for path in re.findall(r'path = "(/[^":]*)", method = "get"', source):
            found.add((prefix.group(1) if prefix else "") + path)
    for needed in ("/health/live", "/health/ready", "/metrics"):
        if needed not in found:
            raise SystemExit(f"crates/api is written otherwise than deploy/checks/facts.py reads it: no {needed}")
    return found


def variable(key):
    """The environment variable of a setting."""
    return "KILN_" + key.upper().replace("-", "_")


def seconds(text):
    """A duration as Kiln writes it: 30s, 500ms, 2m. ValueError if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)", text.strip())
    if not found:
        raise ValueError(f"'{text}' is no duration")
    number, unit = found.groups()
    return float(number) * {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600}[unit]
