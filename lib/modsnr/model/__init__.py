"""The joint network, the losses of its two heads, and the weights of the two tasks."""

from modsnr.model.features import Features, last_features
from modsnr.model.losses import JointLoss, dwa_weights
from modsnr.model.network import (
    SNR_LAYERS,
    STUDY_BACKBONES,
    Draw,
    JointNet,
    Output,
    Prediction,
    build_backbone,
    fastest_device,
    is_out_of_memory,
    load,
)
from modsnr.model.onnx_file import write_onnx
from modsnr.model.tensors import read_tensors, replacing_file, write_tensors
