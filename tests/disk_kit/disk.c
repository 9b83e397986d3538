/* A disk for tests, loaded into the program under test by LD_PRELOAD. Below one directory it
 *
 *   - records every write, truncation, sync, creation, removal with its data, so that a test can
 *     rebuild what a power cut would have left;
 *   - fails or shortens the n-th operation, or from the n-th on;
 *   - lets a sync take a given time.
 *
 * DISK_BASE is the directory, DISK_LOG the file of records (optional), DISK_CONTROL a file of 4096
 * octets that the test writes and this library reads (and the other way round) while the program runs.
 * The shared memory of the WAL (-shm) is not recorded: it is mapped, and made anew at every start.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The records; tests/disk_kit/log.rs reads them. */
enum { CREATE = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, UNLINK, RENAME, MKDIR, RMDIR, ROOT };
struct record { uint32_t mark, kind; uint64_t inode, number, octets; };
#define MARK 0x6b736964u

/* What goes wrong. */
enum { EIO_ONCE = 1, EIO_EVER, ENOSPC_ONCE, SHORT_ONCE, SHORT_THEN_FULL };
struct control {
    volatile uint64_t sync_delay_ms; /* set by the test */
    uint64_t fault;         /* set by the test; 0 for none */
    uint64_t nth;           /* set by the test: the operation that goes wrong, counted from 1 */
    uint64_t operations;    /* counted here */
    uint64_t struck;        /* counted here: how many went wrong */
    uint64_t sync_waiting;  /* counted here: syncs that are under way */
};

#define FDS 65536
enum { FOREIGN = 0, TRACKED, UNRECORDED };
static unsigned char kind_of[FDS];
static unsigned char appends[FDS];

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static char base[PATH_MAX];
static size_t base_octets;
static int log_fd = -1;
static struct control none, *control = &none;
static uint64_t syncs;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_unlinkat)(int, const char *, int);
static int (*real_rename)(const char *, const char *);
static int (*real_mkdir)(const char *, mode_t);
static int (*real_rmdir)(const char *);
static int (*real_fcntl)(int, int, ...);

#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void die(const char *what) {
    dprintf(2, "disk.c: %s: %s\n", what, strerror(errno));
    abort();
}

static void record(uint32_t kind, uint64_t inode, uint64_t number, const void *data, size_t octets) {
    if (log_fd < 0) return;
    struct record head = {MARK, kind, inode, number, octets};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)data, octets}};
    /* One call, so that a test never sees half a record. */
    ssize_t written = writev(log_fd, parts, octets ? 2 : 1);
    if (written != (ssize_t)(sizeof head + octets)) die("the log of the disk");
}

__attribute__((constructor)) static void begin(void) {
    FIND(open); FIND(openat); FIND(close); FIND(write); FIND(pwrite); FIND(fsync); FIND(fdatasync);
    FIND(ftruncate); FIND(unlink); FIND(unlinkat); FIND(rename); FIND(mkdir); FIND(rmdir); FIND(fcntl);
    const char *where = getenv("DISK_BASE"), *log = getenv("DISK_LOG"), *file = getenv("DISK_CONTROL");
    if (!where) return;
    strncpy(base, where, sizeof base - 1);
    base_octets = strlen(base);
    /* Several programs may write one log. */
    syncs = (uint64_t)getpid() << 32;
    if (file) {
        int fd = real_open(file, O_RDWR | O_CLOEXEC);
        if (fd < 0) die(file);
        control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (control == MAP_FAILED) die(file);
        real_close(fd);
    }
    if (log) {
        struct stat root;
        if (stat(base, &root) != 0) die(base);
        log_fd = real_open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) die(log);
        record(ROOT, root.st_ino, 0, base, base_octets);
    }
}

static int is_ours(const char *path) {
    return base_octets && path && strncmp(path, base, base_octets) == 0 &&
           (path[base_octets] == '/' || path[base_octets] == 0);
}

static int is_shm(const char *path) {
    size_t octets = strlen(path);
    return octets > 4 && strcmp(path + octets - 4, "-shm") == 0;
}

/* Whether this operation goes wrong; then how. */
static int goes_wrong(void) {
    uint64_t now = __atomic_add_fetch(&control->operations, 1, __ATOMIC_SEQ_CST);
    uint64_t fault = control->fault, nth = control->nth;
    int wrong = fault && (now == nth || (fault == EIO_EVER && now > nth) ||
                          (fault == SHORT_THEN_FULL && now == nth + 1));
    if (!wrong) return 0;
    __atomic_add_fetch(&control->struck, 1, __ATOMIC_SEQ_CST);
    return fault == SHORT_THEN_FULL && now == nth + 1 ? ENOSPC_ONCE : (int)fault;
}

