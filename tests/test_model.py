"""Networks have the heads of the study, start where told, and come back from disk bit for bit."""

import json
import pickle
import re
import subprocess
from itertools import pairwise
from math import exp, inf, log, log1p, nan
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from simulated import simulated
from torch import nn
from torch.testing import assert_close

from modsnr import InputError, diagrams, model
from modsnr.model import JointLoss, JointNet, Output, backbones

ROOT = Path(__file__).parents[1]
VIEWS, CLASSES = ("constellation", "residual"), ("BPSK", "QPSK", "16QAM")
GRID = (0.0, 10.0, 20.0, 30.0)


def network(backbone="compact", *, bins=32, **options):
    """Return a network without pretrained weights, the same each time."""
    torch.manual_seed(0)
    settings = {
        "views": VIEWS, "bins": bins, "classes": CLASSES, "snrs_db": GRID, "pretrained": False
    } | options  # fmt: skip
    return JointNet(backbone, **settings)


def pictures(generator, frames=4, views=2, bins=32):
    return torch.rand(frames, views, bins, bins, generator=generator)


def save(net, path, header=None):
    """Write a weights file as a training run does."""
    header = {"net": json.dumps(net.settings)} if header is None else header
    tensors = {name: value.contiguous() for name, value in net.state_dict().items()}
    save_file(tensors, path, metadata=header)
    return path


# Backbones


# ViT and Swin are cut for 224 bins and take others too; the residual networks take any.
@pytest.mark.parametrize(
    ("backbone", "bins"),
    [
        ("compact", 16), ("resnet18", 33), ("resnet34", 20), ("resnet50", 32),
        ("swin_tiny", 96), ("swin_small", 32), ("vit_b_16", 48), ("vit_b_32", 64),
    ],
)  # fmt: skip
def test_every_backbone_of_the_study_takes_a_training_step(backbone, bins, generator):
    net, loss = network(backbone, bins=bins).train(), JointLoss(GRID)
    output = net(pictures(generator, 2, bins=bins))
    assert output.modulation.shape == (2, 3)
    assert output.snr.shape == (2,)
    total, _, _ = loss(output, torch.tensor([0, 2]), torch.tensor([10.0, 30.0]))
    total.backward()
    for name, parameter in [*net.named_parameters(), *loss.named_parameters()]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    first_layer = next(net.parameters())
    assert first_layer.grad.abs().max() > 0


@pytest.mark.parametrize(
    ("backbone", "bins"),
    [
        ("mobilenetv3_small_050", 32), ("convnext_atto", 40), ("mixer_s32_224", 64),
        ("xcit_nano_12_p16_224", 64),  # whose patch_size is one number
        ("vit_small_resnet26d_224", 64),  # a ViT, whatever its name
    ],
)  # fmt: skip
def test_any_name_of_timms_makes_a_network(backbone, bins, generator):
    output = network(backbone, bins=bins).eval()(pictures(generator, 1, bins=bins))
    assert output.modulation.shape == (1, 3)


@pytest.mark.parametrize(
    ("backbone", "options", "complaint"),
    [
        ("resnet5O", {}, r"no backbone is called 'resnet5O'; did you mean 'resnet50'\?"),
        ("swin_tinny", {}, r"did you mean 'swin_tiny'\?"),
        # A patch that does not divide the bins would leave some of them out without a word.
        ("vit_tiny_patch16_224", {"bins": 50}, r"of 50 bins and 2 .*16 bins\): choose bins=64"),
        ("mixer_s16_224", {"bins": 100}, r"\(it cuts them .* of 16 bins\): choose bins=96"),
        ("tnt_s_legacy_patch16_224", {"bins": 100}, r"\(it cuts them .* of 16 bins\): .*bins=96"),
        ("mvitv2_tiny", {"bins": 100}, r"of 100 bins .*\(index 23 is out .*choose bins=96"),
        ("crossvit_tiny_240", {"bins": 224}, "of 224 bins .*choose bins=240"),
        ("swin_tiny", {"bins": 30}, "no diagrams of 30 bins .*: choose bins=32"),
        ("convnext_atto", {"bins": 16}, "no diagrams of 16 bins"),
        ("resnet18", {"bins": 0}, "bins must be positive; they are 0"),
        ("compact", {"bins": 30}, "divisible by 4 and at least 16; they are 30"),
        ("compact", {"bins": 12}, "divisible by 4 and at least 16; they are 12"),
        ("compact", {"pretrained": True}, "compact has no pretrained weights"),
        ("resnet18", {"pretrained": "none.safetensors"}, "an existing .safetensors file; it is"),
        ("resnet50t", {"pretrained": True}, r"resnet50t \(no published weights\)"),
        ("compact", {"snr_head": "ordinal"}, "no snr_head is called 'ordinal'.*regression"),
        ("compact", {"snr_layer": "bottleneck_32"}, "did you mean 'bottleneck_"),
        ("compact", {"dropout": 1.0}, "0..1 without 1; it is 1.0"),
        ("compact", {"dropout": nan}, "0..1 without 1; it is nan"),
        ("compact", {"snrs_db": [10.0, 0.0]}, r"ascend; they are \[10.0, 0.0\]"),
        ("compact", {"snrs_db": []}, "ascend"),
        ("compact", {"snrs_db": [0.0, inf]}, "ascend"),
        ("compact", {"views": []}, "one view"),
        ("compact", {"classes": []}, "one class"),
    ],
)
def test_settings_that_make_no_network_are_refused(backbone, options, complaint):
    with pytest.raises(InputError, match=complaint):
        network(backbone, **options)


