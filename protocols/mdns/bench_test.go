package mdns

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// BenchmarkDatagram is the cost of one datagram, honest and hostile: a link
// hears at most 2000 a second, 100 from one source.
func BenchmarkDatagram(b *testing.B) {
	question, err := browse(false, nil)
	if err != nil {
		b.Fatal(err)
	}
	var addresses, services []string
	for i := range maxRecords {
		addresses = append(addresses, `h.local. 120 IN A 10.0.0.7`)
		services = append(services, fmt.Sprintf(`i%d._rtsp._tcp.local. 120 IN SRV 0 0 554 h%d.local.`, i%64, i))
	}
	for _, c := range []struct {
		name string
		in   []byte
	}{
		{"question", question},
		{"answer", packed(b, true, answers[0].rrs...)},
		{"hostile addresses", packed(b, true, addresses[:300]...)},
		{"hostile services", packed(b, true, services[:200]...)},
	} {
		b.Run(c.name, func(b *testing.B) {
			// A cache that is full, as a hostile LAN would have it.
			full := newCache(time.Hour)
			from := netip.MustParseAddr("10.0.0.7")
			for i := range maxInstances - 64 {
				name := fmt.Sprintf("f%d._rtsp._tcp.local.", i)
				full.add([]Record{{Type: dns.TypeSRV, Name: name, Target: fmt.Sprintf("g%d.local.", i/maxPerHost), TTL: time.Hour}}, from, epoch)
			}
			for i := range maxPerHost {
				full.add([]Record{{Type: dns.TypeSRV, Name: fmt.Sprintf("t%d._rtsp._tcp.local.", i), Target: "h.local.", TTL: time.Hour}}, from, epoch)
			}
			if len(c.in) > maxMessageBytes {
				b.Fatalf("a datagram of %d bytes", len(c.in))
			}
			b.ReportAllocs()
			for b.Loop() {
				rs, err := Parse(c.in)
				if err != nil {
					b.Fatal(err)
				}
				full.add(rs, from, epoch)
			}
		})
	}
}

// TestQuestionsCostNothing: most of what a link hears are questions of others.
func TestQuestionsCostNothing(t *testing.T) {
	b, err := browse(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if rs, err := Parse(b); err != nil || rs != nil {
			t.Fatalf("Parse(question) = %v, %v", rs, err)
		}
	}); n > 0 {
		t.Errorf("a question costs %v allocations", n)
	}
}
