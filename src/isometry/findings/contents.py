"""Rules on what parameters and buffers hold, which need no batch (INI); `audit` runs them."""

from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.findings.deviations import off_constant, off_mean, off_replay, off_std, off_tail
from isometry.findings.rule import AUDIT_RULES, RULES, Draft, rule
from isometry.planning.copies import Clones, Copies
from isometry.planning.inventory import Inventory, InventoryRow
from isometry.planning.zeros import ZeroProducts
from isometry.probes.contents import is_huge
from isometry.probes.duplicates import EqualSlices
from isometry.report.finding import Remedy

MAX_SIGMA = (
    1000.0  # standard deviations; no distribution of weights in use comes near, and unwritten memory goes beyond
)
MAX_PLAIN = 10.0  # units of the weight; identities, shifts and gains on a diagonal stay below
MAX_AMONG_ZEROS = 1e4  # units of the weight; among zeros a gain or a shift of 10 is no outlier
MATRIX_AXES = 2  # counts; a vector has no units
WRITE = Remedy("init", Phrase("Write it: iso.plan(model, inputs).apply(model), or the model's own initialisation."))
WRITE_BUFFER = Remedy(
    "init", Phrase("Compute it after the model has its memory: build under iso.on_meta() and materialise.")
)
APPLY = Remedy(
    "init", Phrase("Apply the plan last, with this seed, and let nothing write after it: plan.apply(model).")
)
DRAW_APART = Remedy(
    "init", Phrase("Draw each by itself: plan.apply(model). If they are meant to be equal, tie or freeze them.")
)
DRAW_OR_PLAN = Remedy(
    "init", Phrase("Draw it: plan.apply(model). A plan that sets it to a constant says that it is wanted.")
)
ONE_ZERO = Remedy("init", Phrase("Let at most one of two factors start at zero, and draw the other."))
GIVE_BATCH = Remedy(
    "init", Phrase("Give a batch, which decides: iso.audit(task). If they follow each other, draw all but one of them.")
)
SEE_IF_IT_LEARNS = Remedy("none", Phrase("See whether it learns: isometry check. A plan that sets it to zero says so."))
ASK_A_BATCH = Remedy(
    "none",
    Phrase("A batch decides whether such zeros keep each other from learning: iso.audit(task). A plan says it too."),
)
FATES = {
    "unknown": Phrase("{names} hold equal numbers"),
    "part": Phrase("{names} hold equal numbers, yet get different gradients, which part them"),
    "stay": Phrase("{names} hold equal numbers and get equal gradients, which keep them equal for ever"),
}
ONE_RULE = Remedy("init", Phrase("Take all but one of these entries out of the plan."))


@rule("INI103", severity="error", table=AUDIT_RULES)
def uninitialised_memory(inventory: Inventory) -> Iterator[Draft]:
    """A parameter or buffer holds numbers that nobody wrote.

    Why:
        Memory that was taken and not written holds what was there before: a network that starts from it fails at
        once, or runs with wrong masks and frequencies and never says so.

    Measured:
        Tensors without memory; NaN; in trainable parameters also infinities, numbers whose square is no float32, and
        numbers too small for full precision, which are what addresses and integers look like; in buffers and frozen
        parameters numbers of absurd size of several values, since a mask has one.

    Remedy:
        Write the tensor: apply a plan, call the model's own initialisation, or compute the buffer anew after the model
        was given memory. `iso.materialise` does both for models on the meta device.

    Source:
        PyTorch documentation of torch.empty and nn.Module.to_empty; huggingface/transformers issues 28073 and 34234.
    """
    for cause, is_unwritten in UNWRITTEN:
        found = [row for row in inventory.rows if is_unwritten(row) and not (inventory.has_run and _is_plain_nan(row))]
        if found:
            yield Draft(
                where=tuple(row.name for row in found),
                measured=float(len(found)),
                allowed=0.0,
                unit="tensors",
                cause=Phrase("{name} {what}", name=repr(found[0].name), what=cause),
                remedy=WRITE_BUFFER if found[0].kind.endswith("buffer") else WRITE,
            )


