"""Checks of pods: settings, probes, shutdown times, threads, security context, and selectors."""

from . import source_facts
from .manifests import of_kind, pods

# Seconds in addition to --drain-delay and --shutdown-grace: for joining engines, sending the last traces, and a late kubelet.
MARGIN = 5.0
# Seconds until all load balancers of a cluster know that a pod is terminating.
ENDPOINT_PROPAGATION = 5.0
# Variables that programs other than Kiln read.
FOREIGN = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "PORT"}


def findings(documents, facts):
    services = of_kind(documents, "InferenceService")
    for where, spec in pods(documents):
        [container] = spec["containers"]
        values = environment(container)
        yield from _settings(where, values, facts)
        yield from _probes(where, container, facts)
        # KServe takes the grace period from the InferenceService that uses the runtime.
        grace_owners = [spec] if not services else [service["spec"]["predictor"] for service in services]
        for owner in grace_owners:
            yield from shutdown_findings(where, values, owner.get("terminationGracePeriodSeconds", 30), facts)
        yield from _threads(where, container, values)
        yield from _restricted(where, spec, container)
    yield from _selected(documents)


def environment(container):
    return {one["name"]: one.get("value") for one in container.get("env", [])}


def setting(values, key, facts):
    """Returns the value of a setting: from the variables, or its default."""
    return values.get(source_facts.variable(key)) or facts.settings[key]


def _settings(where, values, facts):
    known = {source_facts.variable(key) for key in facts.settings} | FOREIGN | {"KILN_CONFIG"}
    for name in sorted(set(values) - known):
        yield f"{where}: Kiln has no setting {name}"


def _probes(where, container, facts):
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = container.get(kind)
        if probe is None:
            yield f"{where}: no {kind}"
            continue
        path, port = probe["httpGet"]["path"], probe["httpGet"]["port"]
        if path not in facts.paths:
            yield f"{where}: {kind}: Kiln does not serve {path}"
        if port not in ports and port not in ports.values():
            yield f"{where}: {kind}: the container has no port {port}"
        if (kind == "livenessProbe") == path.endswith("/ready"):
            yield f"{where}: {kind}: {path}: a server that drains or recovers is not ready, and must not be killed for that"
    startup = container.get("startupProbe", {})
    if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 120:
        yield f"{where}: startupProbe: the first start on a GPU compiles kernels; allow at least two minutes"


def shutdown_findings(where, values, kill_after, facts, propagation=ENDPOINT_PROPAGATION):
    """Checks that a server is not killed before its shutdown can be complete."""
    try:
        drain, grace, request = (
            source_facts.seconds(setting(values, key, facts)) for key in ("drain-delay", "shutdown-grace", "request-timeout")
        )
    except ValueError as error:
        yield f"{where}: {error}"
        return
    if kill_after < drain + grace + MARGIN:
        needed = f"drain delay {drain:g} s, grace {grace:g} s and a margin of {MARGIN:g} s need {drain + grace + MARGIN:g} s"
        yield f"{where}: killed after {kill_after:g} s, but {needed}"
    if grace < request:
        yield f"{where}: a request may take {request:g} s (--request-timeout), but the grace is {grace:g} s"
    if drain < propagation:
        yield f"{where}: the drain delay of {drain:g} s ends before the load balancers know of the shutdown ({propagation:g} s)"


def _threads(where, container, values):
    cores = float(container["resources"]["requests"]["cpu"])
    for name in ("KILN_THREADS", "KILN_DECODE_THREADS"):
        if values.get(name) is not None and float(values[name]) > cores:
            yield f"{where}: {name} is {values[name]}, but the container requests {cores:g} cores"
    has_quota = "cpu" in container["resources"].get("limits", {})
    if values.get("KILN_DEVICE", "auto") in ("cpu", "auto") and "KILN_THREADS" not in values and not has_quota:
        yield f"{where}: without KILN_THREADS or a CPU limit, Kiln starts a thread for each core of the node"


def _restricted(where, spec, container):
    """Checks the Pod Security Standard 'restricted', and a read-only root file system."""
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    seccomp = own.get("seccompProfile", pod.get("seccompProfile", {}))
    required = {
        "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
        "seccompProfile RuntimeDefault": seccomp.get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        "capabilities drop ALL": own.get("capabilities", {}).get("drop") == ["ALL"],
    }
    for name, is_met in required.items():
        if not is_met:
            yield f"{where}: securityContext lacks {name}"
    mounted = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for path, name in mounted.items():
        if name not in volumes:
            yield f"{where}: {path}: volume {name} does not exist"
    if "/cache" not in mounted:
        yield f"{where}: nothing is mounted at /cache, and the root file system is read-only"


def _selected(documents):
    """Checks that the selectors match the pods."""
    for deployment in of_kind(documents, "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        selectors = [("Deployment", deployment["spec"]["selector"]["matchLabels"])]
        selectors += [("Service", one["spec"]["selector"]) for one in of_kind(documents, "Service")]
        selectors += [
            (one["kind"], one["spec"]["selector"]["matchLabels"]) for one in of_kind(documents, "PodDisruptionBudget")
        ]
        selectors += [
            (one["kind"], one["spec"]["podSelector"]["matchLabels"]) for one in of_kind(documents, "NetworkPolicy")
        ]
        for kind, selector in selectors:
            if not selector.items() <= labels.items():
                yield f"{kind}: its selector {selector} does not match the pods {labels}"
        ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
        for service in of_kind(documents, "Service"):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"Service {service['metadata']['name']}: the pods have no port {port['targetPort']}"
