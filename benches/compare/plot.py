#!/usr/bin/env python3
"""Draws the tables of measurements in docs/benchmarks.md as two SVG files in this directory. It measures nothing.

    python benches/compare/plot.py            # needs matplotlib

It reads the figures from that page, so that the charts always match the tables.
"""

import pathlib
import re

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
PAGE = HERE.parents[1] / "docs/benchmarks.md"
OURS, THEIRS = "#d9480f", "#868e96"


def table(heading):
    """Returns the cells of the table whose header begins with `heading`, without the two header lines."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(heading))
    rows = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def number(cell):
    """Returns the first number of a cell."""
    return float(re.search(r"[\d.]+", cell.replace(",", "")).group())


def bars(axes, names, ours, theirs, ratios, words, title, unit):
    """Draws two bars per name with the ratio above them. The ratio is the median over the rounds, not the ratio of the medians."""
    places = range(len(names))
    axes.bar([place - 0.2 for place in places], ours, 0.4, label=words[0], color=OURS)
    axes.bar([place + 0.2 for place in places], theirs, 0.4, label=words[1], color=THEIRS)
    top = max(ours + theirs)
    for place, one, other, ratio in zip(places, ours, theirs, ratios):
        axes.text(place, max(one, other) + top * 0.02, f"{ratio} ×", ha="center", fontsize=9)
    axes.set_xticks(list(places), names)
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(unit)
    axes.set_ylim(0, top * 1.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", ncols=2)


def save(figure, name):
    """Saves a chart without a date, so that the same figures produce the same file."""
    figure.tight_layout()
    figure.savefig(HERE / name, metadata={"Date": None})
    print(HERE / name)


def main():
    """Draws both charts."""
    matplotlib.rcParams["svg.hashsalt"] = "kiln"
    rows = table("| threads | batch |")
    figure, axes = plt.subplots(figsize=(7.5, 3.2))
    names = [f"{threads} thread{'s' if threads != '1' else ''}\nbatch {batch}" for threads, batch, *_ in rows]
    ours, theirs = ([number(row[column]) for row in rows] for column in (2, 3))
    ratios = [row[4] for row in rows]
    bars(axes, names, ours, theirs, ratios, ("Kiln", "ONNX Runtime"), "The engine alone, f32", "images/s")
    save(figure, "engine.svg")

    rows = table("| connections | Kiln | axum")
    figure, both = plt.subplots(1, 2, figsize=(7.5, 3.2))
    names = [row[0] for row in rows]
    rates = [[number(row[column]) for row in rows] for column in (1, 2)]
    waits = [[number(row[column].split(",")[1]) for row in rows] for column in (1, 2)]
    words = ("Kiln", "axum + ONNX Runtime")
    bars(both[0], names, *rates, [row[3] for row in rows], words, "The server: JPEG in, classes out", "images/s")
    bars(both[1], names, *waits, [row[4] for row in rows], words, "Median latency", "ms")
    for axes in both:
        axes.set_xlabel("connections")
    save(figure, "server.svg")


if __name__ == "__main__":
    main()