@rule("INI104", severity="error", explained_by=("INI103",), table=AUDIT_RULES)
def off_plan(inventory: Inventory) -> Iterator[Draft]:
    """A parameter holds other numbers than the plan writes.

    Why:
        The plan was not applied, was applied with another seed, or something wrote after it. What was planned is then
        not what trains.

    Measured:
        With a seed: elements that differ from the plan's own, drawn again. Without: constants, and mean, standard
        deviation and largest number against bounds that chance breaks once in 10⁹ audits, which follow from the
        number of elements, the kurtosis and the reach of the distribution.

    Remedy:
        Apply the plan last: `plan.apply(model, seed=...)`.

    Source:
        Boucheron, Lugosi, Massart 2013, Concentration Inequalities, theorem 2.10; Laurent, Massart 2000, lemma 1.
    """
    told: set[str] = set()
    for cause, deviation in (
        (Phrase("holds other numbers than the plan draws with this seed"), off_replay),
        (Phrase("is not the constant that the plan sets"), off_constant),
        (Phrase("has another standard deviation than the plan's distribution"), off_std),
        (Phrase("has another mean than the plan's distribution"), off_mean),
        (Phrase("holds a number that the plan's distribution cannot give"), off_tail),
    ):
        rows = [row for row in inventory.rows if row.name not in told]
        found = [(row, numbers) for row in rows if (numbers := deviation(row)) is not None]
        told.update(row.name for row, _ in found)
        if found:
            row, (measured, allowed, unit) = found[0]
            yield Draft(
                where=tuple(each.name for each, _ in found),
                measured=measured,
                allowed=allowed,
                unit=unit,
                cause=Phrase("{name} {what} ({rule})", name=repr(row.name), what=cause, rule=row.rule),
                remedy=APPLY,
            )


@rule("INI105", severity="error", explained_by=("INI103",), table=AUDIT_RULES)
def outlier_weights(inventory: Inventory) -> Iterator[Draft]:
    """A weight that no plan drew holds a number of absurd size.

    Why:
        One such number rules its unit's output whatever the input is. No distribution of weights gives it; memory
        that was written in part does.

    Measured:
        The largest magnitude in a trainable matrix over the standard deviation of a normal distribution with the same
        median of |x|, which a few numbers do not move. Identities and gains up to 10 are left in peace.

    Remedy:
        Draw the weight anew.

    Source:
        huggingface/transformers issue 28073, where weights held 1e37; Hampel 1974, JASA 69:383-393, for the median.
    """
    found = [(row.name, size) for row in inventory.rows if (size := _sigmas(row)) > MAX_SIGMA]
    if found:
        yield Draft(
            where=tuple(name for name, _ in found),
            measured=max(size for _, size in found),
            allowed=MAX_SIGMA,
            unit="standard deviations",
            cause=Phrase("{name!r} holds a few numbers that dwarf all others", name=found[0][0]),
            remedy=WRITE,
        )


