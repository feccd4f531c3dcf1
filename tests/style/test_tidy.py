# SPDX-License-Identifier: Apache-2.0
"""The project's style, as far as a machine can judge it: lengths, layers, and no interpreter where none may be."""

import ast
import ctypes
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 500
SOURCES = ("*.py", "*.pyi", "*.pyx", "*.pxd", "*.h", "*.toml", "Makefile", "setup.py")
FETCHED = ("redis", "redis-api", "etcd", "servers", ".fetch", ".fetch-etcd")     # by the scripts in vendor/
FOLDERS = ("chainredis", "modules", "include", "tests", "benchmarks", "scripts", "vendor", "packaging", ".ci")
GENERATED = ROOT / "build/cython/modules"   # where setup.py has Cython write C

# What of Cython's own may stand in a function without the interpreter: an attribute of variables that are not used, and
# division and remainder that round as Python's do, which are plain C.
HARMLESS = re.compile(r"CYTHON_UNUSED|__Pyx_(div|mod)_\w+")
# The only C functions of a master that may refer to Python: at loading, and on its worker threads.
MASTER_WITH_PYTHON = {
    "interpreter_start", "interpreter_initialise", "interpreter_exec", "prepare_python", "python_module",
    "start_python", "setting_text", "carry_out", "finish", "make_outcome", "make_text",
}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def source_files() -> list[Path]:
    tops = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    nested = [
        path for folder in FOLDERS for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix not in {".so", ".pyc", ".png", ".json", ".csv"}
        and path.relative_to(ROOT).parts[1] not in FETCHED
    ]
    return tops + nested


def cython_files() -> list[Path]:
    return sorted(path for path in (ROOT / "modules").rglob("*.p*") if path.suffix in {".pxd", ".pxi", ".pyx"})


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def room_files(top: str, pattern: str) -> list[Path]:
    """The files in folders of `modules` or `chainredis`: what lies beside the folders puts them together."""
    return sorted(path for path in (ROOT / top).rglob(pattern) if path.parent != ROOT / top)


@pytest.mark.parametrize("path", source_files(), ids=relative)
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


# ------------------------------------------------------------------------------------------------- layers

def cython_imports(path: Path) -> set[str]:
    """What a Cython file takes from elsewhere: modules that it cimports or imports, and C headers."""
    text = path.read_text()
    modules = re.findall(r"^\s*(?:from\s+([\w.]+)\s+c?import\b|c?import\s+([\w.]+))", text, re.MULTILINE)
    headers = re.findall(r"^\s*cdef extern from\s+\"([^\"]+)\"", text, re.MULTILINE)
    return {first or second for first, second in modules} | set(headers)


def python_imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def closure(arrows: dict[str, set[str]]) -> dict[str, set[str]]:
    """For each room all that it may import: what it names, and what those may import."""
    allowed: dict[str, set[str]] = {}
    for room, named in arrows.items():      # each room stands after those that it names
        allowed[room] = {room, *named}.union(*(allowed[other] for other in named))
    return allowed


# The arrows of docs/architecture.md. A room may import itself, what it names here, and what those may import.
CYTHON_ROOMS = closure({
    "bindings": set(),
    "core": set(),
    "server": {"bindings", "core"},
    "member/state": {"server"},
    "member/gate": {"member/state"},
    "member/keyspace": {"member/gate"},
    "member/cluster": {"member/keyspace"},
    "member/persistence": {"member/keyspace"},
    "member/replies": {"member/persistence"},
    "member/effects": {"member/replies"},
    "member/checkpoint": {"member/effects"},
    "member/replication": {"member/checkpoint"},
    "member/clients": {"member/replication"},
    "member/membership": {"member/clients"},
    "member/etcd_heartbeat": {"member/membership"},
    "member/startup": {"member/etcd_heartbeat"},
    "member/event_loop": {"member/startup"},
    "python_host": {"bindings"},
    "master": {"python_host", "server"},
})
PYTHON_ROOMS = closure({
    "client": set(),
    "embedded": set(),
    "protocol": set(),
    "transport": {"protocol"},
    "storage": {"protocol"},
    "coordinator": {"transport", "storage"},
    "etcd": {"coordinator"},
    "local_cluster": {"etcd"},
    "operator": {"transport"},
    "checkpoint_tool": {"protocol"},
    "backup": {"checkpoint_tool", "local_cluster"},
    "benchmarks": {"local_cluster"},
    "cli": {"backup", "benchmarks", "operator"},
})
PURE = {"collections.abc", "dataclasses", "enum", "functools", "itertools", "math", "re", "typing"}


