"""Installing and building with the system's own tools: apt, cargo, maven. What cannot be had raises NotBuilt with the
reason."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

__all__ = ["NotBuilt", "cargo", "maven", "output_of", "packages", "run"]

RUST_LEAST: Final = (1, 85)  # the crate walrus-rust is of edition 2024
REASON_CHARACTERS: Final = 300


class NotBuilt(Exception):
    """This machine cannot have that rival; the text says why."""


def run(command: list[str], **more: str) -> None:
    """Runs it quietly. NotBuilt with the end of what it said where it fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, **more}, stdin=subprocess.DEVNULL
        )
    except OSError as failure:
        raise NotBuilt(f"{command[0]}: {failure.strerror}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-REASON_CHARACTERS:]
        raise NotBuilt(f"{Path(command[0]).name} failed: {said}")


def output_of(command: list[str]) -> str:
    """What it prints; NotBuilt where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as failure:
        raise NotBuilt(f"{command[0]}: {failure}") from None


def packages(wanted: dict[str, str]) -> None:
    """Installs the Debian packages of those files or programs that are not there."""
    missing = [
        package
        for what, package in wanted.items()
        if not (Path(what).exists() if what.startswith("/") else shutil.which(what))
    ]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NotBuilt(f"please install (Debian names): {' '.join(missing)}")
    as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    run([*as_root, "apt-get", "update", "-qq"], DEBIAN_FRONTEND="noninteractive")
    run(
        [*as_root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        DEBIAN_FRONTEND="noninteractive",
    )


def _rust_version(program: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", output_of([program, "--version"])) if shutil.which(program) else None
    return (int(found[1]), int(found[2])) if found else (0, 0)


def cargo() -> str:
    """A cargo whose rustc builds the crate. Debian 12's rustc (1.63) does not; its rustc-web, kept up for browsers,
    does."""
    if min(_rust_version("cargo"), _rust_version("rustc")) < RUST_LEAST:
        for names in (["rustc-web", "cargo-web"], ["rustc", "cargo"]):
            try:
                packages({f"/usr/share/doc/{name}": name for name in names})
            except NotBuilt:
                continue
            if min(_rust_version("cargo"), _rust_version("rustc")) >= RUST_LEAST:
                break
    if min(_rust_version("cargo"), _rust_version("rustc")) < RUST_LEAST:
        raise NotBuilt(
            f"needs rustc {RUST_LEAST[0]}.{RUST_LEAST[1]} or newer, found {output_of(['rustc', '--version'])}"
        )
    return "cargo"


def maven(pom: Path, target: Path) -> None:
    """The jars that a pom names, with what they need."""
    if target.exists() and target.stat().st_mtime >= pom.stat().st_mtime:
        return
    run(
        [
            "mvn",
            "-q",
            "-B",
            "-f",
            str(pom),
            "dependency:copy-dependencies",
            f"-DoutputDirectory={target}",
            "-DincludeScope=runtime",
        ]
    )
    target.touch()
