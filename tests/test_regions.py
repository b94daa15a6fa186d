"""Regions of a diagram by hand-counted geometry, what fills them, and what is lost with each."""

from functools import partial

import numpy as np
import torch
from numpy.testing import assert_array_equal
from simulated import seeded
from torch.testing import assert_close

from modsnr import explain


def cloud(generator, frames=6, bins=16):
    """Return images of a few hundred points each, log counts, denser towards the origin."""
    place = (torch.randn(frames, 400, 2, generator=generator) * bins / 6 + bins / 2).long()
    place = place.clamp(0, bins - 1)
    counts = torch.zeros(frames, bins * bins)
    counts.scatter_add_(1, place[..., 1] * bins + place[..., 0], torch.ones(frames, 400))
    return counts.log1p().view(frames, bins, bins)


# Where


def test_rings_and_quadrants_each_cover_the_diagram_once(generator):
    found = explain.regions(cloud(generator))
    for kind in ("ring", "quadrant"):
        parts = [mask.hidden for name, mask in found.items() if name.startswith(kind)]
        assert len(parts) == 4
        assert torch.equal(torch.stack(parts).sum(0), torch.ones(6, 16, 16, dtype=torch.long))


def test_the_rings_of_eight_bins_are_those_counted_by_hand():
    # Pixel centres lie at +-1/8, 3/8, 5/8, 7/8; a ring is a quarter of the way to the edge wide.
    upper_right = explain.rings(8)[4:, 4:]
    assert upper_right.tolist() == [[0, 1, 2, 3], [1, 2, 2, 3], [2, 2, 3, 3], [3, 3, 3, 3]]


def test_a_quarter_turn_moves_each_quadrant_into_the_next():
    quadrant = explain.quadrants(8)
    assert quadrant[7, 7] == 0  # quadrature, then in-phase
    assert torch.equal(quadrant.rot90(-1), (quadrant - 1) % 4)


def test_centre_and_tail_are_the_ends_of_the_same_order_and_hold_a_tenth_each(generator):
    images = cloud(generator)
    found = explain.regions(images)
    axis = (2 * torch.arange(16) + 1 - 16) / 16
    radius = (axis**2 + axis.unsqueeze(1) ** 2).sqrt()
    for image, centre, tail in zip(
        images, found["centre"].hidden, found["tail"].hidden, strict=True
    ):
        occupied = image > 0
        assert radius[centre].max() <= radius[occupied & ~centre].min()
        assert radius[tail].min() >= radius[occupied & ~tail].max()
        for hidden in (centre, tail):
            held = image[hidden].sum() / image.sum()
            assert explain.TAIL <= held < explain.TAIL + image.max() / image.sum()


def test_clusters_are_where_points_gather_and_transitions_are_the_rest(generator):
    sparse = (torch.rand(3, 16, 16, generator=generator) < 0.2).float()
    sparse[:, 4:7, 10:13] = 5.0  # a cluster that outweighs the strewn points about it
    found = explain.regions(sparse)
    clusters, transitions = found["clusters"].hidden, found["transitions"].hidden
    assert not (clusters & transitions).any()
    assert torch.equal(clusters | transitions, sparse > 0)
    assert clusters[:, 5, 11].all()
    assert (sparse * clusters).sum() >= sparse.sum() / 2
    assert not clusters[:, :2].any()


def test_each_region_has_a_control_that_hides_as_many_occupied_pixels(generator):
    images = cloud(generator)
    found = explain.regions(images, generator=generator)
    assert len(found) == 2 * len(explain.regions(images))
    for name, mask in explain.regions(images).items():
        control = found[f"{name} at random"]
        assert_close(control.share_of_occupied, mask.share_of_occupied)
        assert not (control.hidden & (images == 0)).any()
    differ = found["ring_1"].hidden & (images > 0) != found["ring_1 at random"].hidden
    assert differ.any()


def test_the_players_are_numbered_through_all_views():
    players = explain.players(3, 8)
    assert players.shape == (3, 8, 8)
    assert players.unique().tolist() == list(range(12))
    assert torch.equal(players[2] - 8, explain.rings(8))


# By what


def test_blackout_and_mean_put_in_what_they_say():
    image = torch.arange(1.0, 17).view(1, 4, 4)
    hidden = image > 12
    black = explain.fill(image, hidden, "blackout", generator=seeded())
    assert torch.equal(black, torch.where(hidden, 0.0, image))
    grey = explain.fill(image, hidden, "mean", generator=seeded())
    assert torch.equal(grey, torch.where(hidden, 6.5, image))  # the mean of 1 .. 12


def test_resampling_takes_values_from_the_same_radius_and_leaves_the_rest_alone(generator):
    axis = (2 * torch.arange(64) + 1 - 64) / 64
    radius = (axis**2 + axis.unsqueeze(1) ** 2).sqrt()
    image = (1 + radius).expand(2, 64, 64)
    hidden = torch.rand(2, 64, 64, generator=generator) < 0.3
    filled = explain.fill(image, hidden, "resampled", generator=generator)
    assert torch.equal(filled[~hidden], image[~hidden])
    within = hidden & (radius < 0.9)
    found = within & (filled > 0)  # but for the few whose eight angles are hidden all
    assert found.sum() > 0.99 * within.sum()
    # Half a pixel's diagonal away at most, on either side.
    assert_close(filled[found], image[found], atol=2.9 / 64, rtol=0)
    assert (filled[found] != image[found]).any()


def test_resampling_never_shows_what_is_hidden(generator):
    image = torch.ones(4, 32, 32)
    hidden = torch.rand(4, 32, 32, generator=generator) < 0.5
    image[hidden] = 7.0
    filled = explain.fill(image, hidden, "resampled", generator=generator)
    assert (filled != 7.0).all()
    assert (filled[hidden] == 1.0).float().mean() > 0.8  # the corners turn out of the picture


# At what cost: a toy of two views says class 1 while either view has a bright pixel, and the SNR
# from the mean of the first view.


def toy_draw(iq):
    diagrams = torch.zeros(len(iq), 2, 4, 4)
    diagrams[:, :, 3, 3] = 8.0
    diagrams[:, 0, 0] = 4.0
    return diagrams


def toy_decide(diagrams):
    return (diagrams.amax((1, 2, 3)) == 8).long(), diagrams[:, 0].mean((1, 2)) * 10


def toy_impacts(**options):
    iq = torch.zeros(8, 8, dtype=torch.complex64)
    subject = explain.Subject(
        toy_decide, toy_draw, iq, np.ones(8, int), np.full(8, 15.0), grid_db=[0.0, 10.0, 15.0]
    )
    return explain.perturb(subject, **options)


def test_an_answer_that_two_views_both_hold_is_lost_only_with_both():
    brightest = partial(explain.masks, fractions=[0.01])
    for view, right in ((0, 1.0), (1, 1.0), (None, 0.0)):
        impacts = toy_impacts(view=view, hide=brightest)
        impact = impacts[impacts["mask"] == "brightest"]
        assert impact.after_modulation.mean() == right
    assert_array_equal(impact.share_of_occupied, (1 / 5 + 1) / 2)


def test_a_mean_fill_keeps_an_answer_that_rests_on_the_mean():
    # Quadrant 1 holds a third of the sum: the mean of the other pixels is a ninth lower than that
    # of all, which leaves 13.3 dB, nearest 15; black leaves 10.
    for how, right in {"blackout": 0.0, "mean": 1.0}.items():
        impacts = toy_impacts(view=0, hide=explain.regions, how=how)
        assert impacts.fraction.isna().all()
        assert impacts[impacts["mask"] == "quadrant_1"].after_snr.mean() == right
