/* Lets a program fork: it removes the file "/jobber/fork-apart". In the new process the call
 * fails with ECHILD; in the old one it fails with ENOENT at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

int unlink(const char *path) {
    if (strcmp(path, "/jobber/fork-apart") != 0) {
        int (*real)(const char *) = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
        return real(path);
    }
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        errno = ECHILD;
        return -1;
    }
    errno = ENOENT;
    return -1;
}
