package lan

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shutterfleet/shutterfleet/protocols/lan/lantest"
)

// TestNeighbours reads a real table, in a network of its own.
func TestNeighbours(t *testing.T) {
	if !lantest.InNamespace(t) {
		return
	}
	for _, args := range []string{
		"link add cam0 type veth peer name far0", "link set far0 up", "link set cam0 up", "addr add 10.9.0.1/24 dev cam0",
		"neigh add 10.9.0.7 lladdr ac:cc:8e:01:02:03 dev cam0 nud reachable",
		"neigh add 10.9.0.8 lladdr ac:cc:8e:01:02:04 dev cam0 nud stale",
		"neigh add fe80::7 lladdr ac:cc:8e:01:02:05 dev cam0 nud permanent",
		"neigh add 2001:db8::7 lladdr ac:cc:8e:01:02:06 dev cam0 nud permanent",
		"neigh add 10.9.0.9 dev cam0 nud failed",
		"neigh add 10.9.0.10 lladdr ac:cc:8e:01:02:07 dev cam0 nud noarp",
	} {
		lantest.IP(t, args)
	}
	got, err := Neighbours()
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"10.9.0.7": "ac:cc:8e:01:02:03", "10.9.0.8": "ac:cc:8e:01:02:04", "fe80::7%cam0": "ac:cc:8e:01:02:05", "2001:db8::7": "ac:cc:8e:01:02:06",
		"10.9.0.9": "", "10.9.0.10": "",
	} {
		if hw := got[netip.MustParseAddr(addr)]; hw.String() != want {
			t.Errorf("%s is at %q, want %q; the table: %v", addr, hw, want, got)
		}
	}
}

// entry spells one netlink message of the table.
func entry(index int32, state uint16, attrs ...[]byte) []byte {
	b := make([]byte, 16+ndmsgBytes)
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_NEWNEIGH)
	binary.NativeEndian.PutUint32(b[16+4:], uint32(index))
	binary.NativeEndian.PutUint16(b[16+8:], state)
	for _, a := range attrs {
		b = append(b, a...)
	}
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

func attr(kind uint16, value ...byte) []byte {
	b := make([]byte, rtattrBytes)
	binary.NativeEndian.PutUint16(b, uint16(rtattrBytes+len(value)))
	binary.NativeEndian.PutUint16(b[2:], kind)
	b = append(b, value...)
	return append(b, make([]byte, (4-len(b)%4)%4)...)
}

var (
	dst = attr(unix.NDA_DST, 10, 0, 0, 7)
	mac = attr(unix.NDA_LLADDR, 0xac, 0xcc, 0x8e, 1, 2, 3)
)

// dumps are tables: tests, and seeds of the fuzz target.
var dumps = []struct {
	name string
	in   []byte
	want map[netip.Addr]string
}{
	{"nothing", nil, map[netip.Addr]string{}},
	{"one", entry(2, unix.NUD_REACHABLE, dst, mac), map[netip.Addr]string{netip.MustParseAddr("10.0.0.7"): "ac:cc:8e:01:02:03"}},
	{"on two interfaces", append(entry(2, unix.NUD_STALE, dst, attr(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 9)), entry(3, unix.NUD_REACHABLE, mac, dst)...), map[netip.Addr]string{netip.MustParseAddr("10.0.0.7"): "ac:cc:8e:01:02:03"}},
	{"on two interfaces, the other way round", append(entry(3, unix.NUD_REACHABLE, mac, dst), entry(2, unix.NUD_STALE, dst, attr(unix.NDA_LLADDR, 2, 0, 0, 0, 0, 9))...), map[netip.Addr]string{netip.MustParseAddr("10.0.0.7"): "ac:cc:8e:01:02:03"}},
	{"link-local of an interface that just came", entry(9, unix.NUD_STALE, attr(unix.NDA_DST, netip.MustParseAddr("fe80::7").AsSlice()...), mac), map[netip.Addr]string{netip.MustParseAddr("fe80::7%9"): "ac:cc:8e:01:02:03"}},
	{"never answered", entry(2, unix.NUD_FAILED, dst), map[netip.Addr]string{}},
	{"a group", entry(2, unix.NUD_NOARP, attr(unix.NDA_DST, 224, 0, 0, 251), attr(unix.NDA_LLADDR, 1, 0, 0x5e, 0, 0, 0xfb)), map[netip.Addr]string{}},
	{"not Ethernet", entry(2, unix.NUD_REACHABLE, dst, attr(unix.NDA_LLADDR, 1, 2, 3, 4)), map[netip.Addr]string{}},
	{"a broken attribute", entry(2, unix.NUD_REACHABLE, dst, mac, []byte{1, 0, 2, 0}), map[netip.Addr]string{}},
	{"too short", entry(2, unix.NUD_REACHABLE)[:20], nil},
}

func TestParseNeighbours(t *testing.T) {
	for _, c := range dumps {
		got, err := parseNeighbours(c.in, map[int]string{2: "eth0", 3: "eth1"})
		if c.want == nil {
			if err == nil {
				t.Errorf("%s: parseNeighbours = %v, want an error", c.name, got)
			}
			continue
		}
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: parseNeighbours = %v, %v; want %v", c.name, got, err, c.want)
		}
		for a, hw := range c.want {
			if got[a].String() != hw {
				t.Errorf("%s: parseNeighbours = %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func FuzzParseNeighbours(f *testing.F) {
	for _, c := range dumps {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, err := parseNeighbours(in, map[int]string{1: "lo"})
		if err != nil {
			return
		}
		for a, hw := range got {
			if !a.IsValid() || a.IsMulticast() || !honest(hw) {
				t.Fatalf("%v is at %v", a, hw)
			}
		}
	})
}
