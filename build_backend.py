"""The PEP 517/660 build backend: CMake + Ninja -> one wheel per platform, with nothing but the standard library.

Settings (`-C name=value`; anything else is an error):
    variant            which file of wheels/ to build (default cpu); cuda, vulkan and rpc are plug-ins of the cpu one
    cpu                portable: a module per CPU generation, the default for wheels; native: this machine only, much
                       quicker to build, the default for editable installs; such a wheel is tagged linux_<arch>
    build-dir          where CMake works (default build/wheel-<settings>-<hash>; kept, so the next build is incremental)
    jobs               parallel compilations (default: what affinity, cgroup and memory allow)
    cmake.define.NAME  passed to CMake as -DNAME=value
Environment: GGML_SOURCE_DIR, EXECUTORCH_ROOT and EXECUTORCH_GGML_CACHE (see third-party/fetch.py), SOURCE_DATE_EPOCH.
Nothing is skipped or replaced when it fails: a failed build is a failed build.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import importlib.util
import io
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
PACKAGE = "executorch_ggml"
SETTINGS = ("variant", "cpu", "build-dir", "jobs", "cmake.define.<NAME>")
CMAKE_MIN = (3, 25)
MACOS_MIN = "14.0"  # as ExecuTorch's own wheels
BYTES_PER_JOB = 1_500_000_000  # the largest translation units of ggml
# What an sdist is made of, out of what git tracks.
SDIST = re.compile(
    r"(LICENSE|\w+\.md|CMakeLists\.txt|CMakePresets\.json|Makefile|build_backend\.py|mkdocs\.yml|pyproject\.toml)$"
    r"|(\.ci|\.github|assets|benchmarks|cmake|csrc|docs|examples|executorch_ggml\w*|runner|schema|tests|third-party|tools"
    r"|wheels)/"
)
PACKAGE_FILES = {".py", ".typed", ".json", ".jinja", ".txt"}  # suffixes of what ships from the package's directory
GENERATED = ("lib", "bin", "include", "licences", "ir/_ggml_ir.py")  # an editable install's, never taken from the tree
# Libraries a manylinux platform promises (auditwheel's policy), beside ours and ExecuTorch's, which pip installs.
SYSTEM_LIBRARIES = re.compile(r"(libc|libm|libdl|librt|libpthread|libgcc_s|libstdc\+\+|ld-linux.*)\.so\.\d+$")
OWN_LIBRARIES = re.compile(r"lib(et)?ggml.*\.so$|libexecutorch.*\.so$")
DRIVER_LIBRARIES = re.compile(r"(libcuda|libcudart|libcublas|libvulkan)\.so\.\d+$")  # of loadable backends only
# glibc release of the first manylinux platform with that GLIBCXX_3.4.x (auditwheel's policy).
GLIBCXX = {19: 17, 22: 24, 24: 27, 28: 31, 29: 34, 30: 35, 33: 39}


class BuildError(Exception):
    """The build cannot be done as asked; the message says what to do."""


# ---- settings and metadata ------------------------------------------------------------------------------------------


def _toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _settings(given: dict[str, Any] | None, cpu: str) -> dict[str, Any]:
    """Checked settings, and the variant's file as "wheel". Raises BuildError on anything unknown."""
    result: dict[str, Any] = {"variant": "cpu", "cpu": cpu, "build-dir": None, "jobs": None, "defines": {}}
    for name, value in (given or {}).items():
        if isinstance(value, list):
            raise BuildError(f"config setting {name} is given {len(value)} times; give it once")
        define = name.removeprefix("cmake.define.")
        if define != name and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", define):
            result["defines"][define] = value
        elif name in result and name != "defines":
            result[name] = value
        else:
            raise BuildError(f"unknown config setting {name!r}; known are {', '.join(SETTINGS)}")
    variants = sorted(path.stem for path in (ROOT / "wheels").glob("*.toml"))
    if result["variant"] not in variants:
        raise BuildError(f"unknown variant {result['variant']!r}; wheels/ has {', '.join(variants)}")
    if result["cpu"] not in ("portable", "native"):
        raise BuildError(f"cpu={result['cpu']!r}: it is either portable or native")
    if result["jobs"] is not None and not re.fullmatch(r"[1-9]\d*", result["jobs"]):
        raise BuildError(f"jobs={result['jobs']!r}: a positive number is needed")
    result["wheel"] = _toml(ROOT / "wheels" / f"{result['variant']}.toml")
    return result


