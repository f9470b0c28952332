package calendar

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// BenchmarkNext steps one task from occurrence to occurrence.
func BenchmarkNext(b *testing.B) {
	lat, lon := 43.70, 7.26
	place := Place{TZ: "Europe/Paris", Lat: &lat, Lon: &lon}
	var busy List // half of them dates, half times, none of them near
	for i := range maxExclude / 2 {
		day := time.Date(2000, 1, 1, 9, 0, 0, 0, time.UTC).AddDate(0, 0, 2*i)
		busy = append(busy, day.Format(time.DateOnly), day.Format(time.RFC3339)+"/"+day.Add(time.Hour).Format(time.RFC3339))
	}
	for _, c := range []struct {
		name string
		spec Spec
	}{
		{"every", Spec{Every: Duration(5 * time.Minute)}},
		{"every but for a full calendar", Spec{Every: Duration(5 * time.Minute), Exclude: busy}},
		{"every in office hours", Spec{Every: Duration(5 * time.Minute), Windows: []Window{{Days: List{"mon-fri"}, Hours: List{"08:00-18:00"}}}}},
		{"every by daylight", Spec{Every: Duration(5 * time.Minute), Windows: []Window{{Hours: List{"sunrise to sunset"}}}}},
		{"cron daily", Spec{Cron: List{"30 2 * * *"}}},
		{"cron minutely", Spec{Cron: List{"* * * * *"}}},
		{"cron leap day", Spec{Cron: List{"0 0 29 2 *"}}},
		{"sun", Spec{Sun: List{"sunrise", "sunset"}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := compile(b, c.spec)
			start := fleet.Instant(1_800_000_000_000)
			task := Task{Camera: 7, Enabled: start, Place: place}
			after := start
			for b.Loop() {
				n, ok := s.Next(task, after)
				if after = n; !ok || n > 100*start {
					after = start
				}
			}
		})
	}
	b.Run("cron daily, shared by many cameras", func(b *testing.B) {
		s := compile(b, Spec{Cron: List{"30 2 * * *"}, Spread: Duration(time.Minute)})
		for b.Loop() {
			s.Next(Task{Camera: 7, Place: place}, 1_800_000_000_000)
		}
	})
}
