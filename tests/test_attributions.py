"""Attributions of toys are what a hand finds; each frame keeps its own label in every method."""

from functools import cache
from math import nan

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from modsnr import InputError, explain, model

VIEWS, BINS = 2, 4
# Eight squares of 2 x 2: Shapley orders are drawn. Two whole views: all orders are tried.
SQUARES = torch.arange(8).view(2, 2, 2).repeat_interleave(2, 1).repeat_interleave(2, 2)
VIEW_REGIONS = torch.arange(2).view(2, 1, 1).expand(2, BINS, BINS)
OF_REGIONS = {
    "feature_ablation": explain.feature_ablation,
    "shapley_values": explain.shapley_values,
    "kernel_shap": explain.kernel_shap,
}
METHODS = {
    "occlusion": lambda score, images: explain.occlusion(score, images, window=2, stride=2),
    **{
        name: lambda score, images, method=method: method(score, images, SQUARES)
        for name, method in OF_REGIONS.items()
    },
    "integrated_gradients": explain.integrated_gradients,
}


@pytest.fixture
def images(generator):
    return torch.rand(3, VIEWS, BINS, BINS, generator=generator)


@pytest.fixture
def weights(generator):
    return torch.randn(VIEWS, BINS, BINS, generator=generator)


def linear(weights):
    return lambda diagrams: (diagrams * weights).sum((1, 2, 3))


def sums(values, regions):
    """Return the sum of each region's values, at every pixel of it: the slow literal way."""
    result = torch.empty_like(values)
    for frame, of_frame in zip(values, result, strict=True):
        for number in range(int(regions.max()) + 1):
            of_frame[regions == number] = frame[regions == number].sum()
    return result


# Regions


@pytest.mark.parametrize("regions", [SQUARES, VIEW_REGIONS], ids=["squares", "views"])
@pytest.mark.parametrize("method", OF_REGIONS.values(), ids=OF_REGIONS)
def test_each_region_of_a_linear_score_holds_up_its_own_terms(method, regions, images, weights):
    found = method(linear(weights), images, regions)
    assert found.dtype == torch.float32
    assert_close(found, sums(images * weights, regions), atol=1e-4, rtol=1e-4)


# An interaction: three regions of one pixel each, a, b and c, and the score a b + 2 c.

THREE = torch.tensor([[[0, 1], [2, 2]]])


def product(diagrams):
    pixels = diagrams.flatten(1)
    return pixels[:, 0] * pixels[:, 1] + 2 * pixels[:, 2]


def of_three(a, b, c):
    return torch.tensor([[[[a, b], [c, c]]]])


def test_ablation_loses_the_whole_product_and_shapley_values_split_it_evenly():
    found = explain.feature_ablation(product, of_three(3.0, 5.0, 7.0), THREE)
    assert_close(found, of_three(15.0, 15.0, 14.0))
    found = explain.shapley_values(product, of_three(3.0, 5.0, 7.0), THREE, samples=1)
    assert_close(found, of_three(7.5, 7.5, 14.0))


def test_kernel_shap_finds_the_shapley_values():
    found = explain.kernel_shap(product, of_three(3.0, 5.0, 7.0), THREE, samples=3000)
    # Sets are drawn: the halves are as even as the draws, and the sum is exact.
    assert_close(found, of_three(7.5, 7.5, 14.0), atol=0.3, rtol=0)
    assert_close(found[0, 0, 0].sum() + found[0, 0, 1, 0], torch.tensor(29.0), atol=1e-3, rtol=0)


def pairs(diagrams):
    """Return the product of the first two squares' sums: of eight regions only two count."""
    return diagrams[:, 0, :2, :2].sum((1, 2)) * diagrams[:, 0, :2, 2:].sum((1, 2))


