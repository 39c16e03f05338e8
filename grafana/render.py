"""Draws a dashboard without Grafana: sends the queries of its panels to Prometheus, and plots the results.

    python render.py --prometheus http://localhost:9090 --minutes 15 --out dashboard.png

Supports the panels, units and options that kiln.json uses, and fails on others. Needs matplotlib (tested with 3.11.2).
"""

import argparse
import datetime
import json
import math
import pathlib
import re
import textwrap
import urllib.parse
import urllib.request

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.colors import PowerNorm
from matplotlib.patches import Rectangle

BACKGROUND, PANEL, EDGE, TEXT, WEAK = "#111217", "#181b1f", "#2b2e34", "#d8d9da", "#8e8e9a"
COLOURS = {
    "green": "#73bf69", "dark-green": "#37872d", "light-green": "#96d98d", "red": "#f2495c", "dark-red": "#c4162a",
    "light-red": "#ff7383", "orange": "#ff9830", "light-orange": "#ffcb7d", "dark-orange": "#fa6400", "yellow": "#fade2a",
    "blue": "#5794f2", "dark-blue": "#1f60c4", "purple": "#b877d9", "transparent": "none",
}
PALETTE = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ff780a", "#fade2a", "#96d98d",
           "#c4162a", "#ca95e5", "#ffa6b0", "#37872d"]
# Seconds between two ticks of the time axis.
STEPS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400]
# The size of a cell of the dashboard's grid in inches, and the resolution in dots per inch.
WIDTH, HEIGHT, DOTS = 0.74, 0.37, 96


def colour(name):
    return COLOURS.get(name, name)


def shown(value, unit, decimals=None):
    """Formats a number with its unit, short enough for an axis."""
    if value is None or not math.isfinite(value):
        return "-"
    def number(x):
        if decimals is not None:
            return f"{x:.{decimals}f}"
        return f"{x:.0f}" if abs(x) >= 100 or x == int(x) else f"{x:.3g}"
    if unit == "s":
        size = abs(value)
        for factor, name in ((86400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")):
            if size >= factor:
                return f"{value / factor:.3g}{name}"
        return "0 s"
    if unit == "bytes":
        for power, name in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
            if abs(value) >= 2 ** power:
                return f"{value / 2 ** power:.3g} {name}"
        return f"{number(value)} B"
    if unit == "percentunit":
        return f"{value * 100:.{decimals}f} %" if decimals is not None else f"{value * 100:.3g} %"
    ends = {"ops": " /s", "reqps": " req/s", "none": "", "short": ""}
    return number(value) + ends[unit]


class Prometheus:
    """Queries Prometheus, with the dashboard's variables substituted."""

    def __init__(self, address, end, minutes, scrape):
        self.address, self.end, self.seconds = address.rstrip("/"), end, minutes * 60
        # As many points as Grafana requests for a panel, but not more than there are.
        self.step = max(scrape, self.seconds / 240)
        self.times = {"$__rate_interval": f"{math.ceil(max(self.step + scrape, 4 * scrape))}s",
                      "$__range": f"{int(self.seconds)}s"}
        self.variables = {}

    def get(self, path, **query):
        # Bypasses proxies of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}") as answer:
            return json.load(answer)["data"]

    def fill(self, expression):
        for name, value in {**self.times, **self.variables}.items():
            expression = expression.replace(name, value)
        return expression

    def learn(self, variables):
        for variable in variables:
            if variable["type"] == "query":
                selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
                values = self.get(f"label/{label}/values", **{"match[]": self.fill(selector)})
                escaped = [re.sub(r"([\\^$*+?.()|\[\]{}])", r"\\\\\1", value) for value in values]
                self.variables["$" + variable["name"]] = f"({'|'.join(escaped)})"

    def over_time(self, target):
        """Returns the series as (labels, [(time, value)])."""
        found = self.get("query_range", query=self.fill(target["expr"]), start=self.end - self.seconds, end=self.end,
                         step=self.step)
        return [(series["metric"], [(float(t), float(v)) for t, v in series["values"]]) for series in found["result"]]

    def at_the_end(self, target):
        found = self.get("query", query=self.fill(target["expr"]), time=self.end)
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]


def legend(target, labels):
    if not target["legendFormat"]:
        return ", ".join(labels.values())
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), target["legendFormat"])


