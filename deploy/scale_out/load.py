"""Clients that send photos, and what each answer has to be."""

import http.client
import json
import threading
import time
import uuid

from servers import KEY


class Load:
    """Clients that send one picture after the other, each over a connection of its own that is kept."""

    def __init__(self, port, clients, picture):
        self.port, self.picture = port, picture
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.answers, self.failures = [], []  # (moment, seconds); sentences
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]

    def client(self):
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            request_id = str(uuid.uuid4())
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                headers = {"X-API-Key": KEY, "X-Request-Id": request_id, "Content-Type": "image/jpeg"}
                connection.request("POST", "/predict/raw?top_k=1", self.picture, headers)
                answer = connection.getresponse()
                failure = judge(answer, answer.read(), request_id)
            except (OSError, http.client.HTTPException) as error:
                failure, connection = f"{type(error).__name__}: {error}", None
            ended = time.monotonic()
            with self.lock:
                if failure:
                    self.failures.append(f"{request_id} after {ended - began:.3f} s: {failure}")
                else:
                    self.answers.append((ended, ended - began))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=70)


def judge(answer, body, request_id):
    """What is wrong with an answer, if anything."""
    if answer.status != 200:
        return f"{answer.status} {body[:300]!r}"
    if answer.headers.get("X-Request-Id") != request_id:
        return f"the id came back as {answer.headers.get('X-Request-Id')}"
    top = json.loads(body)["predictions"][0]["class_id"]
    return None if 281 <= top <= 285 else f"the cat is taken for class {top}"