@rule("INI106", severity="error", explained_by=("INI103", "INI101", "INI102"), table=AUDIT_RULES)
def duplicate_layers(clones: Clones) -> Iterator[Draft]:
    """Layers start as copies of each other, though nobody tied them.

    Why:
        A layer that was cloned after it was drawn adds no directions of its own to the start. `nn.TransformerEncoder`
        and `copy.deepcopy` do so. Experts, heads and members of an ensemble that read the same and are read alike get
        copies of one gradient, and stay copies.

    Measured:
        Trainable weights of one shape that agree to 1 % of their size. Left out are tied and frozen weights, vectors,
        constants, what is laid out on purpose (ramps, waves, identities), and what a plan gives a structure. A batch
        decides what it costs: an error if their gradients agree too, a note if these differ and part them.

    Remedy:
        Draw each layer by itself. If they are meant to be equal, tie them, or freeze the copy.

    Source:
        pytorch/pytorch issues 72253 and 86274.
    """
    for layers in clones.layers:
        first, second, *others = layers.modules
        names = Phrase("{first} and {second}", first=repr(first), second=repr(second))
        if others:
            names = Phrase("{names} and {count} more", names=names, count=len(others))
        yield Draft(
            where=layers.modules,
            measured=float(len(layers.weights) - len(layers.weights) // len(layers.modules)),
            allowed=0.0,
            unit="copied weights",
            cause=Phrase(FATES[layers.fate].template, names=names),
            remedy=DRAW_APART,
            severity="note" if layers.fate == "part" else None,
        )


@rule("INI107", severity="error", explained_by=("INI103", "INI104"), table=AUDIT_RULES)
def duplicate_units(copies: Copies) -> Iterator[Draft]:
    """Units, heads or experts of one weight start as copies of each other.

    Why:
        Units with equal weights compute the same. Where what reads them is equal too, they stay one unit for ever.

    Measured:
        Slices of a trainable weight along the axis of its units that agree to 1e-5 of their size; along every axis
        that may hold units where no module or batch tells. Slices of zeros, those laid out on purpose, and those so
        short that some agree by chance are left out. Neighbours copied at one distance are told as blocks: heads. A
        note on rows of embeddings, on filters that all come again equally often, and on those of grouped convolutions.

    Remedy:
        Draw the weight at random as a whole. If the copies are wanted, let a plan make them, so that it says so.

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    for name, found in copies.slices.items():
        yield Draft(
            where=(name,),
            measured=float(found.num_copies),
            allowed=float(found.num_slices),
            unit="copied units",
            cause=_recurrence(found),
            remedy=DRAW_APART,
            severity="note" if name in copies.harmless else None,
        )


@rule("INI108", severity="error", explained_by=("INI103",), table=AUDIT_RULES)
def zero_product(zeros: ZeroProducts) -> Iterator[Draft]:
    """Two factors of one product are both zero.

    Why:
        The gradient of each is a multiple of the other: both stay zero for ever. One zero is a good start, as at the
        end of a residual branch or in LoRA's second factor.

    Measured:
        With a batch: weights of zeros whose gradient is exactly zero, and for which no other zero opens the way.
        Without: zero layers in a row in an nn.Sequential, and low-rank pairs named A and B, or down and up. A warning
        where the nn.Sequential is part of another module, which may call its layers in another way.

    Remedy:
        Let at most one of the two start at zero.

    Source:
        Hu et al. 2021, LoRA, arXiv:2106.09685, section 4.1, where one factor only is zero.
    """
    for product in zeros.products:
        yield Draft(
            where=product,
            cause=Phrase("each of these weights of zeros takes the other's gradient away"),
            remedy=ONE_ZERO,
        )
    for product in zeros.likely:
        yield Draft(
            where=product,
            cause=Phrase(
                "these layers of zeros stand in a row, and take each other's gradient away if they are called so"
            ),
            remedy=GIVE_BATCH,
            severity="warning",
        )


@rule("INI109", severity="error", table=AUDIT_RULES)
def overlapping_rules(inventory: Inventory) -> Iterator[Draft]:
    """Several entries of a plan write one memory.

    Why:
        The last one wins, and which that is depends on the order. It happens when tied weights are named twice, when
        parameters are views of one memory, or when a plan was edited.

    Measured:
        Entries of the plan that write elements of the same memory.

    Remedy:
        Take all but one of the entries out.

    Source:
        PyTorch documentation, Tensor views.
    """
    for row in inventory.rows:
        if len(row.writers) > 1:
            yield Draft(
                where=(row.name,),
                measured=float(len(row.writers)),
                allowed=1.0,
                unit="writes",
                cause=Phrase("written by the entries of {names}", names=", ".join(map(repr, row.writers))),
                remedy=ONE_RULE,
            )


@rule("INI110", severity="note", explained_by=("INI103", "INI108"), table=AUDIT_RULES)
def unplanned_zeros(zeros: ZeroProducts) -> Iterator[Draft]:
    """A trainable weight is all zeros, and no plan says so.

    Why:
        It is a good start at the end of a residual branch, in a head or in LoRA's second factor. It is a fault where
        large memory was taken and never written, which the system hands out as zeros.

    Measured:
        Trainable matrices of zeros that no entry of the plan writes and no zero product explains. Without a batch it
        is not known whether they multiply each other, as a zero head behind a zero layer does.

    Remedy:
        None if it is wanted; a plan that sets it to zero says so. Otherwise draw it.

    Source:
        PyTorch documentation of torch.empty; Zhang, Dauphin, Ma 2019, Fixup, arXiv:1901.09321, for zeros by design.
    """
    if zeros.lonely:
        yield Draft(
            where=zeros.lonely,
            cause=Phrase("zeros by design and memory that was never written look the same"),
            remedy=SEE_IF_IT_LEARNS if zeros.has_batch else ASK_A_BATCH,
        )


@rule("INI111", severity="error", explained_by=("INI103", "INI104"), table=AUDIT_RULES)
def constant_matrix(copies: Copies) -> Iterator[Draft]:
    """All numbers of a trainable matrix are one, other than zero.

    Why:
        Units with equal weights compute the same. Where what reads them is equal too, they stay one unit for ever.

    Measured:
        Matrices of one number that no plan writes. An error in a linear or convolutional layer of several units, unless
        a batch gives these different gradients, as it does in a last layer; a note on others. Norms are left out.

    Remedy:
        Draw it. If it is wanted, let a plan set it, so that it says so.

    Source:
        Goodfellow, Bengio, Courville 2016, Deep Learning, section 8.4.
    """
    if copies.uniform:
        yield Draft(where=copies.uniform, cause=Phrase("its units start as one"), remedy=DRAW_OR_PLAN)
    if copies.constant:
        yield Draft(
            where=copies.constant, cause=Phrase("all of it starts as one"), remedy=DRAW_OR_PLAN, severity="note"
        )


def _recurrence(found: EqualSlices) -> Phrase:
    """Say which slices come again where."""
    place = {"axis": found.axis, "first": found.first, "again": found.again}
    if found.block == 1:
        return Phrase("slice {first} of axis {axis} comes again as slice {again}", **place)
    return Phrase(
        "the {count} slices of axis {axis} from {first} on come again from {again} on", count=found.block, **place
    )


def _is_meta(row: InventoryRow) -> bool:
    return row.memory == "meta"


def _is_nonfinite(row: InventoryRow) -> bool:
    return row.numbers is not None and not row.numbers.is_finite and not _is_mask(row)


def _is_absurd(row: InventoryRow) -> bool:
    return row.numbers is not None and row.numbers.is_finite and is_huge(row.numbers) and not _is_mask(row)


def _is_plain_nan(row: InventoryRow) -> bool:
    """Say whether a tensor holds NaN or infinities beside sound numbers: where these come from a batch tells."""
    return row.numbers is not None and not row.numbers.is_finite and not row.is_unwritten


def _is_mask(row: InventoryRow) -> bool:
    return row.is_mask and row.kind != "parameter"


def _has_subnormals(row: InventoryRow) -> bool:
    is_finite = row.numbers is not None and not is_huge(row.numbers)
    return row.kind == "parameter" and row.is_unwritten and is_finite


def _sigmas(row: InventoryRow) -> float:
    """Return the largest number of a trainable matrix in typical sizes; 0 where a plan tells what it may hold."""
    numbers = row.numbers
    if row.kind != "parameter" or row.is_drawn or numbers is None or is_huge(numbers):
        return 0.0
    is_matrix = sum(length > 1 for length in row.shape) >= MATRIX_AXES
    if not is_matrix or numbers.largest <= (MAX_PLAIN if numbers.typical > 0 else MAX_AMONG_ZEROS):
        return 0.0
    return numbers.largest / (numbers.typical or 1.0)  # among zeros nothing is typical


# From what is said of tensors that nobody wrote to how they are known.
UNWRITTEN = (
    (Phrase("lies on the meta device, which has shapes but no numbers"), _is_meta),
    (Phrase("holds NaN, or an infinity where none belongs"), _is_nonfinite),
    (Phrase("holds numbers whose square is no float32"), _is_absurd),
    (Phrase("holds numbers too small for full precision, as addresses and integers look"), _has_subnormals),
)
# What no batch is needed for, `check` looks at as well.
for _each in (uninitialised_memory, outlier_weights, duplicate_layers):
    RULES.add(_each.code)(_each)
