"""A network as an ONNX file: diagrams in, raw outputs out; onnxruntime or any other runs it."""

from __future__ import annotations

import json
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from modsnr import InputError, files
from modsnr.model.network import JointNet

OPSET = 17
NAMES = "diagrams", "modulation_logits", "snr"


def write_onnx(net: JointNet, path: Path, *, normalization: str = "power") -> None:
    """Write a network in evaluation mode to an ONNX file, whole or not at all.

    Its input ``diagrams`` is float32 [frame, view, bins, bins], as ``diagrams.render`` draws them
    by this ``normalization``; its outputs are ``modulation_logits`` [frame, class] and ``snr``, dB
    [frame] or logits [frame, SNR]. The file's metadata name views, bins, classes and SNRs.

    Raises InputError where the package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise InputError("ONNX files need the package onnx: pip install modsnr[onnx].") from error
    register: Any = torch.onnx.register_custom_op_symbolic  # type: ignore[attr-defined]
    for name, symbolic in {"aten::expm1": _expm1, "aten::logaddexp": _logaddexp}.items():
        register(name, symbolic, OPSET)
    settings = net.settings
    shape = (2, len(settings["views"]), settings["bins"], settings["bins"])
    net = deepcopy(net).to("cpu", memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    with files.replacing(path) as temporary:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the newer exporter needs onnxscript
            torch.onnx.export(
                net,
                (torch.rand(shape),),
                str(temporary),
                input_names=NAMES[:1],
                output_names=NAMES[1:],
                dynamic_axes={name: {0: "frame"} for name in NAMES},
                opset_version=OPSET,
                dynamo=False,
            )
        model = onnx.load(str(temporary))
        about = {key: json.dumps(settings[key]) for key in ("views", "bins", "classes", "snrs_db")}
        about |= {"snr_head": settings["snr_head"], "normalization": normalization}
        onnx.helper.set_model_props(model, about)
        onnx.checker.check_model(model)
        onnx.save(model, str(temporary))


# Operations that ONNX has none of its own for, as nodes of a graph.


def _expm1(graph: Any, values: Any) -> Any:
    return graph.op("Sub", graph.op("Exp", values), _one(graph))


def _logaddexp(graph: Any, one: Any, other: Any) -> Any:
    apart = graph.op("Neg", graph.op("Abs", graph.op("Sub", one, other)))
    rest = graph.op("Log", graph.op("Add", graph.op("Exp", apart), _one(graph)))
    return graph.op("Add", graph.op("Max", one, other), rest)


def _one(graph: Any) -> Any:
    return graph.op("Constant", value_t=torch.ones(()))
