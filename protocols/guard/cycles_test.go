package guard_test

import (
	"context"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Sockets and goroutines return to where they were after many failures.
func TestNothingIsLeftBehind(t *testing.T) {
	sockets := func() int {
		es, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not list a process's files")
		}
		return len(es)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := "http://" + l.Addr().String()
	l.Close()
	silent := raw(t, func(c net.Conn) { c.Read(make([]byte, 4096)); c.Read(make([]byte, 1)) })
	hanging := raw(t, func(c net.Conn) { c.Read(make([]byte, 1)) })
	g := guard.New(guard.Options{})
	files, routines := sockets(), runtime.NumGoroutine()
	for range 300 {
		for url, want := range map[string]fleet.Cause{refusing: fleet.CauseRefused, silent: fleet.CauseTimeout, hanging: fleet.CauseRefused} {
			d := 10 * time.Second
			if want == fleet.CauseTimeout {
				d = 2 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			_, err := g.Do(ctx, guard.Login{}, guard.Request{URL: url})
			cancel()
			if c := causeOf(err); c != want && (want != fleet.CauseTimeout || c != fleet.CauseUnreachable) {
				t.Fatalf("%s: %v (%s), want %s", url, err, c, want)
			}
		}
	}
	g.Close()
	// The servers' own ends close a moment later.
	for end := time.Now().Add(time.Minute); (sockets() > files || runtime.NumGoroutine() > routines) && time.Now().Before(end); {
		runtime.Gosched()
	}
	if f, r := sockets(), runtime.NumGoroutine(); f > files || r > routines {
		t.Errorf("%d files and %d goroutines, there were %d and %d", f, r, files, routines)
	}
}
