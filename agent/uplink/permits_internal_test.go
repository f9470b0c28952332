package uplink

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPermitOfALineThatIsLostAgain: a line that was there for a moment is no
// older centre, or a login would be tried without leave.
func TestPermitOfALineThatIsLostAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &Uplink{permits: newPermits()}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		got := make(chan error, 1)
		go func() {
			_, err := u.Permit(ctx, "epr:1", 1, false)
			got <- err
		}()
		for range 50 {
			synctest.Wait() // it waits for the line
			u.permits.linked(true, true)
			u.permits.linked(false, false)
		}
		began := time.Now()
		if err := <-got; !errors.Is(err, ErrNoAnswer) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v, want %v after 2 s", err, time.Since(began), ErrNoAnswer)
		}
	})
}
