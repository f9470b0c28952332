package inventory

import (
	"fmt"
	"math/bits"
	"net/url"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	// sceneBits is how many bits of a pHash two frames of one scene differ by at
	// most: re-encoded and noisy frames stay below it, other scenes lie around 32.
	sceneBits = 8

	// keptScenes is how many of a device's latest different scenes are kept: day
	// and night, doors open and shut.
	keptScenes = 8
)

// view is one frame that was taken.
type view struct {
	hash uint64
	at   time.Time
}

// scene is what a device looked at lately.
type scene struct {
	hashes []uint64 // latest last, at most keptScenes
	at     time.Time
}

// Seen tells the pHash of a frame that was taken of a device now. Only devices
// without any name of their own are compared by it, and never merged: a new
// one that shows what a lost one showed is in conflict with it until an
// operator decides.
func (v *Inventory) Seen(device string, phash uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[string]view{}
	}
	if _, ok := v.seen[device]; ok || len(v.seen) < maxScenes {
		v.seen[device] = view{phash, time.Now()}
	}
}

func (v *Inventory) views() map[string]view {
	v.mu.Lock()
	defer v.mu.Unlock()
	seen := v.seen
	v.seen = nil
	return seen
}

// looked takes in what was seen.
func (b *book) looked(views map[string]view) {
	for key, v := range views {
		s := b.scenes[key]
		if s == nil {
			if len(b.scenes) >= maxScenes {
				continue
			}
			s = &scene{}
			b.scenes[key] = s
		}
		s.at = v.at
		s.hashes = slices.DeleteFunc(s.hashes, func(h uint64) bool { return h == v.hash })
		s.hashes = append(s.hashes, v.hash)
		s.hashes = s.hashes[max(0, len(s.hashes)-keptScenes):]
	}
}

// likenesses finds devices without names that show what a lost one showed.
func (b *book) likenesses(now time.Time) {
	if len(b.scenes) < 2 {
		return
	}
	type kind struct{ vendor, model, path string }
	lost, there := map[kind][]*record{}, map[kind][]*record{}
	for _, r := range b.records {
		s := b.scenes[r.key]
		k := kind{r.device.Vendor, r.device.Model, r.path()}
		switch {
		case s == nil || r.strong():
		case r.lost(s, now):
			lost[k] = append(lost[k], r)
		default:
			there[k] = append(there[k], r)
		}
	}
	for k, gone := range lost {
		b.compare(gone, there[k])
	}
}

// compare puts lost devices in conflict with those that show what they showed.
func (b *book) compare(lost, there []*record) {
	for _, l := range lost {
		for _, r := range there {
			old, fresh := b.scenes[l.key], b.scenes[r.key]
			if r.created.Before(old.at) || b.apart(l, r) || b.apart(r, l) {
				continue
			}
			near := slices.IndexFunc(old.hashes, func(h uint64) bool { return bits.OnesCount64(h^fresh.hashes[0]) <= sceneBits })
			if near < 0 {
				continue
			}
			// Not the hash itself: it may be of a frame from before the camera got
			// a mask, and would leave the box.
			differ := bits.OnesCount64(old.hashes[near] ^ fresh.hashes[0])
			e := []fleet.Evidence{{Kind: string(fleet.ClaimScene), Value: fmt.Sprintf("%d of 64 bits differ", differ), Weight: weights[string(fleet.ClaimScene)]}}
			l.rivals, r.rivals = append(l.rivals, rival{r, e}), append(r.rivals, rival{l, e})
		}
	}
}

// strong reports whether r has a name that is its own.
func (r *record) strong() bool {
	return slices.ContainsFunc(r.device.Claims, func(c fleet.Claim) bool {
		switch c.Kind {
		case fleet.ClaimEPR, fleet.ClaimUDN, fleet.ClaimMAC, fleet.ClaimSerial, fleet.ClaimTLSKey:
			return !slices.ContainsFunc(r.device.Evidence, func(e fleet.Evidence) bool { return e.Junk && e.Value == c.Value })
		}
		return false
	})
}

// lost reports whether r neither answers nor is photographed any more.
func (r *record) lost(s *scene, now time.Time) bool {
	return now.Sub(s.at) >= silentAfter && (r.lastHeard().IsZero() || r.silent(now) || r.cluster.gone())
}

// path returns what follows the host in r's first address.
func (r *record) path() string {
	if len(r.device.Endpoints) == 0 {
		return ""
	}
	u, err := url.Parse(r.device.Endpoints[0].URL)
	if err != nil {
		return ""
	}
	return u.Scheme + " " + u.RequestURI()
}

// apart reports whether an operator decided that r is none of a's.
func (b *book) apart(a, r *record) bool {
	return slices.ContainsFunc(b.known[a.key], func(t fleet.Target) bool {
		return slices.ContainsFunc(t.Apart, func(name string) bool {
			return name == r.key || slices.ContainsFunc(r.cluster.obs, func(o observation) bool { return o.goesBy(name) || slices.Contains(o.names(), name) })
		})
	})
}
