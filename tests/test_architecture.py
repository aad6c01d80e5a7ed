"""The floors, sizes and promises of docs/explain/architecture.md, read from the syntax trees."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from isometry.findings import AUDIT_RULES, RULES, WATCH_RULES
from isometry.findings.rule import PARTS, Rule
from isometry.report.catalogue import MESSAGES

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "isometry"
TESTS = ROOT / "tests"
MODULES = [path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py"))]
LIBRARY = [path for path in MODULES if path.parts[:2] != ("findings", "examples")]  # those are users' programs
FLOOR = {
    "_console": 0,
    "_errors": 0,
    "_lazy": 0,
    "_phrases": 0,
    "_files": 1,
    "_memory": 1,
    "_options": 1,
    "_registry": 1,
    "theory": 2,
    "fills": 2,
    "schemes": 3,
    "anatomy": 4,
    "probes": 5,
    "planning": 6,
    "report": 6,
    "findings": 7,
    "auditing": 8,
    "checking": 8,
    "repair": 9,
    "training": 9,
    "lab": 10,
    "cli": 11,
    "__main__": 12,
    "__init__": 12,
}
FAMILIES = ("FWD", "BWD", "JAC", "INI", "PAR", "LOS", "DAT", "NUM", "TRN")
ALL_RULES = {**WATCH_RULES, **RULES, **AUDIT_RULES}
EVERY_RULE = [rule for table in (RULES, AUDIT_RULES, WATCH_RULES) for rule in table.values()]
MAX_LINES, MAX_BODY_LINES, MAX_POSITIONAL = 400, 40, 3
MAX_SUPPRESSIONS = 2  # in 1,000 lines
SUPPRESSION = re.compile(r"# (?:noqa|pyright: ignore|type: ignore)")
REASONED = re.compile(r"# (?:noqa: [A-Z]+\d+(?:, [A-Z]+\d+)*|(?:pyright|type): ignore\[\w+(?:, \w+)*\]) (?:- )?\S+ \S+")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree_of(path: Path) -> ast.Module:
    return ast.parse((SOURCE / path).read_text(encoding="utf-8"))


def home_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    """Return a module's import path."""
    parts = ("isometry", *path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in MODULES}


def is_for_the_type_checker(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.AST]:
    """Yield what runs: all but `if TYPE_CHECKING`, and functions' bodies only if asked."""
    for child in ast.iter_child_nodes(node):
        if is_for_the_type_checker(child) or (isinstance(child, Function) and not inside_functions):
            continue
        yield child
        yield from statements(child, inside_functions=inside_functions)


