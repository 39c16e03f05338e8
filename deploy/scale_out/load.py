"""The load: clients that send photos and check each response."""

import http.client
import json
import threading
import time
import uuid

from servers import KEY


class Load:
    """Clients that send one image after the other, each over its own kept connection."""

    def __init__(self, port, clients, image):
        self.port, self.image = port, image
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.responses, self.failures = [], []  # (time of the response, latency in s); messages
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]

    def client(self):
        connection = None
        while not self.stop.is_set():
            start = time.monotonic()
            request_id = str(uuid.uuid4())
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                headers = {"X-API-Key": KEY, "X-Request-Id": request_id, "Content-Type": "image/jpeg"}
                connection.request("POST", "/predict/raw?top_k=1", self.image, headers)
                response = connection.getresponse()
                failure = check(response, response.read(), request_id)
            except (OSError, http.client.HTTPException) as error:
                failure, connection = f"{type(error).__name__}: {error}", None
            end = time.monotonic()
            with self.lock:
                if failure:
                    self.failures.append(f"{request_id} after {end - start:.3f} s: {failure}")
                else:
                    self.responses.append((end, end - start))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=70)


def check(response, body, request_id):
    """Returns what is wrong with a response, or None."""
    if response.status != 200:
        return f"{response.status} {body[:300]!r}"
    if response.headers.get("X-Request-Id") != request_id:
        return f"wrong request id: {response.headers.get('X-Request-Id')}"
    top = json.loads(body)["predictions"][0]["class_id"]
    return None if 281 <= top <= 285 else f"wrong class for the cat: {top}"