def _metadata(settings: dict[str, Any]) -> tuple[str, str, dict[str, bytes]]:
    """Distribution name and version, and the files of .dist-info that need no compilation."""
    project = _toml(ROOT / "pyproject.toml")["project"] | settings["wheel"]["project"]
    lines = ["Metadata-Version: 2.4", f"Name: {project['name']}", f"Version: {project['version']}"]
    lines += [f"Summary: {project['description']}", f"License-Expression: {project['license']}"]
    lines += [f"License-File: {name}" for name in project["license-files"]]
    lines += [f"Keywords: {','.join(project['keywords'])}", f"Requires-Python: {project['requires-python']}"]
    lines += [f"Classifier: {classifier}" for classifier in project["classifiers"]]
    lines += [f"Requires-Dist: {text.format(version=project['version'])}" for text in project["dependencies"]]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        for requirement in requirements:
            requirement, _, marker = requirement.partition(";")
            marker = f"({marker.strip()}) and " if marker else ""
            lines.append(f"Requires-Dist: {requirement.strip()} ; {marker}extra == '{extra}'")
    lines += ["Description-Content-Type: text/markdown", "", (ROOT / project["readme"]).read_text(encoding="utf-8")]
    scripts = "".join(f"{name} = {target}\n" for name, target in sorted(project["scripts"].items()))
    files = {"METADATA": "\n".join(lines).encode()}
    if scripts:
        files["entry_points.txt"] = f"[console_scripts]\n{scripts}".encode()
    files |= {f"licenses/{name}": (ROOT / name).read_bytes() for name in project["license-files"]}
    return project["name"].replace("-", "_"), project["version"], files


# ---- compiling ------------------------------------------------------------------------------------------------------


