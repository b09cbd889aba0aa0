"""All regular expressions of the service, with how each is applied, found in its sources."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from service import ROOT

from shared_lib.delivery.thumbor.filters import FILTERS

_METHODS = frozenset({"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})


@dataclass(frozen=True)
class Expression:
    place: str
    """File and line."""
    pattern: str
    flags: int
    method: str
    """Of Python's `re`, such as `search`."""

    @property
    def in_javascript(self) -> dict[str, str]:
        source = re.sub(r"\(\?P<", "(?<", self.pattern).removeprefix("(?i)")
        if self.method in ("match", "fullmatch"):
            source = f"^(?:{source})" + ("$" if self.method == "fullmatch" else "")
        flags = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}
        used = self.flags | (re.IGNORECASE if self.pattern.startswith("(?i)") else 0)
        return {"place": self.place, "source": source, "flags": "".join(each for each in flags if used & flags[each])}


def find_expressions() -> tuple[list[Expression], list[str]]:
    """Return all, and the places of those that only running code knows."""
    modules = {
        path: _import(path) for path in sorted((ROOT / "shared_lib").rglob("*.py")) if "migrations" not in path.parts
    }
    trees = {path: ast.parse(path.read_text()) for path in modules}
    applied = _find_methods(trees.values())
    found: list[Expression] = []
    unknown: list[str] = []
    for path, tree in trees.items():
        for node, function in _walk(tree):
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            try:
                found += _read(node, modules[path], applied, place)
            except NameError:
                unknown.append(f"{path.relative_to(ROOT)}: {function}")
    found += [
        Expression(f"the filter {name} of thumbor's", each.pattern, each.flags, "fullmatch")
        for name, registered in FILTERS.items()
        for each in registered.arguments
    ]
    return list({(each.pattern, each.flags, each.method): each for each in found}.values()), unknown


def _import(path: Path) -> ModuleType:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return import_module("shared_lib.server" if name.endswith("__main__") else name)


def _walk(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Yield what uses `re` or makes a Pattern, with the name of the function that it is in."""
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, function = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Call) and (_is_of_re(node.func) or _name(node.func) == "Pattern"):
            yield node, function
            waiting += [(each, function) for each in (*node.args, *node.keywords)]
            continue
        if isinstance(node, ast.Attribute) and _is_of_re(node):
            yield node, function
        waiting += [(each, function) for each in ast.iter_child_nodes(node)]


def _is_of_re(node: ast.expr) -> bool:
    is_function = isinstance(node, ast.Attribute) and node.attr in (*_METHODS, "compile")
    return is_function and _name(node.value) == "re"  # type: ignore[attr-defined]  # it is an Attribute


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _find_methods(trees: Iterable[ast.Module]) -> dict[str, set[str]]:
    """Return the methods that are called of each name."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in _METHODS:
                found.setdefault(_name(node.value), set()).add(node.attr)
    return found


def _read(node: ast.expr, module: ModuleType, applied: dict[str, set[str]], place: str) -> list[Expression]:
    """Raises NameError for an expression of local variables."""
    if not isinstance(node, ast.Call):  # it is passed on to be called
        raise NameError  # noqa: TRY004  nobody knows of what
    pattern = _evaluate(node.args[0], module)
    text = pattern.decode("latin-1") if isinstance(pattern, bytes) else str(pattern)
    method = _name(node.func)
    if method == "Pattern":
        return [Expression(place, text, 0, "fullmatch")]
    given = [*node.args[1:], *(each.value for each in node.keywords if each.arg == "flags")]
    flags = [each for each in given if "re." in ast.unparse(each)]
    used = int(_evaluate(flags[0], module)) if flags else 0  # type: ignore[call-overload]  # a RegexFlag
    if method != "compile":
        return [Expression(place, text, used, method)]
    names = {name for name, value in vars(module).items() if isinstance(value, re.Pattern) and value.pattern == pattern}
    methods = set().union(*(applied.get(name, set()) for name in names)) or {"search"}
    return [Expression(place, text, used, each) for each in methods]


def _evaluate(node: ast.expr, module: ModuleType) -> object:
    return eval(compile(ast.Expression(node), "", "eval"), vars(module))  # noqa: S307  our own sources
