"""find_package(executorch_ggml) in somebody else's CMake project."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from executorch_ggml.runtime._load import executorch_directory, library_path

CMAKE = """\
cmake_minimum_required(VERSION 3.25)
project(consumer CXX)
find_package(executorch_ggml 0.1 REQUIRED)
add_executable(consumer main.cpp)
target_link_libraries(consumer PRIVATE executorch::backend_ggml)
add_executable(silent silent.cpp)
target_link_libraries(silent PRIVATE executorch::backend_ggml)
"""
MAIN = """\
#include <executorch_ggml.h>
#include <cstdio>
int main() {
  char* json = nullptr;
  if (etggml_devices(&json) != ETGGML_OK) return 1;
  std::printf("%s %s", etggml_version(), json);
  etggml_string_free(json);
  return 0;
}
"""


def test_consumer(tmp_path: Path) -> None:
    prefix = library_path().parents[1]
    if not (prefix / "lib" / "cmake" / "executorch_ggml").is_dir():
        pytest.skip(f"{prefix} is not an installed package")
    if shutil.which("cmake") is None or shutil.which("ninja") is None:
        pytest.skip("cmake and ninja are needed")
    (tmp_path / "CMakeLists.txt").write_text(CMAKE)
    (tmp_path / "main.cpp").write_text(MAIN)
    (tmp_path / "silent.cpp").write_text("int main() { return 0; }\n")
    environment = dict(os.environ, LD_LIBRARY_PATH=str(executorch_directory() / "lib"))

    def run(*command: object) -> str:
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("cmake", "-S", ".", "-B", "b", "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", "b")
    version, devices = run("b/consumer").split(" ", 1)
    assert version.count(".") == 2
    assert '"cpu"' in devices
    # Nothing in it calls the library, yet it must be loaded: loading it is what registers the backend.
    assert "libexecutorch_ggml.so" in run("readelf", "-d", "b/silent")
