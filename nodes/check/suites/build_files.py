"""The files of build tools that say what a test command runs."""

from collections.abc import Mapping

MAKE_FILES = ("Makefile", "makefile", "GNUmakefile")

BUILD_FILES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("make", "gmake"), MAKE_FILES),
    **dict.fromkeys(("npm", "npx", "yarn", "pnpm", "bun", "node"), ("package.json",)),
    "nox": ("noxfile.py",),
    "cargo": ("Cargo.toml",),
    **dict.fromkeys(("mvn", "mvnw"), ("pom.xml",)),
    **dict.fromkeys(("gradle", "gradlew"), ("build.gradle", "build.gradle.kts")),
    **dict.fromkeys(("cmake", "ctest"), ("CMakeLists.txt",)),
    "composer": ("composer.json",),
}
"""By program, the files at a project's root that say what it runs."""
