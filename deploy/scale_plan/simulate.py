#!/usr/bin/env python3
"""How many servers a rate needs, and how long pictures wait: queues and batches of many nodes behind balancers, event by event.

    deploy/scale_plan/simulate.py                   prints the tables of deploy/SCALE.md
    deploy/scale_plan/simulate.py --plot FILE.svg   draws its plot as well (needs matplotlib)

A model, not a measurement: what it is made of stands in FIGURES below, each with where it comes from. It leaves out garbage (clients that give up),
warm-up, and everything inside the network but its width. Seeds are fixed: the same script prints the same tables.
"""

import argparse
import collections
import dataclasses
import heapq
import random

# Seconds and bytes. Measured: README.md, "Measured", on two cores of a shared AMD EPYC (Zen 4). Assumed: by nobody yet.
FIGURES = {
    "decode": (1.40e-3, "measured: decode, crop and resize a 640x480 JPEG on one thread (benches/preprocess)"),
    "http": (0.25e-3, "measured: two cores serve 1189 such requests/s with an engine that answers at once, of which decoding is 0.85"),
    "cpu_fixed": (0.64e-3, "measured: a line through 122 images/s in ones and 131 in eights on one thread (benches/compare)"),
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
    """Requests at random moments, for a while. 'balancers' see only what they sent themselves; None is chance. With 'burst' the first
    quarter of every two seconds has that many times the rate, and the rest as much less."""

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
        """Gives free cores and engines what waits. Decoding goes first, so that batches have something to be made of."""
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
    """One node whose clients send the next picture when they have the last answer: what the README's load generator does."""
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


def checked():
    """The model against what was measured of the whole server."""
    print("| connections | measured: images/s, median | model: images/s, median |\n|---|---|---|")
    for connections, rate, median in ((1, 139, 6.9), (4, 183, 21.1), (16, 206, 80.4), (64, 204, 308)):
        modelled, middle = closed_loop(KINDS[0], connections)
        print(f"| {connections} | {rate}, {median} ms | {modelled:.0f}, {middle * 1000:.1f} ms |")


def figures():
    print("| figure | value | from |\n|---|---|---|")
    for name, (value, source) in FIGURES.items():
        shown = f"{value * 1000:.2f} ms" if value < 0.1 else f"{value / 1000:g} kB" if value >= 1000 else f"{value:g}"
        print(f"| {name} | {shown} | {source} |")


def capacities():
    print("| node | pictures/s at most | bounded by | a picture alone |\n|---|---|---|---|")
    for kind in KINDS:
        rate, what = kind.capacity()
        alone = F["decode"] + F["http"] + kind.batch(1)
        print(f"| {kind.name} | {rate:,.0f} | {what} | {alone * 1000:.1f} ms |")


def plan(use=0.7):
    print("| requests/s | node | how many | mean batch | queue wait p50, p99 | answer p50, p99 | into each node |\n|---|---|---|---|---|---|---|")
    for rate in (100, 1_000, 10_000, 100_000):
        for kind in KINDS:
            nodes = nodes_for(kind, rate, use)
            if nodes > 400 or (nodes == 1 and rate < 0.02 * kind.capacity()[0]):
                continue
            nodes, run = simulate(kind, rate, use, pictures=60_000 if rate < 100_000 else 150_000)
            wait, total = ([f"{run.quantile(values, part) * 1000:.1f}" for part in (0.5, 0.99)] for values in (run.waits, run.totals))
            width = rate / nodes * F["picture"] / GIGABIT
            print(f"| {rate:,} | {kind.name} | {nodes} | {run.mean_batch():.1f} | {', '.join(wait)} ms | {', '.join(total)} ms | {width:.2f} Gbit/s |")


def bursts(kind=KINDS[1], rate=20_000):
    print("| in a burst | used on the whole by | queue wait p99 | answer p50, p99, p99.9 |\n|---|---|---|---|")
    for burst in (1.0, 1.3, 1.6):
        for use in (0.6, 0.7, 0.8):
            run = Run(kind, nodes_for(kind, rate, use), rate, 10.0, burst=burst).go()
            total = [f"{run.quantile(run.totals, part) * 1000:.0f}" for part in (0.5, 0.99, 0.999)]
            print(f"| {burst} x | {use:.0%} | {run.quantile(run.waits, 0.99) * 1000:.0f} ms | {', '.join(total)} ms |")


def balancing(rate=100_000, kind=KINDS[1]):
    print("| who chooses | used by | queue wait p50, p99 |\n|---|---|---|")
    for name, balancers in (("one balancer, fewest under way", 1), ("8 balancers, each by its own count", 8), ("chance (or DNS)", None)):
        for use in (0.7, 0.9):
            _, run = simulate(kind, rate, use, balancers, 150_000)
            wait = [f"{run.quantile(run.waits, part) * 1000:.1f}" for part in (0.5, 0.99)]
            print(f"| {name} | {use:.0%} | {', '.join(wait)} ms |")


def plot(path):
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.hashsalt": "kiln", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    uses = [0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95]
    colours = ["#1f77b4", "#2ca02c", "#d62728", "#9467bd"]
    for kind, colour in zip(KINDS, colours):
        rate = kind.capacity()[0]
        answers = []
        for use in uses:
            run = Run(kind, 1, use * rate, 30_000 / (use * rate)).go()
            answers.append(run.quantile(run.totals, 0.99) * 1000)
        left.plot(uses, answers, marker="o", markersize=3, color=colour, label=kind.name)
    left.axvline(0.7, color="#999999", linewidth=0.8, linestyle="--")
    left.set(xlabel="part of what one node can (dashed: the plan)", ylabel="answer, p99, ms", yscale="log", title="Waiting grows late, then fast")
    left.set_yticks([3, 10, 30, 100, 300], labels=["3", "10", "30", "100", "300"])
    left.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    left.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    left.legend(frameon=False)
    rates = [10 ** (2 + step / 20) for step in range(61)]
    for kind, colour in zip(KINDS, colours):
        right.plot(rates, [nodes_for(kind, rate, 0.7) for rate in rates], color=colour, label=kind.name)
    right.set(xlabel="requests/s", ylabel="nodes at 70 %", xscale="log", yscale="log", title="How many nodes (640x480 JPEG)")
    right.xaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    right.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for axes in (left, right):
        axes.grid(True, which="major", color="#eeeeee")
        axes.set_axisbelow(True)
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--plot", metavar="FILE")
    options = parser.parse_args()
    for title, table in (
        ("What it is made of", figures), ("The model against the server, on two cores", checked), ("One node", capacities),
        ("Nodes at 70 % of what they can", plan), ("Bursts of half a second, 20,000 requests/s on 32 cores each", bursts),
        ("Who chooses the node, 100,000 requests/s on 32 cores each", balancing),
    ):  # fmt: skip
        print(f"\n### {title}\n")
        table()
    if options.plot:
        plot(options.plot)


if __name__ == "__main__":
    main()
