#!/usr/bin/env python3
"""images.py PLACE : the images of the pull benchmark as OCI layouts under PLACE/images, once.

busybox    1 small layer
debian     1 layer, a minimal Debian
manyfiles  2 layers, 60,000 small files in the second
layers     7 layers: the Debian and packages unpacked over it (gzip)
layers-zstd  the same in zstd
"""
import hashlib, json, os, random, subprocess, sys

place = sys.argv[1]
images = f"{place}/images"
# Large packages whose names are the same in every release; one line a layer.
PACKAGES = [
    "python3-numpy python3-babel",
    "python3-pandas python3-pandas-lib",
    "python3-scipy python3-sympy",
    "python3-django git",
    "vim-runtime cmake-data fonts-noto-cjk",
]


def run(command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def tar(tree, archive):
    run(["tar", "--create", "--file", archive, "--directory", tree, "--sort=name", "--numeric-owner", "--owner=0", "--group=0", "."])


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def debian(archive):
    codename = [l.split("=")[1].strip() for l in open("/etc/os-release") if l.startswith("VERSION_CODENAME")][0]
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"])
    mirror = next(l.split()[0] for l in listed.splitlines() if l.split()[1:] == [codename, "main"])
    run(["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "--skip=output/dev", codename, archive, mirror])


def packages(names, archive):
    tree = archive + ".tree"
    os.makedirs(tree)
    run(["apt-get", "download", "-q", *names.split()], cwd=tree)
    for name in sorted(os.listdir(tree)):
        if name.endswith(".deb"):
            run(["dpkg", "-x", f"{tree}/{name}", f"{tree}/x"])
    tar(f"{tree}/x", archive)
    run(["rm", "-rf", tree])


def many_files(archive):
    tree = archive + ".tree"
    chance = random.Random(7)
    words = ["%x" % chance.getrandbits(32) for _ in range(500)]
    for directory in range(600):
        path = f"{tree}/data/{directory // 30:02}/{directory:03}"
        os.makedirs(path)
        for file in range(100):
            with open(f"{path}/f{file:02}.txt", "w") as out:
                out.write(" ".join(chance.choices(words, k=chance.randint(0, 450))))
    tar(tree, archive)
    run(["rm", "-rf", tree])


def few_files(archive):
    tree = archive + ".tree"
    os.makedirs(f"{tree}/app")
    for number in range(9):
        with open(f"{tree}/app/{number}.py", "w") as out:
            out.write(f"print({number})\n")
    tar(tree, archive)
    run(["rm", "-rf", tree])


def layout(name, archives, compression="gzip"):
    target = f"{images}/{name}"
    if os.path.exists(target):
        return
    new = target + ".new"
    run(["rm", "-rf", new])
    blobs = f"{new}/blobs/sha256"
    os.makedirs(blobs)

    def put(kind, data):
        hexadecimal = hashlib.sha256(data).hexdigest()
        with open(f"{blobs}/{hexadecimal}", "wb") as out:
            out.write(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{hexadecimal}", "size": len(data)}

    layers = []
    for archive in archives:
        packed = f"{new}/packed"
        with open(packed, "wb") as out:
            subprocess.run(["zstd", "-q", "-3", "-c", archive] if compression == "zstd" else ["gzip", "-6", "-n", "-c", archive], check=True, stdout=out)
        hexadecimal, size = digest(packed), os.path.getsize(packed)
        os.rename(packed, f"{blobs}/{hexadecimal}")
        layers.append({"mediaType": f"application/vnd.oci.image.layer.v1.tar+{compression}", "digest": f"sha256:{hexadecimal}", "size": size})
    platform = run(["dpkg", "--print-architecture"]).strip()
    config = {"architecture": platform, "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["sh"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(a) for a in archives]}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": put("config.v1+json", json.dumps(config).encode()), "layers": layers}
    top = put("manifest.v1+json", json.dumps(manifest).encode()) | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    with open(f"{new}/index.json", "w") as out:
        json.dump({"schemaVersion": 2, "manifests": [top]}, out)
    with open(f"{new}/oci-layout", "w") as out:
        out.write('{"imageLayoutVersion":"1.0.0"}')
    os.rename(new, target)


def archive(name, make, *arguments):
    path, new = f"{place}/archives/{name}.tar", f"{place}/archives/{name}.new.tar"
    if not os.path.exists(path):
        run(["rm", "-rf", new, new + ".tree"])
        make(*arguments, new)
        os.rename(new, path)
    return path


os.makedirs(f"{place}/archives", exist_ok=True)
os.makedirs(images, exist_ok=True)
busybox = f"{place}/busybox.tar"
base = archive("debian", debian)
stack = [base, *[archive(f"packages{n}", packages, names) for n, names in enumerate(PACKAGES)], archive("few", few_files)]
layout("busybox", [busybox])
layout("debian", [base])
layout("manyfiles", [busybox, archive("many", many_files)])
layout("layers", stack)
layout("layers-zstd", stack, "zstd")
