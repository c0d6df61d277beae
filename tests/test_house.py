"""The house rules that can be checked: sizes, imports, names, and what no file may hold."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = {"agent", "cloud", "hardware", "tests"}
TOP_FILES = {"README.md", "pyproject.toml", "LICENSE"}
FILE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60
FOLDER_FILES_MAX = 12
COLUMNS_MAX = 100
VAGUE = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
TEXT = {".py", ".md", ".toml", ".sql", ".html", ".css", ".js", ".json", ".txt", ".sh", ""}
# Spelled in two halves, so that this file does not hold what it forbids.
HOSTS = re.compile(r"pypi\.o" r"rg|pythonhosted\.o" r"rg|npmjs\.(o" r"rg|com)|deb\.debi" r"an\.org")
MACHINE_PATHS = re.compile(r"/(ro" r"ot|wo" r"rk|ho" r"me/\w+)/\w")

Import = tuple[Path, int, str]

FORBIDDEN = [
    # (importer, imported): what may never import what
    (r"agent/.*", r"(cloud|hardware|tests)(\.|$)"),
    (r"hardware/.*", r"(agent|cloud|tests)(\.|$)"),
    (r"cloud/.*", r"(hardware|tests)(\.|$)"),
    (r"cloud/.*", r"agent\.(?!batch|signals|errors|lines|ledger|outbox|sinks)"),
    (r"agent/(batch|errors)\.py", r"agent(\.|$)"),
    (r"agent/kernels/.*", r"agent\.(?!kernels)"),
    (r"agent/sources/.*", r"agent\.(outbox|sinks|pipeline|cli)(\.|$)"),
    (r"agent/outbox/.*", r"agent\.(sources|sinks|pipeline|cli)(\.|$)"),
    (r"agent/sinks/.*", r"agent\.(sources|outbox|pipeline|cli)(\.|$)"),
    (r"agent/(mqtt|sparkplug)/.*", r"agent\.(sources|sinks|outbox|pipeline|cli)(\.|$)"),
    (r"agent/sources/opcua/.*", r"agent\.sources\.mqtt(\.|$)"),
    (r"agent/sources/mqtt/.*", r"agent\.sources\.opcua(\.|$)"),
    (r"agent/pipeline\.py", r"agent\.(sources|outbox|sinks)\.[a-z]|agent\.(cli|service)(\.|$)"),
]
THIRD_PARTY_OF_KERNELS = {"numpy", "numba"}


def tracked() -> list[Path]:
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\n")  # fmt: skip
    return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree(path)))


def imports(path: Path) -> Iterator[Import]:
    for node in nodes(path):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield path, node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield path, node.lineno, f"{node.module}.{alias.name}"


def functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield f"{relative(path)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_the_top_level_holds_four_folders_and_three_files() -> None:
    visible = {relative(path).split("/")[0] for path in FILES}
    visible = {name for name in visible if not name.startswith(".")}
    assert visible <= TOP | TOP_FILES


def test_files_are_short_enough_to_be_read_in_one_go() -> None:
    long = {relative(path): path.read_text().count("\n") for path in PYTHON}
    assert {name: lines for name, lines in long.items() if lines > FILE_LINES_MAX} == {}


def test_functions_are_short() -> None:
    long = [(name, lines) for path in PYTHON for name, lines in functions(path)]
    assert [(name, lines) for name, lines in long if lines > FUNCTION_LINES_MAX] == []


def test_folders_hold_at_most_a_dozen_files() -> None:
    folders: dict[str, int] = {}
    for path in FILES:
        folder = relative(path.parent)
        folders[folder] = folders.get(folder, 0) + 1
    assert {name: n for name, n in folders.items() if n > FOLDER_FILES_MAX} == {}


def test_lines_fit_a_hundred_columns() -> None:
    wide = [
        f"{relative(path)}:{number}"
        for path in FILES
        if path.suffix in {".py", ".sql", ".css", ".js", ".html"}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > COLUMNS_MAX
    ]
    assert wide == []


def test_no_module_has_a_vague_name() -> None:
    assert [relative(path) for path in FILES if VAGUE & set(path.with_suffix("").parts)] == []


@pytest.mark.parametrize(("importer", "imported"), FORBIDDEN)
def test_imports_keep_to_the_layout(importer: str, imported: str) -> None:
    broken = [
        f"{relative(path)}:{line} imports {name}"
        for path in PYTHON
        if re.fullmatch(importer, relative(path))
        for path, line, name in imports(path)
        if re.match(imported, name)
    ]
    assert broken == []


def test_kernels_import_only_numpy_and_numba_beside_the_standard_library() -> None:
    allowed = THIRD_PARTY_OF_KERNELS | sys.stdlib_module_names | {"agent"}
    foreign = [
        f"{relative(path)}:{line} imports {name}"
        for path in PYTHON
        if relative(path).startswith("agent/kernels/")
        for path, line, name in imports(path)
        if name.split(".")[0] not in allowed
    ]
    assert foreign == []


def test_the_agent_never_imports_what_only_the_cloud_has() -> None:
    cloud_only = {"duckdb", "fastapi", "uvicorn", "jinja2", "pyarrow", "pydantic_settings"}
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in PYTHON
        if relative(path).startswith("agent/")
        for path, line, name in imports(path)
        if name.split(".")[0] in cloud_only
    ]
    assert found == []


def test_every_module_says_what_it_is() -> None:
    silent = [relative(path) for path in PYTHON if not ast.get_docstring(tree(path))]
    assert [name for name in silent if not name.startswith("tests/")] == []


def test_no_file_names_a_package_host_or_a_path_of_one_machine() -> None:
    found = []
    for path in FILES:
        if path.suffix not in TEXT:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if HOSTS.search(line) or MACHINE_PATHS.search(line):
                found.append(f"{relative(path)}:{number} {line.strip()[:80]}")
    assert found == []


def test_no_loose_ends_are_left() -> None:
    mark = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
    found = [
        f"{relative(path)}:{number}"
        for path in FILES
        if path.suffix in TEXT and path.name != "LICENSE"
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if mark.search(line)
    ]
    assert found == []


def test_every_dependency_is_pinned_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = set()
    for group in [project["dependencies"], *project["optional-dependencies"].values()]:
        for requirement in group:
            name = re.split(r"[\[<>=~! ]", requirement)[0].lower()
            wanted |= {name} - {"andon"}
    lines = (ROOT / "hardware/install/constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert wanted <= pinned
    assert [line for line in lines if line and not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []
