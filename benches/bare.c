/* bare: what the kernel asks for a container, and nothing else. The least a
 * start can cost: namespaces, id maps, an overlay, proc, a small dev, loopback,
 * pivot_root, exec. It checks for errors and makes no other promise.
 *
 *   bare FIRST_SUBUID FIRST_SUBGID SCRATCH ROOTFS COMMAND...
 *   bare exec PID COMMAND...      joins the namespaces of PID: the least an exec can cost
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) do { if ((call) < 0) err(125, "%s", #call); } while (0)

static void container(const char *scratch, const char *rootfs, char **command) {
	static const char *nodes[] = {"null", "zero", "full", "random", "urandom", "tty"};
	char text[4096], target[64];

	MUST(setresgid(0, 0, 0));
	MUST(setresuid(0, 0, 0));
	MUST(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL));
	MUST(chdir(scratch));
	snprintf(text, sizeof text, "lowerdir=%s,upperdir=upper,workdir=work,userxattr,volatile", rootfs);
	MUST(mount("bare", "root", "overlay", 0, text));
	MUST(chdir("root"));
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("dev", "dev", "tmpfs", MS_NOSUID, "mode=755,size=64k"));
	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
		snprintf(target, sizeof target, "dev/%s", nodes[i]);
		snprintf(text, sizeof text, "/dev/%s", nodes[i]);
		int node = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
		MUST(node);
		close(node);
		MUST(mount(text, target, NULL, MS_BIND, NULL));
	}
	struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	MUST(ioctl(socket_fd, SIOCSIFFLAGS, &loopback));
	close(socket_fd);
	MUST(sethostname("bare", 4));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	execvp(command[0], command);
	err(127, "%s", command[0]);
}

static pid_t map(const char *helper, pid_t child, unsigned own, const char *first) {
	pid_t pid = fork();
	if (pid == 0) {
		char target[16], outside[16];
		snprintf(target, sizeof target, "%d", child);
		snprintf(outside, sizeof outside, "%u", own);
		execlp(helper, helper, target, "0", outside, "1", "1", first, "65536", NULL);
		err(125, "%s", helper);
	}
	MUST(pid);
	return pid;
}

static int join(const char *pid, char **command) {
	int status = 0, target = syscall(SYS_pidfd_open, atoi(pid), 0);

	MUST(target);
	MUST(setns(target, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP));
	pid_t child = fork();
	MUST(child);
	if (child == 0) {
		MUST(chdir("/"));
		execvp(command[0], command);
		err(127, "%s", command[0]);
	}
	MUST(waitpid(child, &status, 0));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int count, char **words) {
	int gate[2], status = 0, helped;
	char go;

	if (count > 3 && strcmp(words[1], "exec") == 0) return join(words[2], words + 3);

	if (count < 6) errx(125, "bare FIRST_SUBUID FIRST_SUBGID SCRATCH ROOTFS COMMAND...");
	MUST(pipe2(gate, O_CLOEXEC));
	MUST(chdir(words[3]));
	MUST(mkdir("upper", 0700));
	MUST(mkdir("work", 0700));
	MUST(mkdir("root", 0700));
	pid_t child = syscall(SYS_clone,
		CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP | CLONE_NEWNET | SIGCHLD,
		NULL, NULL, NULL, NULL);
	MUST(child);
	if (child == 0) {
		MUST(read(gate[0], &go, 1));
		container(words[3], words[4], words + 5);
	}
	/* Both helpers at once, as a runtime would. */
	pid_t uids = map("newuidmap", child, getuid(), words[1]);
	pid_t gids = map("newgidmap", child, getgid(), words[2]);
	MUST(waitpid(uids, &helped, 0));
	if (helped) errx(125, "newuidmap");
	MUST(waitpid(gids, &helped, 0));
	if (helped) errx(125, "newgidmap");
	MUST(write(gate[1], "", 1));
	MUST(waitpid(child, &status, 0));
	rmdir("work/work");
	rmdir("work");
	rmdir("upper");
	rmdir("root");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
