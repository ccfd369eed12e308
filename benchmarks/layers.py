"""Measure where the time of a training step is spent: `python -m benchmarks.layers`.

    python -m benchmarks.layers --precision bfloat16 --batch 16 --size 224 --threads 2

A child process runs a few steps with ONEDNN_VERBOSE=profile, and its last step is analysed: each
shape of convolution in three directions with its kernel and GF/s, then everything else by kind.
Work outside oneDNN (channel moments, optimizer, checks; in bfloat16 the ends of blocks; on AVX2 the
backward pass of 3x3 convolutions with stride 1) is timed from outside or counted as the rest. With
AMX the gradient of most weights is a matrix product: it is in the second table, its copies in the
rest. The profiling of oneDNN costs a few percent.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from typing import NamedTuple

from benchmarks.common import ROOT, UNSET, machine

STEPS = 4
MARK = "birdembed_step"
SHAPE = re.compile(
    r"mb(?P<n>\d+)_ic(?P<ic>\d+)oc(?P<oc>\d+)_ih(?P<ih>\d+)oh(?P<oh>\d+)kh(?P<k>\d+)sh(?P<s>\d+)"
)
DIRECTIONS = ("forward", "backward data", "backward weights")
KINDS = {
    "forward_training": "forward",
    "forward_inference": "again, for the backward pass",
    "backward_data": "backward",
    "backward": "backward",
    "backward_weights": "backward weights",
    "undef": "",
}
NAMES = {
    "batch_normalization": "batch norm",
    "binary": "add (and ReLU)",
    "eltwise": "ReLU of a block's end",
    "reorder": "reorder",
    "pooling": "pooling",
    "matmul": "convolutions, backward weights as a product",
}


class Call(NamedTuple):
    """One line of the oneDNN profile."""

    kind: str
    kernel: str
    direction: str
    shape: str
    milliseconds: float


def child(precision: str, n: int, size: int, threads: int) -> None:
    """Train a few steps, and mark the start of each part of a step in the oneDNN output."""
    import numpy as np

    import birdembed as be
    from birdembed import _core

    state = be.Model("resnet50", num_classes=51, seed=0).state_dict()
    names = [name for name, _ in _core.parameter_table("resnet50", 51)]
    core = _core.Trainer("resnet50", 51, [state[name] for name in names])
    core.configure("train", [True] * len(names), precision=precision)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3, size, size), dtype=np.float32)
    y = np.eye(51, dtype=np.float32)[rng.integers(0, 51, n)]
    rate, decay = (np.full(len(names), value, np.float32) for value in (1e-4, 0.05))
    parts = (
        ("forward", lambda: core.forward(x, threads)),
        ("head and loss", lambda: core.head_loss(y)),
        ("backward", core.backward),
        ("gradient norm", lambda: core.grad_norm(threads)),
        ("AdamW", lambda: core.apply("adamw", rate, decay, num_threads=threads)),
    )
    for _ in range(STEPS):
        print(MARK, "step", 0, flush=True)
        for name, call in parts:
            before = time.perf_counter()
            call()
            print(MARK, name, (time.perf_counter() - before) * 1e3, sep=",", flush=True)


def last_step(output: str) -> tuple[list[Call], dict[str, float]]:
    """Return the oneDNN calls and the milliseconds per part of the last step."""
    calls: list[Call] = []
    parts: dict[str, float] = {}
    for line in output.rpartition(f"{MARK} step")[2].splitlines():
        fields = line.split(",")
        if fields[0] == MARK:
            parts[fields[1]] = float(fields[2])
        elif len(fields) > 9 and fields[0] == "onednn_verbose" and fields[1] == "exec":
            calls.append(Call(*fields[3:6], fields[-2], float(fields[-1])))
    return calls, parts


def convolutions(calls: list[Call]) -> list[str]:
    """Return one table row per shape, in the order of the network."""
    table: dict[tuple[int, ...], dict[str, list[Call]]] = defaultdict(lambda: defaultdict(list))
    for call in calls:
        found = SHAPE.match(call.shape)
        if call.kind == "convolution" and found:
            key = tuple(int(found[name]) for name in ("n", "ic", "oc", "ih", "oh", "k", "s"))
            way = KINDS[call.direction]
            table[key]["backward data" if way == "backward" else way].append(call)
    rows = [
        "| convolution | times | forward, ms | GF/s | backward data, ms | GF/s "
        "| backward weights, ms | GF/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (n, ic, oc, ih, oh, k, s), ways in table.items():
        times = len(ways["forward"])
        operations = 2e-6 * n * oc * oh * oh * ic * k * k * times
        row = f"| {k}x{k}{f' stride {s}' if s > 1 else ''}, {ic} to {oc}, {ih} px | {times} |"
        for way in DIRECTIONS:
            spent = sum(call.milliseconds for call in ways[way])
            row += f" {spent:.1f} | {operations / spent:.0f} |" if spent else " - | - |"
        rows.append(row)
    totals = [
        sum(call.milliseconds for ways in table.values() for call in ways[way])
        for way in DIRECTIONS
    ]
    rows.append("| all | | " + " | | ".join(f"{total:.0f}" for total in totals) + " | |")
    return rows


def others(calls: list[Call], parts: dict[str, float]) -> list[str]:
    """Return a table of everything except convolutions, and of the whole step."""
    spent: dict[str, float] = defaultdict(float)
    for call in calls:
        if call.kind == "convolution":
            way = KINDS[call.direction]
            spent[f"convolutions, {way}{' data' if way == 'backward' else ''}"] += call.milliseconds
        else:
            way = KINDS.get(call.direction, call.direction)
            name = NAMES.get(call.kind, call.kind)
            spent[f"{name}, {way}" if way else name] += call.milliseconds
    total = sum(parts.values())
    spent |= {name: parts[name] for name in ("head and loss", "gradient norm", "AdamW")}
    spent["the rest: steps of ours, checks, copies"] = total - sum(spent.values())
    rows = ["| | ms | of the step |", "|---|---|---|"]
    for name, value in sorted(spent.items(), key=lambda item: -item[1]):
        rows.append(f"| {name} | {value:.1f} | {value / total:.1%} |")
    rows.append(f"| one step | {total:.0f} | |")
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.layers", description=__doc__)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.precision, args.batch, args.size, args.threads)
        return 0
    env = {key: value for key, value in os.environ.items() if key not in UNSET}
    env |= {"ONEDNN_VERBOSE": "profile", "OMP_NUM_THREADS": str(args.threads)}
    command = [sys.executable, "-m", "benchmarks.layers", "--child", *sys.argv[1:]]
    run = subprocess.run(command, cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    facts = machine(args.threads)
    calls, parts = last_step(run.stdout)
    isa = re.search(r"onednn_verbose,info,cpu,isa:(.*)", run.stdout)
    print(f"{facts['cpu']}: {' '.join(facts['cpu_features'])}; oneDNN: {isa[1] if isa else '?'}")
    print(f"{args.precision}, batch {args.batch}, {args.size} px, {args.threads} threads\n")
    print("\n".join(convolutions(calls)))
    print()
    print("\n".join(others(calls, parts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