@pytest.mark.parametrize("method", [explain.shapley_values, explain.kernel_shap])
def test_the_seed_decides_the_draws_more_change_the_answer_and_torchs_own_are_untouched(
    method, images
):
    before = torch.get_rng_state()
    first, again, other = (method(pairs, images, SQUARES, samples=40, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, method(pairs, images, SQUARES, samples=41, seed=1))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("samples", [2, 8])
def test_kernel_shap_refuses_samples_that_determine_no_shares(samples, images, weights):
    with pytest.raises(InputError, match=f"{samples} samples do not determine the shares of 8"):
        explain.kernel_shap(linear(weights), images, SQUARES, samples=samples)


@pytest.mark.parametrize(
    ("method", "sets"), [("feature_ablation", 4), ("shapley_values", 8), ("kernel_shap", 8)]
)
def test_the_score_is_asked_once_for_each_set_of_regions_about_all_frames(method, sets, generator):
    asked = []
    images = torch.rand(5, 1, 2, 2, generator=generator)
    OF_REGIONS[method](lambda d: (asked.append(len(d)), product(d))[1], images, THREE)
    assert asked == [5] * sets


# Evidence and occlusion


def test_occluding_in_squares_gives_each_square_its_own_sum(images, weights):
    found = explain.occlusion(linear(weights), images, window=1, stride=1)
    assert_close(found, images * weights, atol=1e-5, rtol=1e-5)
    found = explain.occlusion(linear(weights), images, window=2, stride=2)
    assert_close(found, sums(images * weights, SQUARES), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("window", "stride"), [(0, 0), (2, 3), (9, 1), (2, 0)])
def test_an_occlusion_window_that_does_not_fit_is_refused(window, stride):
    with pytest.raises(InputError, match="0 < stride <= window <= bins"):
        explain.occlusion(linear(1.0), torch.ones(1, 1, 8, 8), window=window, stride=stride)


def toy_forward(diagrams):
    """Return logits of three classes, the sums of three pixel rows, and an SNR: the first pixel."""
    return diagrams[:, 0, :3].sum(2), diagrams[:, 0, 0, 0]


def test_evidence_for_the_modulation_is_the_log_probability_of_the_true_class(generator):
    diagrams = torch.rand(2, 1, 3, 3, generator=generator)
    score = explain.evidence(
        toy_forward, "modulation", torch.tensor([2, 0]), torch.zeros(2), torch.zeros(1)
    )
    logits = diagrams[:, 0].sum(2)
    wanted = torch.stack([
        logits[0, 2] - logits[0].exp().sum().log(), logits[1, 0] - logits[1].exp().sum().log()
    ])  # fmt: skip
    assert_close(score(diagrams), wanted)


def test_evidence_for_the_snr_is_minus_the_error_in_db(generator):
    diagrams = torch.zeros(2, 1, 3, 3)
    diagrams[:, 0, 0, 0] = torch.tensor([7.0, 12.0])
    score = explain.evidence(
        toy_forward, "snr", torch.zeros(2), torch.tensor([10.0, 10.0]), torch.tensor([0.0, 10.0])
    )
    assert score(diagrams).tolist() == [-3.0, -2.0]


# Integrated gradients


def test_integrated_gradients_of_a_square_are_solved_by_hand(images, weights):
    # The gradient of (w x)^2 at a x is 2 a (w x) w: over a = 0..1 it integrates to (w x) w.
    found = explain.integrated_gradients(lambda d: linear(weights)(d) ** 2, images, steps=1)
    total = linear(weights)(images).view(-1, 1, 1, 1)
    assert_close(found, total * images * weights, atol=1e-5, rtol=1e-5)


# Grad-CAM, solved by hand: one convolution makes two maps of a view, x and 1 - x, and the score is
# the mean of the first less that of the second. Over n pixels, the map is (x - (1 - x)) / n.


def one_layer():
    layer = nn.Conv2d(1, 2, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        layer.bias.copy_(torch.tensor([0.0, 1.0]))
    return layer


def toy_score(layer):
    def score(diagrams):
        first, second = layer(diagrams).mean((2, 3)).T
        return first - second

    return score


def test_grad_cam_of_two_maps_is_the_positive_part_of_their_difference():
    layer, image = one_layer(), torch.tensor([[[[0.0, 0.5], [0.75, 1.0]]]])
    found = explain.grad_cam(toy_score(layer), image, layer)
    assert_close(found, torch.tensor([[[[0.0, 0.0], [0.5, 1.0]]]]) / 4)


def test_grad_cam_is_enlarged_to_the_bins_bilinearly_and_the_same_in_all_views():
    pool, layer = nn.AvgPool2d(2), one_layer()
    image = torch.ones(1, 2, 4, 4)
    image[..., :2] = 0.5  # the maps, of 2 x 2, are 0 on the left and 1 on the right
    score = toy_score(lambda d: layer(pool(d[:, :1])))
    ramp = torch.tensor([0.0, 0.25, 0.75, 1.0]) / 4  # four pixels
    assert_close(explain.grad_cam(score, image, layer), ramp.expand(1, 2, 4, 4).contiguous())


@pytest.mark.parametrize("times", [0, 2])
def test_a_layer_that_the_score_does_not_pass_just_once_is_refused(times, images):
    layer = one_layer()

    def score(diagrams):
        for _ in range(times):
            diagrams = layer(diagrams[:, :1])
        return diagrams.sum((1, 2, 3))

    with pytest.raises(InputError, match=f"passes {times} times through the layer"):
        explain.grad_cam(score, images, layer)
    assert not layer._forward_hooks


def joint_net(name, bins):
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        net = model.JointNet(
            name, views=["first", "second"], bins=bins, classes=["a", "b", "c"], snrs_db=[0, 10],
            dropout=0.5, pretrained=False,
        )  # fmt: skip
        for module in net.modules():  # an untrained ResNet's last batch norms stop its blocks
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_()
    return net.eval()


BINS_OF = {"compact": 32, "resnet18": 64, "swin_tiny": 64, "vit_b_16": 32}
SMALL = ["compact", "resnet18"]
LARGE = [pytest.param(name, marks=pytest.mark.long) for name in ("swin_tiny", "vit_b_16")]


@cache
def net_of(name):
    return joint_net(name, BINS_OF[name])


def logit(net, sign=1):
    """Return the logit of the second class, or against it: the maps of both are nowhere negative,
    and where one is black the other is not."""
    return lambda diagrams: sign * net(diagrams).modulation[:, 1]


def drawn_for(net, generator):
    bins = net.settings["bins"]
    return torch.rand(2, 2, bins, bins, generator=generator)


@pytest.mark.parametrize("name", [*SMALL, LARGE[0]])
def test_behind_mean_and_linear_head_grad_cam_is_the_class_activation_map(name, generator):
    net = net_of(name)
    images = drawn_for(net, generator)
    with torch.no_grad():  # Zhou et al. 2016: the head's weights times the features, place by place
        features = getattr(net.backbone, "forward_features", getattr(net.backbone, "layers", None))
        maps = features(images)
        maps = maps.permute(0, 3, 1, 2) if name == "swin_tiny" else maps
        activation = torch.einsum("fcij,c->fij", maps, net.modulation_head[-1].weight[1])
        activation = activation.unsqueeze(1) / maps[0, 0].numel()
    assert activation[0].unique().numel() > 1  # places differ
    for sign in (1, -1):
        wanted = nn.functional.interpolate(
            (sign * activation).clamp(min=0), images.shape[2:], mode="bilinear"
        )
        found = explain.grad_cam(logit(net, sign), images, *model.last_features(net))
        assert_close(found, wanted.expand_as(images).contiguous(), atol=1e-6, rtol=1e-4)


@pytest.mark.long
def test_grad_cam_of_a_vit_weighs_the_patches_that_the_last_block_attends_to(generator):
    net = net_of("vit_b_16")
    images, vit = drawn_for(net, generator), net.backbone
    last = vit.blocks[-1]
    with torch.no_grad():
        before = vit.blocks[:-1](vit.norm_pre(vit._pos_embed(vit.patch_embed(images))))
    seen = last.norm1(before).detach().requires_grad_()
    after = before + last.attn(seen)
    after = after + last.mlp(last.norm2(after))
    (slopes,) = torch.autograd.grad(net.modulation_head(vit.norm(after)[:, 0])[:, 1].sum(), seen)
    wanted = torch.zeros(2, 1, 2, 2)
    for token, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)], start=1):
        wanted[:, 0, row, column] = (seen[:, token] * slopes[:, 1:].mean(1)).sum(1).detach()
    wanted = nn.functional.interpolate(wanted.clamp(min=0), 32, mode="bilinear")
    found = explain.grad_cam(logit(net), images, *model.last_features(net))
    assert found.amax() > 0
    assert_close(found, wanted.expand_as(images).contiguous(), atol=1e-7, rtol=1e-3)


