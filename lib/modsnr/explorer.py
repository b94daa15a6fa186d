"""One frame, live: its diagrams, a network's answers and the pixels behind them, while controls
are moved.

``look`` is a pure function of settings and a network; ``Explorer`` puts widgets around it. The
functions that simulate, draw, hide, explain and paint are passed in.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from math import pi
from typing import Any, NamedTuple

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

MASKS = ("none", "brightest", "dimmest", "random")
TASKS = ("modulation", "snr")
OFFSET_UNIT = 1e-4  # cycles/sample
WIDEST_OFFSET = 10.0  # in that unit
LAST_SEED = 2**31 - 1
DPI = 110


@dataclass(frozen=True)
class Settings:
    """Which network and frame, what is hidden of the frame, and which answer is explained.

    The SNR is in dB per sample, the carrier offset in 1e-4 cycles/sample; ``fraction`` is the
    share, 0 to 1, of the occupied pixels of ``view`` that ``mask`` hides.
    """

    network: str
    modulation: str = "16QAM"
    snr_db: float = 10.0
    carrier_offset: float = 0.0
    seed: int = 0
    view: str = "synchronised"
    mask: str = "none"
    fraction: float = 0.05
    task: str = "modulation"


class Shown(NamedTuple):
    """``diagrams`` are float32 [view, bins, bins] as the network saw them, ``hidden`` is bool
    [bins, bins], ``attribution`` float32 [bins, bins], both of the chosen view; ``probabilities``
    are float32 [class], ``estimate_db`` is the SNR in dB."""

    diagrams: np.ndarray
    hidden: np.ndarray
    attribution: np.ndarray
    probabilities: np.ndarray
    estimate_db: float


def look(
    settings: Settings,
    net: Any,
    *,
    draw: Callable[[Tensor], Tensor],
    simulate: Callable[..., Tensor],
    masks: Callable[..., Mapping],
    evidence: Callable[..., Callable[[Tensor], Tensor]],
) -> Shown:
    """Return one simulated frame's diagrams, and a network's answers and their attribution.

    ``net`` maps diagrams to its outputs and has ``decide``, ``snrs_db`` and ``settings`` with
    classes and views. ``simulate``, ``masks`` and ``evidence`` are called as those of signals and
    explain are. The attribution is gradient times input of the evidence for the right answer,
    after hiding. A seed gives the same symbols, timing, phase and noise at every SNR and offset.
    """
    classes = net.settings["classes"]
    generator = torch.Generator().manual_seed(settings.seed)
    truth = torch.tensor([classes.index(settings.modulation)]), torch.tensor([settings.snr_db])
    iq = simulate(*truth, generator=generator, classes=classes)
    turn = 2 * pi * OFFSET_UNIT * settings.carrier_offset * torch.arange(iq.shape[1])
    diagrams = draw(iq * torch.polar(torch.ones_like(turn), turn))
    channel = net.settings["views"].index(settings.view)
    hidden = torch.zeros(diagrams.shape[2:], dtype=torch.bool)
    if settings.mask != "none":
        key = settings.mask, settings.fraction
        hidden = masks(diagrams[:, channel], [key[1]], generator=generator)[key].hidden[0]
        diagrams[:, channel].masked_fill_(hidden, 0.0)
    score = evidence(net, settings.task, *truth, net.snrs_db)
    seen = diagrams.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(seen).sum(), seen)
    with torch.no_grad():
        output = net(diagrams)
        decided = net.decide(output)
    return Shown(
        diagrams[0].numpy(),
        hidden.numpy(),
        (gradient * diagrams)[0, channel].numpy(),
        output[0][0].float().softmax(0).numpy(),
        float(decided.snr_db[0]),
    )


class OwnKeys(anywidget.AnyWidget):
    """Keeps JupyterLab's shortcuts away from the controls of the output that it stands in.

    In a notebook's command mode an arrow key selects another cell, even with a list focused.
    """

    _esm = """
    function render({ el }) {
        const keep = () => {
            if (!el.isConnected) return requestAnimationFrame(keep)
            const output = el.closest(".jp-OutputArea-output") ?? el.parentElement
            output.addEventListener("focusin", ({ target }) =>
                target.setAttribute("data-lm-suppress-shortcuts", "true"))
        }
        keep()
    }
    export default { render }
    """


class Explorer:
    """``panel``: controls, by name in ``controls``, and a picture and a sentence that follow them.

    ``record`` and ``net`` are those of the network shown, ``shown`` is what ``look`` returned, and
    ``figure`` the picture.

    ``networks`` are the names to choose from; ``find`` turns a name into a record, of which
    ``weights`` and ``parameters`` are used, ``load`` turns the weights into a network, and
    ``drawing`` the parameters into what draws for it. ``picture`` paints as ``one_frame`` of
    figures; the others are those of ``look``.
    """

    def __init__(
        self,
        settings: Settings,
        networks: Sequence[str],
        *,
        find: Callable[[str], Any],
        load: Callable[[Any], Any],
        drawing: Callable[..., Callable[[Tensor], Tensor]],
        picture: Callable[..., Any],
        **for_look: Callable[..., Any],
    ) -> None:
        self._find, self._load, self._drawing, self._picture = find, load, drawing, picture
        self._for_look = for_look
        self._open(settings.network)
        self.controls = _controls(settings, networks, self.net.settings)
        self.words, self.image = widgets.HTML(), widgets.Image(format="png")
        self.image.layout.max_width = "100%"
        held = list(self.controls.values())
        wrapped = {"flex_flow": "row wrap"}  # in a narrow window one column below the other
        columns = widgets.HBox([widgets.VBox(held[:5]), widgets.VBox(held[5:])], layout=wrapped)
        self.panel = widgets.VBox([columns, self.words, self.image, OwnKeys()])
        self._show()
        self.controls["network"].observe(self._change_network, "value")
        for control in held[1:]:
            control.observe(self._show, "value")

    @property
    def settings(self) -> Settings:
        """The values of the controls."""
        return Settings(**{name: control.value for name, control in self.controls.items()})

    def _open(self, name: str) -> None:
        self.record = self._find(name)
        self.net = self._load(self.record.weights)
        self._draw = self._drawing(self.record.parameters)

    def _change_network(self, change: Any) -> None:
        """Open another network and offer its classes and views, the first for one it lacks."""
        self._open(change.new)
        for control, known in (("modulation", "classes"), ("view", "views")):
            widget, options = self.controls[control], self.net.settings[known]
            widget.unobserve(self._show, "value")
            value = widget.value if widget.value in options else options[0]
            widget.options, widget.value = options, value
            widget.observe(self._show, "value")
        self._show()

    def _show(self, _: Any = None) -> None:
        settings = self.settings
        self.shown = look(settings, self.net, draw=self._draw, **self._for_look)
        self.figure = self._painted(settings, self.shown)
        quick = {"compress_level": 1}  # it is looked at once and not kept
        self.figure.savefig(buffer := io.BytesIO(), format="png", dpi=DPI, pil_kwargs=quick)
        self.words.value = self._sentence(settings, self.shown)
        self.image.value = buffer.getvalue()

    def _painted(self, settings: Settings, shown: Shown) -> Any:
        views, classes = self.net.settings["views"], self.net.settings["classes"]
        probabilities = dict(zip(classes, shown.probabilities.tolist(), strict=True))
        return self._picture(
            dict(zip(views, shown.diagrams, strict=True)),
            shown.attribution,
            shown.hidden,
            (probabilities, shown.estimate_db),
            view=settings.view,
            task=settings.task,
            truth=(settings.modulation, settings.snr_db),
            range_db=(float(self.net.snrs_db.min()), float(self.net.snrs_db.max())),
        )

    def _sentence(self, settings: Settings, shown: Shown) -> str:
        best = int(shown.probabilities.argmax())
        decided = self.net.settings["classes"][best]
        right = "right" if decided == settings.modulation else f"wrong: it is {settings.modulation}"
        text = (
            f"{decided} with probability {shown.probabilities[best]:.2f}, {right}; "
            f"{shown.estimate_db:.1f} dB where it is {settings.snr_db:g} dB; "
            f"{int(shown.hidden.sum())} pixels hidden."
        )
        return f'<p role="status">{escape(text)}</p>'


def _controls(
    settings: Settings, networks: Sequence[str], known: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """Return a control for each setting in the tab key's order; ``known`` are classes and views."""
    widest, offset = max(WIDEST_OFFSET, abs(settings.carrier_offset)), "carrier (1e-4 cyc/sample)"
    lowest, highest = min(-20.0, settings.snr_db), max(40.0, settings.snr_db)
    look = {"style": {"description_width": "14em"}, "layout": {"width": "29em"}}

    def control(kind: Callable[..., Any], name: str, label: str, **options: Any) -> Any:
        return kind(value=getattr(settings, name), description=label, **look, **options)

    listed = partial(control, widgets.Dropdown)
    share = partial(widgets.BoundedFloatText, min=0.001, max=1.0, step=0.01)
    # The browser sends a value once the one before is drawn, and then the last only: a picture
    # follows a slider that is dragged, or an arrow key held, and none is drawn too late.
    slider = partial(control, partial(widgets.FloatSlider, continuous_update=True))
    return {
        "network": listed("network", "network", options=networks),
        "modulation": listed("modulation", "modulation", options=known["classes"]),
        "snr_db": slider("snr_db", "SNR (dB)", min=lowest, max=highest, step=0.5),
        "carrier_offset": slider("carrier_offset", offset, min=-widest, max=widest, step=0.25),
        "seed": control(widgets.BoundedIntText, "seed", "frame (seed)", max=LAST_SEED),
        "view": listed("view", "view", options=known["views"]),
        "mask": listed("mask", "hide the pixels", options=MASKS),
        "fraction": control(share, "fraction", "share hidden (0 to 1)"),
        "task": listed("task", "attribution of", options=TASKS),
    }
