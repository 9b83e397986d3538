"""The table: medians and ratios of what was measured, against the goals."""

import json
import os
import statistics


def read(path):
    """The samples of a file of JSON lines."""
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def number(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def spread(values):
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))}..{number(max(values))})"


def of(samples, row, peer):
    """Values by round; the round carries the run, so that a ratio is always of one round of one run."""
    return {(s["run"], s["round"]): s["value"] for s in samples if s["row"] == row.id and s["peer"] == peer}


def ratios(row, mine, theirs):
    """How many times better than the other, round by round."""
    both = [(mine[key], theirs[key]) for key in mine if key in theirs]
    return [(a / b if row.more_is_better else b / a) for a, b in both if a and b]


def verdicts(row, mine, peer, sink):
    """The goals of a row as text, and whether all that could be seen are met."""
    goals, met = [], []
    for wanted, other, name in ((row.times, peer, "x"), (row.of_sink, sink, " of sink")):
        if wanted is None:
            continue
        goals.append(f"{wanted:g}{name}")
        got = ratios(row, mine, other)
        if got:
            met.append(statistics.median(got) >= wanted)
    if row.at_most is not None:
        goals.append(f"<= {row.at_most:,g} {row.unit}")
        if mine:
            met.append(statistics.median(mine.values()) <= row.at_most)
    if not goals:
        return "", ""
    return ", ".join(goals), ("?" if not met else "met" if all(met) else "missed")


def table(groups, samples):
    """Markdown: one line a row."""
    lines = ["| row | work | unit | goal | | x Postfix + Dovecot | Pillarbox | Postfix + Dovecot | smtp-sink "
             "| part of sink | sync us | others |",
             "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for group in groups:
        for row in group.rows:
            mine, peer, sink = (of(samples, row, name) for name in ("pillarbox", "postfix", "sink"))
            if not (mine or peer or sink):
                continue
            goal, met = verdicts(row, mine, peer, sink)
            rows = [s for s in samples if s["row"] == row.id and s["peer"] == "pillarbox"]
            sync = [s["sync_us"] for s in rows if "sync_us" in s]
            others = [s["others"] for s in rows if "others" in s]
            cells = [row.id, row.title, row.unit, goal, met, spread(ratios(row, mine, peer)),
                     *(spread(list(values.values())) for values in (mine, peer, sink)),
                     spread(ratios(row, mine, sink)), spread(sync), spread(others)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def memory(samples):
    """PSS of the servers after the work of each row, the highest of it."""
    text = []
    for peer in ("pillarbox", "postfix", "sink"):
        seen = [(s["pss_mib"], s["row"]) for s in samples if s["peer"] == peer and "pss_mib" in s]
        if seen:
            most, row = max(seen)
            text.append(f"{peer}: {statistics.median(pss for pss, _ in seen):.1f} MiB in the middle, "
                        f"{most} MiB after {row}")
    return "memory after the work (PSS): " + "; ".join(text) if text else ""
