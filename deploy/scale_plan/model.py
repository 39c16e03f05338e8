"""A discrete-event model of many nodes behind load balancers, with their queues and batches. simulate.py prints its results.

An image arrives at a random time, a load balancer chooses a node, one core of the node decodes the image, and an engine runs it in
a batch with other waiting images. The model has no client timeouts, no warm-up and no refused requests, and it includes only the
bandwidth of the network. Seeds are fixed.
"""

import collections
import dataclasses
import heapq
import random

# Seconds and bytes. Measured values are from the project's benchmarks on two cores of a shared AMD EPYC (Zen 4).
FIGURES = {
    "decode": (1.40e-3, "measured: decode, crop and resize a 640x480 JPEG on one thread (benches/preprocess)"),
    "http": (
        0.25e-3,
        "measured: two cores serve 1189 such requests/s with an engine that returns at once; 0.85 of the time is decoding",
    ),
    "cpu_fixed": (
        0.64e-3,
        "measured: a line through 122 images/s at batch 1 and 131 at batch 8 on one thread (benches/compare)",
    ),
    "cpu_each": (7.55e-3, "measured: the same line"),
    "bf16_fixed": (0.34e-3, "measured: the same with --precision bf16, which is 1.89 and 1.95 times as fast"),
    "bf16_each": (3.87e-3, "measured: the same line"),
    "gpu_fixed": (1.0e-3, "ASSUMED: 60 kernel launches and two copies; not measured on a GPU"),
    "gpu_each": (0.27e-3, "ASSUMED: 0.8 GFLOP per image on a GPU with 30 TFLOP/s (such as an L4) at a tenth of its peak"),
    "image": (83e3, "measured: cat_640x480.jpg of the tests (82 kB) and the request head"),
    "response": (1.0e3, "measured: five classes and the response head"),
    "spread": (0.3, "ASSUMED: standard deviation of the decoding time as a fraction of its mean"),
}
F = {name: value for name, (value, _) in FIGURES.items()}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A type of node. Without a GPU, its cores also run the batches."""

    name: str
    cores: int
    gpus: int
    fixed: float
    each: float
    max_batch: int
    network: float  # bytes per second in one direction

    def batch(self, size):
        return self.fixed + self.each * size

    def capacity(self):
        """Returns the maximum number of images per second, and the resource that limits it."""
        work = F["decode"] + F["http"]
        each = self.batch(self.max_batch) / self.max_batch
        bounds = {"network": self.network / F["image"]}
        if self.gpus:
            bounds |= {"GPU": self.gpus / each, "decoding": self.cores / work}
        else:
            bounds |= {"cores": self.cores / (work + each)}
        bottleneck = min(bounds, key=bounds.get)
        return bounds[bottleneck], bottleneck


GIGABIT = 125e6
KINDS = [
    Kind("2 cores", 2, 0, F["cpu_fixed"], F["cpu_each"], 8, 10 * GIGABIT),
    Kind("32 cores", 32, 0, F["cpu_fixed"], F["cpu_each"], 8, 10 * GIGABIT),
    Kind("32 cores, bf16", 32, 0, F["bf16_fixed"], F["bf16_each"], 8, 10 * GIGABIT),
    Kind("8 cores + 1 GPU", 8, 1, F["gpu_fixed"], F["gpu_each"], 32, 25 * GIGABIT),
]


class Node:
    """One server: its free cores and engines, and the images that wait for them."""

    __slots__ = ("batches", "cores", "decoding", "engines", "kind", "outstanding", "waiting")

    def __init__(self, kind):
        self.kind, self.cores, self.engines = kind, kind.cores, kind.gpus
        self.decoding, self.waiting = collections.deque(), collections.deque()
        self.outstanding, self.batches = 0, []


class Simulation:
    """A simulation with random arrivals. Each of the `balancers` counts only the requests that it sent itself; None chooses nodes at
    random. With `burst`, the first quarter of every two seconds has that multiple of the rate, and the rest has a lower rate with
    the same mean.
    """

    def __init__(self, kind, nodes, rate, seconds, balancers=1, burst=1.0, seed=1):
        self.random = random.Random(seed)
        self.nodes = [Node(kind) for _ in range(nodes)]
        self.views = [[0] * nodes for _ in range(balancers or 0)]
        self.rate, self.seconds = rate, seconds
        self.burst_rates = (burst * rate, (4 - burst) / 3 * rate)
        self.events, self.order = [], 0
        self.waits, self.totals = [], []

    def schedule(self, time, event, *arguments):
        self.order += 1
        heapq.heappush(self.events, (time, self.order, event, arguments))

    def run(self):
        self.schedule(0.0, self.arrive)
        while self.events:
            time, _, event, arguments = heapq.heappop(self.events)
            event(time, *arguments)
        return self

    def arrive(self, now):
        if now < self.seconds:
            self.schedule(now + self.random.expovariate(self.burst_rates[now % 2.0 >= 0.5]), self.arrive)
        view = self.random.choice(self.views) if self.views else None
        if view is None:
            chosen = self.random.randrange(len(self.nodes))
        else:
            # Of the nodes with the fewest requests, the next in turn, as in nginx.
            start = self.random.randrange(len(view))
            chosen = min(range(start, start + len(view)), key=lambda index: view[index % len(view)]) % len(view)
            view[chosen] += 1
        node = self.nodes[chosen]
        node.outstanding += 1
        node.decoding.append([now, 0.0, view, chosen])
        self.dispatch(now, node)

    def dispatch(self, now, node):
        """Gives waiting images to free cores and engines. Decoding comes first, so that larger batches can form."""
        kind = node.kind
        while node.cores and node.decoding:
            node.cores -= 1
            image = node.decoding.popleft()
            duration = max(0.2, self.random.gauss(1.0, F["spread"])) * F["decode"] + F["http"]
            self.schedule(now + duration, self.decoded, node, image)
        while node.waiting and (node.engines if kind.gpus else node.cores):
            if kind.gpus:
                node.engines -= 1
            else:
                node.cores -= 1
            size = min(len(node.waiting), kind.max_batch)
            if not kind.gpus:
                # Idle threads share the waiting images.
                size = min(size, -(-len(node.waiting) // (node.cores + 1)))
            batch = [node.waiting.popleft() for _ in range(size)]
            for image in batch:
                self.waits.append((now, now - image[1]))
            node.batches.append(size)
            self.schedule(now + kind.batch(size), self.finished, node, batch)

    def decoded(self, now, node, image):
        node.cores += 1
        image[1] = now
        node.waiting.append(image)
        self.dispatch(now, node)

    def finished(self, now, node, batch):
        if node.kind.gpus:
            node.engines += 1
        else:
            node.cores += 1
        node.outstanding -= len(batch)
        for arrived, _, view, chosen in batch:
            self.totals.append((arrived, now - arrived))
            if view is not None:
                view[chosen] -= 1
        self.dispatch(now, node)

    def quantile(self, values, part):
        """Returns a quantile of the values after the first fifth of the time, in which the queues fill."""
        steady = sorted(value for time, value in values if time > self.seconds / 5)
        return steady[min(len(steady) - 1, int(part * len(steady)))]

    def mean_batch(self):
        sizes = [size for node in self.nodes for size in node.batches]
        return sum(sizes) / len(sizes)


def nodes_for(kind, rate, utilisation):
    """Returns the number of nodes that serve a rate, each at that fraction of its capacity."""
    return max(1, -(-int(rate) // max(1, int(kind.capacity()[0] * utilisation))))


def simulate(kind, rate, utilisation=0.7, balancers=1, images=60_000):
    """Simulates as many nodes as the rate needs, for that many images. Returns their number and the simulation."""
    nodes = nodes_for(kind, rate, utilisation)
    return nodes, Simulation(kind, nodes, rate, images / rate, balancers).run()


def closed_loop(kind, connections, seconds=20.0):
    """Simulates one node whose clients send the next image after the last response, as the load generator of the benchmarks does.
    Returns the images per second and the median latency.
    """
    run = Simulation(kind, 1, 1.0, seconds)
    record = run.finished

    def finished(now, node, batch):
        record(now, node, batch)
        for _ in batch if now < seconds else ():
            enter(now, node)

    def enter(now, node):
        view = run.views[0]
        view[0] += 1
        node.decoding.append([now, 0.0, view, 0])
        run.dispatch(now, node)

    run.finished = finished
    for _ in range(connections):
        enter(0.0, run.nodes[0])
    while run.events:
        time, _, event, arguments = heapq.heappop(run.events)
        event(time, *arguments)
    return len([1 for arrived, latency in run.totals if arrived + latency < seconds]) / seconds, run.quantile(run.totals, 0.5)
