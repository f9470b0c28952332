package runner

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A limit doubles to its most, is halved by what a sixteenth of a round says,
// once for what was under way, and grows by one a round from there.
func TestLimit(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimit(32, 1024)
	round := func() {
		now = now.Add(time.Second)
		for range l.now() {
			l.end(now.Add(-time.Millisecond), now, true, false, true)
		}
	}
	for range 3 {
		round()
	}
	if l.now() != 256 || !l.growing() {
		t.Fatalf("%d after three rounds, want 256", l.now())
	}
	// Four cameras of 256 die: no congestion.
	for range 4 {
		l.end(now, now, false, true, true)
	}
	if l.now() != 256 {
		t.Errorf("%d after four of 256 died", l.now())
	}
	for range 200 { // a hundred are one congestion, and the rest belongs to it
		l.end(now.Add(-time.Millisecond), now, false, true, true)
	}
	if l.now() != 128 || l.cuts != 1 || l.growing() {
		t.Errorf("%d after %d cuts, want 128 after one", l.now(), l.cuts)
	}
	for range 10 {
		round()
	}
	if l.now() < 136 || l.now() > 139 {
		t.Errorf("%d after ten more rounds, want about 138", l.now())
	}
	before := l.now()
	for range 1000 { // nobody waits
		l.end(now, now, true, false, false)
	}
	if l.now() != before {
		t.Errorf("%d, want %d: nobody waited", l.now(), before)
	}
	for range 20 {
		now = now.Add(time.Second)
		for range l.now() {
			l.end(now, now, false, true, true)
		}
	}
	if l.now() != l.least {
		t.Errorf("%d when all fails, want %d", l.now(), l.least)
	}
}

func TestLimitBounds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := rapid.IntRange(1, 100).Draw(t, "start")
		most := start + rapid.IntRange(0, 100).Draw(t, "more")
		l := newLimit(start, most)
		now := time.Unix(0, 0)
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "later")))
			frame := rapid.Bool().Draw(t, "frame")
			was := l.now()
			l.end(now.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "held"))), now, frame, !frame && rapid.Bool().Draw(t, "sign"), rapid.Bool().Draw(t, "pressed"))
			if l.now() < l.least || l.now() > most || l.now() > was+1 || l.now() < was/2 {
				t.Fatalf("from %d to %d within %d and %d", was, l.now(), l.least, most)
			}
			if start == most && l.now() != start {
				t.Fatalf("%d, and %d was chosen", l.now(), start)
			}
		}
	})
}
