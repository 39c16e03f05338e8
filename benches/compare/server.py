"""Compares two running servers under the same load: prints images per second, median latency, and their ratios.

    python benches/compare/server.py --key KEY http://127.0.0.1:8080/predict http://127.0.0.1:9000/predict

Both servers accept a photo in the form field `file`. wrk generates the load: each connection sends its next photo of 640x480 as soon
as the last one is answered. The measurements alternate between the servers. A status other than 200 ends the comparison with an error.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PHOTOS = sorted((Path(__file__).resolve().parents[2] / "tests/data/photos").glob("*_640x480.jpg"))
BOUNDARY = "kiln-compare"
SCRIPT = """
local bodies, i = {}, 0
function init(arguments)
  for _, path in ipairs(arguments) do
    local file = assert(io.open(path, "rb")); table.insert(bodies, file:read("*a")); file:close()
  end
end
function request() i = i %% #bodies + 1; return wrk.format("POST", nil, %s, bodies[i]) end
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('RESULT {"rate": %%f, "median": %%f, "failed": %%d}\\n', summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1e3, e.status + e.connect + e.read + e.write + e.timeout))
end
"""


def form(photo: Path) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{photo.name}"\r\nContent-Type: image/jpeg\r\n\r\n'
    return head.encode() + photo.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode()


def load(folder: Path, url: str, connections: int, seconds: int) -> dict:
    bodies = [str(path) for path in sorted(folder.glob("*.body"))]
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(folder / "post.lua"), url, "--", *bodies]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    result = json.loads(next(line for line in lines if line.startswith("RESULT")).removeprefix("RESULT"))
    if result["failed"]:
        sys.exit(f"{result['failed']:.0f} requests to {url} failed")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs=2, metavar="URL", help="Kiln, then the other server")
    parser.add_argument("--key", default="", help="API key, sent to both as X-API-Key")
    parser.add_argument("--connections", default="1,16", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=int, default=5, help="duration of one measurement; default: %(default)s")
    arguments = parser.parse_args()
    headers = f'{{["Content-Type"] = "multipart/form-data; boundary={BOUNDARY}", ["X-API-Key"] = "{arguments.key}"}}'
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "post.lua").write_text(SCRIPT % headers)
        for index, photo in enumerate(PHOTOS):
            (folder / f"{index}.body").write_bytes(form(photo))
        print("connections   images/s           ratio   median, ms         ratio")
        for connections in map(int, arguments.connections.split(",")):
            for url in arguments.urls:
                load(folder, url, connections, 2)
            rounds = [[load(folder, url, connections, arguments.seconds) for url in arguments.urls] for _ in range(arguments.rounds)]
            cells = []
            for key in ("rate", "median"):
                ours, other = (statistics.median(pair[side][key] for pair in rounds) for side in (0, 1))
                ratio = statistics.median(pair[0][key] / pair[1][key] for pair in rounds)
                cells.append(f"{ours:7.1f} {other:7.1f}   {ratio:5.2f}")
            print(f"{connections:11}   {cells[0]}   {cells[1]}", flush=True)


if __name__ == "__main__":
    main()