@pytest.mark.parametrize("name", [*SMALL, *LARGE])
def test_looking_for_the_last_features_leaves_a_network_as_it_was(name):
    net = net_of(name)
    net.train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    model.last_features(net)
    assert all(module.training and not module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    net.eval()


class Strange(nn.Module):
    """A backbone whose features are [1, ``shape``]; a module of it made them, or none."""

    num_features = 5

    def __init__(self, *shape, made=True):
        super().__init__()
        self.shape, self.made, self.maker = shape, made, nn.Identity()

    def forward_features(self, _):
        features = torch.zeros(1, *self.shape)
        return self.maker(features) if self.made else features


@pytest.mark.parametrize(
    "backbone",
    [
        Strange(5, 2, 2, made=False),
        Strange(4, 2, 2),  # no axis is as long as there are features
        Strange(7, 5),  # tokens, but of no grid that is known
    ],
)
def test_a_backbone_of_which_no_layer_is_known_is_refused(backbone):
    net = joint_net("compact", 32)
    net.backbone = backbone
    with pytest.raises(InputError, match="No layer of compact is known whose features have a pl"):
        model.last_features(net)


def test_features_are_turned_to_maps_by_where_their_channels_are():
    net = joint_net("compact", 32)
    for shape in ((5, 2, 3), (2, 3, 5)):
        net.backbone = Strange(*shape)
        layer, as_maps = model.last_features(net)
        assert layer is net.backbone.maker
        assert as_maps(torch.zeros(1, *shape)).shape == (1, 5, 2, 3)


# What holds for all methods


def small_net(generator):
    """Return a network of one hidden layer, diagrams to logits of three classes and an SNR."""
    hidden = torch.randn(VIEWS * BINS**2, 6, generator=generator)
    outputs = torch.randn(6, 4, generator=generator)

    def forward(diagrams):
        said = torch.tanh(diagrams.flatten(1) @ hidden) @ outputs
        return said[:, :3], said[:, 3]

    return forward


@pytest.mark.parametrize("task", ["modulation", "snr"])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_frame_is_explained_for_its_own_label(method, task, images, generator):
    forward = small_net(generator)
    modulation, snr_db = torch.tensor([2, 0, 1]), torch.tensor([10.0, -10.0, 0.0])

    def score(which):
        return explain.evidence(
            forward, task, modulation[which], snr_db[which], torch.tensor([-10.0, 0.0, 10.0])
        )

    together = method(score(slice(None)), images)
    assert together.any()
    for frame in range(3):
        alone = slice(frame, frame + 1)
        assert_close(together[alone], method(score(alone), images[alone]), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("method", [*METHODS, "grad_cam"])
def test_explaining_leaves_diagrams_and_network_without_gradients(method, images):
    net = nn.Sequential(nn.Conv2d(VIEWS, 3, 1), nn.Tanh(), nn.Flatten(), nn.Linear(48, 1))
    attribute = METHODS.get(method, lambda score, d: explain.grad_cam(score, d, net[0]))
    before = images.clone()
    found = attribute(lambda d: net(d).squeeze(1), images)
    assert not found.requires_grad
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(found, attribute(lambda d: net(d).squeeze(1), images))
    assert not images.requires_grad
    assert torch.equal(images, before)
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize(("value", "fault"), [(nan, "NaN or infinite"), (0.0, "empty")])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_diagrams_without_points_or_numbers_are_refused(method, value, fault, images, weights):
    images[1] = value
    with pytest.raises(InputError, match=f"1 diagrams .*{fault}.* first at index 1"):
        method(linear(weights), images)
