package camtest

import (
	"testing"
	"time"
)

// BenchmarkRound draws and codes one picture of each camera of the default
// town, two seconds after the last: what the demo's schedule costs the
// cameras. It reports how much of one core that is.
func BenchmarkRound(b *testing.B) {
	now := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
	town, err := New(Options{Now: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	bytes := 0
	for b.Loop() {
		now = now.Add(2 * time.Second)
		for _, c := range town.cameras {
			p, err := c.frame()
			if err != nil {
				b.Fatal(err)
			}
			bytes += len(p)
		}
	}
	perRound := b.Elapsed().Seconds() / float64(b.N)
	b.ReportMetric(perRound/2*100, "%core")
	b.ReportMetric(float64(bytes/b.N/len(town.cameras)), "B/picture")
}

func BenchmarkFrame(b *testing.B) {
	for _, s := range Scenes() {
		b.Run(string(s), func(b *testing.B) {
			v, _ := newView(s, 42, 896, 504)
			t := time.Date(2026, 3, 1, 6, 0, 0, 0, time.UTC)
			for b.Loop() {
				t = t.Add(2 * time.Second)
				v.draw(t)
			}
		})
	}
}
