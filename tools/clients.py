"""Installs what the tests run of other people's, each as its makers ship it, into ``.clients``: `python -m tools.clients`,
or only those that are named. The clients of tests/clients, the Apache Kafka of tests/kafka with what its brokers start
from and its tools for the benchmarks, the S3 server of tests/s3.

Quick where they are there already; else what different tools install is installed side by side. A client whose tool chain
this machine lacks (node, java, Maven …) is left out, and its tests say so; in CI they fail instead.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".clients"
SOURCES = ROOT / "tests" / "clients"
NODE, LIFION, GO, RUST, JAVA1, KCL2, KPL = (
    SOURCES / name for name in ("node", "lifion", "go", "rust", "java1", "kcl2", "kpl")
)
KAFKA = ROOT / "tests" / "kafka"
S3 = ROOT / "tests" / "s3" / "server"
KAFKA_TOOLS = ROOT / "benchmarks" / "kafka_tools"

KCL = "kclpy-ext==3.1.3.post4"
"""Carries the jars of the Kinesis Client Library 3.1.3, with the AWS SDK for Java 2.33, and the Python side of both."""

CURRENT = ("awscli==1.46.3", "boto3==1.44.3")
"""The newest botocore, which aiobotocore does not run with yet."""

AIO = ("async-kinesis==3.0.1", "aiokpl==0.2.0", "aws-kinesis-agg==1.2.3")


def install_kcl(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as downloads:
        run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", downloads, KCL)
        (wheel,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def install_java1(folder: Path) -> None:
    _maven(folder, JAVA1)


def install_kcl2(folder: Path) -> None:
    _maven(folder, KCL2)


def install_kpl(folder: Path) -> None:
    _maven(folder, KPL)


def install_node(folder: Path) -> None:
    _npm(folder, NODE)


def install_lifion(folder: Path) -> None:
    _npm(folder, LIFION)


def install_go(folder: Path) -> None:
    folder.mkdir(parents=True)
    run("go", "build", "-o", str(folder / "client"), ".", cwd=GO)


def install_rust(folder: Path) -> None:
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as target:  # hundreds of MB, of which one file is wanted
        run("cargo", "build", "--quiet", "--locked", "--target-dir", target, cwd=RUST)
        shutil.copy(Path(target) / "debug" / "client", folder)


def install_current(folder: Path) -> None:
    _venv(folder, *CURRENT)


def install_aio(folder: Path) -> None:
    _venv(folder, *AIO)


def install_s3(folder: Path) -> None:
    folder.mkdir(parents=True)
    run("go", "build", "-ldflags", "-s -w", "-o", str(folder / "server"), ".", cwd=S3)


def install_kafka(folder: Path) -> None:
    _maven(folder, KAFKA)


def install_kafka_start(folder: Path) -> None:
    run(sys.executable, "-m", "tests.kafka.kafka_start", str(folder), cwd=ROOT)


def install_kafka_tools(folder: Path) -> None:
    _maven(folder, KAFKA_TOOLS)


CLIENTS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], tuple[str | Path, ...]]] = {
    "kcl": (install_kcl, ("java",), (KCL,)),
    "java1": (install_java1, ("java", "javac", "mvn"), (JAVA1 / "pom.xml", JAVA1 / "ClientV1.java")),
    "kcl2": (install_kcl2, ("java", "javac", "mvn"), (KCL2 / "pom.xml", KCL2 / "Worker.java")),
    "kpl": (install_kpl, ("java", "javac", "mvn"), (KPL / "pom.xml", KPL / "Putter.java")),
    "node": (install_node, ("node", "npm"), (NODE / "package-lock.json",)),
    "lifion": (install_lifion, ("node", "npm"), (LIFION / "package-lock.json",)),
    "go": (install_go, ("go",), (GO / "go.sum", GO / "main.go")),
    "rust": (install_rust, ("cargo", "cc"), (RUST / "Cargo.lock", RUST / "Cargo.toml", RUST / "src" / "main.rs")),
    "current": (install_current, (), (" ".join(CURRENT),)),
    "aio": (install_aio, (), (" ".join(AIO),)),
    "s3": (install_s3, ("go",), (S3 / "go.sum", S3 / "main.go")),
    "kafka": (install_kafka, ("java", "javac", "mvn"), (KAFKA / "pom.xml",)),
    "kafka-start": (install_kafka_start, ("java", "javac", "mvn"), (KAFKA / "pom.xml",)),
    "kafka-tools": (install_kafka_tools, ("java", "mvn"), (KAFKA_TOOLS / "pom.xml",)),
}
"""How each is installed, the commands that it needs, and what tells that it is the version asked for: words, or files."""


def main() -> None:
    lanes: dict[str, list[str]] = {}
    for name, (_, needs, _) in CLIENTS.items():
        if not sys.argv[1:] or name in sys.argv[1:]:
            lanes.setdefault(needs[-1] if needs else "pip", []).append(name)
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        list(pool.map(_install_lane, lanes.values()))


def _install_lane(names: Sequence[str]) -> None:
    """Those of one tool, one after another: two runs of Maven spoil each other's repository."""
    for name in names:
        _install(name)


def _install(name: str) -> None:
    install, needs, _ = CLIENTS[name]
    missing = [command for command in needs if shutil.which(command) is None]
    if missing:
        sys.stderr.write(f"clients: {name} is left out, since there is no {missing[0]}\n")
        return
    folder, stamp = FOLDER / name, FOLDER / f"{name}.installed"
    if stamp.exists() and stamp.read_text() == _version(name):
        return
    sys.stderr.write(f"clients: installing {name}\n")
    shutil.rmtree(folder, ignore_errors=True)
    stamp.unlink(missing_ok=True)
    FOLDER.mkdir(exist_ok=True)
    install(folder)
    stamp.write_text(_version(name))


def _version(name: str) -> str:
    return "".join(part if isinstance(part, str) else part.read_text() for part in CLIENTS[name][2])


def _maven(folder: Path, project: Path) -> None:
    """The jars that a POM names, with all that they need, and the project's own classes."""
    folder.mkdir(parents=True)
    jars = folder / "jars"
    copy = ("dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}")
    run("mvn", "--quiet", "--batch-mode", "--file", str(project / "pom.xml"), *copy)
    if sources := [str(source) for source in project.glob("*.java")]:
        run("javac", "-d", str(folder / "classes"), "-cp", str(jars / "*"), *sources)


def _npm(folder: Path, locked: Path) -> None:
    folder.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(locked / name, folder)
    run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)


def _venv(folder: Path, *packages: str) -> None:
    venv.create(folder)
    run(sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "-q", *packages)


def run(*command: str, cwd: Path | None = None) -> None:
    subprocess.run(command, check=True, cwd=cwd)


if __name__ == "__main__":
    main()