def room_of(module: str, rooms: dict[str, set[str]]) -> str:
    """The room of `chainredis.etcd.lease` or `modules.member.state.waiter`; "" of what is in none."""
    path = "/".join(module.split(".")[1:]) + "/"
    return next((room for room in rooms if path.startswith(f"{room}/")), "")


@pytest.mark.parametrize("path", room_files("modules", "*.p[xy]*"), ids=relative)
def test_cython_rooms_import_along_the_arrows(path: Path) -> None:
    room = room_of(dotted(path), CYTHON_ROOMS)
    ours = {name for name in cython_imports(path) if name.startswith("modules.")}
    assert {name for name in ours if room_of(name, CYTHON_ROOMS) not in CYTHON_ROOMS[room]} == set()


@pytest.mark.parametrize("path", room_files("chainredis", "*.py"), ids=relative)
def test_python_rooms_import_along_the_arrows(path: Path) -> None:
    room = room_of(dotted(path), PYTHON_ROOMS)
    ours = {name for name in python_imports(path) if name.startswith("chainredis.")}
    assert {name for name in ours if room_of(name, PYTHON_ROOMS) not in PYTHON_ROOMS[room]} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "modules/core").rglob("*.pxd")), ids=relative)
def test_the_core_knows_neither_redis_nor_a_socket(path: Path) -> None:
    allowed = re.compile(r"libc\.(stdint|stdlib|string)|modules\.core\.[\w.]+")
    assert {name for name in cython_imports(path) if not allowed.fullmatch(name)} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "modules/bindings").glob("*.pxd")), ids=relative)
def test_bindings_only_declare(path: Path) -> None:
    assert re.findall(r"^cdef (?!extern\b)[^\n]*\):?$", path.read_text(), re.MULTILINE) == []


@pytest.mark.parametrize("path", sorted((ROOT / "chainredis/protocol").glob("*.py")), ids=relative)
def test_the_masters_protocol_is_pure(path: Path) -> None:
    others = {name for name in python_imports(path) if not name.startswith("chainredis.protocol")}
    assert others <= PURE


@pytest.mark.parametrize("name", ["routing", "commands", "batches", "errors"])
def test_what_both_clients_decide_by_is_pure(name: str) -> None:
    allowed = PURE | {"redis"} | {f"chainredis.client.{other}" for other in ("routing", "errors")}
    assert python_imports(ROOT / f"chainredis/client/{name}.py") <= allowed


def test_only_its_own_package_knows_etcd() -> None:
    """But for what starts one on this machine."""
    files = {path for path in (ROOT / "chainredis").rglob("*.py") if "chainredis/etcd/" not in path.as_posix()}
    users = {relative(path) for path in files if any("chainredis.etcd" in name for name in python_imports(path))}
    assert users == {"chainredis/local_cluster/etcd_cluster.py"}


def test_python_etcd3_enters_through_one_file() -> None:
    """Its messages have to be in place before (docs/decisions/0005-python-etcd3.md)."""
    files = [path for folder in ("chainredis", "tests") for path in (ROOT / folder).rglob("*.py")]
    users = {relative(path) for path in files if any(name.split(".")[0] == "etcd3" for name in python_imports(path))}
    assert users == {"chainredis/etcd/package.py"}


@pytest.mark.parametrize("path", cython_files(), ids=relative)
def test_no_cimport_is_unused(path: Path) -> None:
    """cython-lint does not look at .pxd files."""
    text = path.read_text()
    cimports = re.findall(r"^from [\w.]+ cimport (\([^)]*\)|[^\n(]+)$", text, re.MULTILINE)
    names = [name.split(" as ")[-1].strip() for names in cimports for name in names.strip("()").split(",")]
    assert [name for name in names if name and len(re.findall(rf"\b{name}\b", text)) == 1] == []


@pytest.mark.parametrize("path", sorted((ROOT / "modules").rglob("*.pxd")), ids=relative)
def test_no_declaration_file_has_a_variable_of_each_unit(path: Path) -> None:
    """A static variable would be another one in each compile unit; weak and hidden, it is one of the library."""
    assert re.findall(r"^ *static\b[^(]*(?:\(\*[^(]*\)\([^)]*\)[^;{]*)?;", path.read_text(), re.MULTILINE) == []