/* The error of an operation that cannot be done by half; 0 when it goes well. */
static int trouble(void) {
    switch (goes_wrong()) {
    case 0: case SHORT_ONCE: case SHORT_THEN_FULL: return 0;
    case ENOSPC_ONCE: return ENOSPC;
    default: return EIO;
    }
}

static uint64_t inode_of(int fd) {
    struct stat now;
    return fstat(fd, &now) == 0 ? now.st_ino : 0;
}

static int tracked(int fd) { return fd >= 0 && fd < FDS && kind_of[fd] != FOREIGN; }

static int opened(int at, const char *path, int flags, mode_t mode) {
    if (!is_ours(path)) return real_openat(at, path, flags, mode);
    int error = trouble();
    if (error) { errno = error; return -1; }
    pthread_mutex_lock(&turn);
    struct stat before;
    int existed = lstat(path, &before) == 0;
    int fd = real_openat(at, path, flags, mode);
    int kept = errno;
    if (fd >= FDS) die("too many files");
    if (fd >= 0) {
        int shm = is_shm(path);
        kind_of[fd] = shm ? UNRECORDED : TRACKED;
        appends[fd] = (flags & O_APPEND) != 0;
        if (!shm) {
            if (!existed && (flags & O_CREAT)) record(CREATE, inode_of(fd), 0, path, strlen(path));
            else if (flags & O_TRUNC) record(TRUNCATE, inode_of(fd), 0, NULL, 0);
        }
    }
    pthread_mutex_unlock(&turn);
    errno = kept;
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int close(int fd) {
    if (tracked(fd)) kind_of[fd] = FOREIGN;
    return real_close(fd);
}

static int copied(int from, int to) {
    if (to >= 0 && to < FDS && tracked(from)) { kind_of[to] = kind_of[from]; appends[to] = appends[from]; }
    return to;
}

static int controlled(int fd, int command, void *argument) {
    int result = real_fcntl(fd, command, argument);
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC ? copied(fd, result) : result;
}
#define ARGUMENT(last) va_list more; va_start(more, last); void *argument = va_arg(more, void *); va_end(more);
int fcntl(int fd, int command, ...) { ARGUMENT(command) return controlled(fd, command, argument); }
int fcntl64(int fd, int command, ...) { ARGUMENT(command) return controlled(fd, command, argument); }

/* The one way in for data. `at` < 0 is the place where the file stands. */
static ssize_t put(int fd, const void *data, size_t octets, off_t at) {
    int wrong = goes_wrong();
    if (wrong == EIO_ONCE || wrong == EIO_EVER) { errno = EIO; return -1; }
    if (wrong == ENOSPC_ONCE) { errno = ENOSPC; return -1; }
    if (wrong && octets > 1) octets /= 2;
    pthread_mutex_lock(&turn);
    off_t place = at;
    if (at < 0) {
        struct stat now;
        place = appends[fd] && fstat(fd, &now) == 0 ? now.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t written = at < 0 ? real_write(fd, data, octets) : real_pwrite(fd, data, octets, at);
    int kept = errno;
    if (written > 0 && kind_of[fd] == TRACKED) record(WRITE, inode_of(fd), (uint64_t)place, data, (size_t)written);
    pthread_mutex_unlock(&turn);
    errno = kept;
    return written;
}

ssize_t write(int fd, const void *data, size_t octets) {
    return tracked(fd) ? put(fd, data, octets, -1) : real_write(fd, data, octets);
}
ssize_t pwrite(int fd, const void *data, size_t octets, off_t at) {
    return tracked(fd) ? put(fd, data, octets, at) : real_pwrite(fd, data, octets, at);
}
ssize_t pwrite64(int fd, const void *data, size_t octets, off_t at) { return pwrite(fd, data, octets, at); }

/* A write of several pieces may be cut between two of them: the first is enough for any caller. */
static ssize_t put_all(int fd, const struct iovec *pieces, int count, off_t at) {
    ssize_t all = 0;
    for (int i = 0; i < count; i++) {
        if (!pieces[i].iov_len) continue;
        ssize_t one = put(fd, pieces[i].iov_base, pieces[i].iov_len, at < 0 ? -1 : at + all);
        if (one < 0) return all ? all : -1;
        all += one;
        if ((size_t)one < pieces[i].iov_len) break;
    }
    return all;
}
ssize_t writev(int fd, const struct iovec *pieces, int count) {
    static ssize_t (*real)(int, const struct iovec *, int);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "writev");
    return tracked(fd) ? put_all(fd, pieces, count, -1) : real(fd, pieces, count);
}
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t at) {
    static ssize_t (*real)(int, const struct iovec *, int, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pwritev");
    return tracked(fd) ? put_all(fd, pieces, count, at) : real(fd, pieces, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off_t at) { return pwritev(fd, pieces, count, at); }

static int synced(int fd, int (*real)(int)) {
    if (!tracked(fd)) return real(fd);
    int error = trouble();
    if (error) { errno = error; return -1; }
    uint64_t number = __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST), inode = inode_of(fd);
    /* Only what was written before the sync began is on the disk when it has ended. */
    pthread_mutex_lock(&turn);
    record(SYNC_BEGIN, inode, number, NULL, 0);
    pthread_mutex_unlock(&turn);
    /* In small steps, so that a test can let a sync that waits go on. */
    __atomic_add_fetch(&control->sync_waiting, 1, __ATOMIC_SEQ_CST);
    for (uint64_t waited = 0; waited < control->sync_delay_ms; waited += 5) {
        struct timespec pause = {0, 5000000};
        nanosleep(&pause, NULL);
    }
    __atomic_sub_fetch(&control->sync_waiting, 1, __ATOMIC_SEQ_CST);
    /* Whoever records does not need the real one: the machine does not lose its power. */
    int result = log_fd < 0 ? real(fd) : 0;
    int kept = errno;
    if (result == 0) {
        pthread_mutex_lock(&turn);
        record(SYNC_END, inode, number, NULL, 0);
        pthread_mutex_unlock(&turn);
    }
    errno = kept;
    return result;
}
int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int resized(int fd, off_t octets) {
    if (!tracked(fd)) return real_ftruncate(fd, octets);
    int error = trouble();
    if (error) { errno = error; return -1; }
    pthread_mutex_lock(&turn);
    int result = real_ftruncate(fd, octets), kept = errno;
    if (result == 0 && kind_of[fd] == TRACKED) record(TRUNCATE, inode_of(fd), (uint64_t)octets, NULL, 0);
    pthread_mutex_unlock(&turn);
    errno = kept;
    return result;
}
int ftruncate(int fd, off_t octets) { return resized(fd, octets); }
int ftruncate64(int fd, off_t octets) { return resized(fd, octets); }

/* Room made ahead is a longer file of zeros. */
static int extended(int fd, off_t from, off_t octets) {
    struct stat now;
    if (fstat(fd, &now) != 0) return -1;
    return now.st_size >= from + octets ? 0 : resized(fd, from + octets);
}
int posix_fallocate(int fd, off_t from, off_t octets) {
    static int (*real)(int, off_t, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "posix_fallocate");
    if (!tracked(fd)) return real(fd, from, octets);
    return extended(fd, from, octets) == 0 ? 0 : errno;
}
int posix_fallocate64(int fd, off_t from, off_t octets) { return posix_fallocate(fd, from, octets); }
int fallocate(int fd, int mode, off_t from, off_t octets) {
    static int (*real)(int, int, off_t, off_t);
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, "fallocate");
    if (!tracked(fd)) return real(fd, mode, from, octets);
    if (mode != 0) { errno = EOPNOTSUPP; return -1; }
    return extended(fd, from, octets);
}
int fallocate64(int fd, int mode, off_t from, off_t octets) { return fallocate(fd, mode, from, octets); }

