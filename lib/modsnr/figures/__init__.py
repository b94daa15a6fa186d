"""Every plot: tidy tables and arrays in, Figure out.

One style sheet, the widths of a two-column paper. Diagrams are drawn with their first row at the
bottom. The palette is Okabe and Ito's, which colour-blind readers can distinguish; series also
differ in marker or hatch.
"""

from modsnr.figures.attributions import attribution_grid, maps_over_alphabet, points_in_time
from modsnr.figures.choices import ablation, accuracy_by_choice
from modsnr.figures.explorer import one_frame
from modsnr.figures.frames import (
    class_order_audit,
    fidelity,
    snr_audit,
    spectrum,
    view_gallery,
)
from modsnr.figures.impacts import (
    counterfactual_curves,
    impact_bars,
    impact_by_label,
    impact_panels,
    masked,
    method_bars,
    region_matrix,
)
from modsnr.figures.limits import accuracy_over_snr, ceilings, snr_limits
from modsnr.figures.models import (
    confusion_pair,
    learning_curve,
    reliability,
    snr_calibration,
)
from modsnr.figures.receiver import receiver_steps
from modsnr.figures.recordings import timeline, waterfall
from modsnr.figures.shifts import loss_matrix, rejection_bars, shift_matrix
from modsnr.figures.style import COLUMN, MARKERS, PAGE, PALETTE, STYLE, Picture
from modsnr.figures.sweeps import (
    importance_bars,
    learning_curves,
    outcome_bars,
    parallel_coordinates,
    ranked,
)
