package inventory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// rivalry is two observations that share a contested unique name.
type rivalry struct {
	i, j int
	v    value
}

// conflicts returns each pair of clusters that share a contested unique name,
// but for those that were decided upon.
func (m *merger) conflicts(place []int) (out []verdictOn) {
	found := map[[2]int]*verdictOn{}
	for _, r := range m.rivals {
		i, j := min(m.root(r.i), m.root(r.j)), max(m.root(r.i), m.root(r.j))
		a, b := &m.facts[i], &m.facts[j]
		if i == j || decided(a, b) || decided(b, a) {
			continue
		}
		x := found[[2]int{i, j}]
		if x == nil {
			no, _ := against(a, b)
			x = &verdictOn{a: place[i], b: place[j], evidence: no}
			found[[2]int{i, j}] = x
		}
		kind := r.v.kind
		x.evidence = append(x.evidence, fleet.Evidence{Kind: kind, Value: r.v.text, Weight: weights[kind]})
	}
	for _, x := range found {
		slices.SortFunc(x.evidence, compareEvidence)
		x.evidence = slices.Compact(x.evidence)
		out = append(out, *x)
	}
	slices.SortFunc(out, func(x, y verdictOn) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	return out
}

// conflict returns what contradicts r's evidence for longer than an address
// change takes, or nil.
func (r *record) conflict(now time.Time) *fleet.Conflict {
	var c fleet.Conflict
	for _, v := range r.rivals {
		d := &v.rec.device
		if !v.rec.listed(0) || !v.rec.named && now.Sub(v.rec.created) < doubt || !r.named && now.Sub(r.created) < doubt {
			continue
		}
		c.Rivals = append(c.Rivals, fleet.Rival{
			Key: v.rec.key, Addresses: capped(d.Addresses, maxRivalLines), Claims: capped(d.Claims, maxRivalLines), Vendor: d.Vendor, Model: d.Model,
			LastSeen: d.LastSeen.Truncate(seenEvery), Evidence: capped(v.evidence, maxRivalLines),
		})
	}
	if len(c.Rivals) == 0 {
		return nil
	}
	slices.SortFunc(c.Rivals, func(a, b fleet.Rival) int { return strings.Compare(a.Key, b.Key) })
	c.Rivals = capped(c.Rivals, maxRivals)
	return &c
}

// conflictReason says what contradicts, and the fix.
func conflictReason(c *fleet.Conflict) string {
	v := c.Rivals[0]
	at := v.Key
	if len(v.Addresses) > 0 {
		at = v.Addresses[0].String()
	}
	shared := "the same evidence"
	if i := slices.IndexFunc(v.Evidence, func(e fleet.Evidence) bool { return e.Weight > 0 }); i >= 0 {
		shared = "the same " + v.Evidence[i].Kind + " " + v.Evidence[i].Value
	}
	more := ""
	if n := len(c.Rivals) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more", n)
	}
	return fmt.Sprintf("the device at %s%s has %s, and other evidence contradicts: say whether they are one with `cameras resolve`", at, more, shared)
}
