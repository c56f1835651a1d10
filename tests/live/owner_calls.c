// What calls about owners say, line by line: a container with one id (src/emulation) has to say what one with ranges
// does, where the kernel answers.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAY(call) ({ errno = 0; long said = (long)(call); \
  printf("%s: %s\n", #call, said < 0 ? strerrorname_np(errno) : said == 0 ? "0" : "+"); fflush(stdout); })

#define AS(user, group, ...) do { fflush(stdout); pid_t child = fork(); \
  if (child == 0) { setgroups(0, 0); setresgid(group, group, group); setresuid(user, user, user); __VA_ARGS__; fflush(stdout); _exit(0); } \
  waitpid(child, 0, 0); } while (0)

static void told(const char *name, const struct stat *st) {
  printf("  %s: %d:%d %o %x\n", name, st->st_uid, st->st_gid, st->st_mode, (int)st->st_rdev);
}

static void show(const char *path) {
  struct stat st;
  struct statx stx;
  if (lstat(path, &st) || statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &stx)) {
    printf("  %s: %s\n", path, strerrorname_np(errno));
    return;
  }
  told(path, &st);
  if (stx.stx_uid != st.st_uid || stx.stx_gid != st.st_gid || stx.stx_mode != st.st_mode) puts("  statx differs");
}

static void show_open(int fd) {
  struct stat st;
  if (fstat(fd, &st)) puts(strerrorname_np(errno)); else told("open", &st);
}

static void make(const char *path, int mode) {
  int fd = open(path, O_CREAT | O_RDWR | O_TRUNC, mode);
  if (fd < 0 || fchmod(fd, mode) || close(fd)) printf("make %s: %s\n", path, strerrorname_np(errno));
}

static int with_fd(const char *format, int fd, const char *below, char *path) {
  int length = sprintf(path, format, fd);
  strcpy(path + length, below);
  return fd;
}

static void kinds(void) {
  struct sockaddr_un address = {AF_UNIX, "socket"};
  int server = socket(AF_UNIX, SOCK_STREAM, 0);
  make("f", 0644), mkdir("d", 0755), symlink("f", "l"), symlink("nowhere", "dangling"), mkfifo("p", 0644);
  bind(server, (void *)&address, sizeof address);
  SAY(chown("f", 1, 2)), show("f");
  SAY(chown("d", 3, 4)), show("d");
  SAY(lchown("l", 5, 6)), show("l"), show("f");
  SAY(chown("l", 7, 8)), show("l"), show("f");
  SAY(chown("dangling", 1, 1));
  SAY(lchown("dangling", 9, 9)), show("dangling");
  SAY(chown("p", 1, 2)), show("p");
  SAY(chown("socket", 1, 2)), show("socket");
  SAY(chown("f", -1, -1)), show("f");
  SAY(chown("f", -1, 20)), show("f");
  SAY(chown("f", 21, -1)), show("f");
  // Another file gets the number of the one that was given away.
  unlink("p"), mkfifo("p", 0644), show("p");
  unlink("socket");
}

static void flags(void) {
  char *room = malloc(4096), *deep = malloc(5000);
  int points = open("f", O_PATH), link = open("l", O_PATH | O_NOFOLLOW);
  SAY(fchownat(AT_FDCWD, "f", 1, 1, 0x8000));
  SAY(fchownat(AT_FDCWD, "", 1, 1, 0));
  SAY(fchown(points, 11, 11)), show("f");
  SAY(fchownat(points, "", 12, 12, AT_EMPTY_PATH)), show("f");
  SAY(fchownat(link, "", 14, 14, AT_EMPTY_PATH)), show("l"), show("f");
  SAY(fchownat(link, "x", 14, 14, AT_EMPTY_PATH));
  SAY(fchownat(AT_FDCWD, "", 15, 15, AT_EMPTY_PATH)), show("."), chown(".", 0, 0);
  SAY(syscall(SYS_fstat, AT_FDCWD, room));
  SAY(fchown(AT_FDCWD, 15, 15)), show(".");
  SAY(chown("f/", 1, 1));
  SAY(chown("d/", 1, 1));
  SAY(chown("l/", 1, 1));
  SAY(chown("nothing", 1, 1));
  SAY(chown("f/x", 1, 1));
  symlink("loop", "loop");
  SAY(chown("loop", 1, 1));
  memset(deep, 'a', 4999), deep[4999] = 0;
  SAY(chown(deep, 1, 1));
  deep[300] = 0;
  SAY(chown(deep, 1, 1));
}

