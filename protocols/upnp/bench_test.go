package upnp

import (
	"net/netip"
	"testing"
)

// BenchmarkDatagram is the cost of one datagram: a link hears at most 2000 a
// second, 100 from one source.
func BenchmarkDatagram(b *testing.B) {
	from := netip.MustParseAddr("10.0.0.7")
	for _, m := range messages[:4] {
		b.Run(m.name, func(b *testing.B) {
			in := []byte(m.in)
			k := newDevices()
			b.ReportAllocs()
			for b.Loop() {
				got, err := Parse(in)
				if err != nil {
					b.Fatal(err)
				}
				if got.UDN != "" {
					k.message(got, from, "eth0", epoch)
				}
			}
		})
	}
}

// BenchmarkDescription is the cost of one description.
func BenchmarkDescription(b *testing.B) {
	in := []byte(descriptions[1].in)
	b.ReportAllocs()
	for b.Loop() {
		d, err := ParseDescription(in)
		if err != nil || !d.Camera() {
			b.Fatal(d, err)
		}
	}
}

// TestSearchesCostNothing: most of what a link hears are searches of others.
func TestSearchesCostNothing(t *testing.T) {
	in := []byte("M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nST: ssdp:all\r\n\r\n")
	if n := testing.AllocsPerRun(100, func() {
		if m, err := Parse(in); err != nil || m != (Message{}) {
			t.Fatalf("Parse(search) = %+v, %v", m, err)
		}
	}); n > 0 {
		t.Errorf("a search costs %v allocations", n)
	}
}
