"""Run the benchmarks of this folder: `python -m benchmarks --only embed,search`."""

import importlib
import os
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.common import ROOT, Settings, machine, parser, write_json

HERE = Path(__file__).resolve().parent
NAMES = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def main() -> int:
    arguments = parser("Compare birdembed with other libraries on the same work, in turns.")
    arguments.add_argument("--only", default=",".join(NAMES), help=f"some of {', '.join(NAMES)}")
    arguments.add_argument("--json", type=Path, default=ROOT / "build" / "benchmarks.json")
    args = arguments.parse_args()
    chosen = args.only.split(",")
    if unknown := [name for name in chosen if name not in NAMES]:
        arguments.error(f"unknown benchmark {', '.join(unknown)}; use {', '.join(NAMES)}")

    facts = machine(args.threads)
    print(f"{facts['cpu']}, {' '.join(facts['cpu_features'])}")
    print(f"{args.threads} of {facts['cpus']} cpus, {args.rounds} rounds, load {facts['load']:.1f}")
    print(", ".join(f"{name} {version}" for name, version in facts["versions"].items()), flush=True)
    results = []
    for name in chosen:
        print(f"\n== {name}", flush=True)
        module = importlib.import_module(f"benchmarks.bench_{name}")
        results += module.main(Settings(args.threads, args.rounds))
        write_json(args.json, args.threads, results)
    print(f"\n{report.table(results)}")
    print(f"\nwritten: {os.path.relpath(args.json)}")
    print(report.draw(results, args.json.with_suffix(".png")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
