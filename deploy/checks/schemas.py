"""Validates the fields of each object and the types of their values.

Kubernetes' own kinds are validated against its published schemas (PyPI: kubernetes-validate, strict). For the kinds of KEDA, KServe
and the Prometheus operator, no package has schemas that refuse unknown fields. This module defines schemas with the fields that the
manifests use. They were compared with @kubernetes-models/keda 2.0.0, @kubernetes-models/prometheus-operator 6.0.0 and kserve 0.21.0.
"""

import jsonschema
import kubernetes_validate

VERSION = "1.33"
TEXT, NUMBER, YES = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def fields(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def several(item):
    return {"type": "array", "items": item, "minItems": 1}


def texts(*keys):
    """Schema of an object with text values: with exactly the given keys, or with any keys if none are given."""
    return fields(keys, **{key: TEXT for key in keys}) if keys else {"type": "object", "additionalProperties": TEXT}

def _pod(part):
    """Returns a Pod with the given parts of a spec and placeholders for the rest."""
    spec = {"containers": [{"name": "any", "image": "any"}], **part}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}


def _behaviour(part):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "any"}
    spec = {"scaleTargetRef": target, "maxReplicas": 1, "behavior": part}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "any"},
        "spec": spec,
    }


METADATA = fields(["name"], name=TEXT, namespace=TEXT, labels=texts(), annotations=texts())
ANY = {}

SCALED_OBJECT = fields(
    ["scaleTargetRef", "triggers"],
    scaleTargetRef=fields(["name"], name=TEXT, kind=TEXT, apiVersion=TEXT),
    minReplicaCount=NUMBER,
    maxReplicaCount=NUMBER,
    pollingInterval=NUMBER,
    cooldownPeriod=NUMBER,
    fallback=fields(["failureThreshold", "replicas"], failureThreshold=NUMBER, replicas=NUMBER),
    advanced=fields(horizontalPodAutoscalerConfig=fields(behavior=ANY)),
    triggers=several(
        fields(
            ["type", "metadata"],
            type={"const": "prometheus"},
            name=TEXT,
            metricType={"enum": ["AverageValue", "Value"]},
            metadata=fields(
                ["serverAddress", "query", "threshold"],
                serverAddress=TEXT,
                query=TEXT,
                threshold=TEXT,
                activationThreshold=TEXT,
            ),
        )
    ),
)
SERVICE_MONITOR = fields(
    ["selector", "endpoints"],
    jobLabel=TEXT,
    selector=fields(matchLabels=texts()),
    targetLabels=several(TEXT),
    podTargetLabels=several(TEXT),
    endpoints=several(
        fields(
            ["port"],
            port=TEXT,
            path={"type": "string", "pattern": "^/"},
            interval=TEXT,
            scrapeTimeout=TEXT,
            scheme=TEXT,
        )
    ),
)
RULE = fields(["expr"], alert=TEXT, record=TEXT, expr=TEXT, labels=texts(), annotations=texts(), **{"for": TEXT})
PROMETHEUS_RULE = fields(
    ["groups"], groups=several(fields(["name", "rules"], name=TEXT, interval=TEXT, rules=several(RULE)))
)
SERVING_RUNTIME = fields(
    ["containers"],
    annotations=texts(),
    labels=texts(),
    containers=ANY,
    volumes=ANY,
    nodeSelector=ANY,
    tolerations=ANY,
    supportedModelFormats=several(fields(["name"], name=TEXT, version=TEXT, autoSelect=YES, priority=NUMBER)),
    protocolVersions=several({"enum": ["v1", "v2", "grpc-v1", "grpc-v2"]}),
    multiModel=YES,
    disabled=YES,
)
INFERENCE_SERVICE = fields(
    ["predictor"],
    predictor=fields(
        ["model"],
        minReplicas=NUMBER,
        maxReplicas=NUMBER,
        terminationGracePeriodSeconds=NUMBER,
        nodeSelector=ANY,
        tolerations=ANY,
        model=fields(
            ["modelFormat"],
            modelFormat=fields(["name"], name=TEXT, version=TEXT),
            runtime=TEXT,
            protocolVersion=TEXT,
            storageUri=TEXT,
        ),
    ),
)
CUSTOM = {
    ("keda.sh/v1alpha1", "ScaledObject"): SCALED_OBJECT,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): SERVICE_MONITOR,
    ("monitoring.coreos.com/v1", "PrometheusRule"): PROMETHEUS_RULE,
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): SERVING_RUNTIME,
    ("serving.kserve.io/v1beta1", "InferenceService"): INFERENCE_SERVICE,
}


def findings(document):
    """Validates a document."""
    where = f"{document.get('kind')} {document.get('metadata', {}).get('name')}"
    schema = CUSTOM.get((document.get("apiVersion"), document.get("kind")))
    if schema is None:
        yield from _core(document, where)
        return
    whole = fields(
        ["apiVersion", "kind", "metadata", "spec"], apiVersion=TEXT, kind=TEXT, metadata=METADATA, spec=schema
    )
    for error in jsonschema.Draft7Validator(whole).iter_errors(document):
        yield f"{where}: {error.json_path}: {error.message[:200]}"
    # The parts with Kubernetes' own types.
    spec = document.get("spec", {})
    parts = {key: spec[key] for key in ("containers", "volumes", "nodeSelector", "tolerations") if key in spec}
    if document["kind"] == "ServingRuntime":
        yield from _core(_pod(parts), where)
    behaviour = spec.get("advanced", {}).get("horizontalPodAutoscalerConfig", {}).get("behavior")
    if behaviour:
        yield from _core(_behaviour(behaviour), where)


def _core(document, where):
    try:
        kubernetes_validate.validate(document, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{where}: {'.'.join(str(step) for step in error.path)}: {error.message[:200]}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield f"{where}: {error.message}"
