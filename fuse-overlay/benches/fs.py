#!/usr/bin/env python3
"""Figures of docs/PERFORMANCE.md, "The FUSE overlay": paired runs of the same loads on plain ext4, the kernel's
overlay in a user namespace, ours, ours as the lower of the kernel's overlay, and C fuse-overlayfs.

  fs.py setup DIR                 60k files in 4 layers, and the same as one tree ("native"); as root
  fs.py run DIR BINARY [N] [MODE…]  N rounds (5) of all modes, as USER (pyboxtest); prints medians and ratios
  fs.py load TREE                 the loads themselves, one JSON line

Dentries and inodes are dropped before each run (drop_caches 2), so "cold" is cold everywhere; page cache of the
layers' block device stays, but for the row "disk cold" (drop_caches 3). Pure python, no packages. BINARY is target/release/examples/overlay_run.

What a request costs is what waking a process costs. A virtual processor without work may halt at once, or look for
work a while first; the kernel's own choice is 200000 ns. HALT_POLL_NS=NUMBER sets that for the run (as root, where
/sys/module/haltpoll is), and puts it back.
"""
import atexit, json, os, random, shutil, statistics, subprocess, sys, time

USER = os.environ.get("FS_USER", "pyboxtest")
MIB = 1 << 20
GIB = int(os.environ.get("FS_MIB", 1024))
SERVER = None
HALT_POLL = "/sys/module/haltpoll/parameters/guest_halt_poll_ns"


def setup(top):
    rnd = random.Random(4)
    os.makedirs(top, exist_ok=True)
    library = next(p for p in sorted(os.listdir("/usr/lib")) if p.startswith("python3."))
    for layer in range(4):
        root = f"{top}/l{layer}"
        shutil.rmtree(root, ignore_errors=True)
        for d in range(500):
            # Half of the directories are in all layers, half in one: merging has something to do.
            name = f"{root}/usr/share/s{d % 20}/d{d}" if d < 250 else f"{root}/usr/lib{layer}/s{d % 20}/d{d}"
            os.makedirs(name)
            for f in range(30):
                with open(f"{name}/file-{layer}-{f}.txt", "wb") as out:
                    out.write(rnd.randbytes(rnd.choice((200, 900, 2000, 4000, 9000))))
    shutil.copytree(f"/usr/lib/{library}", f"{top}/l0/usr/lib/python", symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__", "test"))
    shutil.rmtree(f"{top}/native", ignore_errors=True)
    for layer in range(4):
        subprocess.run(["cp", "-a", f"{top}/l{layer}/.", f"{top}/native/"], check=False) if layer else \
            subprocess.run(["cp", "-a", f"{top}/l0", f"{top}/native"], check=True)
    for d in "umw":
        os.makedirs(f"{top}/{d}", exist_ok=True)
    os.makedirs(f"{top}/ro", exist_ok=True)
    subprocess.run(["chown", "-Rh", f"{USER}:", top], check=True)


def server():
    pid = os.environ.get("OVERLAY_SERVER_PID")
    if not pid and os.environ.get("FS_C"):
        found = subprocess.run(["pgrep", "-n", "-x", "fuse-overlayfs"], capture_output=True, text=True)
        pid = found.stdout.split()[0] if found.stdout else None
    return pid


def spent():
    """Processor time of this process, what it has waited for, and the server: neighbours do not change it much."""
    own = sum(os.times()[:4])
    try:
        fields = open(f"/proc/{SERVER}/stat").read().rsplit(")", 1)[1].split()
        return own + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return own


def timed(result, name, act):
    start, before = time.perf_counter(), spent()
    act()
    result[name] = (time.perf_counter() - start, spent() - before)


def shell(command):
    return lambda: subprocess.run(["sh", "-c", command], check=True, stdout=subprocess.DEVNULL)


def pss():
    pid = SERVER
    try:
        lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
        return {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines if line.startswith(("Pss", "Private"))}
    except OSError:
        return None


def read_all(paths):
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 65536)
        os.close(fd)


