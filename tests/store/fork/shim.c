/* Lets a program fork that may hold no unsafe code: it removes the file "/jobber/fork".
 *
 * In the new process the call fails with ECHILD. In the old one it returns when the new one
 * has ended, and fails with EIO if that has failed, or has not ended for twenty seconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int unlink(const char *path) {
    if (strcmp(path, "/jobber/fork") != 0) {
        int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
        return real(path);
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        errno = ECHILD;
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
