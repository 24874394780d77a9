"""No program text is made from data, nothing is unpickled, no shell is started: in no file that ships.

Ruff's S rules say the same of most of it; a ``noqa`` silences them, and they do not look at numpy's ``allow_pickle``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("streamer", "models", "dashboard", "benchmarks", "replay_data")
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml", "telnetlib"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "tempfile.mktemp",
    "ssl._create_unverified_context",
    "pd.read_pickle",
    "pandas.read_pickle",
}
LOADS = {"torch.load": ("weights_only", True)}
"""Each must say this: the default has changed before."""
NEVER_TRUE = {"shell", "allow_pickle", "allow_unsafe"}


def dangers(text: str) -> Iterator[tuple[int, str]]:
    """Give line and kind of everything in a module that could run what data says."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, n.name) for n in names if n.name.split(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in MODULES:
                yield node.lineno, module
            case ast.Call(func=func, keywords=keywords):
                name = ast.unparse(func)
                said = {k.arg: k.value.value for k in keywords if k.arg and isinstance(k.value, ast.Constant)}
                if name in BUILTINS | CALLS:
                    yield node.lineno, name
                if name in LOADS and said.get(LOADS[name][0]) is not LOADS[name][1]:
                    yield node.lineno, f"{name} without {LOADS[name][0]}={LOADS[name][1]}"
                yield from ((node.lineno, f"{key}=True") for key in NEVER_TRUE if said.get(key) is True)
                if name.endswith(("CERT_NONE", "check_hostname")) or said.get("verify") is False:
                    yield node.lineno, "TLS without a check"
            case ast.Attribute(attr="CERT_NONE"):
                yield node.lineno, "TLS without a check"
            case _:
                pass


@pytest.mark.parametrize("folder", FOLDERS)
def test_nothing_that_ships_runs_what_data_says(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, what in dangers(path.read_text(encoding="utf-8"))
    ]
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "import pickle",
        "from yaml import load",
        "eval(text)",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
        "context.verify_mode = ssl.CERT_NONE",
        "requests.get(url, verify=False)",
    ],
)
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert list(dangers(text))


def test_ruffs_security_rules_are_on() -> None:
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'select = ["ALL"]' in settings
    for rule in ("S102", "S301", "S307", "S324", "S506", "S602", "S614"):
        assert f'"{rule}"' not in settings
