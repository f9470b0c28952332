package wsdiscovery

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// BenchmarkDatagram is the cost of one datagram, honest and hostile: a link
// hears at most 4 MiB a second, 512 KiB from one source.
func BenchmarkDatagram(b *testing.B) {
	from := netip.MustParseAddr("10.0.0.7")
	for _, c := range []struct{ name, in string }{
		{"probe", string(probeKinds[0].message("5f1de000-0000-4000-8000-000000000000"))},
		{"match", things[7].in},
		{"printer", things[0].in},
		{"hostile elements", body("<d:ProbeMatches>" + strings.Repeat("<d:ProbeMatch><d:Types>a b c</d:Types></d:ProbeMatch>", maxMatches) + strings.Repeat("<a/>", 3000) + "</d:ProbeMatches>")},
		{"hostile text", body("<d:Hello><d:Scopes>" + strings.Repeat("a ", 30000) + "</d:Scopes></d:Hello>")},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := []byte(c.in)
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				m, err := Parse(in)
				if err != nil {
					b.Fatal(err)
				}
				sightings(m, from, "eth0", time.Time{})
			}
		})
	}
}
