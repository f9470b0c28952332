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
		if r.allow(a, false) {
			n++
		}
	}
	if n != sourcePackets || !r.allow(b, false) {
		t.Errorf("%d datagrams of one source passed, want %d, and its neighbour's too", n, sourcePackets)
	}
	if !r.allow(a, true) {
		t.Error("loopback is capped like one device")
	}
	r.reset()
	if !r.allow(a, false) {
		t.Error("the next second refuses too")
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
