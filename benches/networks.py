#!/usr/bin/env python3
"""networks.py PLACE [netstart|netflow|nethost|netroot|netidle...] : what networks cost, and how fast they are; see README.md."""
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


def flow_of(enter_client, enter_server, address, port=7001, listen=7001):
    """Gbit/s of iperf3 from one namespace to another."""
    server = subprocess.Popen(enter_server + ["iperf3", "-s", "-1", "-p", str(listen)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    try:
        said = subprocess.run(enter_client + ["iperf3", "-c", address, "-p", str(port), "-t", "3", "-J"], capture_output=True, text=True, timeout=30)
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
    try:
        compare_flows("container to container", "bare bridge", lambda: flow_of(enter(first), enter(second), "198.51.100.2"),
                      "shared network", lambda: flow_of(enter(pids[0]), enter(pids[1]), address))
    finally:
        for pid in [first, second]:
            os.kill(int(pid), 9)
        bare.wait()
    once([pybox, "rm", "-f", "one", "two"])


def compare_flows(title, base, of_base, name, of_ours):
    """Takes both in turns and prints medians, and the median of the ratios."""
    ratios, ours, theirs = [], [], []
    for _ in range(turns(5)):
        theirs.append(of_base())
        ours.append(of_ours())
        ratios.append(ours[-1] / theirs[-1])
    print(f"\n{title}, Gbit/s: {base} {statistics.median(theirs):.2f}, {name} {statistics.median(ours):.2f}, "
          f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})")


# An address of the host that no container has: those with pasta have the host's own.
OTHER = "198.51.100.1"


def nethost():
    """Container to host and back through pasta, ours and one started by hand with the same options."""
    if not installed("iperf3") or os.getuid():
        print("nethost: left out, it needs iperf3, and root for an address of the host")
        return
    import_busybox()
    subprocess.run(["ip", "addr", "add", f"{OTHER}/32", "dev", "lo"], check=True)
    once([pybox, "run", "-d", "--name", "flow", "-p", "127.0.0.1:7003:7002", "busybox", "sleep", "10000"])
    pid = pybox_says("inspect", "--format", "{{.State.Pid}}", "flow")
    options = ["--config-net", "-f", "-q", "--no-map-gw", "-t", "127.0.0.1/7004:7002", "-u", "none", "-T", "none", "-U", "none"]
    bare = harness.popen(["pasta", *options, "--", "sleep", "10000"])
    time.sleep(1)
    inside = next(found for found in harness.descendants() if harness.program_of(found).endswith("/sleep"))
    enter = lambda of: ["nsenter", "-t", str(of), "-n"]
    try:
        compare_flows("container to host", "bare pasta", lambda: flow_of(enter(inside), [], OTHER),
                      "pybox", lambda: flow_of(enter(pid), [], OTHER))
        compare_flows("host to container", "bare pasta", lambda: flow_of([], enter(inside), "127.0.0.1", 7004, 7002),
                      "pybox", lambda: flow_of([], enter(pid), "127.0.0.1", 7003, 7002))
    finally:
        bare.kill()
        bare.wait()
        subprocess.run(["ip", "addr", "del", f"{OTHER}/32", "dev", "lo"], check=True)
    once([pybox, "rm", "-f", "flow"])


def netroot():
    """Host to a container on a network of root's, against a bridge and a pair made by hand."""
    if not installed("iperf3") or os.getuid():
        print("netroot: left out, it needs iperf3 and root")
        return
    environment = {**harness.environment, "HOME": "/root", "USER": "root", "PYBOX_ROOT": f"{harness.scratch}/root-of-root"}
    says = lambda *words: subprocess.run([pybox, *words], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True).stdout.strip()
    says("import", f"{harness.place}/busybox.tar", "busybox:latest")
    says("network", "create", "flow")
    says("run", "-d", "--name", "one", "--network", "flow", "busybox", "sleep", "10000")
    pid, address = (says("inspect", "--format", what, "one") for what in ["{{.State.Pid}}", "{{.NetworkSettings.IPAddress}}"])
    bare = subprocess.Popen(["unshare", "-n", "sleep", "10000"])
    time.sleep(0.5)
    script = f"""ip link add br77 type bridge; ip addr add 203.0.113.1/24 dev br77; ip link set br77 up
    ip link add v77 type veth peer name w77 netns {bare.pid}; ip link set v77 master br77 up
    nsenter -t {bare.pid} -n sh -c 'ip link set lo up; ip addr add 203.0.113.2/24 dev w77; ip link set w77 up'"""
    subprocess.run(["sh", "-ec", script], check=True)
    try:
        compare_flows("host to container, root", "bare bridge", lambda: flow_of([], ["nsenter", "-t", str(bare.pid), "-n"], "203.0.113.2"),
                      "pybox", lambda: flow_of([], ["nsenter", "-t", pid, "-n"], address))
    finally:
        bare.kill()
        bare.wait()
        subprocess.run(["ip", "link", "del", "br77"], check=False)
        says("rm", "-f", "one")


def netidle():
    """What an idle container with the default network needs more than one with none, in memory."""
    import_busybox()
    sums = {}
    for network in ["none", "pasta"]:
        before = set(harness.descendants())
        for at in range(10):
            once([pybox, "run", "-d", "--name", f"idle{at}", "--network", network, "busybox", "sleep", "10000"])
        time.sleep(3)
        sums[network] = harness.memory_of(set(harness.descendants()) - before) / 10
        for at in range(10):
            once([pybox, "rm", "-f", f"idle{at}"])
    print(f"\nidle container, PSS of all its processes, KiB: none {sums['none']:.0f}, pasta {sums['pasta']:.0f}")


if __name__ == "__main__":
    main({"netstart": netstart, "netflow": netflow, "nethost": nethost, "netroot": netroot, "netidle": netidle})
