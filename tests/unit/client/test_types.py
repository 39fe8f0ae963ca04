"""The public types are those that public_types.py says, and its mistakes are found."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("package", ["trident_client", "trident", "trident_build"])
def test_a_package_says_that_its_types_are_to_be_read(package):
    """Without the marker (PEP 561) a user's type checker takes everything of ours for Any."""
    assert files(package).joinpath("py.typed").is_file()


def test_a_user_s_type_checker_sees_what_the_client_promises(tmp_path):
    """Every `assert_type` holds, and every `type: ignore` is needed."""
    pytest.importorskip("mypy", reason="mypy is not installed")
    command = [
        sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path),
        "--follow-imports", "silent", str(Path(__file__).with_name("public_types.py")),
    ]  # fmt: skip
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
