"""Build the extension birdembed._core and put oneDNN and its OpenMP runtime beside it.

Environment:
  STB_IMAGE_INCLUDE     folder with stb_image.h (default: where Debian's libstb-dev puts it)
  ONEDNN_ROOT           prefix of another oneDNN v3 (default: the one in the build requirements)
  BIRDEMBED_WERROR=1    treat warnings as errors
  BIRDEMBED_SANITIZE    value for -fsanitize, such as address,undefined
  BIRDEMBED_COVERAGE=1  instrument for gcov
  BIRDEMBED_DEBUG=1     build without optimisation and with debug information
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
LIB_DIR = "_lib"  # below the package: the libraries that go into the wheel


def stop(message):
    sys.exit(f"birdembed: {message}")


def find_stb():
    """Return the folder of stb_image.h."""
    given = os.environ.get("STB_IMAGE_INCLUDE")
    places = [Path(given)] if given else [Path("/usr/include/stb"), Path("/usr/local/include/stb")]
    for place in places:
        if (place / "stb_image.h").is_file():
            return place
    stop(
        "stb_image.h was not found in "
        + " or ".join(map(str, places))
        + ". Install it (Debian, Ubuntu: `apt-get install libstb-dev`) "
        "or set STB_IMAGE_INCLUDE to the folder that contains it."
    )


def distribution_file(distribution, ending):
    """Return the file of an installed distribution whose path has the given ending.

    With build isolation, the build requirements are not below sys.prefix.
    """
    try:
        files = importlib.metadata.distribution(distribution).files or []
    except importlib.metadata.PackageNotFoundError:
        stop(
            f"the build requirement {distribution} is not installed. Build with `pip install .`, "
            f"run `pip install {distribution}==2023.2.0`, or set ONEDNN_ROOT."
        )
    for file in files:
        if str(file).endswith(ending):
            return Path(file.locate()).resolve()
    stop(f"{distribution} does not contain {ending}")


def find_onednn():
    """Return (include folder, libdnnl.so.3, folder of its licence texts or None)."""
    root = os.environ.get("ONEDNN_ROOT")
    if root:
        for lib in ("lib", "lib64"):
            library = Path(root) / lib / "libdnnl.so.3"
            if library.exists():
                return Path(root) / "include", library.resolve(), None
        stop(f"ONEDNN_ROOT={root} does not contain lib/libdnnl.so.3")
    header = distribution_file("onednn-devel-cpu-gomp", "include/oneapi/dnnl/dnnl.h")
    library = distribution_file("onednn-cpu-gomp", "/libdnnl.so.3")
    return (
        header.parents[2],
        library,
        distribution_file("onednn-cpu-gomp", "onednn/LICENSE").parent,
    )


def find_libgomp(compiler):
    """Return the compiler's own libgomp.so.1."""
    command = [compiler, "-print-file-name=libgomp.so.1"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    if not path.is_absolute():
        stop("the compiler has no libgomp.so.1. Install gcc's OpenMP runtime (Debian: libgomp1).")
    return path.resolve()


def check_platform():
    """Stop early, with the reason, on a platform where the wheel cannot work."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        stop("this needs Linux on x86-64: oneDNN's GNU OpenMP packages only exist for it.")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        stop("free-threaded Python cannot load abi3 extensions. Use an ordinary build of Python.")


def copy_if_other(source, target):
    """Copy a file unless the target already has its size (the libraries take 54 MB)."""
    if not target.exists() or target.stat().st_size != source.stat().st_size:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def fortify_level(compiler):
    """Return 3 if compiler and C library support that level of _FORTIFY_SOURCE, else 2."""
    source = "#include <features.h>\nint level[__USE_FORTIFY_LEVEL == 3 ? 1 : -1];\n"
    command = [compiler, "-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=3", "-fsyntax-only"]
    known = subprocess.run([*command, "-xc", "-"], input=source, capture_output=True, text=True)
    return 2 if known.returncode else 3


class BuildExt(build_ext):
    def build_extension(self, ext):
        include, library, licences = find_onednn()
        compiler = self.compiler.compiler_so[0]
        gomp = find_libgomp(compiler)
        # The checks need optimisation. Python's own flags may set another level.
        if not {"BIRDEMBED_SANITIZE", "BIRDEMBED_COVERAGE", "BIRDEMBED_DEBUG"} & set(os.environ):
            level = fortify_level(compiler)
            ext.extra_compile_args += ["-U_FORTIFY_SOURCE", f"-D_FORTIFY_SOURCE={level}"]
        lib_dir = Path(self.get_ext_fullpath(ext.name)).parent / LIB_DIR
        copy_if_other(library, lib_dir / "libdnnl.so.3")
        copy_if_other(gomp, lib_dir / "libgomp.so.1")
        if licences:
            for name in ("LICENSE", "THIRD-PARTY-PROGRAMS"):
                copy_if_other(licences / name, lib_dir / f"{name}.onednn")
        # A Python built by hand may add its own folders to every extension; ours must not contain
        # absolute paths.
        self.compiler.linker_so = [
            word for word in self.compiler.linker_so if not word.startswith(("-Wl,-rpath", "-L/"))
        ]
        ext.include_dirs += [str(include), str(find_stb())]
        # libgomp comes first: when oneDNN requests it, it is already loaded.
        ext.extra_link_args += [str(lib_dir / "libgomp.so.1"), str(lib_dir / "libdnnl.so.3")]
        super().build_extension(ext)

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        built = Path(self.build_lib) / "birdembed" / LIB_DIR
        for source in built.iterdir():
            copy_if_other(source, ROOT / "birdembed" / LIB_DIR / source.name)


class BdistWheel(bdist_wheel):
    """One cp310-abi3 wheel for every Python."""

    def finalize_options(self):
        self.py_limited_api = "cp310"
        super().finalize_options()


def extension():
    import numpy

    flags = [
        "-std=c11",
        "-O3",
        "-fvisibility=hidden",
        "-fstack-protector-strong",
        "-fno-math-errno",
        "-pthread",
        "-fopenmp",
        "-Wall",
        "-Wextra",
        "-Wshadow",
        "-Wstrict-prototypes",
        "-Wvla",
        "-g0",  # Python's flags may contain -g, but debug information has paths of this machine
        f"-ffile-prefix-map={ROOT}=.",
    ]
    links = ["-pthread", f"-Wl,-rpath,$ORIGIN/{LIB_DIR}", "-Wl,--no-as-needed", "-lm"]
    links += ["-Wl,-z,relro", "-Wl,-z,now"]
    if os.environ.get("BIRDEMBED_WERROR") == "1":
        flags.append("-Werror")
    sanitize = os.environ.get("BIRDEMBED_SANITIZE")
    if sanitize:
        flags += [f"-fsanitize={sanitize}", "-fno-omit-frame-pointer", "-g", "-O1"]
        links.append(f"-fsanitize={sanitize}")
    if os.environ.get("BIRDEMBED_COVERAGE") == "1":
        flags += ["--coverage", "-O0"]
        links.append("--coverage")
    if os.environ.get("BIRDEMBED_DEBUG") == "1":  # last, so that it overrides -O and -g above
        flags += ["-O0", "-g", "-fno-omit-frame-pointer"]
    sources = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.c"))
    headers = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").rglob("*.h"))
    return Extension(
        "birdembed._core",
        sources=sources,
        depends=headers,
        include_dirs=["csrc", numpy.get_include()],
        define_macros=[
            ("_POSIX_C_SOURCE", "200809L"),
            ("Py_LIMITED_API", "0x030A0000"),
        ],
        extra_compile_args=flags,
        extra_link_args=links,
        py_limited_api=True,
    )


check_platform()
if sys.argv[1:] == ["--print-onednn"]:  # for csrc/Makefile
    print(*find_onednn()[:2])
    sys.exit()
setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": BuildExt, "bdist_wheel": BdistWheel},
)
