"""Makes the reference page of isometry.theory from its docstrings.

Run after a change of one of them: python docs/reference/theory.py
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from isometry import theory

PAGE = Path(__file__).parent / "theory.md"
SECTION = re.compile(r"^(?:Args|Attributes|Returns|Yields|Raises|Example|Source):$", re.MULTILINE)
SOURCE = re.compile(r"^Source:\n(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")

CHAPTERS = (
    "quadrature",
    "fans",
    "criticality",
    "meanfield",
    "phases",
    "stacks",
    "fluctuations",
    "products",
    "spectra",
    "duals",
    "kernels",
    "kernel_flow",
    "least_squares",
)
INTRODUCTION = """\
# Theory

Numbers in, numbers out, without torch: `from isometry import theory`. Activations are functions from float64 arrays to
float64 arrays, such as `np.tanh`; variances of weights are times fan-in. GELU is
`lambda x: x * (1 + erf(x / 2**0.5)) / 2` with `erf` of scipy, or `np.vectorize(math.erf)`; `theory.gelu()` and its like
are not activations but their kernels. Arguments, units, errors and examples are in the docstrings,
`help(theory.critical_point)`. Where each number is seen: [the lab](../lab/README.md).

```python
import numpy as np
from isometry import theory

point = theory.critical_point(np.tanh)
signals = theory.depths(np.tanh, weight_variance=1.5, bias_variance=0.05)
print(f"{point.gain:.3f} {signals.phase} {signals.depth_scale:.1f}")  # 1.000 ordered 15.8

stack = theory.Stack(function=np.tanh, kind="residual", weight_variance=1.5, branch_scale=0.3)
blocks = list(theory.passages(stack, 1.0, 20))
grown = np.prod([each.factor for each in blocks])  # the mean square of a gradient, if the network is wide
strays = theory.log_norm_variance(stack, 1.0, (64,) * 20) ** 0.5  # and if its width is 64
print(f"{grown:.2f}, times or over {np.exp(strays):.2f}")  # 2.81, times or over 1.33

plain = theory.Stack(function=np.tanh, weight_variance=1.5)
lengths = [1.0, *(each.length for each in theory.passages(plain, 1.0, 4))]
layers = [theory.slopes_of(np.tanh, each) for each in lengths]
edge = theory.jacobian_edge(layers, weight_variance=1.5, is_orthogonal=True)  # of the squared singular values
print(f"{edge:.2f}")  # 2.72
```

This page is made by `python docs/reference/theory.py`; change the docstrings, not the page.
"""


def page() -> str:
    """Return the whole page."""
    homes: dict[str, str] = vars(theory)["_HOMES"]
    chapters: dict[str, list[str]] = {f"{theory.__name__}.{chapter}": [] for chapter in CHAPTERS}
    for name, home in homes.items():
        chapters[home].append(name)
    return "\n".join([INTRODUCTION, *(line for home, names in chapters.items() for line in _module(home, names))])


def _module(home: str, names: list[str]) -> Iterator[str]:
    doc = inspect.getdoc(importlib.import_module(home)) or ""
    title, _, rest = doc.partition("\n\n")
    yield f"## {title.rstrip('.')}\n"
    for paragraph in filter(None, rest.split("\n\n")):
        yield f"{_shown(paragraph)}\n"
    yield "| name | what it returns or holds | source |"
    yield "|---|---|---|"
    for name in names:
        yield _row(name)
    yield ""


def _shown(paragraph: str) -> str:
    """Return a paragraph as it stands, and one that is set in as a formula."""
    return f"```text\n{inspect.cleandoc(paragraph)}\n```" if paragraph.startswith("    ") else paragraph


def _row(name: str) -> str:
    thing = getattr(theory, name)
    if not callable(thing):
        return f"| `{name}` | The `{type(thing).__name__}` of a network without activations. |  |"
    doc = inspect.getdoc(thing) or ""
    summary, *paragraphs = SECTION.split(doc)[0].strip().split("\n\n")
    formula = next((_joined(each) for each in paragraphs if "=" in each or "≤" in each), "")
    source = SOURCE.search(doc)
    cells = (f"`{name}`", f"{_joined(summary)} {formula}".strip(), _linked(_joined(source[1])) if source else "")
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _joined(text: str) -> str:
    return " ".join(text.split())


def _linked(text: str) -> str:
    return ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
