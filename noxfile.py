"""The checks of CI, one at a time: ``nox`` runs all, ``nox -l`` lists them, ``nox -s tests-3.12`` runs one."""

from __future__ import annotations

import nox

nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """Run the suite; arguments after ``--`` are pytest's."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))


@nox.session
def kernels(session: nox.Session) -> None:
    """Compile the CUDA kernels and run the GPU's host code, without a GPU."""
    session.install("-e", ".[test,nvrtc]")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", "tests", "-k", "cuda or gpu or cupy or recording")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting, types and the direction of imports."""
    session.install(".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("lint-imports")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the guide as a site, strictly."""
    session.install(".[docs]")
    session.run("mkdocs", "build", "--strict", "-f", "docs/mkdocs.yml", env={"NO_MKDOCS_2_WARNING": "1"})