FAMILIES = [
    names[0] for module in timm.list_modules() if (names := timm.list_models(module=module))
]


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:CSATv2 is designed for 3-channel")
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_of_timms_takes_its_own_size_and_the_one_that_a_refusal_names(name):
    config = timm.models.get_pretrained_cfg(name)
    views = 3 if name == "csatv2" else 2
    with torch.device("meta"):  # no arithmetic, hence quick
        _, width = model.build_backbone(name, views, config.input_size[-1], False)
        assert width > 0
        try:
            model.build_backbone(name, views, 100, False)
        except InputError as error:
            bins = int(re.search(r"of 100 bins .*: choose bins=(\d+)\.$", str(error), re.S)[1])
            model.build_backbone(name, views, bins, False)


@pytest.mark.parametrize(
    ("bins", "grid"),
    [(16, 4), (64, 8), (124, 31), (128, 8), (224, 14), (260, 65), (512, 8)],
)
def test_compact_keeps_its_grid_coarse_however_fine_the_diagram(bins, grid, generator):
    net = network(bins=bins).eval()
    seen = []
    first = next(m for m in net.backbone.layers if isinstance(m, nn.PixelUnshuffle))
    first.register_forward_hook(lambda _module, _given, folded: seen.append(folded.shape))
    output = net(pictures(generator, 2, bins=bins))
    assert output.modulation.shape == (2, 3)
    assert [tuple(shape[-2:]) for shape in seen] == [(grid, grid)]


@pytest.mark.parametrize("bins", [128, 512])
def test_compact_sees_every_bin_of_a_fine_diagram(bins, generator):
    net = network(bins=bins, views=["constellation"])
    image = pictures(generator, 2, views=1, bins=bins).requires_grad_()
    net(image).snr.sum().backward()
    assert (image.grad != 0).float().mean() > 0.99


def committed_weights():
    """Those that git knows, and of no run that was made here since."""
    words = ["git", "ls-files", "runs/*-02_training-*/weights.safetensors"]
    told = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in told.stdout.splitlines()]


@pytest.mark.parametrize("run", committed_weights())
def test_committed_weights_speak_as_the_network_did_that_they_were_trained_in(run, generator):
    net, tensors = model.load(run), load_file(run)
    images = pictures(generator, 3, len(net.settings["views"]), net.settings["bins"])
    images = images.contiguous(memory_format=torch.channels_last)
    features = nn.functional.pixel_unshuffle(images, 8)
    for stage, layer in enumerate((1, 4, 8, 11)):  # a convolution each, its normalisation after it
        weight = tensors[f"backbone.layers.{layer}.weight"]
        weight = weight.contiguous(memory_format=torch.channels_last)  # sums are in another order
        features = nn.functional.conv2d(features, weight, padding=1)
        norm = {
            name: tensors[f"backbone.layers.{layer + 1}.{name}"]
            for name in ("running_mean", "running_var", "weight", "bias")
        }
        features = nn.functional.batch_norm(features, **norm).relu()
        if stage == 1:
            features = nn.functional.max_pool2d(features, 2)
    with torch.no_grad():
        assert_close(net.backbone(images), features.mean((2, 3)), rtol=0, atol=0)
    assert all(torch.equal(value, tensors[name]) for name, value in net.state_dict().items())


# Heads


def widths(head):
    return [
        (layer.in_features, layer.out_features) for layer in head if isinstance(layer, nn.Linear)
    ]


