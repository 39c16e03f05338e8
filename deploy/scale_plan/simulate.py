#!/usr/bin/env python3
"""How many servers a rate needs, and how long pictures wait.

    deploy/scale_plan/simulate.py                   prints the tables of deploy/SCALE.md
    deploy/scale_plan/simulate.py --plot FILE.svg   draws its plot as well (needs matplotlib)

A model, not a measurement: what it is made of stands in FIGURES of model.py, each with where it comes from.
"""

import argparse

from model import FIGURES, GIGABIT, KINDS, F, Run, closed_loop, nodes_for, simulate


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
    columns = (
        "requests/s",
        "node",
        "how many",
        "mean batch",
        "queue wait p50, p99",
        "answer p50, p99",
        "into each node",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for rate in (100, 1_000, 10_000, 100_000):
        for kind in KINDS:
            nodes = nodes_for(kind, rate, use)
            if nodes > 400 or (nodes == 1 and rate < 0.02 * kind.capacity()[0]):
                continue
            nodes, run = simulate(kind, rate, use, pictures=60_000 if rate < 100_000 else 150_000)
            wait, answer = (
                ", ".join(f"{run.quantile(values, part) * 1000:.1f}" for part in (0.5, 0.99)) + " ms"
                for values in (run.waits, run.totals)
            )
            width = f"{rate / nodes * F['picture'] / GIGABIT:.2f} Gbit/s"
            print(f"| {rate:,} | {kind.name} | {nodes} | {run.mean_batch():.1f} | {wait} | {answer} | {width} |")


def bursts(kind=KINDS[1], rate=20_000):
    print("| in a burst | used on the whole by | queue wait p99 | answer p50, p99, p99.9 |\n|---|---|---|---|")
    for burst in (1.0, 1.3, 1.6):
        for use in (0.6, 0.7, 0.8):
            run = Run(kind, nodes_for(kind, rate, use), rate, 10.0, burst=burst).go()
            total = [f"{run.quantile(run.totals, part) * 1000:.0f}" for part in (0.5, 0.99, 0.999)]
            print(f"| {burst} x | {use:.0%} | {run.quantile(run.waits, 0.99) * 1000:.0f} ms | {', '.join(total)} ms |")


def balancing(rate=100_000, kind=KINDS[1]):
    print("| who chooses | used by | queue wait p50, p99 |\n|---|---|---|")
    for name, balancers in (
        ("one balancer, fewest under way", 1),
        ("8 balancers, each by its own count", 8),
        ("chance (or DNS)", None),
    ):
        for use in (0.7, 0.9):
            _, run = simulate(kind, rate, use, balancers, 150_000)
            wait = [f"{run.quantile(run.waits, part) * 1000:.1f}" for part in (0.5, 0.99)]
            print(f"| {name} | {use:.0%} | {', '.join(wait)} ms |")


def plot(path):
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "kiln", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
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
    left.set(
        xlabel="part of what one node can (dashed: the plan)",
        ylabel="answer, p99, ms",
        yscale="log",
        title="Waiting grows late, then fast",
    )
    left.set_yticks([3, 10, 30, 100, 300], labels=["3", "10", "30", "100", "300"])
    left.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    left.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    left.legend(frameon=False)
    rates = [10 ** (2 + step / 20) for step in range(61)]
    for kind, colour in zip(KINDS, colours):
        right.plot(rates, [nodes_for(kind, rate, 0.7) for rate in rates], color=colour, label=kind.name)
    right.set(
        xlabel="requests/s", ylabel="nodes at 70 %", xscale="log", yscale="log", title="How many nodes (640x480 JPEG)"
    )
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
        ("What it is made of", figures),
        ("The model against the server, on two cores", checked),
        ("One node", capacities),
        ("Nodes at 70 % of what they can", plan),
        ("Bursts of half a second, 20,000 requests/s on 32 cores each", bursts),
        ("Who chooses the node, 100,000 requests/s on 32 cores each", balancing),
    ):
        print(f"\n### {title}\n")
        table()
    if options.plot:
        plot(options.plot)


if __name__ == "__main__":
    main()
