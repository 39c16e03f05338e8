"""Tests the checks by mutation: each mistake in a list is made in a copy of the files, and a check must find it."""

import os
import pathlib
import shutil
import tempfile

from . import hosts, manifests, source_facts

BASE = "deploy/kubernetes/base/deployment.yaml"
HPA = "deploy/kubernetes/components/hpa/horizontalpodautoscaler.yaml"
ADAPTER = "deploy/kubernetes/components/hpa/adapter-values.yaml"
KEDA = "deploy/kubernetes/components/keda/scaledobject.yaml"
MONITOR = "deploy/kubernetes/components/monitoring/servicemonitor.yaml"
CPU = "deploy/kubernetes/overlays/cpu/kustomization.yaml"
RUNTIME = "deploy/kserve/servingruntime.yaml"
SERVICE = "deploy/kserve/inferenceservice.yaml"
NGINX = "deploy/nginx/kiln.conf"
UNIT = "deploy/systemd/kiln.service"

# (file, original text, replacement, text in the finding, whether the check needs kustomize)
MISTAKES = [
    (BASE, "minReadySeconds: 5", "minReadySecond: 5", "minReadySecond", False),
    (BASE, "periodSeconds: 2\n", "periodSeconds: two\n", "two", False),
    (BASE, "path: /health/live", "path: /healthz", "/healthz", True),
    (BASE, "path: /health/live", "path: /health/ready", "must not be killed", True),
    (BASE, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 50", "killed after 50 s", True),
    (BASE, "value: 10s", "value: 30s", "killed after 60 s", True),
    (BASE, "value: 40s", "value: 20s", "the grace is 20 s", True),
    (BASE, "value: 40s", "value: 40 seconds", "not a duration", True),
    (BASE, "KILN_DRAIN_DELAY", "KILN_DRAIN", "no setting KILN_DRAIN", True),
    (BASE, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "readOnlyRootFilesystem", True),
    (BASE, "  replicas: 2\n", "  replicas: 2\n  replicas: 3\n", "duplicate key", False),
    ("deploy/kubernetes/base/service.yaml", "targetPort: http", "targetPort: web", "no port web", True),
    (
        "deploy/kubernetes/base/networkpolicy.yaml",
        "podSelector:\n    matchLabels:\n      app.kubernetes.io/name: kiln",
        "podSelector:\n    matchLabels:\n      app: kiln",
        "does not match",
        True,
    ),
    ("deploy/kubernetes/base/kustomization.yaml", "  - service.yaml\n", "", "no kustomization references it", False),
    # kustomize refuses this one: the first component has already removed the field.
    (
        CPU,
        "- ../../components/hpa\n  # - ../../components/keda",
        "- ../../components/hpa\n  - ../../components/keda",
        "replicas",
        True,
    ),
    (
        "deploy/kubernetes/components/hpa/kustomization.yaml",
        "path: /spec/replicas",
        "path: /spec/minReadySeconds",
        "also sets replicas",
        True,
    ),
    ("deploy/kubernetes/overlays/cpu/resources.yaml", 'value: "2"', 'value: "16"', "cores", True),
    (
        "deploy/kubernetes/overlays/cpu/resources.yaml",
        "name: KILN_THREADS",
        "name: KILN_MAX_BATCH_FILES",
        "each core of the node",
        True,
    ),
    (HPA, "name: kiln_queue_wait_seconds", "name: kiln_queue_seconds", "do not define", True),
    (HPA, "averageValue: 50m", "averageValues: 50m", "averageValue", False),
    (ADAPTER, "(kiln_engines{", "(kiln_engine{", "no metric kiln_engine", False),
    (ADAPTER, 'seconds_sum{phase="queue",<<', 'seconds_sum{stage="queue",<<', "no label stage", False),
    (ADAPTER, "0.001)\n", "0.001\n", "parse error", False),
    (KEDA, "kiln_phase_duration_seconds_sum", "kiln_phase_seconds_sum", "no metric kiln_phase_seconds_sum", False),
    (KEDA, "minReplicaCount: 2", "minReplicas: 2", "minReplicas", False),
    (KEDA, 'threshold: "0.05"', "threshold: 0.05", "threshold", False),
    (KEDA, "stabilizationWindowSeconds: 0", "stabilisationWindowSeconds: 0", "stabilisation", False),
    (MONITOR, "jobLabel: app.kubernetes.io/name", "jobLabel: app", "would be None", True),
    (MONITOR, "scrapeTimeout: 10s", "timeout: 10s", "timeout", False),
    ("grafana/rules/kiln.alerts.yml", "for: 2m", "for: 3m", "--write-rules", False),
    (RUNTIME, "path: /v2/health/ready", "path: /v2/ready", "/v2/ready", False),
    (RUNTIME, "protocolVersions: [v2]", "protocolVersions: [v3]", "v3", False),
    (RUNTIME, "containerPort: 8080", "containerPorts: 8080", "containerPort", False),
    (SERVICE, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 30", "killed after 30 s", False),
    (SERVICE, "modelFormat:", "format:", "format", False),
    (NGINX, "proxy_read_timeout 35s", "proxy_read_timeout 20s", "proxy_read_timeout", False),
    (NGINX, "keepalive_timeout 60s", "keepalive_timeout 120s", "closes first", False),
    (UNIT, "TimeoutStopSec=45s", "TimeoutStopSec=30s", "killed after 30 s", False),
    (UNIT, "KILN_DRAIN_DELAY=5s", "KILN_DRAIN=5s", "no setting KILN_DRAIN", False),
    (UNIT, "KILN_SHUTDOWN_GRACE=35s", '"KILN_SHUTDOWN_GRACE=20s"', "the grace is 20 s", False),
    (UNIT, "kiln serve\n", "kiln serve \\\n    --grase 35s\n", "no setting --grase", False),
    (UNIT, "NoNewPrivileges=yes", "NoNewPrivilege=yes", "NoNewPrivilege", False),
    ("Dockerfile.gpu", "KILN_CACHE_DIR=", "KILN_CACHE=", "no setting KILN_CACHE", False),
    (".dockerignore", "!tests/data/photos/cat_640x480.jpg", "", "the build needs", False),
    (".github/workflows/check.yml", "runs-on:", "run-on:", "workflows", False),
    (".github/workflows/check.yml", "run: .ci/run", "run: .ci/runs", ".ci/runs", False),
    (".github/workflows/check.yml", "github.ref }}", "github.branch }}", "actionlint", False),
]
# Whether the program that finds the mistake is installed.
REQUIREMENTS = {
    "parse error": lambda: shutil.which("promtool"),
    "NoNewPrivilege": lambda: shutil.which("systemd-analyze"),
    "actionlint": hosts.actionlint,
}


def prove(root, subjects):
    """Makes each mistake in a copy of the files. Returns an exit status."""
    missed = 0
    facts = source_facts.read(root)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in ("deploy", "grafana", ".github"):
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("Dockerfile.gpu", ".dockerignore", "Cargo.toml"):
            shutil.copy(root / name, copy / name)
        for name in ("src", "tests", ".ci"):
            os.symlink(root / name, copy / name)
        if existing := [one for subject in subjects.values() for one in subject(copy, facts)]:
            print(f"WRONG without a mistake: {existing}")
            return 1
        applicable = [mistake for mistake in MISTAKES if _is_applicable(mistake)]
        for file, original, replacement, text, _ in applicable:
            missed += not _is_found(copy, subjects[_subject(file)], facts, (file, original, replacement, text))
    skipped = len(MISTAKES) - len(applicable)
    print(f"mistakes: {len(applicable) - missed} found, {missed} missed, {skipped} skipped because a program is missing")
    return 1 if missed else 0


def _subject(file):
    """Returns the subject whose check must find a mistake in a file."""
    for word in ("kserve", "nginx", "systemd", "workflows"):
        if word in file:
            return word
    return "image" if "docker" in file.lower() else "kubernetes"


def _is_applicable(mistake):
    requirement = REQUIREMENTS.get(mistake[3])
    return (manifests.kustomize() or not mistake[4]) and (requirement is None or requirement())


def _is_found(copy, subject, facts, mistake):
    file, original, replacement, expected = mistake
    text = (copy / file).read_text()
    assert original in text, f"{file} no longer contains {original!r}"
    (copy / file).write_text(text.replace(original, replacement, 1))
    try:
        findings = list(subject(copy, facts))
    except Exception as error:  # a file that does not parse counts as found
        findings = [f"{type(error).__name__}: {error}"]
    (copy / file).write_text(text)
    is_found = any(expected in finding for finding in findings)
    if not is_found:
        print(f"MISSED: {file}: {original!r} -> {replacement!r}; findings: {findings}")
    return is_found
