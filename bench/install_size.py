"""How large an installation is: the package alone, which is what producers need, and with each extra.

Builds a wheel of the commit that is checked out and installs it into new environments, from the package index that
uv is set up for. Sizes are those of all files, with bytecode, as pip leaves them.

client_packages, worker_packages, services_packages, local_packages   distributions, `millstream` included
client_mb, worker_mb, services_mb, local_mb                           files in site-packages, in 10^6 bytes

`--quick` leaves out `services` and `local`, which download a gigabyte.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path

from harness import Harness, Value

EXTRAS = {"client": "", "worker": "[worker]", "services": "[services]", "local": "[local]"}
ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")


def main() -> None:
    harness = Harness(__doc__)
    results: dict[str, Value] = {}
    installs = ("client", "worker") if harness.quick else tuple(EXTRAS)
    with tempfile.TemporaryDirectory(prefix="millstream-bench-") as made:
        folder = Path(made)
        wheel = build(folder)
        with harness.step("installations", len(installs)) as advance:
            for name in installs:
                packages = install(folder / name, f"{wheel}{EXTRAS[name]}")
                results[f"{name}_packages"] = len(list(distributions(path=[str(packages)])))
                size = sum(file.stat().st_size for file in packages.rglob("*") if file.is_file())
                results[f"{name}_mb"] = round(size / 1e6)
                advance(1)
    harness.finish(results)


def build(folder: Path) -> Path:
    """A wheel, built in a copy: a build leaves its traces in the folder it runs in."""
    run("git", "clone", "--quiet", ROOT, folder / "source")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", folder / "source")
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def install(environment: Path, requirement: str) -> Path:
    """A new environment with this in it; returns the folder of its packages."""
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    run(UV, "pip", "install", "--quiet", "--system-certs", "--compile-bytecode", "--python", python, requirement)
    (packages,) = environment.glob("lib/python*/site-packages")
    return packages


def run(*argv: str | Path) -> None:
    subprocess.run([str(part) for part in argv], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
