"""What the machine lacks is one line that says what to install."""

import sys
import sysconfig
from pathlib import Path

import pytest

from trident.errors import HostError
from trident.server.host import STUB, find_runtime, find_shared_python, find_stub, unsearched, wheel_root


def test_a_missing_server_says_what_to_install():
    with pytest.raises(HostError, match=r"pip install 'trident-llm\[cpu\]'"):
        wheel_root("no_such_package_as_pytriton")


def test_a_python_without_a_stub_is_told_which_versions_have_one(tmp_path):
    for version in ("3.9", "3.12", "3.10"):
        stub = tmp_path / "python_backend_stubs" / version / STUB
        stub.parent.mkdir(parents=True)
        stub.touch()
    assert find_stub(tmp_path, (3, 12)).parent.name == "3.12"
    with pytest.raises(HostError, match=r"no stub for Python 3\.14, only for 3\.9, 3\.10, 3\.12;"):
        find_stub(tmp_path, (3, 14))


def test_a_python_without_a_shared_library_says_what_to_install(tmp_path):
    with pytest.raises(
        HostError, match=r"no shared library libpython3\.x\.so.*apt install.*uv python.*pyenv"
    ) as caught:
        find_shared_python("libpython3.x.so", (tmp_path, tmp_path / "absent"))
    assert "\n" not in str(caught.value)


def test_the_shared_library_is_found_in_the_first_folder_that_holds_it(tmp_path):
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "libpython.so").touch()
    assert find_shared_python("libpython.so", (tmp_path / "first", tmp_path / "second")) == tmp_path / "second"


def test_a_folder_of_the_system_never_comes_before_what_an_image_has_set(tmp_path):
    """NVIDIA's image names CUDA's libraries for older drivers there; the system's folder has the driver's own."""
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    assert unsearched(Path("/usr/lib", multiarch)) == unsearched(Path("/usr/lib")) == ()
    assert unsearched(tmp_path) == (tmp_path,)


def test_every_part_of_the_installed_server_is_there():
    pytest.importorskip("pytriton", reason="nvidia-pytriton is not installed")
    runtime = find_runtime()
    for part in (runtime.binary, runtime.stub, runtime.python_backend, *runtime.library_path):
        assert part.exists(), part
    assert runtime.executable_path == Path(sys.executable).parent


def test_in_nvidias_image_its_own_server_is_taken(tmp_path):
    for part in ("bin/tritonserver", f"backends/python/{STUB}"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    runtime = find_runtime(image=tmp_path, package="a_wheel_that_nobody_installed")
    assert runtime.binary == tmp_path / "bin" / "tritonserver"
    assert runtime.stub == tmp_path / "backends" / "python" / STUB
    assert runtime.caches == tmp_path / "caches"


def test_without_a_wheel_or_an_image_it_says_what_to_install(tmp_path):
    with pytest.raises(HostError, match=r"trident-llm\[cpu\]"):
        find_runtime(image=tmp_path, package="a_wheel_that_nobody_installed")
