#!/usr/bin/env python3
"""Runs Vitalight and its peers in turn on the same jobs and prints the ratios as a Markdown table.

    python benches/peer/compare.py --python .venv/bin/python

Standard library only. Every run is a process of its own with the same number of threads. A round
runs each system once, one after the other; rounds follow each other, so that a machine that slows
down slows all of them. A run's value is the median over its steps, a cell of the table the median
over rounds, a ratio the median over rounds of the ratio within a round.

Threads that wait for each other suffer far more from other load on the machine than the load itself
takes, and not all systems suffer alike. So a run during which other processes (or the host, as
stolen time) had more than --disturbance of the cores that our threads need is taken again, a few times, once the machine is quiet
or --patience has run out; the least disturbed counts, and what remained is printed below the table.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
OURS, TORCH, STOCK = "vitalight", "pytorch", "stock-candle"
JOBS = {  # who has which job
    "infer": (OURS, TORCH, STOCK),
    "train": (OURS, TORCH, STOCK),
    "mae": (OURS, TORCH),
    "lora": (OURS, TORCH),
    "adamw": (OURS, TORCH),
}
BEGIN, END = "<!-- compare.py: begin -->", "<!-- compare.py: end -->"


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default="infer,train,mae,lora,adamw")
    parser.add_argument("--models", default="vit_base_patch16")
    parser.add_argument("--peers", default=f"{TORCH},{STOCK}", help="without ours")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--img-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="measured in each run")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--python", default=sys.executable, help="one that has requirements.txt")
    parser.add_argument("--torch-env", action="append", default=[], metavar="NAME=VALUE",
                        help="further environment of PyTorch, for instance another allocator")
    parser.add_argument("--ours-args", default="", help="further arguments of bench_vit")
    parser.add_argument("--disturbance", type=float, default=0.1, metavar="CORES",
                        help="above this a run is taken again")
    parser.add_argument("--tries", type=int, default=3, help="of one run")
    parser.add_argument("--patience", type=float, default=300, metavar="SECONDS",
                        help="of waiting for a quiet machine, in total")
    parser.add_argument("--no-build", action="store_true")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "results" / "runs.jsonl",
                        help="every run's line")
    parser.add_argument("--markdown", type=pathlib.Path,
                        help="also put the table between the markers of this file")
    args = parser.parse_args()
    args.jobs, args.models = args.jobs.split(","), args.models.split(",")
    args.peers = [peer for peer in args.peers.split(",") if peer]
    unknown = set(args.jobs) - set(JOBS) | set(args.peers) - {TORCH, STOCK}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return args


def target(workspace):
    """Where cargo puts what it builds in a workspace."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", workspace / "target")) / "release"


def build(args):
    ours = ["cargo", "build", "--release", "-p", "vitalight-examples", "--example", "bench_vit"]
    subprocess.run(ours, cwd=ROOT, check=True)
    if STOCK in args.peers:
        subprocess.run(["cargo", "build", "--release"], cwd=HERE / "stock-candle", check=True)


def command(system, args):
    if system == OURS:
        return [target(ROOT) / "examples" / "bench_vit", "--json", *args.ours_args.split()]
    if system == STOCK:
        return [target(HERE / "stock-candle") / "stock-candle"]
    return [args.python, HERE / "torch_bench.py"]


def environment(system, args):
    """The same threads for all. Ours also gets what `cargo run` sets for its users."""
    env = dict(os.environ)
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        env[name] = str(args.threads)
    if system == OURS:
        with open(ROOT / ".cargo" / "config.toml", "rb") as file:
            for name, value in tomllib.load(file).get("env", {}).items():
                env.setdefault(name, value)
    if system == TORCH:
        env.update(pair.split("=", 1) for pair in args.torch_env)
    return env


