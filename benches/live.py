#!/usr/bin/env python3
"""live.py PLACE [exec|life|scale|logs|storm...] : what containers that live on cost; see README.md."""
import concurrent.futures, os, statistics, subprocess, sys, time

import harness
from harness import compare, descendants, import_busybox, installed, memory_of, once, own, place, pybox, pybox_says, turns

WAITS = ["sleep", "100000"]
OBEYS = ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"]
MIB = 256


def run(name, command, *flags):
    return [pybox, "run", "-d", "--network", "none", "--name", name, *flags, "busybox", *command]


def peers(operation):
    """The same words for podman, if it is installed."""
    return {"podman " + operation[0]: ["podman", *operation]} if installed("podman") else {}


def podman(*words):
    if installed("podman"):
        once(["podman", *words])


def exec_():
    import_busybox()
    once(run("host", WAITS))
    podman("run", "-d", "--network=none", "--name", "host", "localhost/busybox:latest", *WAITS)
    pid = pybox_says("inspect", "--format", "{{.State.Pid}}", "host")
    compare("exec NAME true", {
        "bare setns, fork, exec": [f"{place}/bare", "exec", pid, "true"],
        "pybox exec": [pybox, "exec", "host", "true"],
        **peers(["exec", "host", "true"]),
    }, turns(40))
    once([pybox, "rm", "-f", "host"])
    podman("rm", "-f", "-t", "0", "host")


def life():
    """Each step of one life is timed by itself."""
    import_busybox()
    engines = {"pybox": ([pybox], "busybox", [pybox, "stop", "-t", "10"])}
    if installed("podman"):
        engines["podman"] = (["podman"], "localhost/busybox:latest", ["podman", "stop", "-t", "10"])
    times = {}
    for turn in range(-1, turns(20)):
        for name, (program, image, stop) in engines.items():
            steps = [("run -d", [*program, "run", "-d", "--network=none", "--name", "life", image, *OBEYS]),
                     ("stop", [*stop, "life"]), ("rm", [*program, "rm", "life"])]
            for step, command in steps:
                spent = once(command)
                if turn >= 0:
                    times.setdefault((name, step), []).append(spent * 1000)
                if step == "run -d":
                    time.sleep(0.1)  # until it has set its trap
    print(f"\none life, step by step ({turns(20)} turns, ms)")
    for (name, step), spent in times.items():
        print(f"  {name + ' ' + step:34}{statistics.median(spent):9.2f}{min(spent):9.2f}{max(spent):9.2f}")


def scale():
    import_busybox()
    count = int(os.environ.get("K", 100))
    alone = [once([pybox, "run", "--rm", "--network", "none", "busybox", "true"]) for _ in range(turns(20))]
    names = [f"many{number}" for number in range(count)]
    started = at_once([run(name, WAITS) for name in names], 10)
    print(f"\n{count} containers, idle\n  {'start, ten at a time: ms each':44}{started / count * 1000:9.2f}")
    time.sleep(3)  # until the monitors rest
    memory, processes = memory_of(harness.ours()), memory_of({int(pid) for pid in pybox_pids(names)})
    print(f"  {'PSS of our processes, KiB each':44}{memory / count:9.1f}\n  {'PSS of the containers, KiB each':44}{processes / count:9.1f}")
    beside = {"pybox run --rm, none up": alone, f"pybox run --rm, {count} up": [], "pybox ps": []}
    for _ in range(turns(20)):
        beside[f"pybox run --rm, {count} up"].append(once([pybox, "run", "--rm", "--network", "none", "busybox", "true"]))
        beside["pybox ps"].append(once([pybox, "ps"]))
    for what, spent in beside.items():
        print(f"  {what + ', ms':44}{statistics.median(spent) * 1000:9.2f}")
    begun = time.perf_counter()
    once([pybox, "rm", "-f", *names])
    print(f"  {'rm -f of all: ms each':44}{(time.perf_counter() - begun) / count * 1000:9.2f}")


def pybox_pids(names):
    return pybox_says("inspect", "--format", "{{.State.Pid}}", *names).split()


def at_once(commands, width):
    """Seconds for all of them, so many at a time; raises where one fails."""
    begun = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(width) as pool:
        list(pool.map(once, commands))
    return time.perf_counter() - begun


def logs():
    import_busybox()
    lines = f"{place}/lines"
    if not os.path.exists(lines) or os.path.getsize(lines) != MIB << 20:
        line = "0123456789" * 9 + "abcdefghi"
        subprocess.run(f"yes {line} | head -c {MIB << 20} > {lines}.new && mv {lines}.new {lines}", shell=True, check=True)
    bind = ["-v", f"{lines}:/lines:ro", "--log-opt", "max-size=1g"]
    spent = {"cat | cat > file": [], "write: run -d, wait": [], "logs": [], "attached run": []}
    for _ in range(turns(3)):
        spent["cat | cat > file"].append(once(["sh", "-c", f"cat {lines} | cat > {own('copy')}/lines"]))
        detached = " ".join(run("writer", [], *bind)) + " cat /lines"
        spent["write: run -d, wait"].append(once(["sh", "-c", f"{detached} && {pybox} wait writer"]))
        spent["logs"].append(once([pybox, "logs", "writer"]))
        once([pybox, "rm", "writer"])
        attached = [pybox, "run", "--name", "writer", "--network", "none", *bind, "busybox", "cat", "/lines"]
        spent["attached run"].append(once(attached))
        once([pybox, "rm", "writer"])
    print(f"\nlogs: {MIB} MiB of 100-byte lines ({turns(3)} turns, MiB/s)")
    for what, times in spent.items():
        print(f"  {what:34}{MIB / statistics.median(times):9.0f}")


def storm():
    import_busybox()
    count = 800
    spent = at_once([[pybox, "run", "--rm", "--network", "none", "busybox", "true"]] * count, 16)
    left = pybox_says("ps", "-aq")
    print(f"\n{count} runs, 16 at a time: no failure, {spent / count * 1000:.2f} ms each, left over: {left or 'nothing'}")
    once(run("host", WAITS))
    monitor = harness.ours()
    before = memory_of(monitor), [len(os.listdir(f"/proc/{pid}/fd")) for pid in monitor]
    count = int(os.environ.get("EXECS", 10000))
    begun = time.perf_counter()
    for _ in range(count):
        once([pybox, "exec", "host", "true"])
    spent = time.perf_counter() - begun
    time.sleep(3)
    after = memory_of(monitor), [len(os.listdir(f"/proc/{pid}/fd")) for pid in monitor]
    print(f"{count} execs one after another: {spent / count * 1000:.2f} ms each; monitor PSS {before[0]} -> {after[0]} KiB, descriptors {before[1]} -> {after[1]}")
    once([pybox, "rm", "-f", "host"])


if __name__ == "__main__":
    harness.main({"exec": exec_, "life": life, "scale": scale, "logs": logs, "storm": storm})
