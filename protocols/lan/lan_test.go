package lan

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPause(t *testing.T) {
	for _, c := range []struct {
		round  int
		every  time.Duration
		chance float64
		want   time.Duration
	}{
		{0, time.Minute, 0, time.Second},
		{0, time.Minute, 1, 1100 * time.Millisecond},
		{1, time.Minute, 0, 2 * time.Second},
		{2, time.Minute, 0, 54 * time.Second},
		{2, time.Minute, 0.5, time.Minute},
		{900, time.Minute, 1, 66 * time.Second},
		{0, 200 * time.Millisecond, 0, 200 * time.Millisecond},
	} {
		if got := pause(c.round, c.every, c.chance); (got - c.want).Abs() > time.Millisecond {
			t.Errorf("pause(%d, %v, %v) = %v, want %v", c.round, c.every, c.chance, got, c.want)
		}
	}
}

func TestPlausible(t *testing.T) {
	eth := &Link{Prefixes: []netip.Prefix{netip.MustParsePrefix("203.0.113.7/24")}}
	lo := &Link{loopback: true, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")}}
	for _, c := range []struct {
		l    *Link
		from string
		want bool
	}{
		{eth, "203.0.113.9", true}, {eth, "10.1.2.3", true}, {eth, "fe80::1%eth0", true},
		{eth, "8.8.8.8", false}, {eth, "127.0.0.1", false}, {eth, "0.0.0.0", false},
		{eth, "239.255.255.250", false}, {eth, "255.255.255.255", false},
		{lo, "127.0.1.4", true}, {lo, "8.8.8.8", false},
	} {
		if got := c.l.Plausible(netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("plausible(%s) on %v = %v, want %v", c.from, c.l.Prefixes, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	r := newRate()
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	n := 0
	for range 3 * sourcePackets {
		if r.allow(a, 100, false) {
			n++
		}
	}
	if n != sourcePackets || !r.allow(b, 100, false) {
		t.Errorf("%d datagrams of one source passed, want %d, and its neighbour's too", n, sourcePackets)
	}
	if !r.allow(a, 100, true) {
		t.Error("loopback is capped like one device")
	}
	r.reset()
	if !r.allow(a, 100, false) {
		t.Error("the next second refuses too")
	}
}

func TestRateInBytes(t *testing.T) {
	const large = 60 << 10
	r := newRate()
	passed := 0
	for i := range 10000 {
		if r.allow(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), large, false) {
			passed += large
		}
	}
	if passed > totalBytes || passed < totalBytes-large {
		t.Errorf("%d bytes of all sources passed, want at most %d", passed, totalBytes)
	}
	r.reset()
	passed = 0
	for range 100 {
		if r.allow(netip.MustParseAddr("10.0.0.1"), large, false) {
			passed += large
		}
	}
	if passed > sourceBytes || passed < sourceBytes-large {
		t.Errorf("%d bytes of one source passed, want at most %d", passed, sourceBytes)
	}
	if r.total.bytes != passed {
		t.Errorf("what one source sent too much is counted for all: %d", r.total.bytes)
	}
}

// TestRateForgets: forged sources leave nothing behind.
func TestRateForgets(t *testing.T) {
	r := newRate()
	for i := range 100000 {
		r.allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 100, false)
	}
	if len(r.source) > totalPackets {
		t.Errorf("%d sources are remembered", len(r.source))
	}
	r.reset()
	if len(r.source) != 0 {
		t.Errorf("%d sources are remembered after a second", len(r.source))
	}
}

func BenchmarkRate(b *testing.B) {
	r := newRate()
	a := netip.MustParseAddr("10.0.0.1")
	b.ReportAllocs()
	for b.Loop() {
		r.allow(a, 100, false)
	}
}

func TestUsableHasLoopback(t *testing.T) {
	all, err := usable()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			return
		}
	}
	t.Errorf("usable() = %v: want loopback among them", all)
}