def overrides(panel, name):
    """Returns the properties of a field with this name."""
    properties = {}
    for override in panel["fieldConfig"]["overrides"]:
        matcher = override["matcher"]
        if matcher["id"] == "byName" and matcher["options"] == name or \
                matcher["id"] == "byRegexp" and re.search(matcher["options"].strip("/"), name):
            properties |= {each["id"]: each["value"] for each in override["properties"]}
    return properties


def step_of(thresholds, value):
    """Returns the colour of the highest threshold that the value reaches."""
    reached = [step for step in thresholds["steps"] if step["value"] is None or value >= step["value"]]
    return colour(reached[-1]["color"])


class Plot:
    """A panel's frame and its axes, in inches from the upper left corner of the image."""

    def __init__(self, figure, panel, top):
        self.figure, self.panel = figure, panel
        place = panel["gridPos"]
        self.x, self.y = place["x"] * WIDTH + 0.05, top + place["y"] * HEIGHT + 0.05
        self.w, self.h = place["w"] * WIDTH - 0.1, place["h"] * HEIGHT - 0.1
        self.defaults = panel["fieldConfig"]["defaults"]
        self.unit, self.decimals = self.defaults["unit"], self.defaults.get("decimals")
        self.frame(PANEL)
        self.text(0.1, 0.18, panel["title"], size=9, weight="bold")

    def axes(self, left, top, width, height):
        """Returns axes at a position within the panel, in inches."""
        w, h = self.figure.get_size_inches()
        return self.figure.add_axes([(self.x + left) / w, 1 - (self.y + top + height) / h, width / w, height / h])

    def frame(self, face):
        axes = self.axes(0, 0, self.w, self.h)
        axes.set_facecolor(face)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_color(EDGE)

    def text(self, x, y, text, size=8, ink=TEXT, **more):
        w, h = self.figure.get_size_inches()
        self.figure.text((self.x + x) / w, 1 - (self.y + y) / h, text, fontsize=size, color=ink, va="center", **more)

    def chart(self, below, left=0.62):
        """Returns axes for a time series, with space for a legend below."""
        axes = self.axes(left, 0.4, self.w - left - 0.13, self.h - 0.68 - below)
        axes.set_facecolor(PANEL)
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=WEAK, labelsize=7, length=0)
        axes.grid(color=EDGE, linewidth=0.6)
        return axes


def when(seconds):
    return datetime.datetime.fromtimestamp(seconds)


def bounds(plot, axes, prometheus):
    """Sets the time range, and as many ticks at round times as fit."""
    start, most = prometheus.end - prometheus.seconds, max(2, plot.w * 1.3)
    step = next(step for step in STEPS if prometheus.seconds / step <= most or step == STEPS[-1])
    marks = [math.ceil(start / step) * step + index * step for index in range(int(most) + 1)]
    marks = [mark for mark in marks if mark <= prometheus.end]
    axes.set_xlim(start, prometheus.end)
    axes.set_xticks(marks, [f"{when(mark):%H:%M:%S}" if step < 60 else f"{when(mark):%H:%M}" for mark in marks])


def draw_timeseries(plot, prometheus):
    panel = plot.panel
    found = [(legend(target, labels), dict(points))
             for target in panel["targets"] for labels, points in prometheus.over_time(target)]
    found = [(name, {t: v for t, v in points.items() if math.isfinite(v)}) for name, points in found]
    custom = plot.defaults["custom"]
    stacked = custom["stacking"]["mode"] == "normal"
    calcs = panel["options"]["legend"]["calcs"]
    if calcs:
        found.sort(key=lambda series: -sum(series[1].values()))
    columns = 1 if calcs else max(1, int(plot.w / 2.6))
    lines = min(5, math.ceil(len(found) / columns))
    axes = plot.chart(0.17 * lines + (0.17 if calcs else 0))
    times = sorted({t for _, points in found for t in points})
    base = [0.0] * len(times)
    for index, (name, points) in enumerate(found):
        own = overrides(panel, name)
        ink = colour(own["color"]["fixedColor"]) if "color" in own else PALETTE[index % len(PALETTE)]
        values = [points.get(t, 0.0 if stacked else math.nan) for t in times]
        if stacked:
            top = [low + value for low, value in zip(base, values)]
            axes.fill_between(times, base, top, color=ink, alpha=custom["fillOpacity"] / 100, linewidth=0)
            axes.plot(times, top, color=ink, linewidth=0.9)
            base = top
        else:
            dashed = own.get("custom.lineStyle", {}).get("fill") == "dash"
            axes.plot(times, values, color=ink, linewidth=custom["lineWidth"] + 0.2, linestyle="--" if dashed else "-",
                      marker="." if len(times) < 4 else "")
            if own.get("custom.fillOpacity", custom["fillOpacity"]):
                axes.fill_between(times, 0, values, color=ink, alpha=custom["fillOpacity"] / 100, linewidth=0)
        entry(plot, index, columns, lines, name, ink, [points[t] for t in times if t in points], calcs)
    if calcs:
        titles = "".join(f"{calc:>11}" for calc in calcs)
        plot.text(plot.w - 0.12, plot.h - 0.12 - 0.17 * lines, titles, size=7, ink=WEAK, ha="right", family="monospace")
    limits(axes, plot)
    bounds(plot, axes, prometheus)


