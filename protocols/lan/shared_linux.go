package lan

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listenShared binds to the group itself, not to every address: so the socket
// receives no unicast that a responder on the same host waits for. net.Listen*
// would bind to the wildcard address.
func listenShared(ifi net.Interface, group *net.UDPAddr, v6 bool) (net.PacketConn, error) {
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), "udp")
	defer f.Close() // FilePacketConn works on a duplicate
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt SO_REUSEADDR", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt SO_REUSEPORT", err)
	}
	var to unix.Sockaddr
	if v6 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_ALL, 0) // kernels before 4.20 lack it: readers check the interface too
		to = &unix.SockaddrInet6{Port: group.Port, Addr: [16]byte(group.IP.To16()), ZoneId: uint32(ifi.Index)}
	} else {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_ALL, 0)
		to = &unix.SockaddrInet4{Port: group.Port, Addr: [4]byte(group.IP.To4())}
	}
	if err := unix.Bind(fd, to); err != nil {
		return nil, fmt.Errorf("bind %v: %w", group, err)
	}
	return net.FilePacketConn(f)
}
