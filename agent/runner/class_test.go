package runner

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func drawClaim(t *rapid.T, tie uint64) claim {
	since := fleet.Instant(rapid.IntRange(0, 200).Draw(t, "since"))
	return claim{priority: fleet.Priority(rapid.IntRange(-1, 2).Draw(t, "priority")), since: since,
		deadline: since + fleet.Instant(rapid.IntRange(0, 100).Draw(t, "span")), tie: tie}
}

// rank is the model: the words of the rule, one by one.
func rank(c claim, now fleet.Instant) [4]int64 {
	class := int64(c.priority)
	for quarter := int64(1); quarter <= 3; quarter++ {
		if 4*int64(now-c.since) >= quarter*int64(c.deadline-c.since) && class < int64(fleet.PriorityUrgent) {
			class++
		}
	}
	if c.deadline <= c.since {
		class = int64(fleet.PriorityUrgent)
	}
	return [4]int64{-class, int64(c.since), -int64(c.priority), int64(c.tie)}
}

func TestClassAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var claims []claim
		for n := range rapid.IntRange(2, 12).Draw(t, "n") {
			claims = append(claims, drawClaim(t, uint64(n)))
		}
		now := fleet.Instant(rapid.IntRange(0, 300).Draw(t, "now"))
		claims = slices.DeleteFunc(claims, func(c claim) bool { return c.deadline <= now && c.deadline > c.since }) // they are over
		got, want := slices.Clone(claims), slices.Clone(claims)
		slices.SortFunc(got, func(a, b claim) int {
			switch {
			case a.before(b, now):
				return -1
			case b.before(a, now):
				return 1
			}
			return 0
		})
		slices.SortFunc(want, func(a, b claim) int {
			x, y := rank(a, now), rank(b, now)
			return slices.Compare(x[:], y[:])
		})
		if !slices.Equal(got, want) {
			t.Errorf("at %d: %v, want %v", now, got, want)
		}
	})
}

// TestNobodyStarves: with one turn in a tick, and an urgent order in each, a
// low one has its turn before its deadline, once those older than it are done.
func TestNobodyStarves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		span := fleet.Instant(rapid.IntRange(8, 200).Draw(t, "span"))
		older := rapid.IntRange(0, int(span)/4-2).Draw(t, "older")
		low := claim{priority: fleet.PriorityLow, since: 0, deadline: span}
		waiting := []claim{low}
		for n := range older {
			waiting = append(waiting, claim{priority: fleet.PriorityUrgent, since: -1, deadline: 1000, tie: uint64(n)})
		}
		for now := fleet.Instant(0); now < span; now++ {
			waiting = append(waiting, claim{priority: fleet.PriorityUrgent, since: now, deadline: now + 1000, tie: uint64(1000 + now)})
			first := 0
			for i := range waiting {
				if waiting[i].before(waiting[first], now) {
					first = i
				}
			}
			if waiting[first] == low {
				return
			}
			waiting = slices.Delete(waiting, first, first+1)
		}
		t.Errorf("a low order with %d ms was never first", span)
	})
}

// TestHopeless: no claim is shed that would get its turn by the rate, whoever
// is shed has none above it in number to blame but its own class and higher
// ones, and without a rate nobody is.
func TestHopeless(t *testing.T) {
	if out := hopeless(make([]claim, 5), 0, 0, 0); out != nil {
		t.Errorf("shed %v without a rate", out)
	}
	herd := func(p fleet.Priority, n int) (out []claim) {
		for i := range n {
			out = append(out, claim{priority: p, deadline: 10_000, tie: uint64(i)})
		}
		return out
	}
	// 10 a second for 10 s, and a margin of a quarter: 125 of them.
	claims := append(herd(fleet.PriorityLow, 50), append(herd(fleet.PriorityHigh, 100), herd(fleet.PriorityNormal, 40)...)...)
	var shed [4]int
	for _, i := range hopeless(claims, 0, 10, 0) {
		shed[claims[i].priority+1]++
	}
	if shed != [4]int{50, 15, 0, 0} {
		t.Errorf("shed %v of low, normal, high and urgent, want 50, 15, 0 and 0", shed)
	}
	rapid.Check(t, func(t *rapid.T) {
		var claims []claim
		for n := range rapid.IntRange(0, 30).Draw(t, "n") {
			claims = append(claims, drawClaim(t, uint64(n)))
		}
		free, rate := rapid.IntRange(0, 5).Draw(t, "free"), rapid.Float64Range(0.1, 1000).Draw(t, "rate")
		now := fleet.Instant(rapid.IntRange(0, 100).Draw(t, "now"))
		out := hopeless(claims, free, rate, now)
		for _, i := range out {
			ahead := 0
			for j, c := range claims {
				if j != i && c.priority >= claims[i].priority && !slices.Contains(out, j) {
					ahead++
				}
			}
			if at := now.Add(time.Duration(float64(max(0, ahead+1-free)) / (rate * shedMargin) * float64(time.Second))); at <= claims[i].deadline {
				t.Errorf("%+v is shed, and its turn comes at %d after %d others", claims[i], at, ahead)
			}
		}
	})
}

func TestCapacity(t *testing.T) {
	c := capacity{}
	for range 3 {
		c.release(2*time.Second, 4)
	}
	if got := c.perSecond(4); got != 0 {
		t.Fatalf("%.1f/s after three of four slots", got)
	}
	c.release(2*time.Second, 4)
	if got := c.perSecond(4); got != 2 {
		t.Errorf("%.1f/s, want 4 slots over 2 s", got)
	}
	for range 16 {
		c.release(500*time.Millisecond, 4)
	}
	if got := c.perSecond(4); got < 4 || got >= 8 {
		t.Errorf("%.1f/s, want to be on the way from 2 to 8", got)
	}
	for range 100 {
		c.release(500*time.Millisecond, 4)
	}
	if got := c.perSecond(4); got < 7.9 || got > 8 {
		t.Errorf("%.1f/s, want 8", got)
	}
}

func TestCeiling(t *testing.T) {
	for _, c := range []struct {
		first, most time.Duration
		tries       int
		want        time.Duration
	}{{time.Second, time.Minute, 0, time.Second}, {time.Second, time.Minute, 3, 8 * time.Second}, {time.Second, time.Minute, 200, time.Minute}, {time.Hour, time.Second, 0, time.Second}} {
		if got := ceiling(c.first, c.most, c.tries); got != c.want {
			t.Errorf("ceiling(%v, %v, %d) = %v, want %v", c.first, c.most, c.tries, got, c.want)
		}
	}
}
