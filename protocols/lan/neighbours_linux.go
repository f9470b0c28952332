package lan

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Neighbours returns the kernel's neighbour table: which MAC each address of
// the links answered with, IPv4 and IPv6. A link-local address has the
// interface's name as its zone. Entries that never answered, and those that
// need no asking (groups, loopback), are left out; of an address on two
// interfaces the one heard last counts. Elsewhere than on Linux it returns nil.
func Neighbours() (map[netip.Addr]net.HardwareAddr, error) {
	dump, err := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("read the neighbour table: %w", os.NewSyscallError("netlink", err))
	}
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("read the neighbour table: list interfaces: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, i := range all {
		names[i.Index] = i.Name
	}
	return parseNeighbours(dump, names)
}

// Sizes in bytes of rtnetlink(7)'s struct ndmsg and rtattr.
const (
	ndmsgBytes  = 12
	rtattrBytes = 4
)

// confirmed ranks the states in which a neighbour's MAC is known, the surest
// first (linux/neighbour.h).
var confirmed = map[uint16]int{unix.NUD_PERMANENT: 4, unix.NUD_REACHABLE: 3, unix.NUD_DELAY: 2, unix.NUD_PROBE: 2, unix.NUD_STALE: 1}

// parseNeighbours reads a dump of the table. names are the interfaces by index.
func parseNeighbours(dump []byte, names map[int]string) (map[netip.Addr]net.HardwareAddr, error) {
	messages, err := syscall.ParseNetlinkMessage(dump)
	if err != nil {
		return nil, fmt.Errorf("read the neighbour table: %w", err)
	}
	out := map[netip.Addr]net.HardwareAddr{}
	best := map[netip.Addr]int{}
	for _, m := range messages {
		if m.Header.Type != unix.RTM_NEWNEIGH || len(m.Data) < ndmsgBytes {
			continue
		}
		index := int(int32(binary.NativeEndian.Uint32(m.Data[4:])))
		rank := confirmed[binary.NativeEndian.Uint16(m.Data[8:])]
		addr, hw := neighbour(m.Data[ndmsgBytes:])
		if !addr.IsValid() || addr.IsMulticast() || !honest(hw) {
			continue
		}
		if addr.IsLinkLocalUnicast() && addr.Is6() {
			name, ok := names[index]
			if !ok {
				name = strconv.Itoa(index) // it came between the two calls
			}
			addr = addr.WithZone(name)
		}
		if rank > best[addr] { // states without a rank never are
			best[addr], out[addr] = rank, hw
		}
	}
	return out, nil
}

// neighbour reads the attributes of one entry.
func neighbour(attrs []byte) (addr netip.Addr, hw net.HardwareAddr) {
	for len(attrs) >= rtattrBytes {
		n := int(binary.NativeEndian.Uint16(attrs))
		if n < rtattrBytes || n > len(attrs) {
			return netip.Addr{}, nil
		}
		value := attrs[rtattrBytes:n]
		switch binary.NativeEndian.Uint16(attrs[2:]) {
		case unix.NDA_DST:
			addr, _ = netip.AddrFromSlice(value)
			addr = addr.Unmap()
		case unix.NDA_LLADDR:
			hw = net.HardwareAddr(append([]byte(nil), value...))
		}
		attrs = attrs[min((n+3)&^3, len(attrs)):] // attributes are aligned to four bytes
	}
	return addr, hw
}
