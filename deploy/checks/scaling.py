"""Checks of autoscaling and monitoring: metric names, PromQL syntax, who sets the number of pods, and the generated rules."""

import functools
import re
import shutil
import subprocess
import tempfile

import yaml

from .manifests import load, of_kind

RULES = ("kiln.recording.yml", "kiln.alerts.yml")
HEADER = "# Generated from grafana/rules by 'deploy/check.py --write-rules'. Edit those files instead.\n"


def findings(documents, facts, adapter):
    """Checks an overlay. `adapter` is the configuration of the Prometheus adapter."""
    yield from _one_owner(documents)
    offered = {rule["name"]["as"] for rule in adapter["rules"]["custom"]}
    for autoscaler in of_kind(documents, "HorizontalPodAutoscaler"):
        target = autoscaler["spec"]["scaleTargetRef"]
        if not any(one["metadata"]["name"] == target["name"] for one in of_kind(documents, target["kind"])):
            yield f"HorizontalPodAutoscaler: {target['kind']} {target['name']} does not exist"
        for metric in autoscaler["spec"]["metrics"]:
            name = metric["pods"]["metric"]["name"]
            if name not in offered:
                yield f"HorizontalPodAutoscaler: the adapter's rules do not define {name}"
    for scaled in of_kind(documents, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            where = f"ScaledObject: {trigger.get('name')}"
            yield from _query_findings(trigger["metadata"]["query"], facts, where)
    for monitor in of_kind(documents, "ServiceMonitor"):
        yield from _monitor_findings(monitor, documents, facts)
    for rule in of_kind(documents, "PrometheusRule"):
        for one in (one for group in rule["spec"]["groups"] for one in group["rules"]):
            yield from _name_findings(one["expr"], facts, one.get("alert") or one["record"])


def adapter_findings(adapter, facts):
    """Checks the queries of the adapter, with the placeholders replaced as the adapter does."""
    for rule in adapter["rules"]["custom"]:
        where = f"adapter-values.yaml: {rule['name']['as']}"
        query = (
            rule["metricsQuery"]
            .replace("<<.GroupBy>>", "pod")
            .replace("<<.LabelMatchers>>", 'namespace="any",pod=~"any"')
        )
        for expression in (rule["seriesQuery"], query):
            yield from _query_findings(expression, facts, where)


def generated_rules(root):
    """Returns the PrometheusRule with the rules of grafana/rules."""
    groups = [
        group for name in RULES for [document] in [load(root / "grafana/rules" / name)] for group in document["groups"]
    ]
    labels = {"app.kubernetes.io/name": "kiln", "release": "kube-prometheus-stack"}
    metadata = {"name": "kiln", "labels": labels}
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata,
        "spec": {"groups": groups},
    }
    return HEADER + yaml.dump(rule, Dumper=_Readable, sort_keys=False, width=160)


class _Readable(yaml.SafeDumper):
    """Writes expressions of several lines as block scalars."""


_Readable.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def _one_owner(documents):
    owners = of_kind(documents, "HorizontalPodAutoscaler") + of_kind(documents, "ScaledObject")
    for deployment in of_kind(documents, "Deployment"):
        if owners and "replicas" in deployment["spec"]:
            yield "an autoscaler sets the number of pods, but the Deployment also sets replicas"


def _monitor_findings(monitor, documents, facts):
    spec = monitor["spec"]
    matching = [
        one
        for one in of_kind(documents, "Service")
        if spec["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    if not matching:
        yield "ServiceMonitor: the selector matches no Service"
    for service in matching:
        job = service["metadata"]["labels"].get(spec["jobLabel"]) if "jobLabel" in spec else service["metadata"]["name"]
        if job != "kiln":
            yield f"ServiceMonitor: the job would be {job}, but the rules select kiln"
        for endpoint in spec["endpoints"]:
            if endpoint["port"] not in {port["name"] for port in service["spec"]["ports"]}:
                yield f"ServiceMonitor: the Service has no port {endpoint['port']}"
            if endpoint["path"] not in facts.paths:
                yield f"ServiceMonitor: Kiln does not serve {endpoint['path']}"


def _query_findings(expression, facts, where):
    """Checks a query of an autoscaler. Alerting and recording rules are checked with those of grafana/rules."""
    yield from _name_findings(expression, facts, where)
    yield from _syntax_findings(expression, where)


def _name_findings(expression, facts, where):
    """Checks the metric names and labels of a PromQL expression."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    for name in sorted(set(re.findall(r"\b(?:kiln_|nv_|process_)\w+|\b\w+:[\w:]+", bare))):
        if name not in facts.metrics:
            yield f"{where}: no metric {name}"
    for name, matchers in re.findall(r"\b((?:kiln_|nv_|process_)\w+)\{([^}]*)\}", bare):
        labels = facts.metrics.get(name)
        for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers):
            if labels is not None and label not in labels:
                yield f"{where}: {name} has no label {label}"


def _syntax_findings(expression, where):
    if shutil.which("promtool") and (error := _syntax_error(expression)):
        yield f"{where}: {error}"


@functools.cache
def _syntax_error(expression):
    """Returns the error of Prometheus' parser, or None."""
    rule = {"groups": [{"name": "one", "rules": [{"record": "one:two:three", "expr": expression}]}]}
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump(rule, file)
        file.flush()
        done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
    return done.stderr.strip()[-300:] if done.returncode else None
