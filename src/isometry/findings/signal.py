"""Rules on the signal's way forward through the layers (FWD)."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.rule import Draft, rule
from isometry.probes.activations import ActivationTable
from isometry.probes.attention import AttentionTable
from isometry.probes.courses import SignalCourse
from isometry.probes.recurrence import TimeTrace
from isometry.probes.saturation import SaturatedPlace, Saturation
from isometry.probes.traces import SignalTrace
from isometry.report.finding import Remedy

# All grounds are in benchmarks/thresholds.md. Decades from the first hidden layer to the last: signal and gradient of
# a plain network fall and rise together, so the bounds are those of the gradient.
MAX_TOTAL_FALL = 4.0
SAFE_TOTAL_RISE = 3.0  # 3.3 decades cost a plain network a quarter of its accuracy with Adam, all with plain descent
MAX_TOTAL_RISE = 4.0
MAX_COLLAPSE = 4.0  # decades of the share of the signal that differs between samples; 3.4 still learned, 6 did not
MAX_SILENT_SHARE = 0.9  # of a layer's units; a network with 0.81 learned, one with 0.97 did not
MAX_SATURATED_SHARE = 0.5  # of an activation's outputs; 0.32 cost nothing, 0.55 some of the accuracy
LOST_SATURATED_SHARE = 0.8  # of an activation's outputs; 0.87 cost a third to a half of the accuracy
MAX_EVENNESS = 1e-3  # relative deviation of attention weights; transformers as published start at 0.03 or more
REPAIR = Remedy("init", Phrase("Initialise at the critical point of the activation: isometry fix."))
SCALE = Remedy(
    "model",
    Phrase("Divide the scores by the root of the head's width, and draw smaller weights for queries and keys."),
    suggestion="scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])",
)
MEAN_OUTWEIGHS = Phrase("an activation with a mean, or a bias, outweighs what differs between samples")
AVERAGES = Phrase("averages over places, such as attention without a residual path, leave the same at every place")
SHORTCUT = Remedy("model", Phrase("A residual path around each attention, which keeps what differs between places."))
OPEN = Remedy(
    "init", Phrase("Biases of the gates near zero; only the forget gates may start open, at 1 or a little more.")
)
SHRINK = Remedy("init", Phrase("Smaller weights before the gates, or inputs scaled to unit variance."))


@rule(
    "FWD101",
    severity="error",
    explained_by=("NUM101", "INI103", "INI101", "INI105", "INI112", "DAT102", "BWD101", "FWD103"),
    is_statistic=True,
)
def vanishing_activation(trace: SignalTrace, *, max_fall: float = MAX_TOTAL_FALL) -> Iterator[Draft]:
    """The signal shrinks geometrically on its way to the loss.

    Why:
        The last layers hear almost nothing of the input, so the output cannot depend on it.

    Measured:
        Fall of log10 of the output's root mean square from the first hidden layer to the last, along the layers
        that every way to the loss passes.

    Remedy:
        Weights whose variance makes up for what the activation removes: `isometry fix`.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2; Hanin, Rolnick 2018, arXiv:1803.01719.
    """
    fall = -trace.total_growth
    if fall > max_fall:
        yield Draft(
            where=trace.layers[::-1],
            measured=fall,
            allowed=max_fall,
            unit="decades",
            cause=_rate(trace),
            remedy=REPAIR,
        )


@rule(
    "FWD102",
    severity="error",
    explained_by=("NUM101", "INI103", "INI101", "INI105", "INI112", "DAT101", "BWD102"),
    is_statistic=True,
)
def exploding_activation(
    course: SignalCourse, *, safe_rise: float = SAFE_TOTAL_RISE, max_rise: float = MAX_TOTAL_RISE
) -> Iterator[Draft]:
    """The signal grows geometrically on its way to the loss.

    Why:
        Outputs become huge, the loss starts far from its sensible value, and number formats overflow.

    Measured:
        Growth of log10 of the output's root mean square from the first hidden layer to the last, along the layers
        that every way to the loss passes: a warning from 3 decades on, an error from 4. Likewise of the state from
        the first steps of a recurrence to the last, an error from 4 decades on.

    Remedy:
        Weights whose variance makes up for the fan: `isometry fix`; in residual nets branch ends scaled by depth.

    Source:
        He, Zhang, Ren, Sun 2015, arXiv:1502.01852, section 2.2; Hanin, Rolnick 2018, arXiv:1803.01719.
    """
    if course.depth is not None and course.depth.total_growth > min(safe_rise, max_rise):
        is_lost = course.depth.total_growth > max_rise
        yield Draft(
            where=course.depth.layers[::-1],
            measured=course.depth.total_growth,
            allowed=max_rise if is_lost else safe_rise,
            unit="decades",
            cause=_rate(course.depth),
            remedy=REPAIR,
            severity=None if is_lost else "warning",
        )
    for trace in course.time:
        if trace.total_growth > max_rise:
            yield _exploding_in_time(trace, max_rise)


def _exploding_in_time(trace: TimeTrace, allowed: float) -> Draft:
    return Draft(
        where=(trace.name,),
        measured=trace.total_growth,
        allowed=allowed,
        unit="decades",
        cause=Phrase(
            "through time each step multiplies the state by {factor:.3g}, over {steps} steps",
            factor=10 ** (trace.total_growth / len(trace.signal)),
            steps=len(trace.signal),
        ),
        remedy=Remedy("init", Phrase("Start the recurrent weights orthogonal, or at the identity behind a ReLU.")),
        message=Phrase(
            "The state grows by {measured:.3g} decades through the {steps} steps of {where}.",
            measured=trace.total_growth,
            steps=len(trace.signal),
            where=repr(trace.name),
        ),
    )


def _rate(trace: SignalTrace) -> Phrase:
    return Phrase("each layer multiplies the signal by {factor:.3g}", factor=trace.factor_per_layer)


@rule(
    "FWD105",
    severity="warning",
    explained_by=("NUM101", "INI103", "INI101", "DAT102", "DAT104", "DAT101", "BWD101", "FWD101", "FWD103", "FWD104"),
    is_statistic=True,
)
def rank_collapse(trace: SignalTrace, *, max_collapse: float = MAX_COLLAPSE) -> Iterator[Draft]:
    """All samples become one on their way to the loss.

    Why:
        What a layer cannot tell apart no later layer can; the output is then the same for every input, although
        its size looks healthy.

    Measured:
        Fall of log10 of the share of the signal that differs between samples (the root mean square about each
        unit's mean, over the plain one) from the first hidden layer to the last; for rows of tokens also of the
        share that differs between the places of one sample, or between the samples at one place.

    Remedy:
        Weights at the edge of chaos, and a bias that cancels the activation's mean: `isometry fix`.

    Source:
        Poole, Lahiri, Raghu, Sohl-Dickstein, Ganguli 2016, arXiv:1606.05340; Schoenholz et al. 2017,
        arXiv:1611.01232; Dong, Cordonnier, Loukas 2021, arXiv:2103.03404, for attention.
    """
    collapse, places = trace.total_collapse or 0.0, trace.place_collapse or 0.0
    if max(collapse, places) > max_collapse:
        yield Draft(
            where=trace.layers[::-1],
            measured=max(collapse, places),
            allowed=max_collapse,
            unit="decades",
            cause=MEAN_OUTWEIGHS if collapse > max_collapse else AVERAGES,
            remedy=REPAIR if collapse > max_collapse else SHORTCUT,
        )


@rule(
    "FWD103",
    severity="error",
    explained_by=("NUM101", "INI103", "INI101", "INI105", "DAT101", "DAT102", "LOS102"),
    is_statistic=True,
)
def dying_relu(table: ActivationTable, *, max_silent_share: float = MAX_SILENT_SHARE) -> Iterator[Draft]:
    """Almost all units of a layer are silent on every sample.

    Why:
        A rectifier passes no gradient where it is zero; a unit that is zero everywhere never learns again.

    Measured:
        Share of units behind an activation, as module, function or method, whose output is exactly zero on all
        samples and places of the batch, of which there must be at least 16. Single silent units are normal.

    Remedy:
        Biases at zero and weights of zero mean: `isometry fix`; during training a smaller step, or leaky ReLU.

    Source:
        Lu, Shin, Su, Karniadakis 2019, arXiv:1903.06733.
    """
    dead = [row for row in table.activations if (row.silent_share or 0) > max_silent_share and not row.is_gate]
    if dead:
        worst = max(dead, key=lambda row: row.silent_share or 0)
        yield Draft(
            where=tuple(row.layer for row in dead),
            measured=worst.silent_share,
            allowed=max_silent_share,
            unit="share of units",
            cause=Phrase(
                "the inputs of {name} behind {layer} are positive on no sample",
                name=worst.name,
                layer=repr(worst.layer),
            ),
            remedy=Remedy("init", Phrase("Set biases to zero and draw weights of zero mean: isometry fix.")),
        )


@rule(
    "FWD104",
    severity="error",
    explained_by=("NUM101", "INI103", "INI101", "INI105", "INI112", "DAT101", "LOS102", "FWD102", "BWD102"),
    is_statistic=True,
)
def saturated_activation(
    saturation: Saturation, *, max_share: float = MAX_SATURATED_SHARE, lost_share: float = LOST_SATURATED_SHARE
) -> Iterator[Draft]:
    """Most outputs of a bounded function lie where its slope is almost gone.

    Why:
        Outside of the zone around zero a sigmoid or tanh passes no gradient, however large the error is, and an
        attention that looks at one key alone passes none to its queries and keys.

    Measured:
        Share of outputs of a sigmoid, tanh, hard sigmoid, hard tanh or softsign behind a hidden layer whose slope
        is below 5 % of the largest (sigmoid beyond 4.4, tanh beyond 2.2). Gates, outputs, and the gates and states
        inside of recurrences count only where they lie at both ends: a bias may hold them at one by design, as it
        does an open forget gate. Gates that let less than 0.01 of their input into a unit's state, or of the state
        out of it, over all steps together count by the unit. Of attentions the share of queries that give one of at
        least four keys more than 98.7 % of the weight. Above 50 % it is a warning, above 80 % an error; for gates and
        outputs 80 and 90 %.

    Remedy:
        Smaller weights, or inputs scaled to unit variance: `isometry fix`; scores over the root of the head's width.

    Source:
        Glorot, Bengio 2010, section 3; Zhang, Zhai, Ma, Shen 2021, arXiv:2002.11893 for the automated check;
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1, for attention.
    """
    bounds = {"gate": (lost_share, (1 + lost_share) / 2)}  # whatever is no activation may be nearly binary by design
    flat = [place for place in saturation.places if place.share > bounds.get(place.kind, (max_share, lost_share))[0]]
    if flat:
        worst = max(flat, key=lambda place: place.share)
        max_share, lost_share = bounds.get(worst.kind, (max_share, lost_share))
        is_lost = worst.share > lost_share
        yield Draft(
            where=tuple(dict.fromkeys([worst.layer, *worst.beside, *(place.layer for place in flat)])),
            measured=worst.share,
            allowed=lost_share if is_lost else max_share,
            unit={"attention": "share of queries", "shut": "share of units"}.get(worst.kind, "share of outputs"),
            cause=_why_saturated(worst),
            remedy={"activation": REPAIR, "attention": SCALE, "shut": OPEN}.get(worst.kind, SHRINK),
            severity=None if is_lost else "warning",
        )


def _why_saturated(place: SaturatedPlace) -> Phrase:
    name, layer = place.name, repr(place.layer)
    match place.kind:
        case "activation":
            return Phrase("the inputs of {name} behind {layer} are too large", name=name, layer=layer)
        case "attention":
            return Phrase("the scores of the attention in {layer} are so large that it looks at one key", layer=layer)
        case "shut":
            return Phrase(
                "the biases of the {name} gate in {layer} let nothing into its state or out of it",
                name=name,
                layer=layer,
            )
        case "recurrence":
            return Phrase("the inputs of the {name} gate or state in {layer} are too large", name=name, layer=layer)
        case "gate":
            return Phrase("the inputs of {name} in {layer} are too large: it is open or shut", name=name, layer=layer)


@rule("FWD107", severity="note", explained_by=("PAR101",))
def uniform_attention(table: AttentionTable, *, max_evenness: float = MAX_EVENNESS) -> Iterator[Draft]:
    """Every attention gives all keys the same weight.

    Why:
        It averages its values, whatever queries and keys say. A small start makes it nearly so, and training parts
        the keys; queries or keys of zero give each other no gradient until one of them has moved.

    Measured:
        Root mean square by which a weight differs from the even one, relative to it, over queries that may look at
        four keys or more; below 0.001 in all attentions it is a note.

    Remedy:
        None if queries and keys get a gradient; otherwise weights for them that are not zero.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1; Noci et al. 2022, arXiv:2206.03126, on what uniform
        attention does to the gradients of queries and keys.
    """
    largest = max(each.deviation for each in table.attentions)
    if largest < max_evenness:
        yield Draft(
            where=tuple(dict.fromkeys(each.name for each in table.attentions)),
            measured=largest,
            allowed=max_evenness,
            unit="relative deviation",
            cause=Phrase("queries or keys are so small that every attention averages its values"),
            remedy=Remedy("none", Phrase("None, if queries and keys get a gradient.")),
        )
