"""The C++ core alone, under sanitizers and on another architecture."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("test_topk", "test_maxsim")
ARM = ("aarch64-linux-gnu-g++", "qemu-aarch64")


@pytest.fixture(scope="module")
def builds(tmp_path_factory) -> Path:
    """A folder for builds that several tests share: the library is compiled once for each set of sanitizers."""
    return tmp_path_factory.mktemp("builds")


def sanitized(builds: Path, sanitizers: str, *targets: str) -> Path:
    return build(builds / (sanitizers or "plain"), f"-DJMLR_SANITIZE={sanitizers}", targets=targets)


def build(folder: Path, *options: str, targets: tuple[str, ...] = PROGRAMS) -> Path:
    """Configure and build the native tests; return the folder of the programs."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("cmake is not installed")
    for command in (
        [cmake, "-S", ROOT, "-B", folder, "-DJMLR_PYTHON=OFF", "-DJMLR_TESTS=ON", "-DJMLR_WERROR=ON", *options],
        [cmake, "--build", folder, "-j2", "--target", *targets],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def check(folder: Path, prefix: list, last_isa: str) -> None:
    """Run the programs; each must have tried every instruction set and found nothing wrong."""
    for program in PROGRAMS:
        done = subprocess.run([*prefix, folder / program], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        cases = re.search(rf"(\d+) cases, 0 wrong; last of {last_isa}", done.stdout)
        assert cases, done.stdout
        assert int(cases[1]) >= 90


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_native_core_is_clean_under_sanitizers(sanitizers, builds):
    programs = sanitized(builds, sanitizers, *PROGRAMS)
    prefix = []
    if sanitizers == "thread" and shutil.which("setarch"):
        prefix = ["setarch", "-R"]  # its shadow memory and a randomised address space can collide
    check(programs, prefix, r"\w+")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["", "address,undefined"])
def test_the_tile_kernels_give_the_reference_bits_in_emulation_and_the_emulation_the_processors(sanitizers, builds):
    """The loop of kernels/amx.h over tests/native/tile_emulation.h; where there is AMX, its scores bit by bit too."""
    program = sanitized(builds, sanitizers, "test_amx") / "test_amx"
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) cases by emulation, 0 wrong", done.stdout)
    assert cases, done.stdout
    assert int(cases[1]) >= 300
    sieved = re.search(r"(\d+) panels sieved, 0 unlike a scan and a filter", done.stdout)
    assert sieved, done.stdout
    assert int(sieved[1]) >= 100
    compared = re.search(r"(\d+) scores of the processor's, 0 different", done.stdout)
    assert compared or "no AMX here" in done.stdout, done.stdout
    assert not compared or int(compared[1]) >= 100_000


@pytest.mark.slow
def test_neon_gives_the_same_bits_under_emulation(tmp_path):
    missing = [tool for tool in ARM if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (Debian: g++-aarch64-linux-gnu, qemu-user)")
    programs = build(
        tmp_path, "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64", f"-DCMAKE_CXX_COMPILER={ARM[0]}"
    )
    check(programs, [ARM[1], "-L", "/usr/aarch64-linux-gnu"], "neon")


@pytest.mark.slow
@pytest.mark.parametrize("sanitizers", ["", "address,undefined"])
def test_the_gpu_search_gives_the_reference_bits_in_emulation(sanitizers, builds):
    """The kernels themselves, every scan of them, run on the host; see tests/native/cuda_emulation.h."""
    program = sanitized(builds, sanitizers, "test_cuda") / "test_cuda"
    done = subprocess.run([program, "quick"] if sanitizers else [program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    cases = re.search(r"(\d+) cases, 0 wrong", done.stdout)
    assert cases, done.stdout
    assert int(cases[1]) >= 100


@pytest.mark.slow
def test_the_gpu_module_compiles_without_warnings(tmp_path):
    """For every architecture of a release; warnings are errors. Nothing is run, so this needs nvcc but no GPU."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not installed")
    pybind11 = pytest.importorskip("pybind11")
    where = f"-Dpybind11_DIR={pybind11.get_cmake_dir()}"
    build(tmp_path, "-DJMLR_PYTHON=ON", "-DJMLR_CUDA=ON", where, targets=("_topk_cuda",))
    assert list(tmp_path.glob("_topk_cuda*.so"))


def test_asking_for_the_gpu_module_without_nvcc_fails_in_words(tmp_path):
    if shutil.which("nvcc") is not None:
        pytest.skip("nvcc is installed")
    with pytest.raises(AssertionError, match="JMLR_CUDA=ON, but there is no nvcc"):
        build(tmp_path, "-DJMLR_CUDA=ON")
