package fleet_test

import (
	"testing"

	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestSelector(t *testing.T) {
	labels := map[string]string{"site": "store-12", "role": "gate", "crop": "vine", "path": "a/b"}
	for _, c := range []struct {
		text string
		want bool
	}{
		{"*", true}, {"site=store-*", true}, {"site=shop-*", false}, {"site == store-12", true},
		{"role!=gate", false}, {"role!=shelf", true}, {"lens!=wide", true},
		{"role", true}, {"lens", false}, {"!retired", true}, {"!role", false},
		{"crop in (vine, olive)", true}, {"crop in (olive)", false}, {"crop not in (olive)", true}, {"lens not in (wide)", true},
		{"site=store-*, !retired, crop in (vine, olive)", true}, {"site=store-*,role=shelf", false}, {"path=*", true},
	} {
		s, err := fleet.ParseSelector(c.text)
		if err != nil {
			t.Errorf("ParseSelector(%q): %v", c.text, err)
			continue
		}
		if got := s.Match(labels); got != c.want {
			t.Errorf("%q matches %v: %v, want %v", c.text, labels, got, c.want)
		}
		if s.String() != c.text {
			t.Errorf("String() = %q, want %q", s, c.text)
		}
	}
	for _, text := range []string{"", " ", "a,", "a in (", "a in b", "in (b)", "a=", "=b", "a=[", "a b", "(a)", "a in (b) c", "a)"} {
		if s, err := fleet.ParseSelector(text); err == nil {
			t.Errorf("ParseSelector(%q) = %+v, want an error", text, s)
		}
	}
}

func FuzzSelector(f *testing.F) {
	f.Add("site=store-*, !retired, crop in (vine, olive)", "vine")
	f.Fuzz(func(_ *testing.T, text, value string) {
		if s, err := fleet.ParseSelector(text); err == nil {
			s.Match(map[string]string{"crop": value, "site": value})
		}
	})
}
