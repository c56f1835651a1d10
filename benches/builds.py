#!/usr/bin/env python3
"""builds.py PLACE [build|commit|push...] : what making images and sending them costs; see README.md."""
import json, os, shutil, subprocess

import harness
from harness import compare, first_id, main, once, own, place, pybox, pybox_says, serve, turns

STEPS = [
    "mkdir -p /opt/a && for i in 1 2 3 4 5 6 7 8 9; do echo $i > /opt/a/$i; done",
    "cp -r /usr/share/perl5 /opt/b",
    "find /usr -type f | wc -l > /opt/c",
]


def given(path):
    """To the user, who may not be who has made it."""
    os.chown(path, harness.user.pw_uid, harness.user.pw_gid)
    return path


def written(directory, name, text):
    with open(f"{directory}/{name}", "w") as out:
        out.write(text)
    given(f"{directory}/{name}")


def tree(archive, name):
    """An archive, unpacked once; the user's, as who mounts a tree has to own it."""
    target = f"{place}/{name}"
    if not os.path.exists(target):
        new = target + ".new"
        shutil.rmtree(new, ignore_errors=True)
        os.makedirs(f"{new}/dev")
        subprocess.run(["tar", "xf", f"{place}/archives/{archive}.tar", "-C", new, "--exclude=./dev/*"], check=True)
        subprocess.run(f"chown -Rh {harness.user.pw_uid}:{harness.user.pw_gid} {new} && chmod -R u+rwX {new}", shell=True, check=True)
        os.rename(new, target)
    return target


def build():
    """Six steps over a Debian: done anew, and all known; against the same commands in bare containers, and cp."""
    root = tree("debian", "debian-tree")
    context = own("context")
    written(context, "hello.txt", "hello\n")
    lines = [f"RUN {step}" for step in STEPS] + ["COPY hello.txt /opt/hello.txt", "ENV FOO=bar", "WORKDIR /opt"]
    written(context, "Dockerfile", "\n".join(["FROM debian:bench", *lines]) + "\n")
    once([pybox, "import", f"{place}/archives/debian.tar", "debian:bench"])

    def bare(_turn):
        run = lambda step: f"{place}/bare {first_id('uid')} {first_id('gid')} {own('bare')} {root} sh -c '{step}'"
        return ["sh", "-ec", "\n".join([*map(run, STEPS), f"cp {context}/hello.txt {own('copied')}/"])]

    cold = [pybox, "build", "-q", "--no-cache", "--network", "none", "-t", "bench:cold", context]
    known = [pybox, "build", "-q", "--network", "none", "-t", "bench:known", context]
    commands = {"3 bare containers + cp": bare, "pybox build --no-cache": cold, "pybox build, all known": known}
    if harness.installed("podman"):
        once(["podman", "import", f"{place}/archives/debian.tar", "localhost/debian:bench"])
        podman = ["podman", "build", "-q", "--network", "none", "-f", f"{context}/Dockerfile", context]
        commands |= {"podman build --no-cache": podman + ["--no-cache"], "podman build, all known": podman}
    compare("6-step build", commands, turns(15))


def commit():
    """500 MiB that a container has written, as a layer of an image; against tar and zstd of the same files."""
    files = own("files")
    archives = sorted(name for name in os.listdir(f"{place}/archives") if name.startswith("packages"))
    size = 0
    for number, name in enumerate(archives * 9):
        directory = f"{files}/{number}"
        os.makedirs(directory)
        subprocess.run(["tar", "xf", f"{place}/archives/{name}", "-C", directory], check=True)
        size = int(subprocess.run(["du", "-sm", files], check=True, capture_output=True, text=True).stdout.split()[0])
        if size >= 500:
            break
    subprocess.run(f"chown -Rh {harness.user.pw_uid}:{harness.user.pw_gid} {files}", shell=True, check=True)
    harness.import_busybox()
    once([pybox, "run", "--name", "full", "--network", "none", "-v", f"{files}:/files:ro", "busybox", "cp", "-a", "/files", "/kept"])
    by_hand = lambda _turn: ["sh", "-c", f"tar -cf - -C {files} . | zstd -T2 -q -3 > {own('hand')}/layer"]
    ours = lambda more: lambda turn: [pybox, "commit", "-q", *more, "full", f"committed:{len(more)}-{turn + 1}"]
    commands = {"tar | zstd -T2": by_hand, "pybox commit": ours([]), "pybox commit --compression zstd": ours(["--compression=zstd"])}
    compare(f"commit of {size} MiB", commands, turns(5), unit="s", before=lambda _name, _turn: os.sync())


def push():
    """An image to a registry that has nothing of it, and to one that has all."""
    address = serve()
    layout = f"{place}/images/layers"
    archive = f"{own('archive')}/layers.tar"
    subprocess.run(["skopeo", "copy", "-q", "--insecure-policy", f"oci:{layout}:latest", f"oci-archive:{archive}:localhost/layers:1"], check=True)
    os.chmod(archive, 0o644)
    once([pybox, "load", "-q", "-i", archive])
    image = pybox_says("images", "-q").split()[0]
    with open(f"{layout}/index.json") as file:
        manifest = json.load(file)["manifests"][0]["digest"].split(":")[1]
    with open(f"{layout}/blobs/sha256/{manifest}") as file:
        document = json.load(file)
    blobs = sorted([*document["layers"], document["config"]], key=lambda blob: -blob["size"])
    size = sum(blob["size"] for blob in blobs) / 2**20

    def by_hand(turn):
        # One request to begin, and one with all of it, as many blobs at a time as we send.
        send = (f'u=$(curl -fsS -X POST -D - -o /dev/null http://{address}/v2/hand{turn + 1}/blobs/uploads/ | tr -d "\\r" | sed -n "s/^[Ll]ocation: //p");'
                f' curl -fsS -o /dev/null -X PUT -H "Content-Type: application/octet-stream" -T {layout}/blobs/sha256/$1 "$u&digest=sha256:$1"')
        names = " ".join(blob["digest"].split(":")[1] for blob in blobs)
        put = (f'curl -fsS -o /dev/null -X PUT -H "Content-Type: {document["mediaType"]}" -T {layout}/blobs/sha256/{manifest}'
               f' http://{address}/v2/hand{turn + 1}/manifests/1')
        return ["sh", "-ec", f"printf '%s\\n' {names} | xargs -P3 -n1 sh -ec '{send}' sh; {put}"]

    all_new = lambda turn: [pybox, "push", "-q", image, f"{address}/new{turn + 1}:1"]
    compare(f"push: {len(document['layers'])} layers, {size:.0f} MiB", {"curl, three at a time": by_hand, "pybox push, all new": all_new},
            turns(5), unit="s", before=lambda _name, _turn: os.sync())
    once([pybox, "push", "-q", image, f"{address}/there:1"])
    compare("push of what is there", {"pybox version": [pybox, "version"], "pybox push, all there": [pybox, "push", "-q", image, f"{address}/there:1"]}, turns(20))


if __name__ == "__main__":
    main({"build": build, "commit": commit, "push": push})
