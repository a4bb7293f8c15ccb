#!/bin/busybox sh
# shellcheck shell=dash
# Runs in the guest: /dev/nbd0 of its kernel on a server, ext2 on that, files, and e2fsck.
# Usage: nbd_guest.sh ADDRESS EXPORT CONNECTIONS MIB
modprobe nbd || exit 1
modprobe ext4 || exit 1 # which has ext2 as well
/own/nbd-client -N "$2" -C "$3" -b 4096 "$1" 10809 /dev/nbd0 || exit 1
echo "guest: $(blockdev --getsize64 /dev/nbd0) bytes, $3 connections"
mkdir -p /mnt
/own/mke2fs -q -F -t ext2 -b 4096 /dev/nbd0 || exit 1
mount -t ext2 /dev/nbd0 /mnt || exit 1

# Half of it in one file of bytes that repeat nowhere, half in a tree of small ones; removed are some.
cat /bin/busybox /own/* >/tmp/seed
while [ "$(wc -c </tmp/seed)" -lt $(($4 << 19)) ]; do cat /tmp/seed /tmp/seed >/tmp/more && mv /tmp/more /tmp/seed; done
head -c $(($4 << 19)) /tmp/seed >/mnt/large || exit 1
directory=0
while [ $directory -lt 16 ]; do
  mkdir /mnt/$directory
  file=0
  while [ $file -lt 16 ]; do
    tail -c +$((directory * 4096 + file * 100 + 1)) /tmp/seed | head -c $((($4 << 11) + file)) >/mnt/$directory/$file || exit 1
    file=$((file + 1))
  done
  rm /mnt/$directory/7
  directory=$((directory + 1))
done
ln /mnt/0/0 /mnt/again
ln -s 0/0 /mnt/link
rm /tmp/seed
sums() { (cd /mnt && find . -type f | sort | xargs sha256sum | sha256sum | cut -d' ' -f1); }
before=$(sums)
umount /mnt || exit 1
/own/e2fsck -f -n /dev/nbd0 || exit 1

# Off and on again: what is read now is the server's.
/own/nbd-client -d /dev/nbd0 || exit 1
/own/nbd-client -N "$2" -C "$3" -b 4096 "$1" 10809 /dev/nbd0 || exit 1
mount -t ext2 -o ro /dev/nbd0 /mnt || exit 1
after=$(sums)
umount /mnt
/own/nbd-client -d /dev/nbd0 || exit 1
echo "guest: sums $before $after"
[ "$before" = "$after" ]
