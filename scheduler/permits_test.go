package scheduler

import (
	"errors"
	"log/slog"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/store"
)

// TestLedger holds the ledger against a camera that counts what is tried on it:
// agents ask, try, die before they tell, and tell late.
func TestLedger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := ledger{}
		k := loginKey{"s", "d"}
		now := fleet.Instant(1_800_000_000_000)
		right := rapid.Uint64Range(1, 3).Draw(t, "right") // the version that the camera lets in; 3 = none
		type open struct {
			version, permit uint64
			agent           fleet.AgentID
			at              fleet.Instant // the camera is asked right away, whenever its answer is told
		}
		var granted []open
		tried := map[uint64][]fleet.Instant{} // refused by the camera since it let anybody in, by version
		next := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"ask": func(t *rapid.T) {
				next++
				o := open{rapid.Uint64Range(1, 2).Draw(t, "version"), next, rapid.SampledFrom([]fleet.AgentID{"a", "b"}).Draw(t, "agent"), now}
				mayBeRefused := 0
				for _, g := range granted {
					if g.version == o.version {
						mayBeRefused++
					}
				}
				before := len(l[k.site][k.device])
				err := l.ask(k, o.agent, o.version, o.permit, false, now)
				if full := len(tried[o.version])+mayBeRefused >= 2; full != (err != nil) && before < 3 {
					t.Fatalf("version %d was refused %d times and has %d open permits: %v", o.version, len(tried[o.version]), mayBeRefused, err)
				}
				if err == nil {
					granted = append(granted, o)
					if again := l.ask(k, o.agent, o.version, o.permit, false, now); again != nil || len(l[k.site][k.device]) != before+1 {
						t.Fatalf("asked again for the same permit: %v, %d tries", again, len(l[k.site][k.device]))
					}
				}
			},
			"settle": func(t *rapid.T) {
				if len(granted) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(granted)-1).Draw(t, "which")
				o := granted[i]
				granted = append(granted[:i], granted[i+1:]...)
				switch {
				case rapid.Bool().Draw(t, "unused"):
					l.settle(k, o.agent, o.version, o.permit, fleet.LoginUnused, now)
				case o.version == right:
					l.settle(k, o.agent, o.version, o.permit, fleet.LoginAccepted, now)
					clear(tried)
				default:
					tried[o.version] = append(tried[o.version], o.at)
					l.settle(k, o.agent, o.version, o.permit, fleet.LoginRefused, now)
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "minutes")) * time.Minute)
			},
			"": func(t *rapid.T) {
				recent := 0
				for v, at := range tried {
					if len(at) > fleet.LoginTriesPerVersion {
						t.Fatalf("version %d was refused %d times", v, len(at))
					}
					for _, i := range at {
						if now.Sub(i) < fleet.LoginWindow {
							recent++
						}
					}
				}
				if recent > fleet.LoginTriesPerDevice {
					t.Fatalf("%d refusals within %v", recent, fleet.LoginWindow)
				}
			},
		})
	})
}

// TestLedgerWorked: what has worked before gets its tries again in time, and
// what is under way says that it is worth to wait.
func TestLedgerWorked(t *testing.T) {
	l, k, now := ledger{}, loginKey{"s", "d"}, fleet.Instant(1_800_000_000_000)
	for p := uint64(1); p <= 2; p++ {
		if err := l.ask(k, "a", 7, p, true, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.ask(k, "b", 7, 3, false, now); !errors.Is(err, ErrPermitSoon) {
		t.Errorf("while both tries are under way: %v, want %v", err, ErrPermitSoon)
	}
	l.settle(k, "a", 7, 1, fleet.LoginRefused, now)
	l.settle(k, "a", 7, 2, fleet.LoginRefused, now)
	if err := l.ask(k, "a", 7, 4, true, now); err == nil || errors.Is(err, ErrPermitSoon) {
		t.Errorf("after two refusals: %v", err)
	}
	later := now.Add(fleet.LoginWindow)
	if err := l.ask(k, "b", 7, 5, false, later); err == nil {
		t.Error("an agent that never saw it work may try it again")
	}
	if err := l.ask(k, "a", 7, 6, true, later); err != nil {
		t.Errorf("an agent that saw it work may not try it after %v: %v", fleet.LoginWindow, err)
	}
	l.settle(k, "a", 7, 6, fleet.LoginAccepted, later)
	if len(l) != 0 {
		t.Errorf("after a success %d devices are remembered", len(l))
	}
	// A refusal that nobody had a permit for counts too.
	l.settle(k, "b", 7, 0, fleet.LoginRefused, later)
	l.settle(k, "b", 7, 99, fleet.LoginRefused, later)
	if err := l.ask(k, "a", 7, 8, false, later); err == nil {
		t.Error("two refusals without a permit are forgotten")
	}
}

// TestLedgerIsBounded: a site with too many devices forgets the quietest of its
// own, and no other site's.
func TestLedgerIsBounded(t *testing.T) {
	l, now := ledger{}, fleet.Instant(1_800_000_000_000)
	l.settle(loginKey{"other", "d"}, "a", 1, 0, fleet.LoginRefused, now-1)
	for i := range maxLoginDevices + 10 {
		l.settle(loginKey{"s", string(rune('a'+i%26)) + time.Duration(i).String()}, "a", 1, 0, fleet.LoginRefused, now+fleet.Instant(i))
	}
	if len(l["s"]) != maxLoginDevices || len(l["other"]) != 1 {
		t.Errorf("%d devices are remembered, and %d of the other site, want %d and 1", len(l["s"]), len(l["other"]), maxLoginDevices)
	}
	k := loginKey{"s", "d"}
	for i := range 3 * maxTries {
		l.settle(k, "a", uint64(i), 0, fleet.LoginRefused, now)
	}
	if len(l[k.site][k.device]) != maxTries || l[k.site][k.device][maxTries-1].Version != 3*maxTries-1 {
		t.Errorf("%d tries of one device are remembered, want the last %d", len(l[k.site][k.device]), maxTries)
	}
}

// TestForgottenLoginsLeaveTheStore: a device that is forgotten for want of room
// leaves no row, or a LAN that makes up devices fills the disk.
func TestForgottenLoginsLeaveTheStore(t *testing.T) {
	ctx := t.Context()
	st, _, err := store.Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	l := newLogins(st, slog.New(slog.DiscardHandler))
	now := fleet.Instant(1_800_000_000_000)
	n := uint64(0)
	for i := range maxLoginDevices + 20 {
		k := loginKey{"s", strconv.Itoa(i)}
		n, _ = l.change(k, func(g ledger) error {
			g.settle(k, "a", 1, 0, fleet.LoginRefused, now+fleet.Instant(i))
			return nil
		})
		if i == maxLoginDevices-1 {
			if err := l.durable(ctx, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.durable(ctx, n); err != nil {
		t.Fatal(err)
	}
	rows, first := 0, false
	if err := st.EachLogin(ctx, func(r store.Login) error {
		rows, first = rows+1, first || r.Device == "0"
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if rows != maxLoginDevices || first {
		t.Errorf("%d rows, the quietest among them: %v; want %d without it", rows, first, maxLoginDevices)
	}
}
