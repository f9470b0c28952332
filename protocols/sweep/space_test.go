package sweep

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSubnet(t *testing.T) {
	for _, c := range []struct{ in, want, bad string }{
		{"10.2.0.0/24", "10.2.0.0/24", ""},
		{" 10.2.0.0/16 ", "10.2.0.0/16", ""},
		{"10.2.0.7", "10.2.0.7/32", ""},
		{"2001:db8::/112", "2001:db8::/112", ""},
		{"2001:db8::7", "2001:db8::7/128", ""},
		{"10.0.0.0/15", "", "at most a /16"},
		{"0.0.0.0/0", "", "holds no hosts"},
		{"2001:db8::/64", "", "at most a /112"},
		{"10.2.0.7/24", "", "10.2.0.0/24 is the subnet"},
		{"fe80::/112", "", "link-local"},
		{"fe80::7%eth0", "", "10.2.0.0/24"},
		{"239.255.0.0/16", "", "no hosts"},
		{"::ffff:10.2.0.0/120", "", "IPv4"},
		{"10.2.0.0/33", "", "10.2.0.0/24"},
		{"camera.local", "", "10.2.0.0/24"},
		{"", "", "10.2.0.0/24"},
	} {
		got, err := ParseSubnet(c.in)
		switch {
		case c.bad == "" && (err != nil || got.String() != c.want):
			t.Errorf("ParseSubnet(%q) = %v, %v; want %s", c.in, got, err, c.want)
		case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
			t.Errorf("ParseSubnet(%q) = %v, %v; want an error with %q", c.in, got, err, c.bad)
		}
	}
}

func FuzzParseSubnet(f *testing.F) {
	for _, s := range []string{"10.2.0.0/24", "10.2.0.7", "2001:db8::/112", "::ffff:10.2.0.0/120", "fe80::7%eth0", "0.0.0.0/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ParseSubnet(in)
		if err != nil {
			return
		}
		s, err := newSpace([]netip.Prefix{p})
		if err != nil || s.size == 0 || s.size > 1<<16 {
			t.Fatalf("newSpace(%v) holds %d, %v", p, s.size, err)
		}
		for _, i := range []uint64{0, s.size - 1} {
			if !p.Contains(s.at(i)) {
				t.Fatalf("address %d of %v is %v", i, p, s.at(i))
			}
		}
	})
}

// TestSpace: every host address of the subnets has one number, whatever order
// they come in and however they overlap; against a set.
func TestSpace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var listed []netip.Prefix
		model := map[netip.Addr]bool{}
		for range rapid.IntRange(1, 6).Draw(t, "subnets") {
			a := netip.AddrFrom4([4]byte{10, 2, byte(rapid.IntRange(0, 3).Draw(t, "net")), rapid.Byte().Draw(t, "host")})
			bits := rapid.IntRange(23, 32).Draw(t, "bits")
			if rapid.Bool().Draw(t, "six") {
				b := netip.MustParseAddr("2001:db8::").As16()
				b[14], b[15] = byte(rapid.IntRange(0, 2).Draw(t, "net6")), rapid.Byte().Draw(t, "host6")
				a, bits = netip.AddrFrom16(b), rapid.IntRange(119, 128).Draw(t, "bits6")
			}
			listed = append(listed, netip.PrefixFrom(a, bits).Masked())
		}
		for i, p := range listed {
			inside := false // of a wider one, whose ends alone are left out
			for j, q := range listed {
				inside = inside || q.Overlaps(p) && (q.Bits() < p.Bits() || q == p && j < i)
			}
			if inside {
				continue
			}
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				if p.Addr().Is4() && p.Bits() < 31 && (a == p.Addr() || !p.Contains(a.Next())) {
					continue
				}
				model[a] = true
			}
		}
		s, err := newSpace(listed)
		if err != nil {
			t.Fatal(err)
		}
		if s.size != uint64(len(model)) {
			t.Fatalf("%v hold %d addresses, want %d", listed, s.size, len(model))
		}
		for i := range s.size {
			a := s.at(i)
			if !model[a] {
				t.Fatalf("address %d of %v is %v", i, listed, a)
			}
			delete(model, a)
		}
	})
}

func TestTooManyAddresses(t *testing.T) {
	var listed []netip.Prefix
	for i := range 17 {
		listed = append(listed, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 16))
	}
	if _, err := newSpace(listed); err == nil || !strings.Contains(err.Error(), "list fewer") {
		t.Errorf("newSpace of 17 /16 = %v", err)
	}
	if s, err := newSpace(listed[:15]); err != nil || s.size != 15*65534 {
		t.Errorf("newSpace of 15 /16 = %d, %v", s.size, err)
	}
}

// TestShuffle: it is a permutation of any size.
func TestShuffle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Uint64Range(1, 5000).Draw(t, "n")
		s := newShuffle(n, rapid.Uint64().Draw(t, "seed"))
		seen := make([]bool, n)
		for i := range n {
			at := s.at(i)
			if at >= n || seen[at] {
				t.Fatalf("shuffle of %d: %d -> %d is outside or a repeat", n, i, at)
			}
			seen[at] = true
		}
	})
}

// TestSpread: no subnet of a /16 gets many of any 64 addresses in a row, for
// the router in front of it resolves each one.
func TestSpread(t *testing.T) {
	s := newShuffle(1<<16, 1)
	var window []uint64
	count := map[uint64]int{}
	most := 0
	for i := range uint64(1 << 16) {
		net := s.at(i) >> 8
		window = append(window, net)
		count[net]++
		if len(window) > 64 {
			count[window[0]]--
			window = window[1:]
		}
		most = max(most, count[net])
	}
	if most > 8 {
		t.Errorf("%d of 64 addresses in a row are of one /24", most)
	}
}

func BenchmarkNext(b *testing.B) {
	sp, err := newSpace([]netip.Prefix{netip.MustParsePrefix("10.2.0.0/16"), netip.MustParsePrefix("10.9.0.0/16")})
	if err != nil {
		b.Fatal(err)
	}
	s := newShuffle(sp.size, 1)
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		_ = sp.at(s.at(i % sp.size))
	}
}
