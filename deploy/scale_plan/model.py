"""Queues and batches of many nodes behind balancers, event by event: the model of simulate.py, which prints what
comes of it.

A picture arrives at a random moment, a balancer chooses a node, one of its cores decodes it, an engine takes it with
whatever else waits. Left out: clients that give up, warm-up, refusals, and everything inside the network but its
width. Seeds are fixed.
"""

import collections
import dataclasses
import heapq
import random

# Seconds and bytes. Measured: README.md, "Measured", on two cores of a shared AMD EPYC (Zen 4). Assumed: by nobody yet.
FIGURES = {
    "decode": (1.40e-3, "measured: decode, crop and resize a 640x480 JPEG on one thread (benches/preprocess)"),
    "http": (
        0.25e-3,
        "measured: two cores serve 1189 such requests/s with an engine that answers at once, of which decoding is 0.85",
    ),
    "cpu_fixed": (
        0.64e-3,
        "measured: a line through 122 images/s in ones and 131 in eights on one thread (benches/compare)",
    ),
    "cpu_each": (7.55e-3, "measured: the same line"),
    "bf16_fixed": (0.34e-3, "measured: the same by --precision bf16, 1.89 and 1.95 times as fast"),
    "bf16_each": (3.87e-3, "measured: the same line"),
    "gpu_fixed": (1.0e-3, "ASSUMED: 60 launches and two copies; no GPU was at hand"),
    "gpu_each": (0.27e-3, "ASSUMED: 0.8 GFLOP a picture on a GPU of 30 TFLOP/s (such as an L4) at a tenth of its peak"),
    "picture": (83e3, "measured: cat_640x480.jpg of the tests, 82 kB, and a head"),
    "answer": (1.0e3, "measured: five classes and heads"),
    "spread": (0.3, "ASSUMED: pictures differ; the deviation of decoding, as a part of its mean"),
}
F = {name: value for name, (value, _) in FIGURES.items()}


@dataclasses.dataclass(frozen=True)
class Kind:
    """A node. Without GPUs its cores do the batches too."""

    name: str
    cores: int
    gpus: int
    fixed: float
    each: float
    max_batch: int
    network: float  # bytes a second, in one direction

    def batch(self, size):
        return self.fixed + self.each * size

    def capacity(self):
        """Pictures a second at most, and what bounds them."""
        work = F["decode"] + F["http"]
        each = self.batch(self.max_batch) / self.max_batch
        bounds = {"network": self.network / F["picture"]}
        if self.gpus:
            bounds |= {"GPU": self.gpus / each, "decoding": self.cores / work}
        else:
            bounds |= {"cores": self.cores / (work + each)}
        what = min(bounds, key=bounds.get)
        return bounds[what], what


GIGABIT = 125e6
KINDS = [
    Kind("2 cores", 2, 0, F["cpu_fixed"], F["cpu_each"], 8, 10 * GIGABIT),
    Kind("32 cores", 32, 0, F["cpu_fixed"], F["cpu_each"], 8, 10 * GIGABIT),
    Kind("32 cores, bf16", 32, 0, F["bf16_fixed"], F["bf16_each"], 8, 10 * GIGABIT),
    Kind("8 cores + 1 GPU", 8, 1, F["gpu_fixed"], F["gpu_each"], 32, 25 * GIGABIT),
]


class Node:
    """One server: cores, engines, and what waits for them."""

    __slots__ = ("batches", "cores", "decoding", "engines", "kind", "outstanding", "waiting")

    def __init__(self, kind):
        self.kind, self.cores, self.engines = kind, kind.cores, kind.gpus
        self.decoding, self.waiting = collections.deque(), collections.deque()
        self.outstanding, self.batches = 0, []


