"""The layout holds: imports run down, workflow files stay clear of Django, every file says what it is."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("workers", "dashboard", "orders")
MAY_IMPORT_DASHBOARD = {"console.py", "admin.py", "api.py"}
FOLDERS = (*FLOORS, "devtools", "tests", "bench", "deploy")
# Folders of an app in the order in which they build on each other: each may import those before it, and none
# after it. Modules that stand beside the folders (`access`, `conf`, `extend` ...) stand below them all, but
# for those that have a place in the order, and those that put an app together.
ARROWS = {
    "dashboard": ["query", "live", "web", "temporal_api", "audit", "actions", "panels", "pages"],
    "dashboard.pages": ["breakers", "approvals", "workers", "workflows", "run", "overview", "audit"],
    "workers": [
        *("contracts", "payloads", "registry", "client", "devserver", "interceptors", "process"),
        *("patterns", "testing"),
    ],
    "workers.testing": [
        *("world", "driver", "memory", "outstanding", "commands", "view", "messages", "server", "choices"),
        *("invariants", "story", "explore", "golden", "registered", "swap"),
    ],
    "workers.patterns": [
        *("alerts", "cache", "transactions", "breaker", "guarded_calls", "handlers", "dynamic", "http"),
        *("single_operation", "approval", "saga", "events", "batches"),
    ],
}
COMPOSE = {"admin.py", "apps.py", "asgi.py", "console.py", "settings.py", "temporal.py", "urls.py"}
COMPOSING_FOLDERS = {"management", "migrations"}


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, folders
    return found


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imported(path: Path) -> set[str]:
    """Full names of what a file imports, wherever in it; relative imports made absolute."""
    package, names = list(path.relative_to(ROOT).parent.parts), set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def floors_of(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} & set(FLOORS)


@pytest.mark.parametrize("path", sources("workers"), ids=relative)
def test_the_ground_floor_imports_neither_of_the_others(path):
    assert not floors_of(path) - {"workers"}


@pytest.mark.parametrize("path", sources("dashboard"), ids=relative)
def test_the_console_never_imports_orders(path):
    assert "orders" not in floors_of(path)


@pytest.mark.parametrize("path", sources("orders"), ids=relative)
def test_only_three_files_of_orders_import_the_console(path):
    if path.parent == ROOT / "orders" and path.name in MAY_IMPORT_DASHBOARD:
        return
    assert "dashboard" not in floors_of(path)


@pytest.mark.parametrize("path", sources(*FLOORS), ids=relative)
def test_nothing_imports_the_development_tools(path):
    assert "devtools" not in {name.split(".")[0] for name in imported(path)}


def folder_of(name: str, package: str) -> str:
    """The folder of `package` that a dotted name is in; empty for what stands beside the folders."""
    inside = name.removeprefix(f"{package}.") if name.startswith(f"{package}.") else ""
    return inside.split(".")[0] if inside.split(".")[0] in ARROWS[package] else ""


def arrows() -> list[tuple[str, Path]]:
    """Each source file with the package whose order of folders it has to keep."""
    return [(package, path) for package in ARROWS for path in sources(package.replace(".", "/"))]


@pytest.mark.parametrize(
    ("package", "path"), arrows(), ids=lambda item: relative(item) if isinstance(item, Path) else item
)
def test_folders_import_only_what_stands_before_them(package, path):
    inside = path.relative_to(ROOT / package.replace(".", "/")).parts
    if inside[0] in COMPOSING_FOLDERS or (len(inside) == 1 and inside[0] in COMPOSE):
        return
    own = inside[0].removesuffix(".py")
    allowed = {"", *ARROWS[package][: ARROWS[package].index(own) + 1]} if own in ARROWS[package] else {""}
    assert {folder_of(name, package) for name in imported(path)} <= allowed


@pytest.mark.parametrize("package", ARROWS)
def test_every_folder_has_its_place_in_the_order(package):
    root = ROOT / package.replace(".", "/")
    folders = {path.parent.name for path in root.glob("*/__init__.py")}
    known = {name for name in ARROWS[package] if not (root / f"{name}.py").exists()}
    assert folders - COMPOSING_FOLDERS - {"templatetags"} == known


WORKFLOW_FILES = [
    path
    for path in sources("workers", "orders")
    if re.search(r"^@workflow\.defn", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize("path", WORKFLOW_FILES, ids=relative)
def test_workflow_files_import_nothing_of_django(path):
    foreign = {"django", "asgiref", "channels", "ninja", "axes", "httpx"}
    assert not {name.split(".")[0] for name in imported(path)} & foreign


@pytest.mark.parametrize("path", WORKFLOW_FILES, ids=relative)
def test_workflow_files_pass_our_modules_through_the_sandbox(path):
    """Whatever the sandbox would import a second time registers a second time."""
    tree = ast.parse(path.read_text())
    bare = [
        ast.unparse(node)
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and ast.unparse(node).split()[1].split(".")[0] in FLOORS
    ]
    assert not bare


@pytest.mark.parametrize("path", WORKFLOW_FILES, ids=relative)
def test_workflow_files_raise_only_application_errors_on_purpose(path):
    raised = {
        ast.unparse(node.exc.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
    }
    assert not {name for name in raised if name.split(".")[-1] != "ApplicationError"}


OWN = [path for path in [*sources(*FOLDERS[:-1]), ROOT / "manage.py"] if "migrations" not in path.parts]


@pytest.mark.parametrize("path", [path for path in OWN if path.read_text().strip()], ids=relative)
def test_every_module_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("no git here, so no list of the files that are published")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


SECRETS = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abp]-[0-9A-Za-z-]{10}"
)


def test_no_secret_is_published():
    assert not [relative(path) for path in tracked() if SECRETS.search(path.read_bytes())]


@pytest.mark.skipif(
    len(ROOT.parts) < 3, reason="the path of this checkout is too short to be told from others"
)
def test_no_path_of_this_checkout_is_published():
    """Somebody else's lies elsewhere."""
    own = re.compile(re.escape(str(ROOT)).encode() + rb"\b")
    assert not [relative(path) for path in tracked() if own.search(path.read_bytes())]


def test_secrets_of_production_have_no_default():
    from dashboard.conf import DashboardConf
    from workers.conf import WorkersConf

    for cls in (DashboardConf, WorkersConf):
        for field in cls.model_fields.values():
            if "SecretStr" in str(field.annotation):
                value = field.get_default()
                assert value is None or not value.get_secret_value(), field.alias


@pytest.mark.parametrize("path", OWN, ids=relative)
def test_formats_of_times_are_known_on_every_system(path):
    """No extensions of glibc or Windows, such as that for a day without its zero."""
    foreign = re.compile(r"%(?:[-#_^][a-zA-Z]|e\b)")
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
    assert not [node.value for node in nodes if isinstance(node.value, str) and foreign.search(node.value)]
