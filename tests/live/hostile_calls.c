// Calls about ids and owners as no libc makes them: what is answered for a container with one id
// (src/emulation) must hold whatever the pointers are, and whoever changes what they point at.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(what) do { if (!(what)) { printf("%s:%d: %s (errno %d)\n", __func__, __LINE__, #what, errno); exit(1); } } while (0)

static void pointers(void) {
  struct stat st;
  char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(munmap(page + 4096, 4096) == 0);
  memset(page, 'x', 4096);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, 0, &st, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, 8, &st, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, page + 4000, &st, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, "/", 8, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, "/", page + 4090, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, "", &st, 0) == -1 && errno == ENOENT);
  CHECK(syscall(SYS_newfstatat, 999, "x", &st, 0) == -1 && errno == EBADF);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, "/etc/passwd/x", &st, 0) == -1 && errno == ENOTDIR);
  CHECK(syscall(SYS_fstat, 999, &st) == -1 && errno == EBADF);
  CHECK(syscall(SYS_fstat, -1, &st) == -1 && errno == EBADF);
  CHECK(syscall(SYS_fchown, 999, 1, 1) == -1 && errno == EBADF);
  CHECK(syscall(SYS_fchownat, AT_FDCWD, "/nothing", 1, 1, 0) == -1 && errno == ENOENT);
  CHECK(syscall(SYS_fchownat, AT_FDCWD, 8, 1, 1, 0) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_getresuid, 8, 8, 8) == -1 && errno == EFAULT);
  CHECK(syscall(SYS_setgroups, 65537, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_setgroups, -1, 0) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_mknodat, AT_FDCWD, "/", S_IFCHR | 0666, 259) == -1 && errno == EEXIST);
  CHECK(syscall(SYS_mknodat, AT_FDCWD, "/tmp/.", S_IFCHR | 0666, 259) == -1 && errno == EEXIST);
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", &st, 0) == 0);
  char *deep = malloc(5000);
  memset(deep, 'a', 4999);
  deep[4999] = 0;
  CHECK(syscall(SYS_newfstatat, AT_FDCWD, deep, &st, 0) == -1 && errno == ENAMETOOLONG);
  unsigned int groups[4] = {5, 6, 7, 8}, got[4];
  CHECK(syscall(SYS_setgroups, 4, groups) == 0 && syscall(SYS_getgroups, 3, got) == -1 && errno == EINVAL);
  CHECK(syscall(SYS_getgroups, 0, 0) == 4 && syscall(SYS_getgroups, 4, got) == 4 && !memcmp(groups, got, sizeof got));
  CHECK(syscall(SYS_setgroups, 0, 0) == 0 && syscall(SYS_getgroups, 4, got) == 0);
}

// Two names take turns behind one pointer. Whichever is answered for, it is one of the two.
static char *volatile name;
static atomic_int over;

static void *turn(void *unused) {
  while (!over) {
    memcpy(name, "/tmp/one", 9);
    memcpy(name, "/tmp/two", 9);
  }
  return unused;
}

static void races(void) {
  pthread_t thread;
  struct stat st;
  name = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  strcpy(name, "/tmp/one");
  CHECK(close(open("/tmp/one", O_CREAT | O_RDWR, 0644)) == 0 && close(open("/tmp/two", O_CREAT | O_RDWR, 0644)) == 0);
  CHECK(chown("/tmp/one", 11, 11) == 0 && chown("/tmp/two", 22, 22) == 0);
  CHECK(pthread_create(&thread, 0, turn, 0) == 0);
  for (int round = 0; round < 3000; round++) {
    long result = syscall(SYS_newfstatat, AT_FDCWD, name, &st, 0);
    CHECK(result == 0 ? st.st_uid == st.st_gid && (st.st_uid == 11 || st.st_uid == 22) : errno == ENOENT);
  }
  over = 1;
  CHECK(pthread_join(thread, 0) == 0);
}

static void *switch_link(void *unused) {
  for (over = 0; !over;) {
    CHECK(symlink("/tmp/1", "/tmp/next") == 0 && rename("/tmp/next", "/tmp/current") == 0);
    CHECK(symlink("/tmp/2", "/tmp/next") == 0 && rename("/tmp/next", "/tmp/current") == 0);
  }
  return unused;
}

// A path leads to one of two files. Whichever is told of, it has its own owner, then and later.
static void switches(void) {
  pthread_t thread;
  struct stat one, two, st;
  CHECK(mkdir("/tmp/1", 0755) == 0 && mkdir("/tmp/2", 0755) == 0 && symlink("/tmp/1", "/tmp/current") == 0);
  CHECK(close(open("/tmp/1/f", O_CREAT | O_RDWR, 0644)) == 0 && close(open("/tmp/2/f", O_CREAT | O_RDWR, 0644)) == 0);
  CHECK(chown("/tmp/1/f", 11, 11) == 0 && chown("/tmp/2/f", 22, 22) == 0 && stat("/tmp/1/f", &one) == 0 && stat("/tmp/2/f", &two) == 0);
  CHECK(pthread_create(&thread, 0, switch_link, 0) == 0);
  for (int round = 0; round < 6000; round++) {
    // What is remembered of a file is forgotten when it changes.
    if (round % 16 == 0) CHECK(chmod("/tmp/1/f", 0600 + round % 32) == 0 && chmod("/tmp/2/f", 0600 + round % 32) == 0);
    CHECK(stat("/tmp/current/f", &st) == 0);
    CHECK(st.st_uid == (st.st_ino == one.st_ino ? 11 : 22));
  }
  over = 1;
  CHECK(pthread_join(thread, 0) == 0);
}