def imported(path: Path, *, inside_functions: bool = True) -> set[str]:
    """Return the modules of ours that a module imports when it runs."""
    found: set[str] = set()
    for node in statements(tree_of(path), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            module = node.module or ""
            found |= {full if (full := f"{module}.{alias.name}") in NAMES else module for alias in node.names}
    return {name for name in found if name.split(".")[0] == "isometry"}


def functions(path: Path) -> Iterator[tuple[str, Function, bool]]:
    """Yield each function of a module with its dotted name and whether it is a method."""

    def walk(node: ast.AST, prefix: str, *, is_class: bool) -> Iterator[tuple[str, Function, bool]]:
        for child in ast.iter_child_nodes(node):
            name = f"{prefix}.{getattr(child, 'name', '')}".strip(".")
            if isinstance(child, Function):
                yield name, child, is_class
            if isinstance(child, Function | ast.ClassDef):
                yield from walk(child, name, is_class=isinstance(child, ast.ClassDef))

    yield from walk(tree_of(path), "", is_class=False)


def body_lines(function: Function) -> int:
    """Lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_imports_point_down(path: Path) -> None:
    home = home_of(path)
    floors = {name.split(".")[1] for name in imported(path) if "." in name} - {home}
    upward = {name for name in floors if FLOOR[name] >= FLOOR[home]}

    assert not upward, f"{home} is on floor {FLOOR[home]} and may not import {sorted(upward)}"


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_a_file_names_the_file_it_needs(path: Path) -> None:
    own = {"isometry"}
    if path.name != "__init__.py" and len(path.parts) > 1:
        own.add(dotted(path.parent / "__init__.py"))

    assert not imported(path) & own


def test_no_module_imports_itself_over_others() -> None:
    graph = {name: imported(path, inside_functions=False) & set(NAMES) for name, path in NAMES.items()}
    for name in [name for name, path in NAMES.items() if path.name == "__init__.py"]:
        graph[name] = set()  # a package gathers its files; none of them may name it (see above)
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"cycle: {' → '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in sorted(graph):
        visit(name, ())


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_files_and_functions_are_short(path: Path) -> None:
    lines = len((SOURCE / path).read_text(encoding="utf-8").splitlines())
    long = [name for name, function, _ in functions(path) if body_lines(function) > MAX_BODY_LINES]

    assert lines <= MAX_LINES
    assert not long


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_functions_take_three_positional_arguments_at_most(path: Path) -> None:
    crowded: list[str] = []
    for name, function, is_method in functions(path):
        given = [*function.args.posonlyargs, *function.args.args]
        count = len(given) - (is_method and bool(given) and given[0].arg in {"self", "cls"})
        if count > MAX_POSITIONAL and not name.endswith("__"):  # others fix the signature of a special method
            crowded.append(f"{name} takes {count}")

    assert not crowded


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_what_is_public_has_a_docstring(path: Path) -> None:
    tree = tree_of(path)
    bare = [] if ast.get_docstring(tree) else [str(path)]
    public = [node for node in ast.walk(tree) if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_"]
    nested = {inner for outer in ast.walk(tree) if isinstance(outer, Function) for inner in ast.walk(outer)} - {tree}
    inside = {inner for inner in nested if isinstance(inner, Function | ast.ClassDef)}
    outermost = [node for node in public if node not in inside or node.col_offset == 0 or is_method(tree, node)]
    bare += [node.name for node in outermost if ast.get_docstring(node) is None]

    assert not bare


def is_method(tree: ast.Module, node: ast.AST) -> bool:
    """Say whether a function stands in the body of a public class of the module."""
    return any(isinstance(each, ast.ClassDef) and each.name[0] != "_" and node in each.body for each in tree.body)


def comments(pattern: re.Pattern[str]) -> list[str]:
    lines = [line for path in MODULES for line in (SOURCE / path).read_text(encoding="utf-8").splitlines()]
    return [line.strip() for line in lines if pattern.search(line)]


def test_suppressions_are_few() -> None:
    lines = sum(len((SOURCE / path).read_text(encoding="utf-8").splitlines()) for path in MODULES)

    assert len(comments(SUPPRESSION)) <= MAX_SUPPRESSIONS * lines / 1000


def test_every_suppression_names_its_rule_and_its_reason() -> None:
    assert [line for line in comments(SUPPRESSION) if not REASONED.search(line)] == []


def test_nothing_prints_but_the_consoles() -> None:
    found = [
        f"{path}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert not found


def test_no_file_is_a_drawer_for_everything() -> None:
    assert not [path for path in MODULES if path.stem in {"utils", "util", "helpers", "misc", "common"}]


def test_every_package_has_a_floor_and_a_folder_of_tests() -> None:
    homes = {home_of(path) for path in MODULES}
    packages = {home_of(path) for path in MODULES if len(path.parts) > 1}

    assert homes <= set(FLOOR)
    assert not [package for package in packages if not (SOURCE / package / "__init__.py").is_file()]
    assert not [package for package in packages if not list((TESTS / package).glob("test_*.py"))]


def test_folders_at_the_root_are_those_of_the_plan() -> None:
    tracked = {"src", "tests", "docs", "benchmarks", "examples", "changelog"}
    ignored = {"build", "dist", "runs"}

    assert {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"} <= tracked | ignored


@pytest.mark.parametrize("rule", EVERY_RULE, ids=lambda rule: rule.code)
def test_every_rule_has_its_code_its_sentence_and_its_page(rule: Rule) -> None:
    code = rule.code
    title, *rest = re.split(rf"^({'|'.join(PARTS)}):$", rule.page, flags=re.MULTILINE)

    assert re.fullmatch(rf"({'|'.join(FAMILIES)})\d{{3}}", code)
    assert code in MESSAGES
    assert title.strip().endswith(".")
    assert "\n" not in title.strip()
    assert rest[::2] == list(PARTS)
    assert all(text.strip() for text in rest[1::2])
    assert set(rule.explained_by) <= set(ALL_RULES)


def test_codes_and_names_are_given_once() -> None:
    names = [rule.name for rule in ALL_RULES.values()]

    assert len(set(names)) == len(names)
    assert all(RULES[code] is AUDIT_RULES[code] for code in set(RULES) & set(AUDIT_RULES))
    assert set(MESSAGES) == set(ALL_RULES)
    assert all(rule.name == ALL_RULES[code].name for code, rule in WATCH_RULES.items())  # twins go by one name


def test_the_version_of_torch_is_said_once_for_all() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = re.findall(r"torch==([\d.]+)", makefile)

    assert len(set(pinned)) == 1
    major, minor, _ = (int(part) for part in pinned[0].split("."))
    assert f"torch>={major}.{minor},<{major}.{minor + 1}" in project["dependencies"]
    assert not re.search(r"^torch==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
