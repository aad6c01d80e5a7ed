"""A diagnosis in the formats of code hosts, with the pages of the rules and the place of the builder."""

import ast
import importlib.util
from pathlib import Path

from isometry.findings.explanation import pages
from isometry.report.facts import Facts
from isometry.report.sarif import RuleText, Source, to_annotations, to_sarif


def sarif(diagnosis: Facts, word: str) -> str:
    """Return a diagnosis as a SARIF log.

    Args:
        diagnosis: What to report.
        word: The MODEL of the command line; its builder is where the results point to.
    """
    texts = [RuleText(page.code, page.name, page.title, str(page)) for page in pages()]
    return to_sarif(diagnosis, texts, source_of(word))


def annotations(diagnosis: Facts, word: str) -> str:
    """Return the annotations that GitHub shows beside the builder.

    Args:
        diagnosis: What to report.
        word: The MODEL of the command line.
    """
    return to_annotations(diagnosis, source_of(word))


def source_of(word: str) -> Source | None:
    """Return the file and the line of a builder; None where it is not found.

    Args:
        word: `path/to/file.py:name` or `package.module:name`.
    """
    place, _, name = word.rpartition(":")
    path = Path(place) if place.endswith(".py") else _module_file(place)
    if path is None or not path.is_file():
        return None
    path = path.resolve()
    here = Path.cwd()
    shown = path.relative_to(here) if path.is_relative_to(here) else path
    return Source(shown.as_posix(), _line_of(name, path))


def _module_file(name: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _line_of(name: str, path: Path) -> int:
    """Return the line of a definition or assignment at the top of a file; 1 if there is none."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return 1
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {target.id for target in targets if isinstance(target, ast.Name)} | {getattr(node, "name", "")}
        if name in names:
            return node.lineno
    return 1
