/*
 * Loaded before the C library (LD_PRELOAD), it notes in a journal what the
 * program does to the files of one folder, in the order in which it was done.
 *
 * POWER_CUT_FOLDER is the folder, POWER_CUT_JOURNAL the journal. An entry is a
 * struct entry, and then `length` bytes: what was written, or a file's name.
 *
 * Each operation and its entry are one step, under a lock: so the journal is the
 * order of things also when threads write at once, and a sync covers what is
 * noted before it and nothing else. Only what succeeded is noted, as far as it
 * did. What is not noted here (a write by mmap or writev, a rename) would be
 * missing: the test compares the files that it gets from the journal with those
 * that are there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, TRUNCATE, SYNC, UNLINK };

struct entry {
    uint32_t what;
    int32_t fd;
    uint64_t at;     /* an offset, or the new length, or the flags of open */
    uint64_t length; /* of what follows */
};

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static const char *folder;
static size_t folder_length;
static int journal = -1;
/* Whether a file descriptor is one of the folder's. */
static unsigned char watched[1 << 16];

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("POWER_CUT_JOURNAL");
    folder = getenv("POWER_CUT_FOLDER");
    if (!path || !folder)
        return;
    folder_length = strlen(folder);
    /* By the system's own number, as everywhere here: `open` is ours. */
    journal = syscall(SYS_openat, AT_FDCWD, path,
                      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (journal < 0)
        abort();
}

static int is_watched(int fd)
{
    return journal >= 0 && fd >= 0 && fd < 1 << 16 && watched[fd];
}

/* The name of a file in the folder, "" for the folder itself, or NULL. */
static const char *name_of(const char *path)
{
    if (journal < 0 || strncmp(path, folder, folder_length) != 0)
        return NULL;
    path += folder_length;
    return *path == '/' ? path + 1 : *path == 0 ? path : NULL;
}

static void note(uint32_t what, int fd, uint64_t at, const void *data, size_t length)
{
    struct entry entry = {what, fd, at, length};
    struct iovec parts[] = {{&entry, sizeof entry}, {(void *)data, length}};
    if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof entry + length))
        abort(); /* a journal with a gap is worse than none */
}

static int open_noted(const char *path, int flags, int mode)
{
    const char *name = name_of(path);
    pthread_mutex_lock(&turn);
    int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0 && name) {
        if (fd >= 1 << 16)
            abort();
        watched[fd] = 1;
        note(OPEN, fd, flags, name, strlen(name));
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

int open64(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return open_noted(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = flags & O_CREAT ? va_arg(more, int) : 0;
    va_end(more);
    return open_noted(path, flags, mode);
}

int close(int fd)
{
    pthread_mutex_lock(&turn);
    if (is_watched(fd))
        watched[fd] = 0;
    int result = syscall(SYS_close, fd);
    pthread_mutex_unlock(&turn);
    return result;
}

ssize_t write(int fd, const void *data, size_t length)
{
    if (!is_watched(fd))
        return syscall(SYS_write, fd, data, length);
    pthread_mutex_lock(&turn);
    ssize_t done = syscall(SYS_write, fd, data, length);
    if (done > 0)
        note(WRITE, fd, lseek(fd, 0, SEEK_CUR) - done, data, done);
    /* The program asks for its end here, where no operation is half noted. */
    if (done == 5 && memcmp(data, "stop\n", 5) == 0)
        _exit(0);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at)
{
    if (!is_watched(fd))
        return syscall(SYS_pwrite64, fd, data, length, at);
    pthread_mutex_lock(&turn);
    ssize_t done = syscall(SYS_pwrite64, fd, data, length, at);
    if (done > 0)
        note(WRITE, fd, at, data, done);
    pthread_mutex_unlock(&turn);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at)
{
    return pwrite64(fd, data, length, at);
}

int ftruncate64(int fd, off64_t length)
{
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_ftruncate, fd, length);
    if (result == 0 && is_watched(fd))
        note(TRUNCATE, fd, length, NULL, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int ftruncate(int fd, off_t length)
{
    return ftruncate64(fd, length);
}

static int sync_noted(int fd, long number)
{
    if (!is_watched(fd))
        return syscall(number, fd);
    pthread_mutex_lock(&turn);
    int result = syscall(number, fd);
    if (result == 0)
        note(SYNC, fd, 0, NULL, 0);
    pthread_mutex_unlock(&turn);
    return result;
}

int fsync(int fd)
{
    return sync_noted(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_noted(fd, SYS_fdatasync);
}

int unlink(const char *path)
{
    const char *name = name_of(path);
    pthread_mutex_lock(&turn);
    int result = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    if (result == 0 && name)
        note(UNLINK, -1, 0, name, strlen(name));
    pthread_mutex_unlock(&turn);
    return result;
}
