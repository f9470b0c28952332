package sweep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func subnets(t testing.TB, texts ...string) (out []netip.Prefix) {
	t.Helper()
	for _, s := range texts {
		p, err := ParseSubnet(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// hosts is a network in virtual time: each address takes a second to be silent.
type hosts struct {
	mu      sync.Mutex
	asked   map[netip.Addr]int // those whose answer, or silence, was waited for
	at      []time.Time
	flying  int
	most    int
	cameras map[netip.Addr]bool
	down    bool
}

func (h *hosts) probe(ctx context.Context, a netip.Addr) ([]fleet.Sighting, error) {
	h.mu.Lock()
	if h.down {
		h.mu.Unlock()
		return nil, syscall.ENETUNREACH
	}
	h.at = append(h.at, time.Now())
	h.flying++
	h.most = max(h.most, h.flying)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.flying--
	}()
	whole := func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.asked == nil {
			h.asked = map[netip.Addr]int{}
		}
		h.asked[a]++
	}
	if h.cameras[a] {
		whole()
		return []fleet.Sighting{{Via: fleet.ViaWSDiscovery, Source: a}}, nil
	}
	select {
	case <-time.After(time.Second):
		whole()
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func finder(t *testing.T, o Options) *Finder {
	t.Helper()
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestBudget: every host address is asked once in the stated time, never more
// than rate a second and width at a time, and the next round begins on time.
func TestBudget(t *testing.T) {
	for _, c := range []struct {
		name        string
		rate, width int
		want        time.Duration // of a round over 254+2 addresses, one second each
	}{
		{"rate", 20, 64, 12800 * time.Millisecond},
		{"width", 100, 8, 32 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				camera := netip.MustParseAddr("10.2.0.77")
				h := &hosts{cameras: map[netip.Addr]bool{camera: true}}
				f := finder(t, Options{Subnets: subnets(t, "10.2.0.0/24", "10.2.1.7", "2001:db8::5"), Rate: c.rate, Width: c.width, Probe: h.probe})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var heard []fleet.Sighting
				done := make(chan error)
				start := time.Now()
				go func() { done <- f.Find(ctx, func(s fleet.Sighting) { heard = append(heard, s) }) }()
				for f.Progress().Rounds == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				took := time.Since(start)
				if (took-c.want).Abs() > 1500*time.Millisecond || c.name == "rate" && f.RoundTime() != c.want {
					t.Errorf("a round took %v, %v stated, want %v", took, f.RoundTime(), c.want)
				}
				if len(h.asked) != 256 || len(heard) != 1 || heard[0].Source != camera || h.most > c.width {
					t.Errorf("%d addresses asked, heard %v, %d at a time", len(h.asked), heard, h.most)
				}
				for _, a := range []string{"10.2.0.0", "10.2.0.255"} {
					if h.asked[netip.MustParseAddr(a)] > 0 {
						t.Errorf("%s is asked; it is no host", a)
					}
				}
				for i, at := range h.at {
					if i >= c.rate && at.Sub(h.at[i-c.rate]) < time.Second-2*time.Millisecond {
						t.Fatalf("%d addresses within %v", c.rate+1, at.Sub(h.at[i-c.rate]))
					}
				}
				if p := f.Progress(); p.Found != 1 || p.Done != 256 || p.Addresses != 256 {
					t.Errorf("progress = %+v", p)
				}
				synctest.Wait()
				time.Sleep(time.Until(start.Add(defaultEvery + time.Second)))
				synctest.Wait()
				if n := len(h.at); n < 257 {
					t.Errorf("%d addresses asked an hour later: the second round has not begun", n)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestResume: a sweep that is stopped again and again asks every address, and
// repeats no more than what was in flight at each stop.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{}
		file := File(filepath.Join(t.TempDir(), "sweep.json"))
		list := subnets(t, "10.2.0.0/25", "10.3.0.0/25")
		stops := 0
		for {
			f := finder(t, Options{Subnets: list, Rate: 20, Width: 16, Probe: h.probe, Memory: file})
			slices.Reverse(list) // the order they are listed in does not matter
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if err := f.Find(ctx, func(fleet.Sighting) {}); err != nil {
				t.Fatal(err)
			}
			cancel()
			if f.Progress().Rounds > 0 {
				break
			}
			if stops++; stops > 100 {
				t.Fatal("it never ends")
			}
		}
		again := len(h.at) - 252
		if len(h.asked) != 252 || stops < 3 || again > 16*stops {
			t.Errorf("%d of 252 addresses asked after %d stops, %d more than once", len(h.asked), stops, again)
		}
		// The round is over: the next one waits for its hour, also after a restart.
		before := len(h.at)
		f := finder(t, Options{Subnets: list, Probe: h.probe, Memory: file})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Find(ctx, func(fleet.Sighting) {}); err != nil || len(h.at) != before {
			t.Errorf("%d addresses asked within the minute after a round, %v", len(h.at)-before, err)
		}
	})
}

// TestForgottenPosition: other subnets and a damaged file begin a new round.
func TestForgottenPosition(t *testing.T) {
	file := File(filepath.Join(t.TempDir(), "sweep.json"))
	h := &hosts{}
	other := finder(t, Options{Subnets: subnets(t, "10.9.0.0/24"), Probe: h.probe})
	f := finder(t, Options{Subnets: subnets(t, "10.2.0.0/24"), Probe: h.probe, Memory: file})
	if p, ok := f.resume(); ok {
		t.Errorf("resume without a file = %+v", p)
	}
	for _, c := range []struct {
		p    Position
		want bool
	}{
		{Position{Subnets: f.space.name, Seed: 7, Next: 12, Started: time.Now()}, true},
		{Position{Subnets: other.space.name, Seed: 7, Next: 12, Started: time.Now()}, false},
		{Position{Subnets: f.space.name, Next: 9999, Started: time.Now()}, false},
		{Position{Subnets: f.space.name, Next: 12, Started: time.Now().Add(time.Hour)}, false},
	} {
		if err := file.Save(c.p); err != nil {
			t.Fatal(err)
		}
		if p, ok := f.resume(); ok != c.want || ok && (p.Seed != c.p.Seed || p.Next != c.p.Next) {
			t.Errorf("resume %+v = %+v, %v; want %v", c.p, p, ok, c.want)
		}
	}
	if err := os.WriteFile(string(file), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if p, ok := f.resume(); ok {
		t.Errorf("resume of a damaged file = %+v", p)
	}
}

// TestNoNetwork: nothing counts as asked while the network is not there.
func TestNoNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{down: true}
		file := File(filepath.Join(t.TempDir(), "sweep.json"))
		before, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		if err := finder(t, Options{Subnets: subnets(t, "10.2.0.0/28"), Probe: h.probe, Memory: file}).Find(before, func(fleet.Sighting) {}); err != nil {
			t.Fatal(err)
		}
		if p, err := file.Load(); err != nil || p.Next != 0 {
			t.Errorf("without a network the sweep got to %d, %v", p.Next, err)
		}
		f := finder(t, Options{Subnets: subnets(t, "10.2.0.0/28"), Probe: h.probe})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
		defer cancel()
		time.AfterFunc(10*time.Minute, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.down = false
		})
		if err := f.Find(ctx, func(fleet.Sighting) {}); err != nil {
			t.Fatal(err)
		}
		if p := f.Progress(); len(h.asked) != 14 || len(h.at) != 14 || p.Rounds != 1 || p.Done != 14 {
			t.Errorf("%d addresses asked, %d times, after the network came; progress %+v", len(h.asked), len(h.at), p)
		}
		if first := h.at[0].Sub(f.Progress().Started); first < 10*time.Minute || first > 11*time.Minute {
			t.Errorf("the first was asked after %v", first)
		}
	})
}

// TestOneSubnetDown: a subnet without a route does not hold up the others.
func TestOneSubnetDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hosts{}
		bad := netip.MustParsePrefix("10.3.0.0/26")
		f := finder(t, Options{Subnets: subnets(t, "10.2.0.0/24", bad.String()), Probe: func(ctx context.Context, a netip.Addr) ([]fleet.Sighting, error) {
			if bad.Contains(a) {
				return nil, syscall.ENETUNREACH
			}
			return h.probe(ctx, a)
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.Find(ctx, func(fleet.Sighting) {}); err != nil {
			t.Fatal(err)
		}
		if len(h.asked) != 254 || f.Progress().Rounds != 1 {
			t.Errorf("%d of 254 addresses asked; progress %+v", len(h.asked), f.Progress())
		}
	})
}

type timeout struct{}

func (timeout) Error() string   { return "i/o timeout" }
func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestPorts(t *testing.T) {
	const open, refused, silent = "open", "refused", "silent"
	onvif := fleet.Endpoint{Protocol: fleet.ONVIF, URL: "http://10.2.0.7/onvif/device_service"}
	rtsp := fleet.Endpoint{Protocol: fleet.RTSP, URL: "rtsp://10.2.0.7/"}
	for _, c := range []struct {
		name   string
		ports  map[string]string // refused unless listed
		speaks string            // the URL that an ONVIF service answers at
		found  []fleet.Sighting  // by the probe
		want   []fleet.Endpoint
		dials  int
	}{
		{"nothing", nil, "", nil, nil, 5},
		{"nobody", map[string]string{"80": silent}, "", nil, nil, 1},
		{"a web page", map[string]string{"80": open, "443": open}, "", nil, nil, 5},
		{"a stream", map[string]string{"554": open}, "", nil, []fleet.Endpoint{rtsp}, 5},
		{"a camera", map[string]string{"80": open, "554": open, "443": open}, onvif.URL, nil, []fleet.Endpoint{onvif, rtsp}, 5},
		{"a camera elsewhere", map[string]string{"8000": open}, "http://10.2.0.7:8000/onvif/device_service", nil, []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "http://10.2.0.7:8000/onvif/device_service"}}, 5},
		{"a secure camera", map[string]string{"443": open, "8000": silent}, "https://10.2.0.7/onvif/device_service", nil, []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: "https://10.2.0.7/onvif/device_service"}}, 5},
		{"one that answered", map[string]string{"80": open}, onvif.URL, []fleet.Sighting{{Via: fleet.ViaWSDiscovery}}, nil, 0},
		{"a hint is no answer", map[string]string{"554": open}, "", []fleet.Sighting{{Via: fleet.ViaWSDiscovery, Hint: true}}, []fleet.Endpoint{rtsp}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dials := 0
			f := finder(t, Options{
				Subnets: subnets(t, "10.2.0.7"), Ports: UsualPorts(),
				Probe: func(context.Context, netip.Addr) ([]fleet.Sighting, error) { return c.found, nil },
				Confirm: func(_ context.Context, u string) error {
					if u != c.speaks {
						return errors.New("no ONVIF device service")
					}
					return nil
				},
				Dial: func(_ context.Context, network, address string) (net.Conn, error) {
					dials++
					host, port, err := net.SplitHostPort(address)
					if err != nil || host != "10.2.0.7" || network != "tcp" {
						return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
					}
					switch c.ports[port] {
					case open:
						a, b := net.Pipe()
						b.Close()
						return a, nil
					case silent:
						return nil, &net.OpError{Op: "dial", Err: timeout{}}
					}
					return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
				},
			})
			got, err := f.ask(t.Context(), netip.MustParseAddr("10.2.0.7"))
			if err != nil {
				t.Fatal(err)
			}
			got = got[len(c.found):]
			if dials != c.dials || len(got) > 1 || (len(got) == 1) != (len(c.want) > 0) {
				t.Fatalf("%d connections and %+v; want %d and %v", dials, got, c.dials, c.want)
			}
			if len(got) == 1 && (!slices.Equal(got[0].Endpoints, c.want) || got[0].Via != fleet.ViaSweep || got[0].Hint || got[0].Source != netip.MustParseAddr("10.2.0.7")) {
				t.Errorf("sighting = %+v, want %v", got[0], c.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	h := &hosts{}
	for name, o := range map[string]Options{
		"no subnet":     {Probe: h.probe},
		"no probe":      {Subnets: subnets(t, "10.2.0.0/24")},
		"rate":          {Subnets: subnets(t, "10.2.0.0/24"), Probe: h.probe, Rate: 5000},
		"negative rate": {Subnets: subnets(t, "10.2.0.0/24"), Probe: h.probe, Rate: -1},
		"width":         {Subnets: subnets(t, "10.2.0.0/24"), Probe: h.probe, Width: -1},
		"too wide":      {Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Probe: h.probe},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: New takes it", name)
		}
	}
}