def api_functions(unit: Path) -> list[str]:
    """Functions of a unit that others may call: its api declares them."""
    api = unit.with_suffix(".pxd")
    return re.findall(r"^cdef extern (?!from)[^(]*?(\w+)\(", api.read_text(), re.MULTILINE) if api.exists() else []


@pytest.mark.parametrize("unit", sorted((ROOT / "modules/member").rglob("__init__.pyx")), ids=relative)
def test_a_unit_includes_each_file_of_its_room_and_no_other(unit: Path) -> None:
    """Other rooms can import only what is in .pxd files: the api, and functions that are inline."""
    included = re.findall(r"^include \"(.*)\"$", unit.read_text(), re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in unit.parent.glob("*.pxi"))


def test_no_function_between_rooms_has_a_name_of_another_library() -> None:
    """Archives that are linked in, such as hiredis, would call ours instead of that of libc."""
    libraries = ctypes.CDLL(str(ROOT / "build/src/libmember.so"))   # and all that it is linked with
    assert hasattr(libraries, "write")
    names = [name for unit in (ROOT / "modules").rglob("*.pyx") for name in api_functions(unit)]
    assert [name for name in names if hasattr(libraries, name)] == []


def test_the_redis_api_enters_through_one_header() -> None:
    users = {relative(path) for path in cython_files() if "redismodule.h" in cython_imports(path)}
    assert users == {"modules/bindings/redismodule.pxd"}


@pytest.mark.parametrize("path", cython_files(), ids=relative)
def test_nothing_of_libcs_own_is_to_be_freed_here(path: Path) -> None:
    """It is from the server's allocator, which another than a module's may be (modules/server/allocators.pxd)."""
    allocate = r"\b(w?c?strn?dup|v?asprintf|getline|getdelim|scandir|open_(?:w|)memstream|canonicalize_file_name)\("
    assert re.findall(rf"{allocate}|\b(?:realpath|getcwd)\([^)]*NULL", path.read_text()) == []


@pytest.mark.parametrize(("name", "only"), [
    ("leveldb_open", "modules/member/checkpoint/database.pxi"),          # its lock: each process once
    ("leveldb_destroy_db", "modules/member/checkpoint/database.pxi"),
    ("leveldb_iter_key", "modules/member/checkpoint/database.pxi"),      # where the iterator is valid
    ("leveldb_iter_value", "modules/member/checkpoint/database.pxi"),
    ("pthread_create", "modules/server/threads.pxd"),                    # deaf to signals
])
def test_what_is_dangerous_is_done_in_one_place(name: str, only: str) -> None:
    users = {relative(path) for path in cython_files() if re.search(rf"\b{name}\b", path.read_text())}
    assert users - {"modules/bindings/leveldb.pxd", "modules/bindings/pthread.pxd"} == {only}


@pytest.mark.parametrize("path", sorted((ROOT / "modules/core").glob("*.pxd")), ids=relative)
def test_the_cores_tables_lie_where_the_server_counts_them(path: Path) -> None:
    assert path.name == "memory.pxd" or not re.search(r"\b(malloc|calloc|realloc|free)\b\(", path.read_text())


# ------------------------------------------------------------------------------- no interpreter, in the source

def nogil_functions(path: Path) -> Iterator[tuple[str, str]]:
    """Header and body of each function that is declared to run without the interpreter's lock."""
    pattern = r"^(cdef [^\n]*\((?:[^:]|:(?!\n))*?nogil:)\n((?:[ \t]+[^\n]*\n|\n)+)"
    for match in re.finditer(pattern, path.read_text(), re.MULTILINE):
        yield match[1], match[2]


def test_nogil_functions_are_found() -> None:
    functions = dict(nogil_functions(ROOT / "modules/core/replication.pxd"))
    assert len(functions) > 20
    assert any("replication_on_batch" in header for header in functions)


@pytest.mark.parametrize("path", cython_files(), ids=relative)
def test_nogil_functions_never_raise_nor_take_the_lock(path: Path) -> None:
    # Cython compiles a raise inside `noexcept nogil`: it takes the lock, and then swallows the exception.
    forbidden = re.compile(r"^\s*(raise\b|assert\b|with gil\b|print\()", re.MULTILINE)
    assert [header for header, body in nogil_functions(path) if forbidden.search(body)] == []


