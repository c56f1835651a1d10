#!/usr/bin/env python3
"""measure.py PLACE [startup|memory|lists|pull...] : what one command costs; see README.md."""
import json, os, statistics, subprocess

import harness
from harness import compare, first_id, import_busybox, installed, main, once, own, peak_memory, place, pybox, serve, turns


def bare(_turn):
    return [f"{place}/bare", first_id("uid"), first_id("gid"), own("bare"), f"{place}/rootfs", "true"]


def startup():
    import_busybox()
    root = f"{place}/rootfs"
    commands = {"bare system calls": bare, "pybox run --rm": [pybox, "run", "--rm", "--network", "none", "busybox", "true"]}
    commands["pybox run --rm --init"] = [pybox, "run", "--rm", "--init", "--network", "none", "busybox", "true"]
    commands["pybox version"] = [pybox, "version"]
    if installed("bwrap"):
        commands["bwrap --unshare-all"] = ["bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--unshare-all", "true"]
    if installed("crun"):
        bundle = own("bundle")
        subprocess.run(["crun", "spec", "--rootless"], cwd=bundle, env=harness.environment, check=True, **harness.identity)
        with open(f"{bundle}/config.json") as file:
            spec = json.load(file)
        spec["process"].update(terminal=False, args=["true"])
        spec["root"].update(path=root)
        spec["linux"]["namespaces"] += [] if any(n["type"] == "network" for n in spec["linux"]["namespaces"]) else [{"type": "network"}]
        with open(f"{bundle}/config.json", "w") as file:
            json.dump(spec, file)
        commands["crun, one id, no overlay"] = ["crun", "--cgroup-manager=disabled", "run", "--bundle", bundle, "bench"]
    if installed("podman"):
        once(["podman", "import", f"{place}/busybox.tar", "busybox:latest"])
        commands["podman run --rm"] = ["podman", "run", "--rm", "--network=none", "localhost/busybox:latest", "true"]
    compare("startup of `true`", commands, turns(20))


def memory():
    import_busybox()
    command = [pybox, "run", "--rm", "--network", "none", "busybox", "sleep", "0.3"]
    peaks = [peak_memory(command) for _ in range(5)]
    print(f"\npeak PSS of a run, all processes: median {statistics.median(peaks):.1f} MiB, most {max(peaks):.1f} MiB (5 runs)")


def lists():
    import_busybox()
    for number in range(200):
        # One layer, and a configuration of its own each.
        once([pybox, "import", "--message", str(number), f"{place}/busybox.tar", f"many/image{number}:latest"])
    for number in range(100):
        once([pybox, "run", "--name", f"many{number}", "--network", "none", "busybox", "true"])
    compare("lists: 200 images, 100 containers",
            {"pybox version": [pybox, "version"], "pybox images": [pybox, "images"], "pybox ps -a": [pybox, "ps", "-a"]}, turns(20))


def pull():
    address = serve()
    for name in sorted(os.listdir(f"{place}/images")):
        if name.endswith(".new"):
            continue
        layout = f"{place}/images/{name}"
        subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{address}/{name}:latest"], check=True)
        with open(f"{layout}/index.json") as file:
            manifest = json.load(file)["manifests"][0]["digest"].split(":")[1]
        with open(f"{layout}/blobs/sha256/{manifest}") as file:
            layers = json.load(file)["layers"]
        size = sum(layer["size"] for layer in layers) / 2**20

        def fresh(_name, _turn):
            os.sync()

        def by_hand(_turn):
            flag = "--zstd" if layers[0]["mediaType"].endswith("zstd") else "-z"
            jobs = "\n".join(f"mkdir {n} && curl -s http://{address}/v2/{name}/blobs/{layer['digest']} | tar x {flag} -C {n}" for n, layer in enumerate(layers))
            return ["sh", "-c", f"cd {own('hand')} && printf '%s\\n' \"$1\" | xargs -P2 -d '\\n' -n1 sh -c", "sh", jobs]

        def by_pybox(_turn):
            return [pybox, "--root", own("pulled"), "pull", "-q", f"{address}/{name}"]

        # Nothing is deleted in between: ext4 unpacks several times slower right after a big removal.
        compare(f"pull {name}: {len(layers)} layers, {size:.0f} MiB", {"curl | tar, two at a time": by_hand, "pybox pull": by_pybox},
                turns(20 if name == "busybox" else 5), unit="s", before=fresh)
        print(f"  peak PSS of the pull: {peak_memory(by_pybox(0), ignored={harness.registry.pid}):.1f} MiB")


if __name__ == "__main__":
    main({"startup": startup, "memory": memory, "lists": lists, "pull": pull})
