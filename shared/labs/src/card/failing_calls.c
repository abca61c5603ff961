/*
 * A library for LD_PRELOAD that makes calls on chosen files fail, as a dying card does.
 *
 * KEEPSAKE_FAILING_CALLS holds rules separated by ';': "CALL PATTERN ERRNO SKIP TIMES". A rule matches calls named CALL
 * on paths that match PATTERN (fnmatch, '*' matches '/', too). It lets SKIP of them through and fails the next TIMES, or
 * all of them if TIMES is 0. ERRNO 0 writes only half of the bytes instead, as write(2) may.
 * KEEPSAKE_FAILED_CALLS is a file to which each failed call is appended: "CALL ERRNO PATH".
 *
 * The calls are open, read, write, fsync, syncdir (fsync of a directory), rename, unlink, mkdir, and list (opendir and
 * readdir).
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RULES_MAX 16

struct rule {
    char call[16];
    char pattern[256];
    int error;
    long skip;
    long times;
    atomic_long seen;
};

static struct rule rules[RULES_MAX];
static int rule_count;

__attribute__((constructor)) static void read_rules(void) {
    const char *text = getenv("KEEPSAKE_FAILING_CALLS");
    while (text && *text && rule_count < RULES_MAX) {
        struct rule *rule = &rules[rule_count];
        if (sscanf(text, "%15s %255s %d %ld %ld", rule->call, rule->pattern, &rule->error, &rule->skip, &rule->times) != 5) {
            fprintf(stderr, "KEEPSAKE_FAILING_CALLS: cannot read \"%s\"\n", text);
            abort();
        }
        rule_count++;
        text = strchr(text, ';');
        text = text ? text + 1 : NULL;
    }
}

static void record(const char *call, int error, const char *path) {
    const char *file = getenv("KEEPSAKE_FAILED_CALLS");
    if (!file) return;
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %d %s\n", call, error, path);
    int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, (size_t)length);
    syscall(SYS_close, fd);
}

static int uses(const char *call) {
    for (int i = 0; i < rule_count; i++)
        if (!strcmp(rules[i].call, call)) return 1;
    return 0;
}

/* Returns -1 if the call succeeds, else the error to report. */
static int failure(const char *call, const char *path) {
    for (int i = 0; i < rule_count; i++) {
        struct rule *rule = &rules[i];
        if (strcmp(rule->call, call) || fnmatch(rule->pattern, path, 0)) continue;
        long seen = atomic_fetch_add(&rule->seen, 1);
        if (seen < rule->skip || (rule->times && seen >= rule->skip + rule->times)) continue;
        record(call, rule->error, path);
        return rule->error;
    }
    return -1;
}

static int failure_at(const char *call, int fd) {
    if (!uses(call)) return -1;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') return -1;
    path[length] = 0;
    return failure(call, path);
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define FAIL(error, result) do { int e_ = (error); if (e_ >= 0) { errno = e_; return result; } } while (0)

#define OPEN(name)                                              \
    int name(const char *path, int flags, ...) {                \
        REAL(name);                                             \
        va_list arguments;                                      \
        va_start(arguments, flags);                             \
        mode_t mode = va_arg(arguments, mode_t);                \
        va_end(arguments);                                      \
        FAIL(failure("open", path), -1);                        \
        return real(path, flags, mode);                         \
    }
OPEN(open)
OPEN(open64)

DIR *opendir(const char *path) { REAL(opendir); FAIL(failure("list", path), NULL); return real(path); }
struct dirent64 *readdir64(DIR *dir) { REAL(readdir64); FAIL(failure_at("list", dirfd(dir)), NULL); return real(dir); }

int rename(const char *from, const char *to) {
    REAL(rename);
    FAIL(failure("rename", from), -1);
    return real(from, to);
}
int unlink(const char *path) { REAL(unlink); FAIL(failure("unlink", path), -1); return real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); FAIL(failure("mkdir", path), -1); return real(path, mode); }

ssize_t read(int fd, void *buffer, size_t count) { REAL(read); FAIL(failure_at("read", fd), -1); return real(fd, buffer, count); }
ssize_t pread64(int fd, void *buffer, size_t count, off64_t at) {
    REAL(pread64);
    FAIL(failure_at("read", fd), -1);
    return real(fd, buffer, count, at);
}

/* Returns how many bytes to write, or -1 with errno set. */
static ssize_t allowed(int fd, size_t count) {
    int error = failure_at("write", fd);
    if (error > 0) { errno = error; return -1; }
    return error == 0 && count > 1 ? (ssize_t)(count / 2) : (ssize_t)count;
}
ssize_t write(int fd, const void *buffer, size_t count) {
    REAL(write);
    ssize_t some = allowed(fd, count);
    return some < 0 ? -1 : real(fd, buffer, (size_t)some);
}
ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t at) {
    REAL(pwrite64);
    ssize_t some = allowed(fd, count);
    return some < 0 ? -1 : real(fd, buffer, (size_t)some, at);
}

static int sync_failure(int fd) {
    struct stat status;
    return failure_at(!fstat(fd, &status) && S_ISDIR(status.st_mode) ? "syncdir" : "fsync", fd);
}
int fsync(int fd) { REAL(fsync); FAIL(sync_failure(fd), -1); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync); FAIL(sync_failure(fd), -1); return real(fd); }
int sync_file_range(int fd, off64_t from, off64_t count, unsigned flags) {
    REAL(sync_file_range);
    FAIL(sync_failure(fd), -1);
    return real(fd, from, count, flags);
}