def load(tree):
    global SERVER
    SERVER = server()
    r = {}
    only = os.environ.get("FS_ONLY", "")
    if os.environ.get("FS_PHASE") == "disk":
        timed(r, "tar 60k, disk cold", shell(f"tar cf - -C {tree} usr | cat >/dev/null"))
        print(json.dumps({"seconds": r, "memory": pss(), "memory after": pss()}))
        return
    if os.environ.get("FS_PHASE") == "find":
        timed(r, "find cold", shell(f"find {tree} | wc -l"))
        timed(r, "find warm, 2nd", shell(f"find {tree} | wc -l"))
        timed(r, "find warm, 3rd", shell(f"find {tree} | wc -l"))
        print(json.dumps({"seconds": r, "memory": pss(), "memory after": pss()}))
        return
    timed(r, "tar 60k cold", shell(f"tar cf - -C {tree} usr | cat >/dev/null"))
    mem = pss()
    small = f"{tree}/usr/share/s1 {tree}/usr/share/s2 {tree}/usr/share/s3 {tree}/usr/share/s4 {tree}/usr/share/s5"
    subprocess.run(["sh", "-c", f"tar cf - {small} 2>/dev/null | cat >/dev/null"])
    timed(r, "tar 8k warm", shell(f"tar cf - {small} 2>/dev/null | cat >/dev/null"))
    paths = [f"{d}/{f}" for d, _, fs in os.walk(f"{tree}/usr/share") for f in fs][:20000]
    read_all(paths)
    timed(r, "open+read+close 20k warm", lambda: read_all(paths))
    work = f"{tree}/work"
    os.makedirs(work)
    body = os.urandom(1024)

    def create():
        for i in range(5000):
            fd = os.open(f"{work}/f{i}", os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o644)
            os.write(fd, body)
            os.close(fd)
    timed(r, "create 5k", create)
    timed(r, "unlink 5k", lambda: [os.unlink(f"{work}/f{i}") for i in range(5000)])
    timed(r, "compileall", shell(f"{sys.executable} -m compileall -q -f {tree}/usr/lib/python/asyncio {tree}/usr/lib/python/email"))
    if only != "metadata":
        big, chunk = f"{work}/big", os.urandom(MIB)

        def write():
            fd = os.open(big, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            for _ in range(GIB):
                os.write(fd, chunk)
            os.fsync(fd)
            os.close(fd)

        def read():
            fd, into = os.open(big, os.O_RDONLY), bytearray(MIB)
            while os.readv(fd, [into]):
                pass
            os.close(fd)
        timed(r, "seq write 1 GiB + fsync", write)
        read()
        timed(r, "seq read 1 GiB warm", read)
        os.unlink(big)
    os.rmdir(work)
    print(json.dumps({"seconds": r, "memory": mem, "memory after": pss()}))


def modes(top, binary):
    me = os.path.abspath(__file__)
    low = ":".join(f"{top}/l{i}" for i in range(4))
    lower = " ".join(f"--lower {top}/l{i}" for i in range(4))
    go = f"/usr/bin/python3 {me} load"
    ns = "unshare -rm"
    index = f"--index {top}/index"
    modes = {
        "native": f"{go} {top}/native",
        "kernel": f"{ns} sh -c 'mount -t overlay o -o userxattr,lowerdir={low},upperdir={top}/u,workdir={top}/w {top}/m && {go} {top}/m'",
        "ours": f"{binary} {index} {lower} --upper {top}/u --work {top}/w {top}/m -- {go} {top}/m",
        "hybrid": f"{binary} {index} {lower} {top}/ro -- sh -c 'mount -t overlay o -o userxattr,lowerdir={top}/ro,upperdir={top}/u,workdir={top}/w {top}/m && {go} {top}/m'",
        "fuse-overlayfs": f"{ns} sh -c 'fuse-overlayfs -o lowerdir={low},upperdir={top}/u,workdir={top}/w {top}/m && FS_C=1 {go} {top}/m; umount {top}/m'",
    }
    for front in ("fuser", "fuse3", "fuse3-fusermount"):
        modes[front] = modes["ours"].replace(binary, f"{binary} --front {front}", 1)
    modes["one thread"] = modes["ours"].replace(binary, f"{binary} --threads 1", 1)
    return modes


def as_user(command):
    return ["setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--reset-env", "--", "env",
            f"FS_PHASE={os.environ.get('FS_PHASE', '')}", f"FS_ONLY={os.environ.get('FS_ONLY', '')}", f"FS_MIB={GIB}", "sh", "-c", command]


def fresh(top, phase):
    subprocess.run(as_user(f"unshare -rm rm -rf {top}/u {top}/w {top}/native/work; mkdir -p {top}/u {top}/w"), check=True)
    subprocess.run(["sync"])
    with open("/proc/sys/vm/drop_caches", "w") as drop:
        drop.write("3" if phase == "disk" else "2")


def run(top, binary, rounds, wanted):
    lower = " ".join(f"--lower {top}/l{i}" for i in range(4))
    start = time.perf_counter()
    subprocess.run(as_user(f"{binary} --build-index {top}/index {lower}"), check=True)
    print(f"index built in {time.perf_counter() - start:.2f} s, {os.path.getsize(top + '/index')} bytes")
    chosen = {k: v for k, v in modes(top, binary).items() if k in wanted}
    seconds, memory = {}, {}
    for name, command, phase in [(n, c, p) for _ in range(rounds) for n, c in chosen.items() for p in ("find", "disk", "rest")]:
        os.environ["FS_PHASE"] = phase
        fresh(top, phase)
        done = subprocess.run(as_user(command), capture_output=True, text=True, timeout=600)
        try:
            answer = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError):
            print("!!", name, done.returncode, done.stderr[-400:])
            continue
        memory.setdefault(name, []).append((answer["memory"], answer["memory after"]))
        for what, value in answer["seconds"].items():
            seconds.setdefault(what, {}).setdefault(name, []).append(value)
    for nth, unit in enumerate(("seconds", "cpu seconds")):
        print(f"{unit + ', median of ' + str(rounds) + ' (x native)':34s}" + "".join(f"{n:>18s}" for n in chosen))
        for what, by_mode in seconds.items():
            middle = {n: statistics.median(pair[nth] for pair in pairs) for n, pairs in by_mode.items()}
            native = middle.get("native", float("nan")) or float("nan")
            cells = (middle.get(n, float("nan")) for n in chosen)
            print(f"{what:34s}" + "".join(f"{c:9.3f} x{c / native:7.2f}" for c in cells))
    for name, found in memory.items():
        if found[-1][0]:
            print(f"memory of the server, MiB: {name:16s} after reading all {found[-1][0]}  at the end {found[-1][1]}")


if __name__ == "__main__":
    what, where = sys.argv[1:3]
    before = open(HALT_POLL).read() if os.path.exists(HALT_POLL) else None
    if what == "run" and before:
        wanted = os.environ.get("HALT_POLL_NS", before)
        atexit.register(lambda: open(HALT_POLL, "w").write(before))
        open(HALT_POLL, "w").write(wanted)
        print(f"processors without work look for some for {int(wanted)} ns before they halt")
    if what == "setup":
        setup(where)
    elif what == "load":
        load(where)
    else:
        every = ["native", "kernel", "ours", "hybrid", "fuse-overlayfs"]
        run(where, sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 5, sys.argv[5:] or every)