class Run:
    """Requests at random moments, for a while. 'balancers' see only what they sent themselves; None is chance. With
    'burst' the first quarter of every two seconds has that many times the rate, and the rest as much less.
    """

    def __init__(self, kind, nodes, rate, seconds, balancers=1, burst=1.0, seed=1):
        self.random = random.Random(seed)
        self.nodes = [Node(kind) for _ in range(nodes)]
        self.views = [[0] * nodes for _ in range(balancers or 0)]
        self.rate, self.seconds = rate, seconds
        self.now_and_then = (burst * rate, (4 - burst) / 3 * rate)
        self.events, self.order = [], 0
        self.waits, self.totals = [], []

    def at(self, moment, what, *with_):
        self.order += 1
        heapq.heappush(self.events, (moment, self.order, what, with_))

    def go(self):
        self.at(0.0, self.arrives)
        while self.events:
            moment, _, what, with_ = heapq.heappop(self.events)
            what(moment, *with_)
        return self

    def arrives(self, now):
        if now < self.seconds:
            self.at(now + self.random.expovariate(self.now_and_then[now % 2.0 >= 0.5]), self.arrives)
        view = self.random.choice(self.views) if self.views else None
        if view is None:
            chosen = self.random.randrange(len(self.nodes))
        else:
            # Of those with the fewest, the next in turn: as nginx does it.
            start = self.random.randrange(len(view))
            chosen = min(range(start, start + len(view)), key=lambda index: view[index % len(view)]) % len(view)
            view[chosen] += 1
        node = self.nodes[chosen]
        node.outstanding += 1
        node.decoding.append([now, 0.0, view, chosen])
        self.work(now, node)

    def work(self, now, node):
        """Gives free cores and engines what waits. Decoding goes first, so that batches have something to be made
        of.
        """
        kind = node.kind
        while node.cores and node.decoding:
            node.cores -= 1
            picture = node.decoding.popleft()
            took = max(0.2, self.random.gauss(1.0, F["spread"])) * F["decode"] + F["http"]
            self.at(now + took, self.decoded, node, picture)
        while node.waiting and (node.engines if kind.gpus else node.cores):
            if kind.gpus:
                node.engines -= 1
            else:
                node.cores -= 1
            size = min(len(node.waiting), kind.max_batch)
            if not kind.gpus:
                # Idle threads share what waits.
                size = min(size, -(-len(node.waiting) // (node.cores + 1)))
            batch = [node.waiting.popleft() for _ in range(size)]
            for picture in batch:
                self.waits.append((now, now - picture[1]))
            node.batches.append(size)
            self.at(now + kind.batch(size), self.ran, node, batch)

    def decoded(self, now, node, picture):
        node.cores += 1
        picture[1] = now
        node.waiting.append(picture)
        self.work(now, node)

    def ran(self, now, node, batch):
        if node.kind.gpus:
            node.engines += 1
        else:
            node.cores += 1
        node.outstanding -= len(batch)
        for arrived, _, view, chosen in batch:
            self.totals.append((arrived, now - arrived))
            if view is not None:
                view[chosen] -= 1
        self.work(now, node)

    def quantile(self, values, part):
        """Of what came after the first fifth, which is for queues to fill."""
        kept = sorted(value for moment, value in values if moment > self.seconds / 5)
        return kept[min(len(kept) - 1, int(part * len(kept)))]

    def mean_batch(self):
        sizes = [size for node in self.nodes for size in node.batches]
        return sum(sizes) / len(sizes)


def nodes_for(kind, rate, use):
    """How many, if each is used by that part of what it can."""
    return max(1, -(-int(rate) // max(1, int(kind.capacity()[0] * use))))


def simulate(kind, rate, use=0.7, balancers=1, pictures=60_000):
    """As many nodes as the rate needs, for that many pictures."""
    nodes = nodes_for(kind, rate, use)
    return nodes, Run(kind, nodes, rate, pictures / rate, balancers).go()


def closed_loop(kind, connections, seconds=20.0):
    """One node whose clients send the next picture when they have the last answer: what the README's load generator
    does.
    """
    run = Run(kind, 1, 1.0, seconds)
    finished = run.ran

    def ran(now, node, batch):
        finished(now, node, batch)
        for _ in batch if now < seconds else ():
            enter(now, node)

    def enter(now, node):
        view = run.views[0]
        view[0] += 1
        node.decoding.append([now, 0.0, view, 0])
        run.work(now, node)

    run.ran = ran
    for _ in range(connections):
        enter(0.0, run.nodes[0])
    while run.events:
        moment, _, what, with_ = heapq.heappop(run.events)
        what(moment, *with_)
    return len([1 for arrived, took in run.totals if arrived + took < seconds]) / seconds, run.quantile(run.totals, 0.5)
