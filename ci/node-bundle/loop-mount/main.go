// Command loop-mount makes a bounded filesystem: a sparse file, ext4 in it, mounted by a loop device
// that the kernel frees with the mount. It needs neither e2fsprogs nor losetup, so it runs where there is nothing else.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/ext4"
	"golang.org/x/sys/unix"
)

// loopMajor is the kernel's number for loop devices.
const loopMajor = 7

// farthest is how far beyond the first free loop device others are tried.
const farthest = 16

func main() {
	image := flag.String("image", "", "the backing file; it is made anew")
	size := flag.Int64("size", 0, "its size in bytes")
	inodes := flag.Int64("inodes", 0, "how many inodes the filesystem has at least (0: one for every 16 KiB)")
	target := flag.String("target", "", "where to mount it; empty: only make it")
	flag.Parse()
	if *image == "" || *size <= 0 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: loop-mount --image FILE --size BYTES [--inodes N] [--target FOLDER]")
		os.Exit(2)
	}
	if err := run(*image, *size, *inodes, *target); err != nil {
		fmt.Fprintln(os.Stderr, "loop-mount:", err)
		os.Exit(1)
	}
}

func run(image string, size, inodes int64, target string) error {
	if err := format(image, size, inodes); err != nil {
		return fmt.Errorf("formatting %s (%d bytes): %w", image, size, err)
	}
	if target == "" {
		return nil
	}
	if err := os.MkdirAll(target, 0o755); err != nil {
		return err
	}
	return mount(image, target)
}

func format(image string, size, inodes int64) error {
	backing, err := os.OpenFile(image, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer backing.Close()
	if err := backing.Truncate(size); err != nil {
		return err
	}
	parameters := &ext4.Params{
		// The kernel reserves blocks for root otherwise, and the kubelet's arithmetic is about all of them.
		ReservedBlocksPercent: 0,
	}
	if inodes > 0 {
		parameters.InodeCount = uint32(min(inodes, 1<<32-1))
	}
	_, err = ext4.Create(file.New(backing, false), size, 0, 512, parameters)
	return err
}

// mount attaches the image to a free loop device and mounts it. The device is marked to be freed
// by the kernel at the last unmount, so nothing is left even if everybody is killed.
func mount(image, target string) error {
	backing, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer backing.Close()
	control, err := openControl()
	if err != nil {
		return err
	}
	defer control.Close()
	deadline := time.Now().Add(10 * time.Second)
	for beyond := 0; ; beyond++ {
		device, path, err := attach(control, backing, image, beyond)
		if err == nil {
			defer device.Close()
			return mountDevice(path, target)
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("attaching %s to a loop device: %w", image, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func openControl() (*os.File, error) {
	const path = "/dev/loop-control"
	control, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 237))); err != nil {
			return nil, fmt.Errorf("making %s: %w", path, err)
		}
		control, err = os.OpenFile(path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (does the kernel have the loop module, and may this container use it?)", err)
	}
	return control, nil
}

// attach takes the device that the kernel says is free, or one so many beyond it. Another node may take the same one
// between the question and the answer, and one that somebody holds without using it is called free for as long as that
// lasts: whoever finds it busy goes on to the next.
func attach(control, backing *os.File, image string, beyond int) (*os.File, string, error) {
	number, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, "", fmt.Errorf("asking for a free loop device: %w", err)
	}
	if beyond %= farthest; beyond > 0 {
		number += beyond
		err := unix.IoctlSetInt(int(control.Fd()), unix.LOOP_CTL_ADD, number)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, "", fmt.Errorf("making loop device %d: %w", number, err)
		}
	}
	path := fmt.Sprintf("/dev/loop%d", number)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		// A container's /dev does not follow the kernel's.
		if err := unix.Mknod(path, unix.S_IFBLK|0o600, int(unix.Mkdev(loopMajor, uint32(number)))); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, "", fmt.Errorf("making %s: %w", path, err)
		}
	}
	device, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, "", err
	}
	configuration := unix.LoopConfig{Fd: uint32(backing.Fd())}
	configuration.Info.Flags = unix.LO_FLAGS_AUTOCLEAR
	copy(configuration.Info.File_name[:len(configuration.Info.File_name)-1], tail(image, len(configuration.Info.File_name)-1))
	if err := unix.IoctlLoopConfigure(int(device.Fd()), &configuration); err != nil {
		device.Close()
		return nil, "", err
	}
	return device, path, nil
}

// tail is the end of a path that fits: it is what losetup shows, and the end tells more than the start.
func tail(path string, length int) string {
	if absolute, err := filepath.Abs(path); err == nil {
		path = absolute
	}
	return path[max(0, len(path)-length):]
}

func mountDevice(device, target string) error {
	err := unix.Mount(device, target, "ext4", unix.MS_NOATIME, "")
	if err != nil {
		return fmt.Errorf("mounting %s on %s: %w", device, target, err)
	}
	return nil
}