@pytest.mark.parametrize(
    ("snr_layer", "hidden"),
    [
        ("standard", []),
        ("bottleneck_64", [64]),
        ("bottleneck_128", [128]),
        ("dual_layer", [256, 64]),
    ],
)
@pytest.mark.parametrize(("snr_head", "outputs"), [("regression", 1), ("classification", 4)])
def test_the_snr_head_has_the_layers_of_the_study(snr_layer, hidden, snr_head, outputs):
    net = network(snr_layer=snr_layer, snr_head=snr_head, dropout=0.3)
    path = [128, *hidden, outputs]
    assert widths(net.snr_head) == list(pairwise(path))
    between = [type(layer) for layer in net.snr_head if not isinstance(layer, nn.Linear)]
    assert between == [nn.ReLU, nn.Dropout] * len(hidden)
    assert all(layer.p == 0.3 for layer in net.snr_head if isinstance(layer, nn.Dropout))
    assert widths(net.modulation_head) == [(128, 3)]


def test_the_regression_speaks_in_units_of_the_grid(generator):
    diagrams = pictures(generator)
    here = network(snrs_db=GRID).eval()(diagrams).snr
    shifted = network(snrs_db=[value + 7 for value in GRID]).eval()(diagrams).snr
    wider = network(snrs_db=[2 * value for value in GRID]).eval()(diagrams).snr
    assert_close(shifted, here + 7)
    assert_close(wider, 2 * here)


def bar_codes(generator, names, snr_db, bins=32):
    """Return diagrams of two views, the second showing frames' likelihoods and SNR."""
    iq = simulated(names, 2 * len(names), snr_db, generator=generator)
    return diagrams.render(iq, views=("constellation", "likelihood"), bins=bins)


def test_a_network_with_the_likelihood_view_starts_from_what_it_shows(generator):
    names = ("QPSK", "16QAM", "BPSK")
    classes = ("BPSK", "OOK", "16QAM", "QPSK")  # in another order, one without its alphabet there
    net = network(views=("constellation", "likelihood"), classes=classes).eval()
    shown = bar_codes(generator, names, 20)
    output = net(shown)
    found = diagrams.bands.findings_of(diagrams.bands.read(shown[:, 1]))
    relative, snr_db = found[:, :17].clamp(min=-30), found[:, 17]
    assert_close(output.snr, snr_db)  # the head's correction is 0 before any training
    assert_close(output.snr, torch.full((6,), 20.0), rtol=0, atol=1.5)
    columns = [diagrams.bands.CLASSES.index(name) for name in ("BPSK", "16QAM", "QPSK")]
    wanted = torch.zeros(6, 4)
    wanted[:, [0, 2, 3]] = relative[:, columns]
    assert_close(output.modulation.softmax(1), wanted.softmax(1), rtol=0, atol=1e-5)
    output.modulation.logsumexp(1).sum().backward()
    assert net.doubt.weight.grad.isfinite().all()


def test_a_network_mixes_the_likelihoods_with_its_own_answer_by_what_it_trusts(generator):
    classes = ("BPSK", "16QAM", "QPSK")
    net = network(views=("constellation", "likelihood"), classes=classes).eval()
    shown = bar_codes(generator, ("QPSK",), 20)
    net.modulation_head[-1].bias.data = torch.tensor([0.0, 3.0, 0.0])
    likelihoods = torch.tensor([0.0, 0.0, 1.0])  # QPSK, by far
    own = torch.tensor([0.0, 3.0, 0.0]).softmax(0)
    for trust, share in ((-50.0, 50.0), (-50.0, 0.0), (-50.0, -50.0)):
        net.doubt.bias.data = torch.tensor([trust, share])
        part = torch.tensor(share).sigmoid()
        wanted = part * likelihoods + (1 - part) * own
        assert_close(net(shown).modulation.softmax(1), wanted.expand(2, -1), rtol=0, atol=1e-4)


def test_a_classification_of_snr_starts_from_the_likelihood_view_too(generator):
    options = {"views": ("constellation", "likelihood"), "snr_head": "classification"}
    net = network(**options).eval()
    assert net.estimate(bar_codes(generator, ("QPSK",), 20)).snr_db.tolist() == [20.0, 20.0]


