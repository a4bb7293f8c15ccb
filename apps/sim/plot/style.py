"""How all pictures look, and how they are kept: the same study gives the same bytes."""
import base64
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (after the choice of a backend)

plt.rcParams.update({
    "svg.hashsalt": "qpip",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
})

PUBLISHED = "#9aa0a6"
SIMULATED = "#1f6fb4"
RANGE = "#e8a33d"

# What the core works on, and the engines beside it.
KINDS = {
    "transmit data": "#1f6fb4",
    "transmit ACK": "#8ec1e8",
    "receive data": "#2a8c4a",
    "receive ACK": "#e07b39",
    "engine": "#b7b7b7",
    "host": "#7a5195",
}


def save(figure, path):
    """PATH.png and PATH.svg."""
    figure.savefig(path + ".png", dpi=110, metadata={"Software": None})
    figure.savefig(path + ".svg", metadata={"Date": None})
    plt.close(figure)


def inline(figure):
    """The picture as the address of an HTML image."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def number(value):
    """Three significant digits, without exponent."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    digits = 3 if abs(value) < 1000 else 4
    text = f"{value:.{digits}g}"
    if "e" in text:
        return f"{value:.0f}" if abs(value) >= 1 else f"{value:.6f}".rstrip("0")
    return text


def percent(value):
    """A fraction as a signed percentage."""
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}%"
    return "0.0%" if float(text[:-1]) == 0 else text
