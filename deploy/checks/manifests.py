"""Reads YAML as Kubernetes does, and what kustomize makes of it. Where there is no kustomize, its files' structure
alone is checked.
"""

import pathlib
import shutil
import subprocess

import yaml

# What a kustomization of ours may say; kustomize itself ignores nothing, but old versions know less.
KUSTOMIZATION = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}


class Strict(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML's other readers keep the last."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' stands twice", key.start_mark)
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path):
    """All documents of a file."""
    return [document for document in yaml.load_all(path.read_text(), Strict) if document]


def load_folder(path):
    """All documents of a folder's files, in the order of their names."""
    return [document for file in sorted(path.glob("*.yaml")) for document in load(file)]


def kustomize():
    """The command that renders, if there is one."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return None


def render(folder):
    """What an overlay comes to: documents, or the sentence that kustomize says."""
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        return [], done.stderr.strip()[-600:]
    return list(yaml.safe_load_all(done.stdout)), None


def structure_findings(folder: pathlib.Path):
    """Whether every file that is named is there, and every file that is there is named."""
    named = set()
    for file in sorted(folder.rglob("kustomization.yaml")):
        where = file.relative_to(folder)
        [document] = load(file)
        for key in sorted(set(document) - KUSTOMIZATION):
            yield f"{where}: unknown field {key}"
        kind = "Component" if file.parent.parent.name == "components" else "Kustomization"
        if document.get("kind") != kind:
            yield f"{where}: kind has to be {kind}"
        paths = [patch["path"] for patch in document.get("patches", []) if "path" in patch]
        for path in document.get("resources", []) + document.get("components", []) + paths:
            target = file.parent / path
            if not target.exists():
                yield f"{where}: there is no {path}"
            named.add(target.resolve())
    for file in sorted(folder.rglob("*.yaml")):
        is_aside = file.name in ("kustomization.yaml", "secret.example.yaml", "adapter-values.yaml")
        if not is_aside and file.resolve() not in named:
            yield f"{file.relative_to(folder)}: no kustomization names it"


def pods(documents):
    """(where, pod spec) of everything that makes pods."""
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "Deployment":
            yield where, document["spec"]["template"]["spec"]
        elif document["kind"] == "ServingRuntime":
            yield where, document["spec"]


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]
