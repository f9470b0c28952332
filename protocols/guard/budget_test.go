package guard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// model is the budget in the words of its promise.
type model struct {
	refused []struct {
		with fleet.Credentials
		at   time.Time
	}
	proven *fleet.Credentials
}

func (m *model) may(c fleet.Credentials, now time.Time) bool {
	version, device := 0, 0
	for _, r := range m.refused {
		young := now.Before(r.at.Add(30 * time.Minute))
		if young {
			device++
		}
		if r.with == c && (young || m.proven == nil || *m.proven != c) {
			version++
		}
	}
	return version < 2 && device < 3
}

func TestBudgetAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		b := newBudget(func() time.Time { return now })
		models := map[string]*model{"a": {}, "b": {}}
		device := rapid.SampledFrom([]string{"a", "b"})
		creds := rapid.Custom(func(t *rapid.T) fleet.Credentials {
			return fleet.Credentials{User: rapid.SampledFrom([]string{"u", "v"}).Draw(t, "user"), Version: rapid.Uint64Range(1, 3).Draw(t, "version")}
		})
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) { now = now.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute) },
			"refused": func(t *rapid.T) {
				d, c := device.Draw(t, "device"), creds.Draw(t, "with")
				if b.Try(d, c) != nil {
					return
				}
				b.Refused(d, c)
				models[d].refused = append(models[d].refused, struct {
					with fleet.Credentials
					at   time.Time
				}{c, now})
			},
			"accepted": func(t *rapid.T) {
				d, c := device.Draw(t, "device"), creds.Draw(t, "with")
				b.Accepted(d, c)
				*models[d] = model{proven: &c}
			},
			"": func(t *rapid.T) {
				for d, m := range models {
					for _, c := range []fleet.Credentials{{User: "u", Version: 1}, {User: "u", Version: 2}, {User: "v", Version: 3}} {
						if err := b.Try(d, c); (err == nil) != m.may(c, now) {
							t.Fatalf("Try(%s, %v) = %v, the model says %v", d, c, err, m.may(c, now))
						}
					}
				}
			},
		})
	})
}

func TestBudgetSaysWhenItFrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(time.Now)
		for v := range uint64(3) {
			b.Refused("cam", fleet.Credentials{User: "u", Version: v})
			time.Sleep(time.Minute)
		}
		err := b.Try("cam", fleet.Credentials{User: "u", Version: 9})
		if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseLocked || !strings.Contains(err.Error(), "27m0s") {
			t.Fatalf("after three refusals Try = %v, want locked for 27 minutes more", err)
		}
		time.Sleep(27*time.Minute - time.Second)
		if b.Try("cam", fleet.Credentials{User: "u", Version: 9}) == nil {
			t.Error("the budget freed early")
		}
		time.Sleep(time.Second)
		if err := b.Try("cam", fleet.Credentials{User: "u", Version: 9}); err != nil {
			t.Errorf("30 minutes after the first refusal: %v", err)
		}
	})
}

// Many at once may not slip through a budget that has room for one.
func TestBudgetTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(time.Now)
		c := fleet.Credentials{User: "u", Version: 1}
		var wg sync.WaitGroup
		sent := 0
		for range 50 {
			wg.Go(func() {
				leave, err := b.Enter(t.Context(), "cam", c)
				if err != nil {
					return
				}
				defer leave()
				sent++ // only one at a time comes here, or the race detector says so
				time.Sleep(time.Second)
				b.Refused("cam", c)
			})
		}
		wg.Wait()
		if sent != fleet.LoginTriesPerVersion {
			t.Errorf("%d logins were sent at once, want %d", sent, fleet.LoginTriesPerVersion)
		}
	})
}

func TestBudgetEnterEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(time.Now)
		c := fleet.Credentials{User: "u", Version: 1}
		leave, err := b.Enter(t.Context(), "cam", c)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Enter(ctx, "cam", c); err == nil {
			t.Error("two turns at once")
		}
		leave()
		leave() // the second time changes nothing
		if _, err := b.Enter(t.Context(), "cam", c); err != nil {
			t.Errorf("after the turn was given back: %v", err)
		}
	})
}

func TestBudgetForgetsTheQuietest(t *testing.T) {
	now := time.Unix(0, 0)
	b := newBudget(func() time.Time { now = now.Add(time.Second); return now })
	for i := range maxBudgetDevices + 10 {
		b.Refused(fmt.Sprint(i), fleet.Credentials{User: "u"})
	}
	if len(b.devices) != maxBudgetDevices {
		t.Errorf("%d devices are remembered, want %d", len(b.devices), maxBudgetDevices)
	}
	if _, ok := b.devices["0"]; ok {
		t.Error("the device that was quiet longest is still there")
	}
}