def limits(axes, plot):
    low, high = plot.defaults.get("min"), plot.defaults.get("max")
    if high is None:
        # Room above the highest line, and for lines that are 0 throughout.
        high = max(axes.dataLim.y1 * 1.08, 1e-9) if math.isfinite(axes.dataLim.y1) else 1
        high = 1 if high <= 1e-9 else high
    axes.set_ylim(low or 0, high)
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4, integer=False))
    axes.yaxis.set_major_formatter(lambda value, _: shown(value, plot.unit, plot.decimals))
    if plot.defaults["custom"]["thresholdsStyle"]["mode"] != "off":
        for step in plot.defaults["thresholds"]["steps"]:
            if step["value"] is not None and step["value"] <= high:
                axes.axhline(step["value"], color=colour(step["color"]), linewidth=0.8, linestyle="--")


def entry(plot, index, columns, lines, name, ink, values, calcs):
    """A line of the legend."""
    row, column = divmod(index, columns)
    if row >= lines or not values:
        return
    x, y = 0.12 + column * (plot.w - 0.2) / columns, plot.h - 0.12 - 0.17 * (lines - 1 - row)
    width = int((plot.w / columns - 0.4 - 0.85 * len(calcs)) / 0.056)
    plot.text(x, y, "▬", size=7, ink=ink)
    plot.text(x + 0.16, y, textwrap.shorten(name, max(8, width), placeholder="…"), size=7)
    numbers = {"mean": sum(values) / len(values), "max": max(values)}
    text = "".join(f"{shown(numbers[calc], plot.unit, plot.decimals):>11}" for calc in calcs)
    plot.text(plot.w - 0.12, y, text, size=7, ha="right", family="monospace")


def draw_stat(plot, prometheus):
    target, = plot.panel["targets"]
    series = [points for _, points in prometheus.over_time(target)]
    points = [(t, v) for t, v in series[0] if math.isfinite(v)] if series else []
    value = points[-1][1] if points else None
    options = plot.panel["options"]
    ink = step_of(plot.defaults["thresholds"], value) if points else WEAK
    if options["colorMode"] == "background":
        plot.frame(ink)
        plot.text(0.1, 0.18, plot.panel["title"], size=9, ink="#111217", weight="bold")
    text = shown(value, plot.unit, plot.decimals)
    for mapping in plot.defaults.get("mappings", []):
        text = mapping["options"].get(f"{value:.0f}", {}).get("text", text) if points else text
    on = "#111217" if options["colorMode"] == "background" else ink
    plot.text(plot.w / 2, plot.h / 2, text, size=19 if len(text) < 9 else 15, ink=on, weight="bold", ha="center")
    if options["graphMode"] == "area" and len(points) > 1:
        axes = plot.axes(0.02, plot.h - 0.4, plot.w - 0.04, 0.38)
        axes.set_axis_off()
        axes.fill_between([t for t, _ in points], 0, [v for _, v in points], color=on, alpha=0.35, linewidth=0)
        axes.set_ylim(0, max(v for _, v in points) * 1.1 or 1)
        axes.margins(x=0)