def _jobs() -> int:
    """How many compilers may run: CPUs by affinity and cgroup quota, and memory."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with contextlib.suppress(OSError, ValueError):  # no cgroup v2, or no limit: then the file says "max"
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cpus = min(cpus, -(-int(quota) // int(period)))
    with contextlib.suppress(OSError, ValueError):
        memory.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(1, min(cpus, min(memory) // BYTES_PER_JOB))


def _run(command: list[str], log: Path, environment: dict[str, str]) -> None:
    """Runs a command, copies its output to the log and to stdout; raises BuildError with its last lines."""
    lines = [f"$ {' '.join(command)}\n"]
    try:
        pipe, join = subprocess.PIPE, subprocess.STDOUT
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=pipe, stderr=join, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line)
                print(line, end="", flush=True)
        code = process.returncode
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run: {error}") from None
    finally:
        with log.open("a", encoding="utf-8") as file:
            file.writelines(lines)
    if code != 0:
        tail = "".join(lines[-30:]).rstrip()
        raise BuildError(f"{command[0]} failed ({code}). Its last lines:\n{tail}\nThe whole log: {log}") from None


def _compile(settings: dict[str, Any], prefix: Path, strip: bool) -> None:
    """Configures, builds and installs the native part into `prefix`, the package directory."""
    variant = settings["wheel"]
    here = f"{sys.platform}-{platform.machine()}"
    if here not in variant["platforms"]:
        raise BuildError(f"variant {settings['variant']} is for {', '.join(variant['platforms'])}; this is {here}")
    defines = {**variant["cmake"], "EXECUTORCH_GGML_PORTABLE": "ON" if settings["cpu"] == "portable" else "OFF"}
    defines |= settings["defines"]
    key = hashlib.sha256(repr(sorted(defines.items())).encode()).hexdigest()[:8]
    build = Path(settings["build-dir"] or f"build/wheel-{settings['variant']}-{settings['cpu']}-{key}")
    build = (ROOT / build).resolve()  # a relative directory is below the source tree, wherever pip was called
    build.mkdir(parents=True, exist_ok=True)
    log = build / "build.log"
    log.unlink(missing_ok=True)
    # Tools of an isolated build environment lie at another path every time: name them anew at every configure.
    cmake, ninja = shutil.which("cmake"), shutil.which("ninja")
    if not cmake or not ninja:
        raise BuildError(f"cmake >= 3.25 and ninja are needed (cmake: {cmake}, ninja: {ninja})")
    defines |= {"CMAKE_MAKE_PROGRAM": ninja, "Python3_EXECUTABLE": sys.executable}
    # The date only matters to archives; in the environment it would turn off options of ggml.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    environment.setdefault("MACOSX_DEPLOYMENT_TARGET", MACOS_MIN)
    arguments = [f"-D{name}={value}" for name, value in sorted(defines.items())]
    _run([cmake, "-S", str(ROOT), "-B", str(build), "-G", "Ninja", *arguments], log, environment)
    _run([cmake, "--build", str(build), "--parallel", str(settings["jobs"] or _jobs())], log, environment)
    install = [cmake, "--install", str(build), "--component", PACKAGE, "--prefix", str(prefix)]
    _run(install + (["--strip"] if strip else []), log, environment)


# ---- the platform tag -----------------------------------------------------------------------------------------------


def _elf_needs(path: Path) -> tuple[int, list[str], list[str]]:
    """Machine, needed libraries and needed symbol versions of a 64-bit little-endian ELF file."""
    data = path.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        raise BuildError(f"{path.name} is not a 64-bit little-endian ELF file; wheels can be tagged for those only")
    machine = struct.unpack_from("<H", data, 18)[0]
    offset, size, count = struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]

    def text(section: int, at: int) -> str:
        start = sections[section][4] + at
        return data[start : data.index(b"\0", start)].decode()

    libraries, versions = [], []
    for _, kind, _, _, start, length, link, _, _, _ in sections:
        if kind == 6:  # SHT_DYNAMIC
            entries = struct.iter_unpack("<QQ", data[start : start + length])
            libraries += [text(link, value) for tag, value in entries if tag == 1]  # DT_NEEDED
        elif kind == 0x6FFFFFFE:  # SHT_GNU_verneed: a chain of files, each with a chain of versions
            while True:
                _, entries_count, _, auxiliary, next_file = struct.unpack_from("<HHIII", data, start)
                at = start + auxiliary
                for _ in range(entries_count):
                    _, _, _, name, next_version = struct.unpack_from("<IHHII", data, at)
                    versions.append(text(link, name))
                    at += next_version
                if next_file == 0:
                    break
                start += next_file
    return machine, libraries, versions


def _platform_tag(binaries: list[Path], portable: bool) -> str:
    """The platform that these binaries need, from their symbol versions and libraries; never from this machine."""
    machines, glibc = set(), 17
    for path in binaries:
        machine, libraries, versions = _elf_needs(path)
        machines.add({62: "x86_64", 183: "aarch64"}.get(machine, f"machine{machine}"))
        for library in libraries:
            if not any(known.match(library) for known in (SYSTEM_LIBRARIES, OWN_LIBRARIES, DRIVER_LIBRARIES)):
                portable = False
        for version in versions:
            if match := re.fullmatch(r"GLIBC_2\.(\d+)(\.\d+)?", version):
                glibc = max(glibc, int(match[1]))
            elif match := re.fullmatch(r"GLIBCXX_3\.4\.(\d+)", version):
                needed = [platform for release, platform in GLIBCXX.items() if release >= int(match[1])]
                glibc = max(glibc, min(needed, default=99))
    if len(machines) != 1:
        raise BuildError(f"binaries of {len(machines)} machines in one wheel: {sorted(machines)}")
    return f"manylinux_2_{glibc}_{machines.pop()}" if portable else f"linux_{machines.pop()}"


def _tag(prefix: Path, portable: bool) -> str:
    if sys.platform == "darwin":  # the compiler wrote the deployment target into the libraries; CMake took it from here
        target = os.environ.get("MACOSX_DEPLOYMENT_TARGET", MACOS_MIN).split(".")
        return f"py3-none-macosx_{target[0]}_{target[1]}_{platform.machine()}"
    binaries = sorted([*prefix.glob("lib/*.so"), *(path for path in prefix.glob("bin/*") if path.is_file())])
    if not binaries:
        raise BuildError(f"the build installed no library into {prefix}")
    return f"py3-none-{_platform_tag(binaries, portable)}"


# ---- archives -------------------------------------------------------------------------------------------------------


def _date() -> int:
    return int(os.environ.get("SOURCE_DATE_EPOCH", 1767225600))  # 2026-01-01, unless the distributor says otherwise


def _write_wheel(directory: str, name: str, version: str, tag: str, files: dict[str, tuple[bytes, bool]]) -> str:
    """Writes a wheel of `path -> (content, executable)`, .dist-info among them but for RECORD; returns its name."""
    info = f"{name}-{version}.dist-info"
    rows = []
    for path, (content, _) in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}\n")
    record = f"{info}/RECORD"
    ordered = sorted(files.items(), key=lambda item: (item[0].startswith(info), item[0]))  # .dist-info last
    ordered.append((record, ("".join([*rows, f"{record},,\n"]).encode(), False)))
    stamp = time.gmtime(max(_date(), 315532800))[:6]  # zip cannot say anything before 1980
    file_name = f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(Path(directory) / file_name, "w") as wheel:
        for path, (content, executable) in ordered:
            entry = zipfile.ZipInfo(path, stamp)
            entry.create_system, entry.compress_type = 3, zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if executable else 0o100644) << 16
            wheel.writestr(entry, content)
    return file_name


def _wheel_file(tag: str, pure: bool) -> bytes:
    return f"Wheel-Version: 1.0\nGenerator: build_backend\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n".encode()


def _package_sources(package: str) -> dict[str, tuple[bytes, bool]]:
    files = {}
    for path in sorted((ROOT / package).rglob("*")):
        inside = path.relative_to(ROOT / package)
        if path.is_file() and path.suffix in PACKAGE_FILES and not {inside.parts[0], inside.as_posix()} & {*GENERATED}:
            files[path.relative_to(ROOT).as_posix()] = (path.read_bytes(), False)
    return files


def _sdist_files() -> list[str]:
    """Git's list of tracked files, or, inside an unpacked sdist, the list that it carries."""
    if (ROOT / ".git").exists():
        git = ["git", "ls-files", "-z"]
        names = subprocess.run(git, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().split("\0")
    elif (ROOT / "MANIFEST").is_file():
        names = (ROOT / "MANIFEST").read_text(encoding="utf-8").splitlines()
    else:
        raise BuildError(f"{ROOT} is neither a git checkout nor an unpacked sdist: its files are not known")
    files = sorted(name for name in names if SDIST.match(name) and (ROOT / name).is_file())
    if "pyproject.toml" not in files:
        raise BuildError("git tracks no pyproject.toml here; commit the tree first, an sdist holds tracked files only")
    return files


# ---- the hooks ------------------------------------------------------------------------------------------------------


def get_requires_for_build_wheel(config_settings: dict[str, Any] | None = None) -> list[str]:
    """Only what is missing. Called inside the build environment, whose tools are the ones that will be used."""
    requires = list(_settings(config_settings, "portable")["wheel"]["build-requires"])
    for tool in ("cmake", "ninja"):
        try:  # run, not just found: a `cmake` script of another environment is found but does not run in this one
            done = subprocess.run([tool, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            output = done.stdout
        except OSError:
            output = ""
        version = re.search(r"(\d+)\.(\d+)", output)
        if version is None or (tool == "cmake" and (int(version[1]), int(version[2])) < CMAKE_MIN):
            requires.append("cmake>=3.25" if tool == "cmake" else "ninja")
    if importlib.util.find_spec("pip") is None:  # third-party/fetch.py downloads with it
        requires.append("pip")
    return requires


get_requires_for_build_editable = get_requires_for_build_wheel


def get_requires_for_build_sdist(config_settings: dict[str, Any] | None = None) -> list[str]:
    _settings(config_settings, "portable")
    return []


def prepare_metadata_for_build_wheel(metadata_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """Writes .dist-info without compiling. There is no WHEEL file yet: its tag is read from the compiled libraries."""
    name, version, files = _metadata(_settings(config_settings, "portable"))
    target = Path(metadata_directory) / f"{name}-{version}.dist-info"
    for path, content in files.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(content)
    return target.name


prepare_metadata_for_build_editable = prepare_metadata_for_build_wheel


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    settings = _settings(config_settings, "portable")
    name, version, information = _metadata(settings)
    with tempfile.TemporaryDirectory() as scratch:
        prefix = Path(scratch) / settings["wheel"]["package"]
        _compile(settings, prefix, strip=True)
        tag = _tag(prefix, settings["cpu"] == "portable")
        files = _package_sources(prefix.name)
        for path in sorted(prefix.rglob("*")):
            if path.is_file():
                executable = path.suffix == ".so" or path.parent.name == "bin"
                files[path.relative_to(scratch).as_posix()] = (path.read_bytes(), executable)
    information["WHEEL"] = _wheel_file(tag, pure=False)
    files |= {f"{name}-{version}.dist-info/{path}": (content, False) for path, content in information.items()}
    return _write_wheel(wheel_directory, name, version, tag, files)


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """Builds into the source tree (git ignores it) and makes a wheel that only points there."""
    settings = _settings(config_settings, "native")
    name, version, information = _metadata(settings)
    _compile(settings, ROOT / settings["wheel"]["package"], strip=False)
    information["WHEEL"] = _wheel_file("py3-none-any", pure=True)  # the .pth is; the libraries are not in it
    files = {f"{name}-{version}.dist-info/{path}": (content, False) for path, content in information.items()}
    files[f"__editable__.{name}.pth"] = (f"{ROOT}\n".encode(), False)
    return _write_wheel(wheel_directory, name, version, "py3-none-any", files)


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    _settings(config_settings, "portable")
    name, version, information = _metadata(_settings({}, "portable"))  # one sdist, whatever is built from it
    base = f"{name}-{version}"
    contents = {path: (ROOT / path).read_bytes() for path in _sdist_files()}
    contents["MANIFEST"] = "".join(f"{path}\n" for path in sorted(contents)).encode()
    contents["PKG-INFO"] = information["METADATA"]
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, content in sorted(contents.items()):
            entry = tarfile.TarInfo(f"{base}/{path}")
            script = content.startswith(b"#!")
            entry.size, entry.mtime, entry.mode = len(content), _date(), 0o755 if script else 0o644
            tar.addfile(entry, io.BytesIO(content))
    # GzipFile writes no file name when it is given none, and the date it is told: the same tree gives the same bytes.
    compressed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=compressed, mtime=_date()) as stream:
        stream.write(archive.getvalue())
    (Path(sdist_directory) / f"{base}.tar.gz").write_bytes(compressed.getvalue())
    return f"{base}.tar.gz"