static int removed(const char *path, int (*real)(const char *), uint32_t kind) {
    if (!is_ours(path)) return real(path);
    int error = trouble();
    if (error) { errno = error; return -1; }
    pthread_mutex_lock(&turn);
    int result = real(path), kept = errno;
    if (result == 0 && !is_shm(path)) record(kind, 0, 0, path, strlen(path));
    pthread_mutex_unlock(&turn);
    errno = kept;
    return result;
}
int unlink(const char *path) { return removed(path, real_unlink, UNLINK); }
int rmdir(const char *path) { return removed(path, real_rmdir, RMDIR); }
int unlinkat(int at, const char *path, int flags) {
    if (!is_ours(path)) return real_unlinkat(at, path, flags);
    return flags & AT_REMOVEDIR ? rmdir(path) : unlink(path);
}

int rename(const char *from, const char *to) {
    if (!is_ours(from) && !is_ours(to)) return real_rename(from, to);
    int error = trouble();
    if (error) { errno = error; return -1; }
    char both[2 * PATH_MAX];
    int octets = snprintf(both, sizeof both, "%s\n%s", from, to);
    pthread_mutex_lock(&turn);
    int result = real_rename(from, to), kept = errno;
    if (result == 0) record(RENAME, 0, 0, both, (size_t)octets);
    pthread_mutex_unlock(&turn);
    errno = kept;
    return result;
}

int mkdir(const char *path, mode_t mode) {
    if (!is_ours(path)) return real_mkdir(path, mode);
    int error = trouble();
    if (error) { errno = error; return -1; }
    pthread_mutex_lock(&turn);
    struct stat made;
    int result = real_mkdir(path, mode), kept = errno;
    if (result == 0 && stat(path, &made) == 0) record(MKDIR, made.st_ino, 0, path, strlen(path));
    pthread_mutex_unlock(&turn);
    errno = kept;
    return result;
}
