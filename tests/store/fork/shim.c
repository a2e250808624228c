/* Lets a program fork that may hold no unsafe code: it removes the file "/jobber/fork" or
 * "/jobber/fork-apart".
 *
 * In the new process the call fails with ECHILD. In the old one "/jobber/fork" returns when the
 * new process has ended, and fails with EIO if that has failed, or has not ended for twenty
 * seconds. "/jobber/fork-apart" fails with ENOENT at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int unlink(const char *path) {
    int waits = strcmp(path, "/jobber/fork") == 0;
    if (!waits && strcmp(path, "/jobber/fork-apart") != 0) {
        int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
        return real(path);
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        errno = ECHILD;
        return -1;
    }
    if (!waits) {
        errno = ENOENT;
        return -1;
    }
    int status = 1;
    if (child > 0) {
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
    }
    errno = EIO;
    return status == 0 ? 0 : -1;
}
