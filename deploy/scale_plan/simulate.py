#!/usr/bin/env python3
"""Computes how many servers a request rate needs, and how long images wait.

    deploy/scale_plan/simulate.py                   prints the tables of deploy/SCALE.md
    deploy/scale_plan/simulate.py --plot FILE.svg   also draws its plot (needs matplotlib)

The results are from a model and not measured. FIGURES in model.py lists its inputs with their sources.
"""

import argparse

from model import FIGURES, GIGABIT, KINDS, F, Simulation, closed_loop, nodes_for, simulate


def validation():
    """Compares the model with measurements of the whole server."""
    print("| connections | measured: images/s, median | model: images/s, median |\n|---|---|---|")
    for connections, rate, median in ((1, 139, 6.9), (4, 183, 21.1), (16, 206, 80.4), (64, 204, 308)):
        modelled, modelled_median = closed_loop(KINDS[0], connections)
        print(f"| {connections} | {rate}, {median} ms | {modelled:.0f}, {modelled_median * 1000:.1f} ms |")


def figures():
    print("| figure | value | source |\n|---|---|---|")
    for name, (value, source) in FIGURES.items():
        shown = f"{value * 1000:.2f} ms" if value < 0.1 else f"{value / 1000:g} kB" if value >= 1000 else f"{value:g}"
        print(f"| {name} | {shown} | {source} |")


def capacities():
    print("| node | maximum images/s | bottleneck | latency when idle |\n|---|---|---|---|")
    for kind in KINDS:
        rate, bottleneck = kind.capacity()
        latency = F["decode"] + F["http"] + kind.batch(1)
        print(f"| {kind.name} | {rate:,.0f} | {bottleneck} | {latency * 1000:.1f} ms |")


def plan(utilisation=0.7):
    columns = (
        "requests/s",
        "node",
        "nodes",
        "mean batch",
        "queue wait p50, p99",
        "latency p50, p99",
        "network per node",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for rate in (100, 1_000, 10_000, 100_000):
        for kind in KINDS:
            nodes = nodes_for(kind, rate, utilisation)
            if nodes > 400 or (nodes == 1 and rate < 0.02 * kind.capacity()[0]):
                continue
            nodes, run = simulate(kind, rate, utilisation, images=60_000 if rate < 100_000 else 150_000)
            wait, latency = (
                ", ".join(f"{run.quantile(values, part) * 1000:.1f}" for part in (0.5, 0.99)) + " ms"
                for values in (run.waits, run.totals)
            )
            bandwidth = f"{rate / nodes * F['image'] / GIGABIT:.2f} Gbit/s"
            print(f"| {rate:,} | {kind.name} | {nodes} | {run.mean_batch():.1f} | {wait} | {latency} | {bandwidth} |")


def bursts(kind=KINDS[1], rate=20_000):
    print("| burst | mean utilisation | queue wait p99 | latency p50, p99, p99.9 |\n|---|---|---|---|")
    for burst in (1.0, 1.3, 1.6):
        for utilisation in (0.6, 0.7, 0.8):
            run = Simulation(kind, nodes_for(kind, rate, utilisation), rate, 10.0, burst=burst).run()
            total = [f"{run.quantile(run.totals, part) * 1000:.0f}" for part in (0.5, 0.99, 0.999)]
            print(f"| {burst} x | {utilisation:.0%} | {run.quantile(run.waits, 0.99) * 1000:.0f} ms | {', '.join(total)} ms |")


def balancing(rate=100_000, kind=KINDS[1]):
    print("| load balancing | utilisation | queue wait p50, p99 |\n|---|---|---|")
    for name, balancers in (
        ("one balancer, fewest active requests", 1),
        ("8 balancers, fewest of their own requests", 8),
        ("random (or DNS)", None),
    ):
        for utilisation in (0.7, 0.9):
            _, run = simulate(kind, rate, utilisation, balancers, 150_000)
            wait = [f"{run.quantile(run.waits, part) * 1000:.1f}" for part in (0.5, 0.99)]
            print(f"| {name} | {utilisation:.0%} | {', '.join(wait)} ms |")


def plot(path):
    import matplotlib
    import matplotlib.ticker

    matplotlib.use("Agg")
    matplotlib.rcParams.update(
        {"svg.hashsalt": "kiln", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    )
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    utilisations = [0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95]
    colours = ["#1f77b4", "#2ca02c", "#d62728", "#9467bd"]
    for kind, colour in zip(KINDS, colours):
        rate = kind.capacity()[0]
        latencies = []
        for utilisation in utilisations:
            run = Simulation(kind, 1, utilisation * rate, 30_000 / (utilisation * rate)).run()
            latencies.append(run.quantile(run.totals, 0.99) * 1000)
        left.plot(utilisations, latencies, marker="o", markersize=3, color=colour, label=kind.name)
    left.axvline(0.7, color="#999999", linewidth=0.8, linestyle="--")
    left.set(
        xlabel="utilisation of one node (dashed: the plan)",
        ylabel="latency, p99, ms",
        yscale="log",
        title="Latency by utilisation",
    )
    left.set_yticks([3, 10, 30, 100, 300], labels=["3", "10", "30", "100", "300"])
    left.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    left.xaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0))
    left.legend(frameon=False)
    rates = [10 ** (2 + step / 20) for step in range(61)]
    for kind, colour in zip(KINDS, colours):
        right.plot(rates, [nodes_for(kind, rate, 0.7) for rate in rates], color=colour, label=kind.name)
    right.set(
        xlabel="requests/s", ylabel="nodes at 70 %", xscale="log", yscale="log", title="Number of nodes (640x480 JPEG)"
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
        ("Inputs of the model", figures),
        ("The model and the measured server, on two cores", validation),
        ("One node", capacities),
        ("Nodes at 70 % of their capacity", plan),
        ("Bursts of half a second, 20,000 requests/s on 32 cores each", bursts),
        ("Load balancing, 100,000 requests/s on 32 cores each", balancing),
    ):
        print(f"\n### {title}\n")
        table()
    if options.plot:
        plot(options.plot)


if __name__ == "__main__":
    main()
