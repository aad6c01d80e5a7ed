"""The words inside of pictures: whether Vietnamese has them, and whether there is room for them."""

import re
from collections.abc import Iterator

from isometry._phrases import Phrase
from isometry.lab.figure import Figure
from isometry.lab.showing.drawing import drawn
from isometry.report.language import LANGUAGES, catalogue, say, speaking

# What has the same name in both languages: methods, functions, networks, laws.
NAMES = {
    "Adam",
    "CNN",
    "GL",
    "He",
    "LARS",
    "Label",
    "N",
    "NNGP",
    "NTK",
    "Newman",
    "PQ",
    "ReLU",
    "SGD",
    "U",
    "UP",
    "Wave",
    "epoch",
    "glorot-normal",
    "gradient",
    "he",
    "he-normal",
    "isometry",
    "momentum",
    "relu",
    "ridge",
    "sigmoid",
    "softmax",
    "tanh",
    "torch-default",
    "xavier",
    "ξ",
}


def require_vietnamese(figures: tuple[Figure, ...]) -> None:
    """Require that every word of pictures has its translation, and that curves are told apart in Vietnamese too."""
    assert [text for figure in figures for text in _texts(figure) if not _is_known(text)] == []

    for figure in figures:
        names = {series.name for series in figure.series}
        with speaking("vi"):
            assert len({say(name) for name in names}) == len(names), f"{figure.key}: {names}"


def require_whole(figures: tuple[Figure, ...]) -> None:
    """Require that no word is cut off at the edge of a picture, in any language."""
    for figure in figures:
        for lang in LANGUAGES:
            with speaking(lang):
                canvas = drawn(figure)
            canvas.draw_without_rendering()  # lays everything out
            (width, height), box = canvas.get_size_inches(), canvas.get_tightbbox()

            assert min(box.x0, box.y0, width - box.x1, height - box.y1) >= 0, f"{figure.key} ({lang})"


def _texts(figure: Figure) -> Iterator[str]:
    yield from (figure.title, figure.x_axis, figure.y_axis)
    yield from (series.name for series in figure.series)
    yield from (word for _, word in figure.x_marks)
    if figure.map is not None:
        yield figure.map.unit


def _is_known(text: str) -> bool:
    vietnamese = catalogue("vi")
    if not isinstance(text, Phrase):
        return vietnamese.gettext(text) != text or _is_name(text)
    template = re.sub(r"{.*?}", "", text.template)
    return (vietnamese.gettext(text.template) != text.template or _is_name(template)) and all(
        _is_known(value) if isinstance(value, Phrase) else vietnamese.value(value) != value or _is_name(value)
        for value in text.values.values()
        if isinstance(value, str)
    )


def _is_name(text: str) -> bool:
    return set(re.findall(r"[^\W\d_²][\w-]*", text)) <= NAMES