def draw_heatmap(plot, prometheus):
    target, = plot.panel["targets"]
    buckets = sorted(((float(labels["le"]), dict(points)) for labels, points in prometheus.over_time(target)),
                     key=lambda bucket: bucket[0])
    times = sorted({t for _, points in buckets for t in points})
    axes = plot.chart(0)
    if not times:
        return
    rows, below = [], dict.fromkeys(times, 0.0)
    for _, points in buckets:
        rows.append([max(0.0, points.get(t, 0.0) - below[t]) for t in times])
        below = {t: points.get(t, below[t]) for t in times}
    filled = [index for index, row in enumerate(rows) if any(value > 0.01 for value in row)] or [0]
    first, last = max(0, filled[0] - 1), min(len(rows), filled[-1] + 2)
    cells = [[value if value > 0.01 else math.nan for value in row] for row in rows[first:last]]
    edges = [*times, times[-1] + prometheus.step]
    axes.pcolormesh(edges, range(len(cells) + 1), cells, cmap="turbo", norm=PowerNorm(0.5, vmin=0), edgecolors=PANEL,
                    linewidth=0.4 if len(times) < 130 else 0)
    names = [shown(le, plot.unit) if math.isfinite(le) else "+Inf" for le, _ in buckets[first:last]]
    every = max(1, math.ceil(len(names) / 9))
    axes.set_yticks(range(1, len(names) + 1)[::every], names[::every])
    bounds(plot, axes, prometheus)


def draw_state_timeline(plot, prometheus):
    target, = plot.panel["targets"]
    states = plot.defaults["mappings"][0]["options"]
    series = prometheus.over_time(target)
    axes = plot.chart(0.2, left=1.2)
    for row, (_, points) in enumerate(series):
        for time, value in points:
            state = states.get(f"{value:.0f}")
            if state:
                axes.add_patch(Rectangle((time, row + 0.15), prometheus.step, 0.7, color=colour(state["color"]), linewidth=0))
    axes.set_ylim(0, max(1, len(series)))
    axes.set_yticks([row + 0.5 for row in range(len(series))], [legend(target, labels)[-16:] for labels, _ in series])
    axes.grid(visible=False)
    bounds(plot, axes, prometheus)
    for index, state in enumerate(states.values()):
        plot.text(1.2 + index * 1.1, plot.h - 0.13, "▬", size=7, ink=colour(state["color"]))
        plot.text(1.36 + index * 1.1, plot.h - 0.13, state["text"], size=7)


def draw_bargauge(plot, prometheus):
    target, = plot.panel["targets"]
    bars = sorted(((legend(target, labels), value) for labels, value in prometheus.at_the_end(target)),
                  key=lambda bar: -bar[1])
    most = max([value for _, value in bars], default=1) or 1
    name_width = min(plot.w * 0.4, 0.25 + 0.068 * max([len(name) for name, _ in bars], default=1))
    room = min(0.36, (plot.h - 0.45) / max(1, len(bars)))
    for index, (name, value) in enumerate(bars):
        y = 0.4 + room * index
        plot.text(0.12, y + room / 2, name[:30], size=8)
        axes = plot.axes(name_width, y + room * 0.15, plot.w - name_width - 0.95, room * 0.7)
        axes.set(xticks=[], yticks=[], xlim=(0, most), facecolor="#22252b")
        axes.spines[:].set_visible(False)
        ink = step_of(plot.defaults["thresholds"], value)
        axes.barh([0.5], [value], height=1, color=ink)
        axes.set_ylim(0, 1)
        plot.text(plot.w - 0.12, y + room / 2, shown(value, plot.unit, plot.decimals), size=8, ink=ink, ha="right")


def draw_table(plot, prometheus):
    """Draws a table. Rows are joined by their labels, like the transformation `merge` of Grafana."""
    rows, many = {}, len(plot.panel["targets"]) > 1
    for target in plot.panel["targets"]:
        field = f"Value #{target['refId']}" if many else "Value"
        for labels, value in prometheus.at_the_end(target):
            rows.setdefault(tuple(sorted(labels.items())), dict(labels))[field] = value
    organize = next(each["options"] for each in plot.panel["transformations"] if each["id"] == "organize")
    names = sorted({name for row in rows.values() for name in row if not organize["excludeByName"].get(name)},
                   key=lambda name: organize["indexByName"].get(name, 99))
    titles = [organize["renameByName"].get(name, name) for name in names]
    def cell(row, name, title):
        value, own = row.get(name), overrides(plot.panel, title)
        if isinstance(value, float):
            back = "none"
            if own.get("custom.cellOptions", {}).get("type") == "color-background" and math.isfinite(value):
                back = step_of(own["thresholds"], value)
            return shown(value, own.get("unit", plot.unit), own.get("decimals", plot.decimals)), back
        return value or "", "none"
    table = [[cell(row, name, title) for name, title in zip(names, titles)] for row in rows.values()]
    widths = [max([len(title), *(len(line[column][0]) for line in table)], default=1) + 2
              for column, title in enumerate(titles)]
    scale = min((plot.w - 0.2) / sum(widths), 0.16) if widths else 0
    x = 0.12
    for column, (title, width) in enumerate(zip(titles, widths)):
        room = width * scale
        plot.text(x, 0.5, title, size=7.5, ink="#6e9fff")
        for line, row in enumerate(table[: int((plot.h - 0.7) / 0.25)]):
            text, back = row[column]
            box = dict(facecolor=back, edgecolor="none", pad=2) if back != "none" else None
            plot.text(x, 0.78 + 0.25 * line, textwrap.shorten(text, max(6, int(room / 0.062)), placeholder="…") or text[:9],
                      size=7.5, bbox=box, ink="#111217" if box else TEXT)
        x += room


