"""Run one benchmark and print its figures as they are measured.

`python -m benchmarks NAME [--data DIR] [--cache DIR] [--quick] [--only PARTS] [--gpu] [--save]`; exits 1
if a bar does not hold. A benchmark of several parts names them in `PARTS`, those for a GPU in `GPU_PARTS`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Options, save

FRAME = {"__init__", "__main__", "figures"}
FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Names of the benchmarks: the modules here that say `def run(`."""
    files = (file for file in FOLDER.glob("*.py") if file.stem not in FRAME)
    return sorted(file.stem for file in files if "\ndef run(" in file.read_text(encoding="utf-8"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a benchmark; 0 if every bar holds, 1 if one does not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", metavar="NAME", choices=names(), help=f"one of: {', '.join(names())}")
    parser.add_argument(
        "--data", type=Path, default=FOLDER.parent.parent / "shared" / "data", help="folder of public data"
    )
    parser.add_argument("--cache", type=Path, help="folder that keeps embeddings between runs")
    parser.add_argument("--quick", action="store_true", help="a smaller version, about a minute")
    parser.add_argument("--only", metavar="PARTS", default="", help="some parts of it, by name, with commas")
    parser.add_argument("--gpu", action="store_true", help="its parts for a CUDA GPU instead")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME[-PARTS].json too")
    args = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    benchmark = import_module(f"benchmarks.{args.name}")
    only = tuple(name for name in args.only.split(",") if name)
    known = getattr(benchmark, "GPU_PARTS" if args.gpu else "PARTS", ())
    if not set(only) <= set(known) or (args.gpu and not known):
        parser.error(f"{args.name} has these parts{' for a GPU' * args.gpu}: {', '.join(known) or 'none'}")
    figures = []
    options = Options(data=args.data, quick=args.quick, only=only, gpu=args.gpu, cache=args.cache)
    for figure in benchmark.run(options):
        figures.append(figure)
        print(figure.line(), flush=True)
    if args.save:
        name = "-".join((args.name, *(("gpu",) if args.gpu else ()), *only))
        print(f"written to {save(name, figures, quick=args.quick)}", file=sys.stderr)
    return 1 if any(figure.holds is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
