"""Runs 'kiln config check' with the settings of the deployment files."""

import os
import pathlib
import re
import shlex
import subprocess
import tempfile

from . import hosts, manifests
from .pods import environment


def findings(root, binary):
    """Checks the settings of pods, the image, the systemd unit and the comment in kiln.conf, with the keys of secret.example.yaml."""
    [secret] = manifests.load(root / "deploy/kubernetes/secret.example.yaml")
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys.toml"
        keys.write_text(secret["stringData"]["keys.toml"])
        for where, flags, values in starts(root):
            # Replaces the path of the key file. Without a key file, a single key is set, as on hosting platforms.
            values = {name: str(keys) if name == "KILN_KEYS" else value for name, value in values.items()}
            if "KILN_KEYS" not in values:
                values["KILN_API_KEY"] = "0123456789abcdef0123456789abcdef"
            variables = {name: value for name, value in os.environ.items() if not name.startswith("KILN_")}
            command = [str(binary), "config", "check", *flags]
            done = subprocess.run(command, env={**variables, **values}, capture_output=True, text=True, check=False)
            if done.returncode:
                yield f"{where}: {done.stderr.strip()}"


def starts(root):
    """Yields the location, flags and variables of each start of Kiln in the deployment files."""
    documents = manifests.load_folder(root / "deploy/kserve")
    for overlay in sorted((root / "deploy/kubernetes/overlays").iterdir()):
        documents += manifests.render(overlay)[0] if manifests.kustomize() else []
    for where, spec in manifests.pods(documents):
        yield where, [], environment(spec["containers"][0])
    yield "Dockerfile.gpu", [], hosts.image_variables(root)
    flags, values = hosts.unit_start(root)
    # The directory that systemd chooses does not matter for the check.
    yield "kiln.service", flags, {name: value.replace("%C", "/tmp") for name, value in values.items()}
    nginx = (root / "deploy/nginx/kiln.conf").read_text()
    flags = re.search(r"^#\s+kiln serve (.*)$", nginx, re.M).group(1).replace("ADDRESS_OF_NGINX", "10.0.0.1")
    yield "kiln.conf", shlex.split(flags), {}
