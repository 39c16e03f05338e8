"""Holds a dashboard to Grafana's own schema, as far as that goes without Grafana: python schema.py DASHBOARD.json

The models are those of grafana-foundation-sdk, which Grafana Labs generate from the schemas (CUE) of Grafana and its panels.
They drop what they do not know and take what they are given, so this asks for two things: nothing is lost on the way through
them, and every value has the type that its field is annotated with. Prints each fault; exits with 1 if there is one.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.cog.runtime import panelcfg_config
from grafana_foundation_sdk.models.dashboard import Dashboard

# Known to Grafana, and not to the schema of this release.
UNKNOWN_TO_THE_SCHEMA = {
    # The text of a query variable, as Grafana writes it beside `query` when it saves a dashboard.
    "definition",
    # Of annotations that take their time from the value; part of the Prometheus plugin, which has no schema for them.
    "useValueForTime",
    "titleFormat",
    "step",
}


def lost(before, after, path):
    """Where a value is not the same after the round trip."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in UNKNOWN_TO_THE_SCHEMA:
                continue
            if key not in after:
                yield f"{path}.{key}: no such field"
            else:
                yield from lost(value, after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} became {after!r}"


def plain(thing):
    return json.loads(json.dumps(thing, cls=JSONEncoder))


def matches(value, hint):
    """Whether a value is of an annotated type. Objects are judged by their class here, and inside by `wrong`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (object, typing.Any):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(matches(each, arguments[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(matches(each, arguments[1]) for each in value.values())
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return value in [each.value for each in hint]
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        # Some models leave objects below them as they came.
        parsed = hint.from_json(value)
        return not [*lost(value, plain(parsed), ""), *wrong(parsed, "")]
    return isinstance(value, hint)


def wrong(thing, path):
    """Fields whose value is not of their annotated type."""
    if isinstance(thing, list):
        for index, each in enumerate(thing):
            yield from wrong(each, f"{path}[{index}]")
    elif isinstance(thing, dict):
        for key, each in thing.items():
            yield from wrong(each, f"{path}.{key}")
    elif hasattr(thing, "to_json"):
        hints = typing.get_type_hints(type(thing))
        for name, value in vars(thing).items():
            if name in hints and not matches(value, hints[name]):
                yield f"{path}.{name}: {value!r} is no {hints[name]}"
            yield from wrong(value, f"{path}.{name}")


def strange(panels):
    """Panels of a type whose options nobody has judged."""
    for panel in panels:
        if panel["type"] != "row" and panelcfg_config(panel["type"]) is None:
            yield f"panel {panel['title']}: there is no type {panel['type']!r}"


def main():
    register_default_plugins()
    with open(sys.argv[1], encoding="utf-8") as file:
        before = json.load(file)
    dashboard = Dashboard.from_json(before)
    faults = [*lost(before, plain(dashboard), "dashboard"), *wrong(dashboard, "dashboard"), *strange(before["panels"])]
    print("\n".join(faults))
    sys.exit(bool(faults))


main()
