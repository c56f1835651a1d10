#!/usr/bin/env python3
"""networks.py PLACE [netstart|netflow...] : what networks cost, and how fast they are; see README.md."""
import json, os, statistics, subprocess, time

import harness
from harness import compare, import_busybox, installed, main, once, pybox, pybox_says, turns


def netstart():
    """Starts with each kind of network; the first container of a shared one is there already."""
    import_busybox()
    once([pybox, "network", "create", "shared"])
    once([pybox, "run", "-d", "--name", "other", "--network", "shared", "busybox", "sleep", "10000"])
    run = lambda network: [pybox, "run", "--rm", "--network", network, "busybox", "true"]
    commands = {f"run --rm --network {name}": run(name) for name in ["none", "pasta", "shared"]}
    if installed("podman"):
        once(["podman", "import", f"{harness.place}/busybox.tar", "busybox:latest"])
        commands["podman, none"] = ["podman", "run", "--rm", "--network=none", "localhost/busybox:latest", "true"]
        commands["podman, pasta"] = ["podman", "run", "--rm", "--network=pasta", "localhost/busybox:latest", "true"]
    compare("starts by network", commands, turns(20))
    once([pybox, "rm", "-f", "other"])


def seconds_of(enter_client, enter_server, address):
    """Gbit/s of iperf3 from one namespace to another."""
    server = subprocess.Popen(enter_server + ["iperf3", "-s", "-1", "-p", "7001"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    try:
        said = subprocess.run(enter_client + ["iperf3", "-c", address, "-p", "7001", "-t", "3", "-J"], capture_output=True, text=True, timeout=30)
        report = json.loads(said.stdout)
        if "error" in report:
            raise SystemExit(f"iperf3: {report['error']}")
        return report["end"]["sum_received"]["bits_per_second"] / 1e9
    finally:
        server.kill()
        server.wait()


def netflow():
    """Two containers on a shared network, against a bridge and two pairs made by hand."""
    if not installed("iperf3"):
        print("netflow: left out, iperf3 is not installed")
        return
    import_busybox()
    once([pybox, "network", "create", "flow"])
    pids = []
    for name in ["one", "two"]:
        once([pybox, "run", "-d", "--name", name, "--network", "flow", "busybox", "sleep", "10000"])
        pids.append(pybox_says("inspect", "--format", "{{.State.Pid}}", name).strip())
    address = pybox_says("inspect", "--format", "{{.NetworkSettings.IPAddress}}", "two").strip()
    enter = lambda pid: ["nsenter", "-t", pid, "-n"]
    script = """ip link add name br0 type bridge; ip link set br0 up; ip link set lo up
    for n in 1 2; do ip link add v$n type veth peer name w$n; ip link set v$n master br0 up; unshare -n sleep 10000 & eval p$n=$!; done; sleep 0.5
    for n in 1 2; do eval pid=\\$p$n; ip link set w$n netns $pid; nsenter -t $pid -n sh -c "ip link set lo up; ip addr add 198.51.100.$n/24 dev w$n; ip link set w$n up"; done
    echo $p1 $p2; wait"""
    bare = subprocess.Popen(["unshare", "-n", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    first, second = bare.stdout.readline().split()
    ratios, ours, theirs = [], [], []
    try:
        for _ in range(turns(5)):
            theirs.append(seconds_of(enter(first), enter(second), "198.51.100.2"))
            ours.append(seconds_of(enter(pids[0]), enter(pids[1]), address))
            ratios.append(ours[-1] / theirs[-1])
    finally:
        for pid in [first, second]:
            os.kill(int(pid), 9)
        bare.wait()
    print(f"\ncontainer to container, Gbit/s: bare bridge {statistics.median(theirs):.1f}, shared network {statistics.median(ours):.1f}, "
          f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")
    once([pybox, "rm", "-f", "one", "two"])


if __name__ == "__main__":
    main({"netstart": netstart, "netflow": netflow})
