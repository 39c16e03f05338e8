"""Runs a script that uses `tritonclient.http` with an API key, for which the script has no option.

    KILN_API_KEY=... python tests/clients/triton/with_key.py SCRIPT.py ARGUMENTS...

A plugin of the client adds the key. Neither the script nor the client is changed on disk.
"""

import os
import runpy
import sys

from tritonclient._plugin import InferenceServerClientPlugin
from tritonclient.http import InferenceServerClient


class Key(InferenceServerClientPlugin):
    def __call__(self, request) -> None:
        request.headers["X-API-Key"] = os.environ["KILN_API_KEY"]


unregistered = InferenceServerClient.__init__


def registered(self, *arguments, **keywords) -> None:
    unregistered(self, *arguments, **keywords)
    self.register_plugin(Key())


InferenceServerClient.__init__ = registered
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
