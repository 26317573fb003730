"""What is installed: a wheel that needs NumPy alone and has its cards, a source distribution, and the C++ library."""

import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from importlib.metadata import files
from pathlib import Path

import numpy
import pytest

import jmlr

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CARDS = [
    p.relative_to(ROOT / "config") for kind in ("datasets", "corpora") for p in (ROOT / "config" / kind).glob("*.yaml")
]
CONSUMER = """
cmake_minimum_required(VERSION 3.21)
project(consumer LANGUAGES CXX)
find_package(jmlr_topk REQUIRED)
add_executable(consumer main.cpp)
target_link_libraries(consumer PRIVATE jmlr::topk)
"""
PROGRAM = """
#include <cstdio>
#include <jmlr/topk.h>
int main() {
  const float vectors[] = {1, 0, 0, 3, 2, 2}, query[] = {1, 1};
  float norm[3], scores[2];
  int64_t ids[2];
  jmlr::encode_rows(jmlr::Storage::float32, vectors, 3, 2, nullptr, nullptr, nullptr, norm);
  jmlr::IndexView index{jmlr::Storage::float32, 3, 2, vectors, nullptr, nullptr, nullptr, norm, jmlr::max_of(norm, 3), nullptr};
  jmlr::search(index, query, 1, 2, {1, jmlr::select_kernels(""), {}}, scores, ids);
  std::printf("%g %lld %g %lld\\n", scores[0], (long long)ids[0], scores[1], (long long)ids[1]);
}
"""


def run(*command, **options) -> str:
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Return the wheel of this checkout, built where the extension was (build/{wheel_tag}), so that little is compiled."""
    folder = tmp_path_factory.mktemp("dist")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    run(sys.executable, "-m", "pip", "wheel", *options, ROOT)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def alone(wheel, tmp_path_factory) -> Path:
    """Return the Python of a new environment with the wheel and a copy of this environment's NumPy, made without a network."""
    folder = tmp_path_factory.mktemp("alone")
    venv.create(folder, symlinks=True)
    python = folder / "bin/python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip())
    for file in files("numpy"):
        if ".." not in file.parts and file.suffix != ".pyc":
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), site / file)
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--no-index", wheel)  # with its dependencies: whatever is not there cannot be had
    run(*pip, "check")
    return python


@pytest.mark.slow
def test_the_wheel_gives_the_reference_bits_where_numpy_alone_is_installed(alone, tmp_path):
    text = run(alone, ROOT / "tests/wheel/alone.py", cwd=tmp_path)
    assert text.startswith("20 cases, 0 wrong []; imported besides NumPy: [];"), text
    assert text.rstrip().endswith("installed: ['jmlr-replication', 'numpy']"), text


@pytest.mark.slow
def test_a_command_of_the_wheel_alone_says_in_one_line_what_it_needs(alone, tmp_path):
    done = subprocess.run([alone.with_name("jmlr"), "train", "--help"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "needs the package pydantic, which is not installed: pip install -e '.[data]'" in done.stderr
    assert "Snakefile of a checkout" in run(alone.with_name("jmlr"), "--help", cwd=tmp_path)


@pytest.mark.slow
def test_the_wheel_beside_the_packages_of_the_extras_has_its_cards(alone, tmp_path):
    """A run that names a card is checked far from any checkout; what belongs to a checkout says so."""
    (tmp_path / "mine.yaml").write_text(
        "run: mine\nsources: {medqa_usmle: {origin: url, path: https://example.org/a.zip}}\n"
        "prepare: {questions: [{dataset: medqa_usmle, edition: hub}], corpora: [{corpus: medrag_textbooks}]}\n"
    )
    packages = Path(numpy.__file__).parents[1]
    code = (
        f"import sys; sys.path.append({str(packages)!r}); import jmlr.options.cards as cards; "
        "print(cards.FOLDER); from jmlr.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    text = run(alone, "-c", code, "config", "--check", "mine.yaml", cwd=tmp_path)
    assert Path(text.splitlines()[0]).is_relative_to(alone.parents[1]), "the cards must be the wheel's"
    assert "a run 'mine'" in text
    done = subprocess.run([alone, "-c", code, "config", "--write"], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no checkout of this project" in done.stderr


@pytest.mark.slow
def test_the_wheel_holds_the_package_its_cards_and_no_cpp(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert len(CARDS) > 30
    assert {f"jmlr/cards/{card}" for card in CARDS} <= names
    assert {"jmlr/topk/__init__.py", "jmlr/report/page.css", "jmlr/report/page.html.jinja"} <= names
    assert {n.split("/")[0] for n in names} == {"jmlr", f"jmlr_replication-{jmlr.__version__}.dist-info"}
    assert not [n for n in names if n.endswith((".h", ".a", ".cmake", ".cpp"))]


def test_the_source_distribution_builds_and_holds_no_tests(tmp_path):
    code = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    archive = tmp_path / run(sys.executable, "-c", code, cwd=ROOT).splitlines()[-1]
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    folder = tmp_path / archive.name.removesuffix(".tar.gz")
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {"LICENSE", "README.md", *(f"config/{card}" for card in CARDS)} <= names
    tops = {"src", "csrc", "cmake", "config", "CMakeLists.txt", "pyproject.toml", "PKG-INFO"}
    assert {n.split("/")[0] for n in names} == tops | {"README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff"}
    assert not [n for n in names if n.endswith((".so", ".pyc", ".parquet"))]
    assert archive.stat().st_size < 2 << 20
    cmake = shutil.which("cmake") or pytest.skip("cmake is not installed")
    run(cmake, "-S", folder, "-B", tmp_path / "build", "-DJMLR_PYTHON=OFF")  # fails if a source file is missing


@pytest.mark.slow
def test_another_program_finds_the_installed_library(wheel, tmp_path):
    """Headers, the static library and jmlr::topk, from the build of the wheel: configured, built and run."""
    cmake = shutil.which("cmake") or pytest.skip("cmake is not installed")
    build = ROOT / "build" / "-".join(wheel.stem.split("-")[2:])
    run(cmake, "--install", build, "--component", "cpp", "--prefix", tmp_path / "prefix")
    (tmp_path / "CMakeLists.txt").write_text(CONSUMER)
    (tmp_path / "main.cpp").write_text(PROGRAM)
    run(cmake, "-S", tmp_path, "-B", tmp_path / "b", f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}")
    run(cmake, "--build", tmp_path / "b")
    assert run(tmp_path / "b/consumer") == "4 2 3 1\n"
    assert not (tmp_path / "prefix/jmlr").exists(), "the Python module has a component of its own"


def test_the_version_stands_once():
    cited = (ROOT / "CITATION.cff").read_text()
    assert PROJECT["project"]["version"] == jmlr.__version__
    assert f"\nversion: {jmlr.__version__}\n" in cited
    assert 'VERSION "${version}"' in (ROOT / "CMakeLists.txt").read_text(), "read from src/jmlr/__init__.py"


def test_there_is_a_wheel_for_every_python_that_make_takes_on_linux_and_macos():
    wheels = PROJECT["tool"]["cibuildwheel"]
    assert wheels["build"] == ["cp311-*", "cp312-*", "cp313-*"]
    assert "FITS := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))" in (ROOT / "Makefile").read_text()
    assert wheels["linux"]["archs"] == ["x86_64", "aarch64"]
    assert wheels["macos"]["archs"] == ["x86_64", "arm64"]
    assert (ROOT / wheels["test-command"].split("{project}/")[1]).is_file()
