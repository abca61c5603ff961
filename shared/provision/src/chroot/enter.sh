#!/bin/sh
# enter.sh ROOT COMMAND...: runs a command in the system below ROOT, with its own processes, mounts, host name and IPC, and
# with NETWORK=own its own network. Everything ends with the command. CGROUP, a folder in the cgroup v2 tree, puts it into
# that cgroup, which a systemd as COMMAND needs.
#
# The kernel's settings cannot be changed from inside: /sys and /proc/sys are read-only.
set -eu

if [ "${1:-}" != inside ]; then
    if [ -n "${CGROUP:-}" ]; then
        echo $$ > "$CGROUP/cgroup.procs"
        set -- --cgroup sh "$0" inside "$@"
    else
        set -- sh "$0" inside "$@"
    fi
    if [ "${NETWORK:-}" = own ]; then set -- --net "$@"; fi
    exec unshare --mount --propagation private --pid --ipc --uts --fork --kill-child "$@"
fi
shift

root=$1
shift
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
if [ "${NETWORK:-}" = own ]; then
    # Only a process with its own network namespace may mount sysfs.
    mount -t sysfs -o ro sysfs "$root/sys"
else
    mount --rbind /sys "$root/sys"
    mount -o remount,bind,ro "$root/sys"
fi
if [ -n "${CGROUP:-}" ]; then mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"; fi
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
while read -r name major minor; do
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done <<END
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
END
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
hostname keepsake

cd "$root"
mkdir -p .outside
pivot_root . .outside
cd /
umount -l /.outside
rmdir /.outside
# Waits for the caller, who sets up the network first.
if [ "${WAIT:-}" = yes ]; then read -r _ && exec </dev/null; fi
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    container=keepsake HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive TERM=dumb "$@"
