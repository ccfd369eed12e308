"""Run contenders in separate processes, in turns and under equal conditions.

A benchmark is a module `bench_NAME.py` with

    CONTENDERS = {"birdembed": setup, "torch": setup, ...}    # birdembed first
    def main(settings: Settings) -> list[Result]

`setup(options)` gets a JSON-serialisable dict, prepares everything that is not timed (imports,
models, data) and returns a function without arguments: one repetition of the work. The results of
these functions (a NumPy array, or None) are compared between the contenders before timing.
`compare()` starts one process per contender, warms them up, and then runs round by round, each
round in another order. Processes that are waiting for their turn are stopped (SIGSTOP), so that
their idle threads take no time. Ratios are computed within a round, because a machine that slows
down for a while slows down both sides of the ratio.

A contender whose library is not installed is left out, and reported.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
US = "birdembed"

# Set on some machines for old OpenBLAS builds; they slow a current NumPy and faiss.
UNSET = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PACKAGES = (
    "birdembed", "numpy", "torch", "onnxruntime", "openvino", "pillow", "faiss-cpu", "scikit-learn",
)  # fmt: skip
CPU_FEATURES = (
    "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",
)  # fmt: skip

Work = Callable[[], Any]
Setup = Callable[[dict[str, Any]], Work]


@dataclasses.dataclass(frozen=True)
class Settings:
    """Command line options for all benchmarks."""

    threads: int
    rounds: int


@dataclasses.dataclass
class Result:
    """A comparison: the same work done by every contender, `amount` units per repetition."""

    case: str
    amount: float
    unit: str
    seconds: dict[str, list[float]]  # contender -> one value per round
    skipped: dict[str, str]  # contender -> reason
    notes: list[str] = dataclasses.field(default_factory=list)
    peak_megabytes: dict[str, float] = dataclasses.field(default_factory=dict)  # of the process

    def ratios(self, peer: str) -> list[float]:
        """Return the speed of birdembed relative to `peer` for each round (above 1: faster)."""
        pairs = zip(self.seconds[US], self.seconds[peer], strict=True)
        return [theirs / ours for ours, theirs in pairs]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return medians, rates and ratios with quartiles for each contender."""
        table = {}
        for name, seconds in self.seconds.items():
            row = {"median_seconds": statistics.median(seconds), "best_seconds": min(seconds)}
            row["rate"] = self.amount / row["median_seconds"]
            if name != US and US in self.seconds:
                low, middle, high = quartiles(self.ratios(name))
                row |= {"ratio": middle, "ratio_low": low, "ratio_high": high}
            table[name] = row
        return table

    def show(self) -> str:
        """Return the comparison as a few lines of text."""
        width = max(map(len, [*self.seconds, *self.skipped]), default=0)
        lines = [self.case]
        for name, row in self.summary().items():
            line = f"  {name:<{width}}  {_seconds(row['median_seconds']):>9}"
            line += f"  {row['rate']:>9.4g} {self.unit}"
            if "ratio" in row:
                line += (
                    f"   {US} is {row['ratio']:.2f} times as fast"
                    f" ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
                )
            if name in self.peak_megabytes:
                line += f"   at most {self.peak_megabytes[name]:.0f} MB"
                if name != US and US in self.peak_megabytes:
                    share = self.peak_megabytes[US] / self.peak_megabytes[name]
                    line += f" ({US} {share:.2f} of it)"
            lines.append(line)
        lines += [f"  {name:<{width}}  left out: {why}" for name, why in self.skipped.items()]
        return "\n".join(lines + [f"  {note}" for note in self.notes])


def _seconds(value: float) -> str:
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.3f} s"


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the lower quartile, median and upper quartile."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def environment(threads: int) -> dict[str, str]:
    """Return the environment variables of every contender.

    The wait policy of OpenMP (OMP_WAIT_POLICY) is taken from the caller and the same for all. If
    it is not set, as for users, threads spin for a moment and then sleep.
    """
    env = {key: value for key, value in os.environ.items() if key not in UNSET}
    env |= dict.fromkeys(THREADS, str(threads))
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [env.get("PYTHONPATH")])])
    env["HF_HUB_OFFLINE"] = "1"
    return env


class Contestant:
    """The process of one contender. It only works during `run`."""

    def __init__(self, module: str, name: str, options: dict[str, Any], output: Path):
        self.name = name
        task = {"module": module, "contender": name, "options": options, "output": str(output)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.common", json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(options["threads"]),
        )
        self.skip: str | None = self._ask("prepare").get("skip")
        self.peak_megabytes = 0.0
        self._signal(signal.SIGSTOP)

    def run(self) -> float:
        """Run the work once and return the time in seconds."""
        self._signal(signal.SIGCONT)
        answer = self._ask("run")
        self._signal(signal.SIGSTOP)
        self.peak_megabytes = answer["peak_megabytes"]
        return float(answer["seconds"])

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)

    def _ask(self, word: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"benchmarks: {self.name} ended with code {self.process.wait()}")
        return dict(json.loads(answer))


