"""Pods: probes that exist, a way out that fits, settings that exist, nothing that they may and need not, and who
selects them.
"""

from . import facts as facts_of
from .manifests import of_kind, pods

# Beside --drain-delay and --shutdown-grace: engines are joined, the last traces sent, the kubelet is late.
MARGIN = 5.0
# How long the endpoints of a cluster take to hear that a pod goes.
HEAR_OF_IT = 5.0
# What is set for others than Kiln.
FOREIGN = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "PORT"}


def findings(documents, facts):
    services = of_kind(documents, "InferenceService")
    for where, spec in pods(documents):
        [container] = spec["containers"]
        values = environment(container)
        yield from _settings(where, values, facts)
        yield from _probes(where, container, facts)
        # KServe takes it from the service that uses the runtime.
        until = [spec] if not services else [service["spec"]["predictor"] for service in services]
        for whole in until:
            yield from way_out(where, values, whole.get("terminationGracePeriodSeconds", 30), facts)
        yield from _threads(where, container, values)
        yield from _restricted(where, spec, container)
    yield from _selected(documents)


def environment(container):
    return {one["name"]: one.get("value") for one in container.get("env", [])}


def setting(values, key, facts):
    """What a setting is by these variables, or by default."""
    return values.get(facts_of.variable(key)) or facts.settings[key]


def _settings(where, values, facts):
    known = {facts_of.variable(key) for key in facts.settings} | FOREIGN | {"KILN_CONFIG"}
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
            yield f"{where}: {kind}: {path}: who drains or recovers is not ready, and must not be killed for it"
    startup = container.get("startupProbe", {})
    if startup.get("periodSeconds", 10) * startup.get("failureThreshold", 3) < 120:
        yield f"{where}: startupProbe: the first start on a GPU compiles kernels; give it two minutes"


def way_out(where, values, until, facts, hear_of_it=HEAR_OF_IT):
    """Whether what ends a server waits as long as the server may take."""
    try:
        drain, grace, request = (
            facts_of.seconds(setting(values, key, facts)) for key in ("drain-delay", "shutdown-grace", "request-timeout")
        )
    except ValueError as error:
        yield f"{where}: {error}"
        return
    if until < drain + grace + MARGIN:
        needed = f"drain {drain:g} s, grace {grace:g} s and {MARGIN:g} s need {drain + grace + MARGIN:g} s"
        yield f"{where}: killed after {until:g} s, but {needed}"
    if grace < request:
        yield f"{where}: a request may wait {request:g} s (--request-timeout), but the grace is {grace:g} s"
    if drain < hear_of_it:
        yield f"{where}: a drain delay of {drain:g} s is over before the balancers have heard of it ({hear_of_it:g} s)"


def _threads(where, container, values):
    cores = float(container["resources"]["requests"]["cpu"])
    for name in ("KILN_THREADS", "KILN_DECODE_THREADS"):
        if values.get(name) is not None and float(values[name]) > cores:
            yield f"{where}: {name} is {values[name]}, but the container asks for {cores:g} cores"
    has_quota = "cpu" in container["resources"].get("limits", {})
    if values.get("KILN_DEVICE", "auto") in ("cpu", "auto") and "KILN_THREADS" not in values and not has_quota:
        yield f"{where}: without KILN_THREADS or a limit it takes a thread for each core of the node"


def _restricted(where, spec, container):
    """The standard 'restricted', and a root that nobody writes to."""
    pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
    seccomp = own.get("seccompProfile", pod.get("seccompProfile", {}))
    wanted = {
        "runAsNonRoot": own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True,
        "seccompProfile RuntimeDefault": seccomp.get("type") == "RuntimeDefault",
        "allowPrivilegeEscalation: false": own.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
        "capabilities drop ALL": own.get("capabilities", {}).get("drop") == ["ALL"],
    }
    for what, is_so in wanted.items():
        if not is_so:
            yield f"{where}: securityContext lacks {what}"
    mounted = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}
    volumes = {volume["name"] for volume in spec.get("volumes", [])}
    for path, name in mounted.items():
        if name not in volumes:
            yield f"{where}: {path}: there is no volume {name}"
    if "/cache" not in mounted:
        yield f"{where}: nothing is mounted at /cache, and the root is read-only"


def _selected(documents):
    """Selectors that find the pods."""
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
                yield f"{kind}: its selector {selector} does not find the pods {labels}"
        ports = {port["name"] for port in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]}
        for service in of_kind(documents, "Service"):
            for port in service["spec"]["ports"]:
                if port["targetPort"] not in ports:
                    yield f"Service {service['metadata']['name']}: the pods have no port {port['targetPort']}"
