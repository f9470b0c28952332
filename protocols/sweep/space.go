package sweep

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Limits of what is listed. The widest subnets take 55 minutes at the usual
// rate; a wider one is a mistake, or a network that cannot be searched.
const (
	widest4      = 16
	widest6      = 112
	maxAddresses = 1 << 20 // of all subnets: 14.5 hours at the usual rate
)

// ParseSubnet reads a subnet as an operator lists it, 10.2.0.0/24 or a single
// address. The error says what to write instead.
func ParseSubnet(s string) (netip.Prefix, error) {
	s = strings.TrimSpace(s)
	p, err := netip.ParsePrefix(s)
	if err != nil {
		a, bad := netip.ParseAddr(s)
		if bad != nil || a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("subnet %q: want an address and a prefix length, for example 10.2.0.0/24", s)
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if m := p.Masked(); m != p {
		return netip.Prefix{}, fmt.Errorf("subnet %s: it has bits set behind its length: %s is the subnet, %s the address alone", p, m, p.Addr())
	}
	return p, check(p)
}

func check(p netip.Prefix) error {
	a := p.Addr()
	switch {
	case !p.IsValid() || p != p.Masked():
		return fmt.Errorf("subnet %v: want an address and a prefix length, for example 10.2.0.0/24", p)
	case a.Is4In6():
		return fmt.Errorf("subnet %s: write it as IPv4", p)
	case a.IsMulticast() || a.IsUnspecified():
		return fmt.Errorf("subnet %s: it holds no hosts", p)
	case a.IsLinkLocalUnicast():
		return fmt.Errorf("subnet %s: link-local addresses are on the agent's own links, which are searched by multicast", p)
	case a.Is4() && p.Bits() < widest4:
		return fmt.Errorf("subnet %s: at most a /%d can be searched; list the /%ds or /24s that hold cameras", p, widest4, widest4)
	case a.Is6() && p.Bits() < widest6:
		return fmt.Errorf("subnet %s: at most a /%d can be searched; list the addresses, or the /%ds that DHCPv6 hands out", p, widest6, widest6)
	}
	return nil
}

// space numbers the host addresses of subnets from 0 to size-1.
type space struct {
	name    string // the same subnets have the same name, in whatever order they were listed
	subnets []subnet
	size    uint64
}

type subnet struct {
	first netip.Addr
	from  uint64 // number of its first address
}

func newSpace(listed []netip.Prefix) (space, error) {
	if len(listed) == 0 {
		return space{}, errors.New("no subnet is listed")
	}
	all := slices.Clone(listed)
	slices.SortFunc(all, func(a, b netip.Prefix) int { // a wider one comes before those inside it
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return a.Bits() - b.Bits()
	})
	var s space
	var last netip.Prefix
	var names []string
	for _, p := range all {
		if err := check(p); err != nil {
			return space{}, err
		}
		if last.IsValid() && last.Overlaps(p) {
			continue // it lies in the one before
		}
		last = p
		names = append(names, p.String())
		first, hosts := p.Addr(), uint64(1)<<(p.Addr().BitLen()-p.Bits())
		if p.Addr().Is4() && p.Bits() < 31 {
			first, hosts = first.Next(), hosts-2 // without the network's address and the broadcast
		}
		s.subnets = append(s.subnets, subnet{first, s.size})
		s.size += hosts
	}
	if s.size > maxAddresses {
		return space{}, fmt.Errorf("the subnets hold %d addresses, at most %d can be searched: list fewer", s.size, maxAddresses)
	}
	s.name = strings.Join(names, ",")
	return s, nil
}

// at returns the address with number i, which must be below size.
func (s space) at(i uint64) netip.Addr {
	n, found := slices.BinarySearchFunc(s.subnets, i, func(n subnet, i uint64) int {
		switch {
		case n.from < i:
			return -1
		case n.from > i:
			return 1
		}
		return 0
	})
	if !found {
		n--
	}
	in := s.subnets[n]
	b := in.first.As16() // subnets are narrower than the last four bytes
	tail := binary.BigEndian.Uint32(b[12:]) + uint32(i-in.from)
	binary.BigEndian.PutUint32(b[12:], tail)
	return netip.AddrFrom16(b).Unmap()
}

// shuffle is a permutation of 0 to n-1 that needs no memory: a Feistel network
// over the next power of four, walked until it is back below n (cycle walking;
// Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002). It spreads
// the addresses of each subnet over the round; it keeps no secret.
type shuffle struct {
	n, seed uint64
	half    uint
}

func newShuffle(n, seed uint64) shuffle {
	half := uint(1)
	for uint64(1)<<(2*half) < n {
		half++
	}
	return shuffle{n, seed, half}
}

func (s shuffle) at(i uint64) uint64 {
	for mask := uint64(1)<<s.half - 1; ; {
		left, right := i>>s.half, i&mask
		for round := range uint64(4) {
			left, right = right, left^mix(right+s.seed+round<<32)&mask
		}
		if i = left<<s.half | right; i < s.n {
			return i
		}
	}
}

// mix is the finaliser of SplitMix64 (Steele, Lea and Flood, 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