def run(system, job, model, args):
    line = [*command(system, args), "--job", job, "--model", model]
    for name in ("batch_size", "img_size", "steps", "warmup"):
        line += ["--" + name.replace("_", "-"), str(getattr(args, name))]
    others = Others()
    done = subprocess.run([str(part) for part in line], env=environment(system, args),
                          stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{system} {job} {model} failed with {done.returncode}")
    result = json.loads(done.stdout)
    if result["threads"] != args.threads:
        sys.exit(f"{system} ran with {result['threads']} threads instead of {args.threads}")
    result["disturbance"] = harm(others, args)
    return result


class Others:
    """Processor time of everybody but the processes started here, stolen time included."""

    def __init__(self):
        self.start, self.busy, self.own = time.monotonic(), self._busy(), self._own()

    @staticmethod
    def _busy():
        try:
            with open("/proc/stat") as file:
                user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
        except OSError:
            return None
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _own():
        usage = [resource.getrusage(who)
                 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in usage)

    def cores(self):
        """Cores in use by others since the start, on average; None where nobody knows."""
        busy = self._busy()
        if busy is None:
            return None
        others = busy - self.busy - (self._own() - self.own)
        return max(0.0, others / (time.monotonic() - self.start))


def harm(others, args):
    """Cores that others had beyond those which our threads leave free."""
    cores = others.cores()
    return cores and max(0.0, cores - max(0, os.cpu_count() - args.threads))


def wait_for_quiet(args):
    """Spends patience until others leave the machine alone for a moment."""
    while args.patience > 0:
        others, start = Others(), time.monotonic()
        time.sleep(min(2, args.patience))
        args.patience -= time.monotonic() - start
        disturbance = harm(others, args)
        if disturbance is None or disturbance <= args.disturbance:
            return


def quiet_run(system, job, model, args):
    """The least disturbed of a few tries."""
    tries = []
    while len(tries) < args.tries:
        if tries:
            wait_for_quiet(args)
        tries.append(run(system, job, model, args))
        disturbance = tries[-1]["disturbance"]
        if disturbance is None or disturbance <= args.disturbance:
            break
        print(f"  disturbed by {disturbance:.2f} cores", file=sys.stderr)
    return min(tries, key=lambda result: result["disturbance"] or 0)


def check(results):
    """All systems must have computed the same model."""
    keys = ("params", "params_trained")
    counts = {result["system"]: tuple(result[key] for key in keys) for result in results}
    if len(set(counts.values())) > 1:
        sys.exit(f"{results[0]['job']} {results[0]['model']}: {keys} differ: {counts}")


def measure(args):
    """{(job, model): [round: {system: result}]}"""
    table = {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with open(args.out, "w") as out:
        for model in args.models:
            for job in args.jobs:
                systems = [s for s in JOBS[job] if s == OURS or s in args.peers]
                rounds = table.setdefault((job, model), [])
                for number in range(args.rounds):
                    results = {}
                    for system in systems:
                        result = quiet_run(system, job, model, args)
                        results[system] = result
                        out.write(json.dumps({"round": number, **result}) + "\n")
                        out.flush()
                        print(f"{job} {model} round {number + 1}: {system} "
                              f"{result['seconds_median']:.3f} s", file=sys.stderr)
                    check(list(results.values()))
                    rounds.append(results)
    return table


def middle(rounds, value):
    """Median over the rounds in which there is a value; None without any."""
    values = []
    for results in rounds:
        try:
            values.append(value(results))
        except (KeyError, TypeError):
            pass
    return statistics.median(values) if values else None


def cell(value, pattern="{:.2f}"):
    return "–" if value is None else pattern.format(value)


def speed(rounds, system):
    """Images per second, or milliseconds where there are no images."""
    if rounds[0][OURS]["images_per_s_median"] is None:
        return cell(middle(rounds, lambda r: 1000 * r[system]["seconds_median"]), "{:.0f} ms")
    return cell(middle(rounds, lambda r: r[system]["batch_size"] / r[system]["seconds_median"]))


def row(job, model, rounds):
    def faster(peer):
        return lambda r: r[peer]["seconds_median"] / r[OURS]["seconds_median"]

    def gib(system):
        return middle(rounds, lambda r: r[system]["peak_bytes"] / 2**30)

    def net(result):
        return result["peak_bytes"] - result["start_bytes"]

    share = middle(rounds, lambda r: r[OURS]["share_of_roofline"])
    # The roofline belongs to the machine and the job; ours measures it.
    torch_share = middle(
        rounds, lambda r: r[OURS]["share_of_roofline"] / faster(TORCH)(r))
    return [
        job,
        model,
        speed(rounds, OURS),
        speed(rounds, TORCH),
        speed(rounds, STOCK),
        cell(middle(rounds, faster(TORCH)), "**{:.2f}**"),
        cell(middle(rounds, faster(STOCK))),
        cell(share),
        cell(torch_share),
        cell(gib(OURS)),
        cell(gib(TORCH)),
        cell(middle(rounds, lambda r: r[OURS]["peak_bytes"] / r[TORCH]["peak_bytes"])),
        cell(middle(rounds, lambda r: net(r[OURS]) / net(r[TORCH]))),
    ]


def markdown(table, args):
    heads = ["job", "model", "Vitalight", "PyTorch", "stock candle", "ours / PyTorch",
             "ours / stock candle", "share of roofline", "PyTorch's share", "peak GiB",
             "PyTorch's peak GiB", "peak ratio", "peak ratio without start"]
    lines = [heads, ["---"] * len(heads)]
    lines += [row(job, model, rounds) for (job, model), rounds in table.items()]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    versions = sorted({result["version"] for rounds in table.values() for results in rounds
                       for result in results.values() if "version" in result})
    rooflines = [results[OURS].get("roofline_gflops") for rounds in table.values()
                 for results in rounds]
    rooflines = [value for value in rooflines if value]
    disturbances = [result["disturbance"] for rounds in table.values() for results in rounds
                    for result in results.values() if result["disturbance"] is not None]
    notes = [
        f"{datetime.date.today().isoformat()}, {processor()}, {args.threads} threads, "
        f"batch {args.batch_size}, {args.img_size}x{args.img_size}, {args.rounds} rounds of "
        f"{args.steps} steps after {args.warmup}; commit {commit()}.",
        "Against " + "; ".join(versions) + "." if versions else "",
        f"Matrix-product roofline {min(rooflines):.0f}–{max(rooflines):.0f} GFLOP/s. "
        if rooflines else "",
        f"Other processes had up to {max(disturbances):.2f} of the cores needed, "
        f"{statistics.median(disturbances):.2f} in the middle run." if disturbances else "",
    ]
    return text + "\n\n" + " ".join(note.strip() for note in notes if note) + "\n"


def processor():
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file
                        if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def commit():
    line = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(line, capture_output=True, text=True).stdout.strip() or "unknown"


def put(path, text):
    """Replaces what is between the markers."""
    old = path.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        sys.exit(f"{path} has no markers {BEGIN} and {END}")
    before, rest = old.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")


def main():
    args = arguments()
    if not args.no_build:
        build(args)
    text = markdown(measure(args), args)
    print(text)
    if args.markdown:
        put(args.markdown, text)


if __name__ == "__main__":
    main()
