"""What schemathesis does not make by itself: real pictures among the random bytes, so that it sees answers and not refusals
alone; and no form whose parts have names that MIME does not allow, which its document cannot forbid."""

from pathlib import Path

import schemathesis
from hypothesis import strategies

DATA = Path(__file__).parent.parent / "data"
PICTURES = [(DATA / name).read_bytes() for name in ("photos/cat_640x480.jpg", "variants/cat.png", "variants/cat.gif")]

schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES) | strategies.binary(min_size=1))


@schemathesis.hook
def filter_body(context, body):
    return not isinstance(body, dict) or all(name.isprintable() for name in body)
