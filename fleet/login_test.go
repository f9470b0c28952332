package fleet_test

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestLoginAfterWrongClock: refusals that a wrong clock dated years ahead must
// not keep a device shut for years; a clock that is minutes off frees nothing.
func TestLoginAfterWrongClock(t *testing.T) {
	now := time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		ahead time.Duration
		ok    bool
	}{{0, false}, {fleet.LoginWindow - time.Second, false}, {fleet.LoginWindow, true}, {9 * 365 * 24 * time.Hour, true}} {
		var refused []fleet.LoginRefusal[int]
		for v := range fleet.LoginTriesPerDevice {
			refused = append(refused, fleet.LoginRefusal[int]{With: v, At: now.Add(c.ahead)})
		}
		if v := fleet.JudgeLogin(refused, 99, true, now); v.OK() != c.ok {
			t.Errorf("refused %v ahead: %+v, want ok %v", c.ahead, v, c.ok)
		}
		// Untried twice is final, whatever any clock says.
		refused[0].With, refused[1].With = 7, 7
		if v := fleet.JudgeLogin(refused, 7, false, now); !v.Final {
			t.Errorf("refused twice, %v ahead: %+v, want final", c.ahead, v)
		}
	}
}
