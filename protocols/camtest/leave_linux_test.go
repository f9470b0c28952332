package camtest_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

const inNamespace = "CAMTEST_IN_NAMESPACE"

// TestNothingLeaves runs the whole town in a network of its own that has a
// second interface with a default route, and looks at every packet there. It
// needs user namespaces or root, and the ip program; elsewhere it is skipped,
// and TestSocketsStayOnLoopback remains.
func TestNothingLeaves(t *testing.T) {
	if os.Getenv(inNamespace) != "" {
		watchTheDoor(t)
		return
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("there is no ip program to set up a second interface with")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNothingLeaves$", "-test.v")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("no network namespaces here: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("%s", out)
	}
}

func watchTheDoor(t *testing.T) {
	for _, args := range []string{
		"link set lo up", "link add out type veth peer name far", "addr add 10.99.0.1/24 dev out",
		"link set out up", "link set far up", "route add default via 10.99.0.2 dev out",
		"neigh add 10.99.0.2 lladdr 02:00:00:00:00:02 dev out",
	} {
		if b, err := exec.CommandContext(t.Context(), "ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Skipf("ip %s: %v: %s", args, err, b)
		}
	}
	out, err := net.InterfaceByName("out")
	if err != nil {
		t.Fatal(err)
	}
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: out.Index}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 200_000}); err != nil {
		t.Fatal(err)
	}
	// passed returns what went through the door since it was last asked. The
	// kernel's own IPv6 housekeeping does not count.
	passed := func() (frames []string) {
		buf := make([]byte, 4096)
		for {
			n, _, err := unix.Recvfrom(fd, buf, 0)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if err != nil {
				return frames
			}
			if n < 34 {
				continue
			}
			switch binary.BigEndian.Uint16(buf[12:]) {
			case unix.ETH_P_IP:
				frames = append(frames, fmt.Sprintf("protocol %d, %v to %v", buf[23], net.IP(buf[26:30]), net.IP(buf[30:34])))
			case unix.ETH_P_ARP:
				frames = append(frames, "ARP")
			}
		}
	}
	passed()
	probe, err := net.Dial("udp4", "239.255.255.250:3702") // no interface said: the default route
	if err != nil {
		t.Fatal(err)
	}
	if _, err := probe.Write([]byte("control")); err != nil {
		t.Fatal(err)
	}
	_ = probe.Close()
	if got := passed(); len(got) != 1 {
		t.Fatalf("the control packet was not seen once: %q", got)
	}

	t.Run("town", func(t *testing.T) {
		town := run(t, camtest.Options{})
		for via, f := range finders() {
			heard := search(t, f)
			await(t, heard, "a camera by "+string(via), func(s fleet.Sighting) bool { return s.Source.IsLoopback() })
		}
		for _, c := range town.Cameras() {
			if c.Open && c.Snapshot != "" {
				get(t, c.Snapshot, "")
			}
		}
		set(t, town, "*", camtest.ChangedAddress, true)
	})
	// A question from outside gets no answer either: not on its interface.
	if got := passed(); len(got) != 0 {
		t.Errorf("%d packets left by the second interface: %q", len(got), slices.Compact(got))
	}
}

// TestSocketsStayOnLoopback looks at what the kernel knows of the sockets of
// this process while a town runs: each is bound to 127.0.0.0/8, or to a group.
func TestSocketsStayOnLoopback(t *testing.T) {
	run(t, camtest.Options{})
	mine := map[string]bool{}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	for _, f := range fds {
		if at, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil {
			if inode, ok := strings.CutPrefix(at, "socket:["); ok {
				mine[strings.TrimSuffix(inode, "]")] = true
			}
		}
	}
	seen := 0
	for _, table := range []string{"tcp", "udp", "tcp6", "udp6"} {
		b, err := os.ReadFile("/proc/self/net/" + table)
		if err != nil {
			continue // no IPv6
		}
		for _, line := range strings.Split(string(b), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 10 || !mine[f[9]] {
				continue
			}
			var a uint32
			if _, err := fmt.Sscanf(f[1], "%8X:", &a); err != nil || len(f[1]) != 13 {
				t.Errorf("%s socket at %s, which is no IPv4 address", table, f[1])
				continue
			}
			ip := net.IP(binary.NativeEndian.AppendUint32(nil, a))
			if seen++; !ip.IsLoopback() && !(table == "udp" && ip.IsMulticast()) {
				t.Errorf("%s socket at %v", table, ip)
			}
		}
	}
	if seen < 12 {
		t.Errorf("only %d sockets seen", seen)
	}
}

// TestBesideAListenerOnAllAddresses takes the usual port away.
func TestBesideAListenerOnAllAddresses(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.Snapshot}, Open: true}
	first := run(t, camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true})
	a := first.Cameras()[0]
	second := run(t, camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true, Base: a.Addr})
	b := second.Cameras()[0]
	if a.Addr != b.Addr || a.Snapshot == b.Snapshot {
		t.Errorf("%s and %s", a.Snapshot, b.Snapshot)
	}
	for _, at := range []string{a.Snapshot, b.Snapshot} {
		if res, _ := get(t, at, ""); res.StatusCode != 200 {
			t.Errorf("%s: %s", at, res.Status)
		}
	}
}