# -------------------------------------------------------------------------- no interpreter, in the generated C

def compiled_functions(name: str) -> dict[str, set[str]]:
    """The C functions that Cython made of a module's own, each with what it uses of Python or of Cython's run time."""
    units = [ROOT / f"modules/{name}.pyx", *(ROOT / "modules" / name).rglob("*.pyx")]
    functions = {}
    for unit in units:
        names = "|".join([r"__pyx_f_\w+", r"RedisModule_On\w+", *api_functions(unit)])
        pattern = rf"^(?!//)[^\n#;]*\b({names})\([^\n;]*\) \{{\n(.*?)^\}}$"
        text = (GENERATED / unit.relative_to(ROOT / "modules")).with_suffix(".c").read_text()
        for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
            body = re.sub(r"/\*.*?\*/|\"(\\.|[^\"\\])*\"", "", match[2], flags=re.DOTALL)
            used = set(re.findall(r"\b(?:_?Py|__Pyx|__PYX|CYTHON)\w*", body))
            functions[match[1]] = {identifier for identifier in used if not HARMLESS.fullmatch(identifier)}
    return functions


def test_compiled_functions_are_found_in_each_unit() -> None:
    functions = compiled_functions("member")
    units = (ROOT / "modules/member").rglob("*.pyx")
    assert [name for unit in units for name in api_functions(unit) if name not in functions] == []


def test_no_function_of_the_member_uses_python() -> None:
    functions = compiled_functions("member")
    assert len(functions) > 100
    assert {name: used for name, used in functions.items() if used} == {}


def test_the_masters_handlers_use_no_python() -> None:
    functions = compiled_functions("master/embedded")
    with_python = {name for name, used in functions.items() if used}
    unexpected = {name for name in with_python if not name.endswith(tuple(MASTER_WITH_PYTHON))}
    assert unexpected == set()
    assert sum("_handle_" in name for name in functions) == 7


def output(*command: str | Path) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_member_is_linked_without_python() -> None:
    library = ROOT / "build/src/libmember.so"
    assert "libpython" not in output("readelf", "--wide", "--dynamic", library)
    assert re.findall(r"\b_?Py\w+", output("readelf", "--wide", "--dyn-syms", library)) == []


def defined_symbols(library: str) -> set[str]:
    symbols = output("readelf", "--wide", "--dyn-syms", ROOT / "build/src" / library)
    return set(re.findall(r"(?:FUNC|OBJECT)\s+(?:GLOBAL|WEAK|UNIQUE)\s+\w+\s+\d+\s+(\S+)", symbols))


@pytest.mark.parametrize("library", ["libmember.so", "libmaster.so", "etcd/libetcd_master.so"])
def test_a_module_exports_what_redis_looks_for_and_nothing_else(library: str) -> None:
    defined = defined_symbols(library)
    assert defined <= {"RedisModule_OnLoad", "RedisModule_OnUnload", "chainredis_interpreter"}
    assert "RedisModule_OnLoad" in defined


def test_the_heartbeat_exports_what_the_member_looks_for_and_nothing_else() -> None:
    assert defined_symbols("libheartbeat.so") == {"heartbeat_connect", "chainredis_interpreter"}


# ------------------------------------------------------------------------------------------------ the rest

def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY:(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony
    shown = output("make", "--no-print-directory", "help")
    assert set(re.findall(r"^make ([\w-]+) +\S", shown, re.MULTILINE)) == set(phony[1].split())


def test_the_wheel_depends_on_what_it_imports() -> None:
    """But for what draws the pictures of benchmarks, which are made in a clone."""
    texts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    declared = {re.split("[<>=]", text)[0] for text in texts}
    imported = {name.split(".")[0] for path in (ROOT / "chainredis").rglob("*.py") for name in python_imports(path)}
    providers = packages_distributions()
    others = imported - sys.stdlib_module_names - {"chainredis", "matplotlib"}
    assert {name for name in others if not declared.intersection(providers[name])} == set()


def test_requirements_are_pinned_and_complete() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    pinned = dict(line.lower().replace("_", "-").split("==") for line in lines if line)
    frozen = output(sys.executable, "-m", "pip", "freeze", "--all", "--exclude-editable").lower().replace("_", "-")
    installed = dict(line.split("==") for line in frozen.splitlines() if "==" in line)
    assert {name: version for name, version in installed.items() if name != "pip"} == pinned
