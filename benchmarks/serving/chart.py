"""The ratios to the floor, as a picture."""

from pathlib import Path

from benchmarks.serving.run import Found, Plan
from benchmarks.serving.servers import SERVERS
from benchmarks.serving.summary import rows
from benchmarks.serving.workloads import ATELIER, FLOOR, WORKLOADS

BAR_HEIGHT_INCHES, WIDTH_INCHES = 0.3, 9


def draw(plan: Plan, found: Found, path: Path) -> None:
    """One panel for each closed loop with a floor: ratio to the floor's rate, with the range over the repeats."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels = []
    for name in plan.workloads:
        bars = [row for row in rows(WORKLOADS[name], found) if row.of_floor is not None and row.server != FLOOR]
        if bars:
            panels.append((WORKLOADS[name], bars))
    if not panels:
        return
    heights = [len(bars) + 1.5 for _, bars in panels]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(WIDTH_INCHES, BAR_HEIGHT_INCHES * sum(heights) + 1),
        height_ratios=heights,
        squeeze=False,
        layout="constrained",
    )
    for axis, (workload, bars) in zip(axes[:, 0], panels, strict=True):
        shares = [row.of_floor for row in bars if row.of_floor is not None]
        middle = [share.median for share in shares]
        below = [share.median - share.minimum for share in shares]
        above = [share.maximum - share.median for share in shares]
        names = [SERVERS[row.server].title if row.server in SERVERS else "in process, no server" for row in bars]
        colours = ["tab:red" if row.server == ATELIER else "tab:gray" for row in bars]
        axis.barh(names, middle, xerr=[below, above], color=colours, ecolor="black", capsize=2)
        axis.invert_yaxis()
        for position, share in enumerate(shares):
            axis.annotate(
                f"{share.median:.3f}", (share.maximum, position), (4, 0), textcoords="offset points", va="center"
            )
        axis.set_xlim(0, max(share.maximum for share in shares) * 1.15)
        axis.set_title(workload.title, loc="left", fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Answers per second, divided by those of bare uvicorn with a constant reply; server on one core")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
