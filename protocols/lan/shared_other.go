//go:build !linux

package lan

import "net"

// listenShared lets the net package share the port its own way.
func listenShared(ifi net.Interface, group *net.UDPAddr, v6 bool) (net.PacketConn, error) {
	if v6 {
		return net.ListenMulticastUDP("udp6", &ifi, group)
	}
	return net.ListenMulticastUDP("udp4", &ifi, group)
}
