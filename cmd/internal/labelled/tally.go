package labelled

import (
	"cmp"
	"math"
	"slices"

	"github.com/shutterfleet/shutterfleet/capture/quality"
)

// Share is a part of a whole, with the interval that holds it at 95 % (Wilson
// 1927): of few, little is known.
type Share struct {
	Right int     `json:"right"`
	Of    int     `json:"of"`
	Value float64 `json:"value"` // 0..1; 0 of none
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// NewShare returns the share of right ones.
func NewShare(right, of int) Share {
	s := Share{Right: right, Of: of, High: 1}
	if of == 0 {
		return s
	}
	const z = 1.959964
	n := float64(of)
	p := float64(right) / n
	mid, half, scale := p+z*z/(2*n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n)), 1+z*z/n
	s.Value, s.Low, s.High = p, min(p, max(0, (mid-half)/scale)), max(p, min(1, (mid+half)/scale)) // rounding aside, p is between
	return s
}

// Figures say how well one verdict is told.
type Figures struct {
	Recall    Share          `json:"recall"`    // of those that are so, called so
	Precision Share          `json:"precision"` // of those called so at this strength, and of all that is no fault, those that are so
	Instead   map[string]int `json:"instead"`   // what the others were called
}

// VerdictFigures are those of one verdict at one strength.
type VerdictFigures struct {
	Verdict  quality.Kind    `json:"verdict"`
	Strength string          `json:"strength"`
	Single   Figures         `json:"single"`  // of each event's first frame alone
	Lasting  Figures         `json:"lasting"` // what lasts after its second, a minute later
	Variants []VariantRecall `json:"variants"`
}

// VariantRecall is the recall of one way to be wrong, by one light.
type VariantRecall struct {
	Variant string `json:"variant"`
	Light   string `json:"light"`
	Recall  Share  `json:"recall"`
}

// NegativeFigures are of one kind of what is no fault.
type NegativeFigures struct {
	Name           string         `json:"name"`
	Frames         int            `json:"frames"`
	FalsePer1000   float64        `json:"false_per_1000"`   // frames called a fault
	LastingPer1000 float64        `json:"lasting_per_1000"` // frames under a fault that lasts
	As             map[string]int `json:"as"`               // which, of the former
}

// Report is all that was counted.
type Report struct {
	Verdicts  []VerdictFigures  `json:"verdicts"`  // as they are numbered, weak to strong
	Negatives []NegativeFigures `json:"negatives"` // the ordinary first
	All       NegativeFigures   `json:"all"`       // of them together
}

// A Tally counts outcomes. The zero Tally has none.
type Tally struct {
	events []Outcome
}

// Add counts one outcome.
func (t *Tally) Add(o Outcome) { t.events = append(t.events, o) }

// Report sums up. It does not depend on the order in which outcomes came.
func (t *Tally) Report() (r Report) {
	for _, k := range Kinds() {
		for s := range Strengths {
			f := VerdictFigures{Verdict: k, Strength: s.String()}
			f.Single = t.figures(k, s, 0, func(s Said) quality.Kind { return s.Kind })
			f.Lasting = t.figures(k, s, frames-1, func(s Said) quality.Kind { return s.Lasting })
			f.Variants = t.variants(k, s)
			r.Verdicts = append(r.Verdicts, f)
		}
	}
	r.All = t.negative("")
	for _, n := range Negatives() {
		r.Negatives = append(r.Negatives, t.negative(n.Name))
	}
	return r
}

// figures are about what said tells of the faults' frame at index frame, and of
// all frames of what is none.
func (t *Tally) figures(k quality.Kind, strength Strength, frame int, said func(Said) quality.Kind) Figures {
	f := Figures{Instead: map[string]int{}}
	right, of, called := 0, 0, 0
	for _, e := range t.events {
		if e.Kind == quality.Ok {
			for _, s := range e.Said {
				if said(s) == k {
					called++
				}
			}
			continue
		}
		if e.Strength != strength {
			continue
		}
		is := said(e.Said[frame])
		if is == k {
			called++
		}
		if e.Kind != k {
			continue
		}
		of++
		if is == k {
			right++
		} else {
			f.Instead[is.String()]++
		}
	}
	f.Recall, f.Precision = NewShare(right, of), NewShare(right, called)
	return f
}

func (t *Tally) variants(k quality.Kind, strength Strength) (all []VariantRecall) {
	type key struct {
		variant string
		night   bool
	}
	count := map[key][2]int{}
	for _, e := range t.events {
		if e.Kind != k || e.Strength != strength {
			continue
		}
		c := count[key{e.Variant, e.Night}]
		if c[1]++; e.Said[0].Kind == k {
			c[0]++
		}
		count[key{e.Variant, e.Night}] = c
	}
	for q, c := range count {
		light := "day"
		if q.night {
			light = "night"
		}
		all = append(all, VariantRecall{q.variant, light, NewShare(c[0], c[1])})
	}
	slices.SortFunc(all, func(a, b VariantRecall) int {
		return cmp.Or(cmp.Compare(a.Variant, b.Variant), cmp.Compare(a.Light, b.Light))
	})
	return all
}

// negative sums up one kind of what is no fault, or all of them.
func (t *Tally) negative(name string) NegativeFigures {
	f := NegativeFigures{Name: cmp.Or(name, "all"), As: map[string]int{}}
	wrong, lasting := 0, 0
	for _, e := range t.events {
		if e.Kind != quality.Ok || name != "" && e.Variant != name {
			continue
		}
		for _, s := range e.Said {
			f.Frames++
			if s.Kind != quality.Ok {
				wrong++
				f.As[s.Kind.String()]++
			}
			if s.Lasting != quality.Ok {
				lasting++
			}
		}
	}
	if f.Frames > 0 {
		f.FalsePer1000, f.LastingPer1000 = 1000*float64(wrong)/float64(f.Frames), 1000*float64(lasting)/float64(f.Frames)
	}
	return f
}