// Links that lead to whoever follows them, and files without names.
static void ourselves(void) {
  char path[200];
  struct stat st;
  int ends[2], fd = open("f", O_RDWR), directory = open("d", O_RDONLY | O_DIRECTORY), memory = memfd_create("m", 0);
  chmod("d", 0777), chown("d", 0, 0);
  with_fd("/proc/self/fd/%d", fd, "", path);
  SAY(chown(path, 31, 31)), show("f");
  SAY(stat(path, &st)), told("itself", &st);
  with_fd("/proc/thread-self/fd/%d", fd, "", path);
  SAY(chown(path, 32, 32)), show("f");
  with_fd("/dev/fd/%d", fd, "", path);
  SAY(chown(path, 33, 33)), show("f");
  SAY(chown("/proc/self/cwd/f", 34, 34)), show("f");
  SAY(chown("/proc/self/fd/999", 1, 1));
  SAY(stat("/proc/self/../../etc/passwd", &st));
  SAY(stat("/proc/self/task/../../self/status", &st));
  SAY(stat("/proc/self/exe/x", &st));
  SAY(stat("/proc/net/dev", &st));
  SAY(lstat("/proc/self", &st)), printf("%o\n", st.st_mode);
  SAY(lstat("/dev/stdout", &st)), printf("%o\n", st.st_mode);
  SAY(lstat("/proc/self/exe", &st)), printf("%o\n", st.st_mode);
  SAY(pipe(ends));
  SAY(fchown(ends[0], 5, 5)), show_open(ends[1]);
  with_fd("/proc/self/fd/%d", ends[1], "", path);
  SAY(chown(path, 6, 6)), show_open(ends[0]);
  SAY(fchown(memory, 5, 5)), show_open(memory);
  SAY(chown("/proc/cpuinfo", 1, 1));
  SAY(chown("/dev/full", 1, 1));
  SAY(chown("/proc/sys/kernel/hostname", 1, 1));
  with_fd("/proc/self/fd/%d", directory, "/new", path);
  AS(50, 60, make(path, 0644); show("d/new"));
  with_fd("/proc/self/fd/%d", directory, "/directory/", path);
  AS(50, 60, SAY(mkdir(path, 0755)); show("d/directory"));
  AS(50, 60, SAY(symlink("x", "/proc/self/../self/cwd/d/link")); show("d/link"));
  symlink("/proc/self/cwd/d/target", "d/away");
  AS(50, 60, SAY(close(open("d/away", O_CREAT | O_RDWR, 0600))); show("d/target"));
  AS(50, 60, SAY(close(open("/proc/self/nothing", O_CREAT | O_WRONLY, 0666))); SAY(mkdir("/proc/self/x", 0777)));
  unlink("f");
  SAY(fchown(fd, 36, 36)), show_open(fd);
  make("f", 0644), show("f");
}

// Bits that lend rights do not outlive a gift.
static void bits(void) {
  chmod("f", 06755);
  SAY(chown("f", 1, 1)), show("f"), chmod("f", 06755);
  SAY(chown("f", -1, -1)), show("f"), chmod("f", 06644);
  SAY(chown("f", 1, 2)), show("f"), chmod("f", 02755);
  SAY(chown("f", -1, -1)), show("f"), chmod("d", 06777);
  SAY(chown("d", 1, 1)), show("d");
  AS(1, 2, chmod("f", 06755); SAY(chown("f", -1, 2)); show("f"));
}

