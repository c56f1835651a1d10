"""What the benchmarks share: a user, places that are theirs, commands run in turns, memory looked at.

What is compared runs in turns (A B C A B C ...), so that a busy moment of the machine hits all alike; medians are
printed, and the median of the ratios of each turn. N sets the number of turns."""
import ctypes, json, os, pwd, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

place = sys.argv[1]
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


def memory_of(pids):
    """The sum of PSS of these processes, in KiB."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                total += next(int(line.split()[1]) for line in file if line.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


def program_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def ours():
    """The monitors among our descendants: they execute a sealed copy in memory."""
    return {pid for pid in descendants() if program_of(pid).startswith("/memfd:pybox")}


def pybox_says(*words):
    """What pybox prints."""
    done = subprocess.run([pybox, *words], env=environment, cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, **identity)
    return done.stdout.strip()


def peak_memory(command, ignored=()):
    """The largest sum of PSS over all processes of the command, in MiB, as often as it can be looked at."""
    own_program, peak, done = program_of("self"), 0, threading.Event()

    def look():
        nonlocal peak
        while not done.is_set():
            total = memory_of(pid for pid in descendants() if pid not in ignored and program_of(pid) != own_program)
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


def import_busybox():
    once([pybox, "import", f"{place}/busybox.tar", "busybox:latest"])


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


def end():
    """Ends what was started and removes what was made."""
    if registry:
        registry.send_signal(signal.SIGTERM)
        registry.wait()
    subprocess.run(["rm", "-rf", scratch] if os.getuid() == 0 else ["unshare", "--map-root-user", "--map-auto", "rm", "-rf", scratch], check=False)


def main(benchmarks):
    """Runs those that the command line names, or all."""
    try:
        for name in sys.argv[2:] or benchmarks:
            benchmarks[name]()
    finally:
        end()
