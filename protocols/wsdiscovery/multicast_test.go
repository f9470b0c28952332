package wsdiscovery_test

import (
	"errors"
	"net"

	"golang.org/x/net/ipv4"
)

// sendVia multicasts b from c through ifi.
func sendVia(c *net.UDPConn, ifi *net.Interface, to *net.UDPAddr, b []byte) error {
	p := ipv4.NewPacketConn(c)
	err := errors.Join(p.SetMulticastInterface(ifi), p.SetMulticastLoopback(true))
	_, sent := c.WriteToUDP(b, to)
	return errors.Join(err, sent)
}
