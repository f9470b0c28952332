//go:build linux

package child

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	const stat = "77 (a b) c) S 1 77 77 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 5 0 1000 0 0"
	const status = "Name:\ta b) c\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
	got, err := parse(stat, status)
	want := Usage{CPU: 3 * time.Second, RSS: 1 << 20, Peak: 2 << 20}
	if err != nil || got != want {
		t.Errorf("parse = %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range [][2]string{{"77 (a) S 1", status}, {strings.Replace(stat, "250", "x", 1), status}, {stat, "VmRSS:\t x kB\n"}} {
		if got, err := parse(bad[0], bad[1]); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", bad, got)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	u, err := usage(os.Getpid())
	if err != nil || u.RSS == 0 || u.Peak < u.RSS {
		t.Errorf("%+v, %v", u, err)
	}
}

// TestProcess runs a shell: what it says is heard, and it ends in order, by
// itself or when it is asked to.
func TestProcess(t *testing.T) {
	var out bytes.Buffer
	p, err := Start(&out, os.Stderr, "/bin/sh", "-c", "read x; echo got $x")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Say("this\n"); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(t.Context()); err != nil || out.String() != "got this\n" {
		t.Errorf("%v, %q", err, out.String())
	}
	if err := p.Stop(time.Second); err != nil {
		t.Errorf("stopping what has ended: %v", err)
	}
}

func TestStop(t *testing.T) {
	start := func(script string) *Process {
		out := &ready{done: make(chan struct{})}
		p, err := Start(out, os.Stderr, "/bin/sh", "-c", script)
		if err != nil {
			t.Fatal(err)
		}
		<-out.done
		return p
	}
	p := start("trap 'exit 0' TERM; echo ready; while :; do read x; done")
	if err := p.Stop(10 * time.Second); err != nil {
		t.Errorf("a process that ends in order: %v", err)
	}
	p = start("trap '' TERM; echo ready; while :; do read x || exec tail -f /dev/null; done")
	if err := p.Stop(50 * time.Millisecond); err == nil {
		t.Error("a process that does not end was killed without a word")
	}
	if p.Err() == nil {
		t.Error("it is not known how the killed process ended")
	}
}

// ready is closed by the first write.
type ready struct{ done chan struct{} }

func (r *ready) Write(p []byte) (int, error) {
	close(r.done)
	return len(p), nil
}