def relative_l2(tolerance: float) -> Callable[[Any, Any], str | None]:
    """Return a check: rows of floats agree within a relative L2 distance."""

    def check(ours: Any, theirs: Any) -> str | None:
        import numpy as np

        if ours.shape != theirs.shape:
            return f"shape {theirs.shape} instead of {ours.shape}"
        distance = np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(ours, axis=-1)
        worst = float(distance.max())
        return None if worst <= tolerance else f"relative L2 {worst:.2g} above {tolerance:g}"

    return check


def compare(
    case: str,
    module: str,
    contenders: Sequence[str],
    options: dict[str, Any],
    settings: Settings,
    *,
    amount: float,
    unit: str = "images/s",
    check: Callable[[Any, Any], str | None] | None = None,
    memory: bool = False,
) -> Result:
    """Run the same work with all contenders of a module, in turns.

    Parameters
    ----------
    case : name of the comparison.
    module : `__name__` of the benchmark, which has the CONTENDERS.
    options : passed to each setup, with `threads` added.
    amount, unit : work per repetition, for the rate.
    check : gets the output of birdembed and of a peer; returns an error message or None. A peer
        with a wrong output is left out.
    memory : also report the peak memory of each process.
    """
    import numpy as np

    options = {**options, "threads": settings.threads}
    result = Result(case, amount, unit, {}, {})
    crew: list[Contestant] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            reference = None
            for i, name in enumerate(contenders):
                output = Path(folder) / f"{i}.npy"
                contestant = Contestant(module, name, options, output)
                crew.append(contestant)
                wrong = contestant.skip
                if wrong is None and check is not None and output.exists():
                    array = np.load(output)
                    if reference is None:
                        reference = array
                    else:
                        wrong = check(reference, array)
                if wrong is not None:
                    result.skipped[name] = wrong
                    crew.pop().close()
            result.seconds = {contestant.name: [] for contestant in crew}
            for number in range(settings.rounds):
                # Forwards and backwards, starting with another contender each time.
                start = number % max(len(crew), 1)
                order = crew[start:] + crew[:start]
                for contestant in order if number % 2 == 0 else reversed(order):
                    result.seconds[contestant.name].append(contestant.run())
            if memory:
                result.peak_megabytes = {one.name: one.peak_megabytes for one in crew}
        finally:
            for contestant in crew:
                contestant.close()
    print(result.show(), flush=True)
    return result


def compare_commands(
    case: str, commands: dict[str, list[str]], settings: Settings, *, needs: dict[str, str]
) -> Result:
    """Time whole processes, from start to exit, in turns.

    `needs` maps a contender to a module; without that module, it is left out.
    """
    result = Result(case, 1, "runs/s", {}, {})
    for name in commands:
        module = needs.get(name)
        if module and importlib.util.find_spec(module) is None:
            result.skipped[name] = f"{module} is not installed"
        else:
            result.seconds[name] = []
    names = list(result.seconds)
    env = environment(settings.threads)
    for number in range(-1, settings.rounds):  # round -1 fills the page cache
        start = number % max(len(names), 1)
        order = names[start:] + names[:start]
        for name in order if number % 2 == 0 else reversed(order):
            before = time.perf_counter()
            subprocess.run(commands[name], check=True, env=env, cwd=ROOT, stdout=subprocess.DEVNULL)
            if number >= 0:
                result.seconds[name].append(time.perf_counter() - before)
    print(result.show(), flush=True)
    return result


def peak_megabytes() -> float:
    """Return the peak resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def machine(threads: int) -> dict[str, Any]:
    """Return what the numbers depend on: processor, versions, commit."""
    cpu: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        cpu.setdefault(key.strip(), value.strip())
    flags = cpu.get("flags", "").split()
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu.get("model name", "unknown"),
        "cpu_features": [name for name in CPU_FEATURES if name in flags],
        "cpus": len(os.sched_getaffinity(0)),
        "threads": threads,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
        "load": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": len(_git("status", "--porcelain").splitlines()),
    }


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def write_json(path: Path, threads: int, results: Sequence[Result]) -> None:
    """Write machine and results to `path` atomically."""
    document = {
        "machine": machine(threads),
        "results": [{**dataclasses.asdict(r), "summary": r.summary()} for r in results],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the common arguments of all benchmarks."""
    parsed = argparse.ArgumentParser(prog="python -m benchmarks", description=description)
    parsed.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parsed.add_argument("--rounds", type=int, default=9)
    return parsed


def worker(task: dict[str, Any]) -> None:
    """Handle `prepare` and `run` requests from standard input, as JSON lines."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of libraries must not mix with the answers

    def answer(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    work: Work | None = None
    for line in sys.stdin:
        if line.strip() == "prepare":
            try:
                module = importlib.import_module(task["module"])
                work = module.CONTENDERS[task["contender"]](task["options"])
                output = work()
            except ImportError as error:
                answer(skip=str(error))
                continue
            if output is not None:
                import numpy as np

                np.save(task["output"], np.asarray(output))
            until = time.perf_counter() + 0.5
            while time.perf_counter() < until:
                work()
            answer(ready=True)
        elif work is not None:
            before = time.perf_counter()
            work()
            answer(seconds=time.perf_counter() - before, peak_megabytes=peak_megabytes())


if __name__ == "__main__":
    worker(json.loads(sys.argv[1]))
