//go:build !linux

package camtest

import (
	"net"
	"net/netip"
)

// listenGroup lets the net package share the group's port its own way.
func listenGroup(ifi net.Interface, group *net.UDPAddr) (net.PacketConn, error) {
	return net.ListenMulticastUDP("udp4", &ifi, group)
}

func listenAddress(at netip.AddrPort) (net.PacketConn, error) {
	return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
}
