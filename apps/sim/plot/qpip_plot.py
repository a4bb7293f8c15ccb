#!/usr/bin/env python3
"""Draws what qpip-sim found. The study comes as JSON on standard input.

  qpip_plot.py paper DIR        every table and figure, sensitivity and waterfalls: PNG and SVG
  qpip_plot.py report DIR       DIR/index.html, complete in itself
  qpip_plot.py markdown FILE    docs/reproducing-the-paper.md
  qpip_plot.py sweep DIR        the metrics of a sweep that were asked for: PNG and SVG
  qpip_plot.py occupancy DIR    a scenario's occupancy over time and a message's critical path
"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def paper_pictures(study):
    """Name and figure of every picture of a study, one at a time."""
    import comparisons
    import sensitivity
    import waterfall

    for artifact in study["artifacts"]:
        yield artifact["key"], comparisons.draw(artifact)
    if "sensitivity" in study:
        yield "sensitivity", sensitivity.draw(study["sensitivity"], study["figures"])
    for life in study["messages"]:
        yield f"message-{life['bytes']}", waterfall.draw(life)


def main(arguments):
    if len(arguments) != 2:
        sys.exit(__doc__)
    kind, target = arguments
    study = json.load(sys.stdin)
    import style

    if kind == "paper":
        for name, figure in paper_pictures(study):
            style.save(figure, os.path.join(target, name))
    elif kind == "report":
        import report

        pictures = {name: style.inline(figure) for name, figure in paper_pictures(study)}
        with open(os.path.join(target, "index.html"), "w", encoding="utf-8") as out:
            out.write(report.html(study, pictures))
    elif kind == "markdown":
        import markdown

        with open(target, "w", encoding="utf-8") as out:
            out.write(markdown.text(study))
    elif kind == "occupancy":
        import occupancy

        style.save(occupancy.draw(study), os.path.join(target, "occupancy"))
        if study["path"].get("steps"):
            style.save(occupancy.draw_path(study), os.path.join(target, "path"))
    elif kind == "sweep":
        import sweep

        sweep.save_all(study, target)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as error:
        sys.exit(f"qpip_plot.py: {error.filename}: {error.strerror}: name a place that can be written")
