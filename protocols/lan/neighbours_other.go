//go:build !linux

package lan

import (
	"net"
	"net/netip"
)

// Neighbours returns nil: only Linux's neighbour table is read.
func Neighbours() (map[netip.Addr]net.HardwareAddr, error) { return nil, nil }