def test_a_network_with_the_likelihood_view_is_saved_and_exported_like_others(generator, tmp_path):
    net = network(views=("constellation", "likelihood")).eval()
    net.doubt.bias.data.fill_(0.5)
    again = model.load(save(net, tmp_path / "weights.safetensors"))
    shown = bar_codes(generator, ("QPSK", "16QAM"), 10)
    wanted = net(shown)
    assert_close(again(shown), wanted)
    assert_close(torch.export.export(net, (shown,)).module()(shown), wanted)


def test_decisions_of_a_regression_are_its_estimates():
    output = Output(
        torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, log(8.0)]]), torch.tensor([3.3, -50.0])
    )
    decided = network().decide(output)
    assert decided.modulation.tolist() == [0, 2]
    assert_close(decided.snr_db, torch.tensor([3.3, -50.0]))
    assert_close(decided.confidence, torch.tensor([exp(2) / (exp(2) + 2), 0.8]))
    assert_close(decided.snr_mean_db, decided.snr_db)
    assert decided.snr_confidence.isnan().all()  # there is no softmax to be sure by
    saved = decided.columns()  # beside the truth, under names of their own
    assert saved["predicted_modulation"] is decided.modulation
    assert saved["predicted_snr_db"] is decided.snr_db
    assert {*saved} == {"predicted_modulation", "predicted_snr_db", *decided._fields[2:]}


def test_decisions_of_a_classification_are_the_likeliest_snr_its_softmax_and_the_mean():
    output = Output(torch.zeros(2, 3), torch.tensor([[0, 0, 0, 1.0], [log(7), 0, 0, 0]]))
    decided = network(snr_head="classification").decide(output)
    assert decided.snr_db.tolist() == [30.0, 0.0]
    assert_close(decided.snr_confidence, torch.tensor([exp(1) / (exp(1) + 3), 7 / 10]))
    mean = (0 + 10 + 20 + 30 * exp(1)) / (exp(1) + 3)
    assert_close(decided.snr_mean_db, torch.tensor([mean, (10 + 20 + 30) / 10]))


# The loss


def test_the_joint_loss_is_the_formula_of_kendall_by_hand():
    loss = JointLoss(GRID)
    sigma_m, sigma_s = 0.5, 3.0
    loss.log_variance.data = torch.tensor([log(sigma_m**2), log(sigma_s**2)])
    output = Output(torch.tensor([[log(3.0), 0.0]]), torch.tensor([24.0]))
    total, of_modulation, of_snr = loss(output, torch.tensor([0]), torch.tensor([20.0]))
    assert_close(of_modulation.item(), log(4 / 3))  # softmax gives the right class 3/4
    assert_close(of_snr.item(), 0.5 * 0.4**2)  # 4 dB are 0.4 of a step: SmoothL1 is x^2 / 2
    by_hand = (
        log(4 / 3) / (2 * sigma_m**2) + 0.08 / (2 * sigma_s**2) + log(sigma_m * sigma_s)
    )  # fmt: skip
    assert_close(total.item(), by_hand, atol=1e-6, rtol=1e-5)


def test_the_best_task_weights_are_the_losses_themselves():
    loss = JointLoss(GRID)
    output = Output(torch.tensor([[0.0, 1.0], [2.0, 0.0]]), torch.tensor([17.0, 3.0]))
    truth = torch.tensor([0, 0]), torch.tensor([0.0, 0.0])
    _, *losses = loss(output, *truth)
    loss.log_variance.data = torch.stack(losses).detach().log()  # sigma^2 = loss
    loss(output, *truth)[0].backward()
    assert_close(loss.log_variance.grad, torch.zeros(2), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("error_db", "steps"), [(1.0, 0.1), (10.0, 1.0), (25.0, 2.5), (-25.0, 2.5)]
)
def test_the_regression_loss_is_smooth_l1_in_steps_of_the_grid(error_db, steps):
    output = Output(torch.zeros(1, 2), torch.tensor([20.0 + error_db]))
    _, _, of_snr = JointLoss(GRID)(output, torch.tensor([0]), torch.tensor([20.0]))
    assert_close(of_snr.item(), steps**2 / 2 if steps < 1 else steps - 0.5)


def test_the_classification_loss_is_cross_entropy_at_the_nearest_snr():
    logits = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    _, _, of_snr = JointLoss(GRID, snr_head="classification")(
        Output(torch.zeros(1, 2), logits), torch.tensor([0]), torch.tensor([19.0])
    )
    assert_close(of_snr.item(), log1p(3 / exp(1)))


