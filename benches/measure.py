#!/usr/bin/env python3
"""measure.py PLACE [startup|memory|pull|lists...] : paired measurements; see README.md.

What is compared runs in turns (A B C A B C ...), so that a busy moment of the machine hits all alike; medians are
printed, and the median of the ratios of each turn. N sets the number of turns (20; 3 for pulls)."""
import ctypes, json, os, pwd, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

place, wanted = sys.argv[1], sys.argv[2:] or ["startup", "memory", "lists", "pull"]
user = pwd.getpwnam("pyboxtest") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
identity = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if os.getuid() == 0 else {}
# Monitors and the like that outlive their parent stay our descendants, so that they are counted.
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
scratch = tempfile.mkdtemp(prefix="run.", dir=place)
os.chmod(scratch, 0o755)
registry = None


def own(name):
    """A new empty directory of the user."""
    path = tempfile.mkdtemp(prefix=name + ".", dir=scratch)
    os.chown(path, user.pw_uid, user.pw_gid)
    return path


runtime = own("runtime")
environment = {"HOME": own("home"), "USER": user.pw_name, "XDG_RUNTIME_DIR": runtime, "PYBOX_ROOT": own("root"),
               "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
pybox = f"{place}/pybox"


def popen(command, **more):
    return subprocess.Popen(command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **identity, **more)


def once(command):
    """Seconds that one run of the command takes; raises where it fails."""
    begun = time.perf_counter()
    process = popen(command)
    said = process.stderr.read()
    status = process.wait()
    spent = time.perf_counter() - begun
    if status:
        raise RuntimeError(f"{' '.join(command)}: {status}: {said.decode(errors='replace')[-300:]}")
    return spent


def compare(title, commands, turns, unit="ms", before=lambda name, turn: None):
    """Runs commands in turns; each is a list of words or a function of the turn that gives one. The first is the base."""
    times = {name: [] for name in commands}
    for turn in range(-1, turns):  # turn -1 warms up
        for name in list(times):
            before(name, turn)
            command = commands[name]
            try:
                spent = once(command(turn) if callable(command) else command)
            except (RuntimeError, OSError) as error:
                print(f"  left out: {error}", file=sys.stderr)
                del times[name]
                continue
            if turn >= 0:
                times[name].append(spent)
    scale = 1000 if unit == "ms" else 1
    base = next(iter(times))
    print(f"\n{title} ({turns} turns, {unit})\n  {'':34}{'median':>9}{'least':>9}{'most':>9}{'ratio':>8}")
    for name, spent in times.items():
        ratio = statistics.median(mine / other for mine, other in zip(spent, times[base]))
        print(f"  {name:34}{statistics.median(spent) * scale:9.2f}{min(spent) * scale:9.2f}{max(spent) * scale:9.2f}{ratio:8.2f}")


def descendants():
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    children.setdefault(int(file.read().rsplit(")", 1)[1].split()[1]), []).append(int(entry))
            except OSError:
                pass
    found, open_ = [], [os.getpid()]
    while open_:
        for child in children.get(open_.pop(), []):
            found.append(child)
            open_.append(child)
    return found


def peak_memory(command, ignored=()):
    """The largest sum of PSS over all processes of the command, in MiB, as often as it can be looked at."""
    ours, peak, done = os.readlink("/proc/self/exe"), 0, threading.Event()

    def look():
        nonlocal peak
        while not done.is_set():
            total = 0
            for pid in descendants():
                try:
                    if pid in ignored or os.readlink(f"/proc/{pid}/exe") == ours:
                        continue
                    with open(f"/proc/{pid}/smaps_rollup") as file:
                        total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
                except (OSError, StopIteration):
                    pass
            peak = max(peak, total)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    once(command)
    done.set()
    watcher.join()
    return peak / 1024


def installed(program):
    return shutil.which(program, path=environment["PATH"]) is not None


def first_id(kind):
    with open(f"/etc/sub{kind}") as file:
        return next(line.split(":")[1] for line in file if line.startswith(user.pw_name + ":"))


def bare(_turn):
    return [f"{place}/bare", first_id("uid"), first_id("gid"), own("bare"), f"{place}/rootfs", "true"]


def import_busybox():
    once([pybox, "import", f"{place}/busybox.tar", "busybox:latest"])


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
        subprocess.run(["crun", "spec", "--rootless"], cwd=bundle, env=environment, check=True, **identity)
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
        print(f"  peak PSS of the pull: {peak_memory(by_pybox(0), ignored={registry.pid}):.1f} MiB")


def turns(usual):
    return int(os.environ.get("N", usual))


def serve():
    """A registry of our own on a free port; its address."""
    global registry
    program = shutil.which("docker-registry")
    if not program:
        unpacked = f"{place}/docker-registry"
        program = f"{unpacked}/usr/bin/docker-registry"
        if not os.path.exists(program):
            os.makedirs(unpacked, exist_ok=True)
            subprocess.run("apt-get download -q docker-registry && dpkg -x docker-registry_*.deb .", shell=True, check=True, cwd=unpacked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % listener.getsockname()[1]
    configuration = f"{scratch}/registry.yml"
    with open(configuration, "w") as out:
        out.write(f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {scratch}/registry}}}}\nhttp: {{addr: '{address}'}}\n")
    registry = subprocess.Popen([program, "serve", configuration], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(1000):
        try:
            socket.create_connection(address.split(":")).close()
            return address
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("the registry does not start")


try:
    for benchmark in wanted:
        {"startup": startup, "memory": memory, "lists": lists, "pull": pull}[benchmark]()
finally:
    if registry:
        registry.send_signal(signal.SIGTERM)
        registry.wait()
    subprocess.run(["rm", "-rf", scratch] if os.getuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", scratch], check=False)
