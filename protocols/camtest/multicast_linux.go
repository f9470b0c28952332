package camtest

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// listenGroup shares the group's port with other programs and towns. Bound to
// the group itself, the socket hears nothing that is meant for one of them.
func listenGroup(_ net.Interface, group *net.UDPAddr) (net.PacketConn, error) {
	return shared(netip.AddrPortFrom(netip.AddrFrom4([4]byte(group.IP.To4())), uint16(group.Port)))
}

// listenAddress shares a unicast port likewise.
func listenAddress(at netip.AddrPort) (net.PacketConn, error) { return shared(at) }

func shared(at netip.AddrPort) (net.PacketConn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close() // FilePacketConn works on a duplicate
	if at.Port() != 0 {
		for _, o := range []int{unix.SO_REUSEADDR, unix.SO_REUSEPORT} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, 1); err != nil {
				return nil, os.NewSyscallError("setsockopt", err)
			}
		}
	}
	// Without this a socket hears the groups that any other one has joined on
	// any interface.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0); err != nil {
		return nil, os.NewSyscallError("setsockopt IP_MULTICAST_ALL", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return nil, fmt.Errorf("bind %v: %w", at, os.NewSyscallError("bind", err))
	}
	return net.FilePacketConn(f)
}
