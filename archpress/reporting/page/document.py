"""The page around the sections: one file, light and dark, on a phone and on paper."""

from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from archpress import __version__
from archpress.reporting.page.networks import Networks
from archpress.reporting.page.plots import script_json
from archpress.reporting.page.sections import SECTIONS
from archpress.reporting.run_view import RunView


def document(view: RunView) -> str:
    """Return the whole page; it asks no network for anything."""
    networks = Networks()
    built = [(section, section.build(view, networks)) for section in SECTIONS]
    files = resources.files("archpress.reporting.page")
    name = Path(view.network.get("name", view.settings.network)).name  # of a file, not all its path
    title = f"{name} on {Path(view.settings.data.name).name}"
    links = "".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s, _ in built)
    body = "".join(
        f'<section id="{s.name}"><h2>{escape(s.title)}</h2>{inside}</section>'
        for s, inside in built
    )
    return Template(files.joinpath("page.html").read_text()).substitute(
        title=escape(title),
        state=escape(view.state),
        version=escape(__version__),
        style=files.joinpath("page.css").read_text(),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        script=files.joinpath("page.js").read_text(),
        links=links,
        body=body,
        networks=script_json(networks.entries),
    )
