"""Loads YAML as Kubernetes does, and renders it with kustomize. Without kustomize, only the structure of its files is checked."""

import pathlib
import shutil
import subprocess

import yaml

# The fields that our kustomizations may use. kustomize refuses unknown fields, but old versions know fewer.
KUSTOMIZATION = {"apiVersion", "kind", "namespace", "resources", "components", "images", "patches"}


class Strict(yaml.SafeLoader):
    """Refuses duplicate keys. Other YAML loaders keep the last one."""


def _mapping(loader, node, deep=False):
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key '{key.value}'", key.start_mark)
        seen.add(key.value)
    return yaml.SafeLoader.construct_mapping(loader, node, deep)


Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load(path):
    """Returns all documents of a file."""
    return [document for document in yaml.load_all(path.read_text(), Strict) if document]


def load_folder(path):
    """Returns all documents of the files in a directory, in the order of their names."""
    return [document for file in sorted(path.glob("*.yaml")) for document in load(file)]


def kustomize():
    """Returns the command that renders a kustomization, or None."""
    if shutil.which("kustomize"):
        return ["kustomize", "build"]
    if shutil.which("kubectl"):
        return ["kubectl", "kustomize"]
    return None


def render(folder):
    """Renders an overlay. Returns its documents and None, or no documents and the error of kustomize."""
    done = subprocess.run([*kustomize(), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        return [], done.stderr.strip()[-600:]
    return list(yaml.safe_load_all(done.stdout)), None


def structure_findings(folder: pathlib.Path):
    """Checks that every referenced file exists, and that every file is referenced."""
    named = set()
    for file in sorted(folder.rglob("kustomization.yaml")):
        where = file.relative_to(folder)
        [document] = load(file)
        for key in sorted(set(document) - KUSTOMIZATION):
            yield f"{where}: unknown field {key}"
        kind = "Component" if file.parent.parent.name == "components" else "Kustomization"
        if document.get("kind") != kind:
            yield f"{where}: the kind must be {kind}"
        paths = [patch["path"] for patch in document.get("patches", []) if "path" in patch]
        for path in document.get("resources", []) + document.get("components", []) + paths:
            target = file.parent / path
            if not target.exists():
                yield f"{where}: {path} does not exist"
            named.add(target.resolve())
    for file in sorted(folder.rglob("*.yaml")):
        is_unreferenced = file.name in ("kustomization.yaml", "secret.example.yaml", "adapter-values.yaml")
        if not is_unreferenced and file.resolve() not in named:
            yield f"{file.relative_to(folder)}: no kustomization references it"


def pods(documents):
    """Yields the location and the pod spec of each document that creates pods."""
    for document in documents:
        where = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] == "Deployment":
            yield where, document["spec"]["template"]["spec"]
        elif document["kind"] == "ServingRuntime":
            yield where, document["spec"]


def of_kind(documents, kind):
    return [document for document in documents if document["kind"] == kind]