// Many who ask, change and die in the middle of it.
static void storm(void) {
  for (int round = 0; round < 60; round++) {
    for (int who = 0; who < 8; who++) {
      if (fork() == 0) {
        unsigned int own = 1000 + who;
        CHECK(syscall(SYS_setresuid, own, own, own) == 0);
        for (int turn = 0; turn < 20; turn++) {
          CHECK(syscall(SYS_getuid) == own && syscall(SYS_setuid, 0) == -1 && errno == EPERM);
          if (who == 7 && turn == 10) _exit(0);
        }
        pid_t child = fork();
        if (child == 0) { CHECK(syscall(SYS_geteuid) == own); _exit(0); }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
        _exit(0);
      }
    }
    for (int who = 0; who < 8; who++) {
      int status;
      CHECK(wait(&status) > 0 && status == 0);
    }
  }
  CHECK(syscall(SYS_getuid) == 0);
}

static void rang(int unused) { (void)unused; }

// Files are made once, however many signals come meanwhile.
static void signals(void) {
  struct sigaction action = {.sa_handler = rang, .sa_flags = SA_RESTART};
  struct itimerval often = {{0, 150}, {0, 150}}, never = {{0, 0}, {0, 0}};
  char path[64];
  CHECK(syscall(SYS_setresuid, 50, 50, 50) == 0 && sigaction(SIGALRM, &action, 0) == 0);
  CHECK(setitimer(ITIMER_REAL, &often, 0) == 0);
  for (int round = 0; round < 1500; round++) {
    sprintf(path, "/tmp/signals-%d", round);
    CHECK(mkdir(path, 0755) == 0 && rmdir(path) == 0 && symlink("x", path) == 0 && unlink(path) == 0);
    int file = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);
    CHECK(file >= 0 && close(file) == 0 && unlink(path) == 0);
  }
  CHECK(setitimer(ITIMER_REAL, &never, 0) == 0);
}

static int told[2];

// Who one is, asked for the first time when all that could happen to one's parent has happened.
static void tell_late(void) {
  usleep(200000);
  long who = syscall(SYS_getuid);
  CHECK(write(told[1], &who, sizeof who) == sizeof who);
  syscall(SYS_exit_group, 0);
}

static long heard(void) {
  long who = -1;
  CHECK(wait(0) > 0 && read(told[0], &who, sizeof who) == sizeof who);
  return who;
}

// A process takes after who its parent was when it was made.
static void kin(void) {
  CHECK(pipe(told) == 0);
  if (fork() == 0) {
    CHECK(syscall(SYS_setresuid, 50, 50, 50) == 0);
    if (fork() == 0) tell_late();
    _exit(0);
  }
  CHECK(heard() == 50);
  if (fork() == 0) {
    if (fork() == 0) tell_late();
    CHECK(syscall(SYS_setresuid, 50, 50, 50) == 0 && wait(0) > 0);
    _exit(0);
  }
  CHECK(heard() == 0);
}

static sem_t asked;

static void *ask_and_stay(void *unused) {
  struct stat st;
  CHECK(syscall(SYS_getuid) == 50 && stat("/tmp/crowd", &st) == 0 && st.st_uid == 7);
  CHECK(sem_post(&asked) == 0);
  for (;;) pause();
  return unused;
}

// More threads than there are descriptors by default.
static void crowd(void) {
  pthread_attr_t small;
  pthread_t thread;
  CHECK(mkdir("/tmp/crowd", 0755) == 0 && chown("/tmp/crowd", 7, 7) == 0 && setresuid(50, 50, 50) == 0);
  CHECK(sem_init(&asked, 0, 0) == 0 && pthread_attr_init(&small) == 0 && pthread_attr_setstacksize(&small, 65536) == 0);
  for (int number = 0; number < 1200; number++) {
    CHECK(pthread_create(&thread, &small, ask_and_stay, 0) == 0 && sem_wait(&asked) == 0);
  }
}

int main(int count, char **words) {
  CHECK(count == 2);
  if (!strcmp(words[1], "pointers")) pointers();
  if (!strcmp(words[1], "races")) races();
  if (!strcmp(words[1], "storm")) storm();
  if (!strcmp(words[1], "switches")) switches();
  if (!strcmp(words[1], "signals")) signals();
  if (!strcmp(words[1], "kin")) kin();
  if (!strcmp(words[1], "crowd")) crowd();
  printf("%s ok\n", words[1]);
  return 0;
}