def test_a_half_precision_output_is_summed_in_single_precision():
    output = Output(
        torch.zeros(1, 2, dtype=torch.bfloat16), torch.tensor([20.0], dtype=torch.bfloat16)
    )
    total, _, _ = JointLoss(GRID)(output, torch.tensor([0]), torch.tensor([10.0]))
    assert total.dtype == torch.float32


# Pretrained weights


@pytest.fixture
def published(tmp_path):
    """A file of weights as timm publishes them: three input channels, a classifier of 1,000."""

    def make(name, **options):
        torch.manual_seed(7)
        path = tmp_path / f"{name}.safetensors"
        tensors = timm.create_model(name, **options).state_dict()
        save_file({key: value.contiguous() for key, value in tensors.items()}, path)
        return path

    return make


def test_without_a_network_pretrained_weights_are_refused_saying_what_to_pass(monkeypatch):
    def offline(*arguments):
        raise LocalEntryNotFoundError("cannot find the file on the Hub and no local copy")

    monkeypatch.setattr(backbones, "hf_hub_download", offline)
    with pytest.raises(InputError, match=r"resnet18 \(timm/.*Pass pretrained=False .*safetensors"):
        network("resnet18", pretrained=None)


def test_weights_come_from_the_hub_as_safetensors(monkeypatch, published):
    path, asked = published("resnet18"), []
    monkeypatch.setattr(backbones, "hf_hub_download", lambda *a: (asked.append(a), path)[1])
    net = network("resnet18", pretrained=None)
    assert [file for _, file in asked] == ["model.safetensors"]
    assert_close(net.backbone.layer1[0].conv1.weight, load_file(path)["layer1.0.conv1.weight"])


def test_weights_of_a_local_file_are_really_there(published):
    path = published("resnet18")
    net, held = network("resnet18", pretrained=str(path)), load_file(path)
    for name, value in net.backbone.state_dict().items():
        if name != "conv1.weight":  # two views where the file has three channels
            assert torch.equal(value, held[name]), name
    assert_close(net.backbone.conv1.weight, held["conv1.weight"][:, :2] * 3 / 2)


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("resnet18", "resnet34"),  # too few layers
        ("resnet34", "resnet18"),  # too many: all that resnet18 asks for is in it
        ("resnet50", "resnet18"),  # the same names, other shapes
        ("vit_tiny_patch16_224", "resnet18"),  # nothing in common
    ],
)
def test_the_weights_of_another_backbone_are_refused(published, held, wanted):
    with pytest.raises(
        InputError, match=f"{held}.safetensors holds .* another backbone than {wanted}"
    ):
        network(wanted, pretrained=str(published(held)))


@pytest.mark.parametrize(
    ("held", "channels", "bins", "complaint"),
    [
        (
            "resnet18",
            4,
            32,
            r"4 channels: its conv1.weight .*\[64, 4, 7, 7\], and 2 .*Choose 4 views",
        ),
        ("resnet18", 1, 32, r"1 channels: .*\[64, 1, 7, 7\], and 2 .*Choose 1 views"),
        # Its first layer joins bins; timm fits it to two views by random weights.
        ("tresnet_m", 3, 64, r"3 channels: .*\[64, 48, 3, 3\], and 2 .*\[64, 32, 3, 3\]"),
        ("mixer_s32_224", 3, 64, r"for 2 views and 64 bins: its blocks\.0.*Choose bins=224, which"),
    ],
)
def test_weights_of_another_number_of_channels_or_bins_are_named(
    published, held, channels, bins, complaint
):
    path = published(held, in_chans=channels)
    with pytest.raises(InputError, match=complaint):
        network(held, bins=bins, pretrained=str(path))


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("resnet18", {"in_chans": 2}),  # as many as the views: as they are
        ("resnet18", {"in_chans": 2, "num_classes": 17}),  # whatever its classifier
        ("levit_128s", {}),  # of whose head timm leaves out more than the classifier
    ],
)
def test_weights_for_the_views_or_for_other_classes_are_taken(published, backbone, options):
    path = published(backbone, **options)
    net = network(backbone, bins=224 if options == {} else 32, pretrained=str(path)).backbone
    held = load_file(path)
    first = next(iter(dict(net.named_parameters())))
    for name, value in net.named_parameters():
        if name != first or options:
            assert torch.equal(value, held[name]), name


def test_a_runs_weights_give_their_backbone(tmp_path):
    trained = network("resnet18", snrs_db=[0.0, 1.0])
    nn.init.constant_(trained.backbone.conv1.weight, 0.5)
    path = save(trained, tmp_path / "weights.safetensors")
    net = network("resnet18", pretrained=str(path))
    assert (net.backbone.conv1.weight == 0.5).all()
    with pytest.raises(InputError, match="the weights of another backbone than resnet34"):
        network("resnet34", pretrained=str(path))


