"""Figures in a page: plotly.js once and compressed, each figure's data in its place. It draws nothing by itself.

The library is 4.8 MB of text; compressed and written in base64 it is 1.9 MB. The page inflates it with the browser's
own ``DecompressionStream`` (Chrome and Edge 80, Safari 16.4, Firefox 113) and draws when it is there. Until then, and
in a browser without it, each figure's place has its final height, so that the page does not jump.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from functools import lru_cache
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

# Without a server address nothing on the page can be sent anywhere.
_CONFIG = {
    "displaylogo": False, "responsive": True, "plotlyServerURL": "",
    "modeBarButtons": [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
}  # fmt: skip
_TOP = 34  # px above the plot area: legend or marks; the title stands over the figure, where it can wrap
UNSUPPORTED = (
    "Figures are not drawn: this browser cannot unpack them (it has no DecompressionStream). "
    "Chrome or Edge from 80, Safari from 16.4 and Firefox from 113 can. Every table below is complete."
)
_PRINT_WIDTH = 680  # px: an A4 page between its margins at 96 px an inch

_LOADER = """
(async () => {
  const told = document.getElementById("figures-state");
  const say = (text) => { told.textContent = text; told.hidden = false; };
  if (typeof DecompressionStream === "undefined") { say(told.dataset.unsupported); return; }
  try {
    const packed = atob(document.getElementById("plotly-gzip").textContent.trim());
    const bytes = Uint8Array.from(packed, (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const library = document.createElement("script");
    library.textContent = await new Response(stream).text();
    document.head.appendChild(library);
    const config = CONFIG;
    const places = [...document.querySelectorAll(".plot")];
    const narrow = () => window.innerWidth < 600;
    for (const place of places) {
      const figure = JSON.parse(place.querySelector("script").textContent);
      place.textContent = "";
      if (narrow()) {
        figure.layout.margin = {...figure.layout.margin, l: 44, r: 8};
        figure.layout.font = {size: 11};
        figure.layout.dragmode = false;
        for (const trace of figure.data) {
          delete trace.texttemplate;  // cells are too small for it: a table stands below
          if (trace.type === "heatmap") trace.showscale = false;
        }
      }
      await Plotly.newPlot(place, figure.data, figure.layout, {...config, displayModeBar: narrow() ? false : "hover"});
      await new Promise((done) => setTimeout(done, 0));
    }
    const width = (place) => place.closest(".pair") && !narrow() ? PRINT / 2 - 12 : PRINT;
    const closed = [];
    addEventListener("beforeprint", () => {
      for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; closed.push(part); }
      for (const place of places) Plotly.relayout(place, {autosize: false, width: width(place)});
    });
    addEventListener("afterprint", () => {
      for (const part of closed.splice(0)) part.open = false;
      for (const place of places) Plotly.relayout(place, {autosize: true, width: null});
    });
    document.documentElement.dataset.figures = "drawn";
  } catch (error) {
    say("Figures are not drawn: " + error);
  }
})();
""".replace("CONFIG", json.dumps(_CONFIG)).replace("PRINT", str(_PRINT_WIDTH))


@lru_cache(maxsize=1)
def packed_library() -> str:
    """Return plotly.js, gzip in base64: the same bytes for the same release of plotly and of zlib."""
    return b64encode(gzip.compress(get_plotlyjs().encode(), compresslevel=9, mtime=0)).decode()


def state() -> str:
    """Return the line that says why figures are not drawn; hidden while there is no reason to."""
    return f'<p id="figures-state" role="status" hidden data-unsupported="{escape(UNSUPPORTED)}"></p>'


def library() -> str:
    """Return the compressed library and what draws the figures; it belongs at the end of the page's body."""
    return (
        f'<script id="plotly-gzip" type="application/octet-stream">{packed_library()}</script>'
        f"<script>{_LOADER}</script>"
    )


def drawn_chart(identifier: str, figure: go.Figure, reading: str) -> str:
    """Return a figure's place in a page: its title, its data, and one sentence of how to read it.

    Parameters
    ----------
    identifier : str
        Of the place, once per page.
    figure : plotly.graph_objects.Figure
        With a height. Its title is moved out of the drawing, over it, where a long one wraps on a narrow screen.
    reading : str
        Shown under it.

    Returns
    -------
    str
        HTML; nothing in the figure can end its element.
    """
    title = figure.layout.title.text or ""  # escaped by whoever made the figure
    height = int(figure.layout.height)
    plain = go.Figure(figure)
    top = figure.layout.margin.t or 56
    plain.update_layout(title_text="", margin_t=_TOP, height=height - (top - _TOP))
    heading = f"<h4>{title}</h4>" if title else ""
    drawing = plain.to_json().replace("<", "\\u003c")
    return (
        f'<figure>{heading}<div class="plot" id="{escape(identifier)}" style="height:{height - (top - _TOP)}px">'
        f'<script type="application/json">{drawing}</script></div><figcaption>{escape(reading)}</figcaption></figure>'
    )