static void nobodies(void) {
  chmod("d", 0777), chown("d", 50, 60), make("r", 0666), make("g", 0644), chown("g", 50, 99);
  AS(50, 60, SAY(chown("r", 50, -1)); SAY(chown("r", -1, -1)); SAY(chown("d", 0, -1)); SAY(chown("d", -1, 61)); SAY(chown("d", -1, 60)));
  AS(50, 60, SAY(chown("g", 50, 99)); SAY(chown("g", -1, 98)); SAY(chown("g", -1, 60)); show("g"));
  AS(50, 60, SAY(mknod("d/c", S_IFCHR | 0666, makedev(1, 3))); SAY(mknod("d/0", 0644, 0)); show("d/0"); SAY(mknod("d/r", S_IFREG | 0644, 0));
     show("d/r"); SAY(mknod("d/p", S_IFIFO | 0644, 0)); show("d/p"); SAY(mknod("d/s", S_IFSOCK | 0644, 0)); show("d/s");
     SAY(mknod("d/x", S_IFDIR | 0644, 0)); SAY(mknod("d/x", S_IFLNK | 0644, 0)));
  AS(50, 60, symlink("led", "d/to"); SAY(close(open("d/to", O_CREAT | O_WRONLY, 0640))); show("d/led"); SAY(open("d/to", O_CREAT | O_EXCL | O_WRONLY, 0640)));
  // Whoever only points at a file does not make it.
  AS(50, 60, SAY(close(open("r", O_PATH | O_CREAT, 0640))); show("r"); SAY(close(open("r", O_CREAT | O_RDWR, 0640))); show("r"));
  AS(50, 60, SAY(open("d", O_CREAT | O_RDWR, 0640)); SAY(open("d/new/", O_CREAT | O_RDWR, 0640)); SAY(close(open("d/shut", O_CREAT | O_WRONLY, 0))); show("d/shut"));
  AS(50, 60, SAY(mkdir("d/m/", 0777)); show("d/m"); SAY(mkdir("d/m", 0777)); SAY(mkdir("d/b", 06777)); show("d/b"); SAY(symlink("", "d/n")));
  AS(50, 60, umask(077); SAY(mkdir("d/own", 0777)); show("d/own"); SAY(close(open("d/file", O_CREAT | O_RDWR, 0666))); show("d/file"));
}

static void groups(void) {
  mkdir("g7", 0), chown("g7", 0, 70), chmod("g7", 02777), mkdir("g0", 0), chmod("g0", 02777);
  AS(50, 60, make("g7/f", 0644); show("g7/f"); mkdir("g7/d", 0755); show("g7/d"); symlink("a", "g7/l"); show("g7/l"); mkfifo("g7/p", 0644);
     show("g7/p"); make("g0/f", 0644); show("g0/f"); mkdir("g0/d", 0755); show("g0/d"));
  AS(50, 60, SAY(chown("g7/f", 50, 70)); SAY(chown("g7/f", -1, 70)));
}

static void several(void) {
  uid_t real, effective, saved;
  setegid(60), seteuid(50), make("d/effective", 0644), show("d/effective");
  SAY(seteuid(0)), SAY(setegid(0)), setfsuid(51), setfsgid(61), make("d/files", 0644), show("d/files");
  SAY(chown("d/files", 1, 1)), SAY(chown("d/files", -1, 61)), printf("%d\n", setfsuid(-1));
  SAY(setuid(-1)), SAY(setreuid(-1, -1)), SAY(setresuid(1, 2, 3)), SAY(setresuid(2, 3, 1)), SAY(setresuid(0, -1, -1)), SAY(setuid(1));
  SAY(setreuid(3, 2)), getresuid(&real, &effective, &saved), printf("%d %d %d\n", real, effective, saved);
}

static void devices(void) {
  // Elsewhere than in the root file system the kernel makes this one, and it deletes nothing.
  if (getenv("ROOT")) SAY(mknod("d/whiteout", S_IFCHR | 0666, 0)), show("d/whiteout");
  else SAY(mknod("d/device", S_IFCHR | 0666, makedev(1, 3))), show("d/device");
}

int main(int count, char **words) {
  umask(022);
  if (count != 2 || mkdir(words[1], 0755) || chdir(words[1])) return 1;
  kinds(), flags(), ourselves(), bits(), nobodies(), groups(), devices(), fflush(stdout);
  if (fork() == 0) several(), fflush(stdout), _exit(0);
  wait(0);
  return 0;
}