def test_a_pickle_is_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Trap()))
    disguised = tmp_path / "weights.safetensors"
    disguised.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match=r"existing \.safetensors file; it is '.*weights\.pth'"):
        network("resnet18", pretrained=str(path))
    with pytest.raises(InputError, match=r"weights\.safetensors"):
        network("resnet18", pretrained=str(disguised))
    with pytest.raises(InputError, match="no weights that can be read"):
        model.load(path)
    assert not (tmp_path / "sprung").exists()


# Saved weights


def test_a_file_of_weights_that_is_older_than_some_settings_is_read(tmp_path):
    net = network()
    kept = {
        name: net.settings[name] for name in ("backbone", "views", "bins", "classes", "snrs_db")
    }
    path = save(net, tmp_path / "weights.safetensors", header={"net": json.dumps(kept)})
    assert model.load(path).settings == net.settings


@pytest.mark.parametrize("options", [{}, {"snr_head": "classification", "snr_layer": "dual_layer"}])
def test_a_network_comes_back_from_its_file_bit_for_bit(tmp_path, generator, options):
    # Memory formats as in training: they decide the order of sums, hence the bits.
    net = network(dropout=0.2, **options).to(memory_format=torch.channels_last)
    diagrams = pictures(generator).contiguous(memory_format=torch.channels_last)
    net(diagrams)  # moves the running statistics
    back = model.load(save(net, tmp_path / "weights.safetensors"))
    assert not back.training
    assert back.settings == net.settings
    for one, other in zip(net.eval()(diagrams), back(diagrams), strict=True):
        assert torch.equal(one, other)


def test_a_timm_network_comes_back_without_asking_the_hub(tmp_path, generator, monkeypatch):
    monkeypatch.setattr(backbones, "hf_hub_download", None)
    net = network("resnet18").eval()
    back = model.load(save(net, tmp_path / "weights.safetensors"))
    assert torch.equal(
        net(pictures(generator)).snr, back(pictures(generator.manual_seed(2018))).snr
    )


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_a_damaged_weights_file_is_refused(tmp_path, damage):
    path = save(network(), tmp_path / "weights.safetensors")
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-100], "flip": b"\xff" * 8 + whole[8:], "text": b"not weights"}[damage]
    )
    with pytest.raises(InputError, match=r"weights\.safetensors holds no weights that can be read"):
        model.load(path)


def test_weights_that_may_not_be_read_are_not_called_absent(tmp_path, unreadable):
    path = save(network(), tmp_path / "weights.safetensors")
    with (
        pytest.raises(InputError, match=r"no weights that can be read: .*Permission"),
        unreadable(path),
    ):
        model.load(path)


def test_a_header_of_another_network_or_of_none_is_refused(tmp_path):
    header = {"net": json.dumps(network(snr_layer="standard").settings)}
    path = save(network(), tmp_path / "weights.safetensors", header=header)
    with pytest.raises(InputError, match="does not hold the network that its header names"):
        model.load(path)
    save(network(), path, header={"other": "1"})
    with pytest.raises(InputError, match="does not name the network it holds"):
        model.load(path)


def test_an_onnx_file_decides_as_the_network_does(tmp_path, generator):
    import onnxruntime

    views = ["constellation", "likelihood"]
    net = model.JointNet("compact", views=views, bins=64, classes=("BPSK", "8PSK"), snrs_db=(0, 10))
    for layer in (net.modulation_head[-1], net.snr_head[-1], net.doubt):
        torch.nn.init.normal_(layer.weight, std=0.3, generator=generator)
    path = tmp_path / "net.onnx"
    model.write_onnx(net.eval(), path)
    session = onnxruntime.InferenceSession(path)
    diagrams = torch.rand(50, 2, 64, 64, generator=generator)
    logits, snr = session.run(None, {"diagrams": diagrams.numpy()})
    with torch.no_grad():
        expected = net(diagrams)
    assert_close(torch.from_numpy(logits), expected.modulation, rtol=1e-3, atol=1e-3)
    assert_close(torch.from_numpy(snr), expected.snr, rtol=1e-3, atol=1e-3)
    assert len(set(logits.argmax(1))) == 2
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["classes"]) == ["BPSK", "8PSK"]
    assert json.loads(about["views"]) == views
    assert about["normalization"] == "power"
