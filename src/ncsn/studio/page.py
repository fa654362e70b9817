"""The page: its tabs, its look, the queue, and the server."""

import os
from dataclasses import dataclass

import gradio as gr
from starlette.middleware import Middleware

from ncsn.errors import ConfigError
from ncsn.report import page as report
from ncsn.studio import compare, draw, inside, restore, showing
from ncsn.studio.networks import Network, Networks
from ncsn.studio.uploads import NoFiles
from ncsn.studio.widgets import STATIC, Device

WAITING = 100  # in the queue of an event, at most
SESSIONS = 64  # whose last images are kept

_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
_CODE = ["ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace"]


@dataclass(frozen=True)
class Studio:
    """The page of some networks.

    Attributes:
        ckpt: how the command line calls the first.
        at_once: so many visitors may draw at the same time; the others wait.
    """

    networks: Networks
    ckpt: str
    at_once: int

    def blocks(self) -> gr.Blocks:
        """The page, not yet served."""
        device = Device(self.at_once)
        # No cache of files: pictures travel within the page, and uploads stay in memory.
        with gr.Blocks(title="NCSN studio", analytics_enabled=False, fill_width=True) as blocks:
            gr.HTML(header(self.networks.first), elem_id="header")
            with gr.Tabs():
                with gr.Tab("Draw", id="draw"):
                    draw.tab(self.networks, device, self.ckpt)
                with gr.Tab("Restore", id="restore"):
                    restore.tab(self.networks, device)
                with gr.Tab("Look inside", id="inside"):
                    inside.tab(self.networks, device)
                with gr.Tab("Compare", id="compare"):
                    compare.tab(self.networks, device)
        blocks.queue(max_size=WAITING, api_open=False)
        return blocks

    def serve(self, host: str, port: int | None) -> tuple[gr.Blocks, str]:
        """Starts the server in a thread of its own.

        Args:
            host: the address it is bound to.
            port: None for any that is free, from 7860.

        Returns:
            The page, whose `close()` ends it, and its address.

        Raises:
            ConfigError: it cannot be bound there.
        """
        # Gradio asks its own server whether it is there; through no proxy.
        for name in ("NO_PROXY", "no_proxy"):
            known = [part for part in os.environ.get(name, "").split(",") if part]
            os.environ[name] = ",".join(dict.fromkeys([*known, "127.0.0.1", "localhost", host]))
        blocks = self.blocks()
        try:
            _, address, _ = blocks.launch(
                server_name=host,
                server_port=port,
                share=False,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                footer_links=[],
                run_history=False,
                ssr_mode=False,
                pwa=False,
                mcp_server=False,
                enable_monitoring=False,
                state_session_capacity=SESSIONS,
                app_kwargs={"middleware": [Middleware(NoFiles)]},
                theme=theme(),
                head=f'<meta name="referrer" content="no-referrer"><style>{css()}</style>',  # as it stands
            )
        except OSError as error:
            raise ConfigError(
                f"host={host}, port={port}: the page cannot be served there ({error.strerror or error}); "
                "give another port, or port=null for any that is free"
            ) from error
        return blocks, address


def header(network: Network) -> str:
    """What is loaded, in a line."""
    score = network.score
    channels, height, width = score.image_shape
    kind = "draws images" if network.draws else "restores damaged images"
    levels = f"{len(score.sigmas)} noise levels from {float(score.sigmas[0]):.3g} to {float(score.sigmas[-1]):.2g}"
    parts = [
        f"{sum(p.numel() for p in score.network.parameters()):,} parameters",
        f"{width} × {height} × {channels} pixels",
        "trained by regression" if network.estimates else levels,
        f"{score.step:,} steps of training" if score.step else "",
        f"on {network.device}",
    ]
    about = showing.note(f"{network.name} {kind}: {', '.join(filter(None, parts))}.")
    return f"<h1>Noise conditional score networks</h1>{about}"


def theme() -> gr.themes.Base:
    """System fonts, which no server has to bring."""
    return gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=_FONTS, font_mono=_CODE)


def css() -> str:
    """The page's own rules, and those of the charts of a report."""
    charts = (report.TEMPLATES / "chart.css").read_text("utf-8")
    own = (STATIC / "studio.css").read_text("utf-8")
    return f".gradio-container.gradio-container.gradio-container {{\n{own}\n.from-report {{\n{charts}}}\n}}\n"