DRAW = {
    "timeseries": draw_timeseries, "stat": draw_stat, "heatmap": draw_heatmap, "table": draw_table,
    "state-timeline": draw_state_timeline, "bargauge": draw_bargauge,
}


def render(dashboard, prometheus, rows):
    """Returns a figure of the rows whose first words are in `rows`, or of all rows."""
    panels, keep, shift = [], True, 0
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            keep = not rows or panel["title"].split()[0].strip(":").lower() in rows
        if keep:
            panels.append(json.loads(json.dumps(panel)))
    # Closes the gaps of omitted rows.
    kept = sorted({y for panel in panels for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])})
    for panel in panels:
        panel["gridPos"]["y"] = kept.index(panel["gridPos"]["y"])
    top = 0.5
    figure = pyplot.figure(figsize=(24 * WIDTH + 0.1, len(kept) * HEIGHT + top + 0.1), dpi=DOTS, facecolor=BACKGROUND)
    height = figure.get_size_inches()[1]
    span = f"{when(prometheus.end - prometheus.seconds):%H:%M:%S} to {when(prometheus.end):%H:%M:%S}"
    figure.text(0.006, 1 - 0.25 / height, dashboard["title"], fontsize=14, color=TEXT, weight="bold", va="center")
    figure.text(0.994, 1 - 0.25 / height, f"{span}; drawn by render.py, not by Grafana", fontsize=9, color=WEAK, va="center",
                ha="right")
    for panel in panels:
        if panel["type"] == "row":
            y = 1 - (top + (panel["gridPos"]["y"] + 0.55) * HEIGHT) / height
            figure.text(0.006, y, "▾ " + panel["title"], fontsize=11, color=TEXT, weight="bold", va="center")
        else:
            DRAW[panel["type"]](Plot(figure, panel, top), prometheus)
    return figure


def main():
    here = pathlib.Path(__file__).parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", default="http://localhost:9090", help="address of Prometheus")
    parser.add_argument("--dashboard", default=here / "dashboards/kiln.json", help="file of the dashboard")
    parser.add_argument("--minutes", type=float, default=15, help="length of the time range")
    parser.add_argument("--end", type=float, help="end of the time range in seconds since 1970; default: now")
    parser.add_argument("--scrape", type=float, default=15, help="seconds between two scrapes")
    parser.add_argument("--rows", default="", help="first words of the rows to draw, separated by commas; default: all")
    parser.add_argument("--out", default="dashboard.png", help="image file to write")
    arguments = parser.parse_args()
    dashboard = json.loads(pathlib.Path(arguments.dashboard).read_text(encoding="utf-8"))
    end = arguments.end or datetime.datetime.now().timestamp()
    prometheus = Prometheus(arguments.prometheus, end, arguments.minutes, arguments.scrape)
    prometheus.learn(dashboard["templating"]["list"])
    rows = [word.strip().lower() for word in arguments.rows.split(",") if word]
    matplotlib.rcParams["font.family"] = "DejaVu Sans"
    figure = render(dashboard, prometheus, rows)
    figure.savefig(arguments.out, dpi=DOTS)
    # A small palette reduces the size to a third. Pillow is a dependency of matplotlib.
    from PIL import Image

    with Image.open(arguments.out) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(arguments.out, optimize=True)


if __name__ == "__main__":
    main()
