// Package labelled makes sequences of frames of which it is known what is wrong
// with them, and counts what is said of them.
//
//	seed ──► place ──a day of ordinary frames──► the camera knows its scene
//	                 └─ an event, by day or night ──► frames ──► Shots ──Judge──► Outcome ──► Tally
//	take: scene, light ─► weather ─► lens ─► exposure ─► noise ─► codec ─► capture.Reader ─► Shot
//
// What is drawn is the scenes of camtest, each framed, mirrored and lit by its
// seed. Frames go through an encoder for JPEG or H.264 at a camera's quality and
// are read as the agent reads them. Scenes of even numbers are for choosing limits, those of
// odd ones for saying how good they are. The same Set makes the same frames.
package labelled

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Half names the scenes that limits are chosen on, or the others.
type Half string

// The halves.
const (
	Tuning    Half = "tuning"    // even seeds
	Reporting Half = "reporting" // odd seeds
)

// Set says which frames there are.
type Set struct {
	Scenes int         // how many
	Half   Half        // which
	Seed   uint64      // moves all scenes' seeds
	Width  int         // scenes made at a time
	Codec  fleet.Codec // JPEG, or H264, which takes an FFmpeg with libx264; default JPEG
}

// Event is one thing that happens before a camera that has learned its scene.
type Event struct {
	Scene    int
	Place    string // what is drawn
	Night    bool
	Kind     quality.Kind // what is true; Ok of what is no fault
	Variant  string       // of the fault, or the name of what is none
	Strength Strength     // of a fault
}

// Sequence is an event's frames, one a minute.
type Sequence struct {
	Event
	Shots []Shot
}

// Reel is all that one camera takes.
type Reel struct {
	Scene  int
	Learn  []Shot        // a day of ordinary frames, one every quarter of an hour
	Before [2]Shot       // the ordinary frame before each event by day, and by night
	Events [2][]Sequence // likewise
}

// frames is how many an event has: a verdict lasts from its second one on.
const frames = 2

// negativeFrames is how many what is no fault has.
const negativeFrames = 3

// ordinaryFrames is how many of them follow by each light.
const ordinaryFrames = 12

// Shoot makes all reels, several at a time, and hands each to done as it is
// ready, one at a time. Reels come in any order.
func (s Set) Shoot(ctx context.Context, done func(*Reel) error) error {
	ready := make(chan *Reel)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(ready)
		work, ctx := errgroup.WithContext(ctx)
		work.SetLimit(max(1, s.Width))
		for n := range s.Scenes {
			work.Go(func() error {
				r, err := s.reel(ctx, n)
				if err != nil {
					return fmt.Errorf("scene %d: %w", n, err)
				}
				select {
				case ready <- r:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			})
		}
		return work.Wait()
	})
	g.Go(func() error {
		for r := range ready {
			if err := done(r); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// seed is the one of scene n.
func (s Set) seed(n int) uint64 {
	seed := s.Seed*2_000_003 + 2*uint64(n)
	if s.Half == Reporting {
		seed++
	}
	return seed
}

func (s Set) reel(ctx context.Context, n int) (r *Reel, err error) {
	all := sites()
	here, err := newPlace(all[n%len(all)], s.seed(n))
	if err != nil {
		return nil, err
	}
	other, err := newPlace(all[(n+1+n/len(all))%len(all)], s.seed(n)+1_000_000)
	if err != nil {
		return nil, err
	}
	st, err := newStudio(here, other, cmp.Or(s.Codec, fleet.JPEG))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	r = &Reel{Scene: n}
	first := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 24 * 4 {
		at := first.Add(time.Duration(i)*15*time.Minute + time.Duration(st.rng.IntN(600))*time.Second)
		shot, err := st.shoot(ctx, take{at: at, night: daylight(at) < 0.5, day: daylight(at)})
		if err != nil {
			return nil, err
		}
		r.Learn = append(r.Learn, shot)
	}
	for i, hour := range []float64{11 + 4*st.rng.Float64(), 23 + 4*st.rng.Float64()} {
		at := first.AddDate(0, 0, 1).Add(time.Duration(hour * float64(time.Hour))).Truncate(time.Second)
		if err := s.events(ctx, st, r, i, at); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// events takes what happens by one light around a time.
func (s Set) events(ctx context.Context, st *studio, r *Reel, i int, at time.Time) (err error) {
	night := i == 1
	usual := take{at: at, night: night, day: daylight(at)}
	minute := func(part int) take {
		t := usual
		t.part, t.at = part, at.Add(time.Duration(part+1)*time.Minute)
		return t
	}
	if r.Before[i], err = st.shoot(ctx, usual); err != nil {
		return err
	}
	st.keep(at)
	sequence := func(e Event, n int, change func(t *take, rng *rand.Rand)) error {
		st.restore()
		e.Scene, e.Place, e.Night = r.Scene, string(st.place.site.scene), night
		seed := st.rng.Uint64()
		q := Sequence{Event: e}
		for part := range n {
			t := minute(part)
			change(&t, rand.New(rand.NewPCG(seed, 3))) // the same thing in each frame
			shot, err := st.shoot(ctx, t)
			if err != nil {
				return err
			}
			q.Shots = append(q.Shots, shot)
		}
		if e.Kind != quality.Ok && q.Shots[0].Void {
			q.Kind = quality.Black // whatever made it so
		}
		r.Events[i] = append(r.Events[i], q)
		return nil
	}
	for _, f := range Faults() {
		for strength := range Strengths {
			err := sequence(Event{Kind: f.Kind, Variant: f.Variant, Strength: strength}, frames, func(t *take, rng *rand.Rand) {
				f.do(t, f.level(strength, night), rng)
			})
			if err != nil {
				return err
			}
		}
	}
	for _, n := range Negatives() {
		count := negativeFrames
		if n.Name == Ordinary {
			count = ordinaryFrames
		}
		err := sequence(Event{Variant: n.Name}, count, func(t *take, rng *rand.Rand) {
			if n.Name == Ordinary {
				t.at = t.at.Add(time.Duration(t.part*13) * time.Minute)
				t.day = daylight(t.at)
			}
			n.do(t, rng)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Said is what was said of one frame. One that cannot be read at all is told by
// its capture, which fails as corrupt.
type Said struct {
	Kind, Lasting quality.Kind
}

// Outcome is what was said of an event.
type Outcome struct {
	Event
	Said []Said
}

// Judge has the verdict said on each event of a reel, by a camera that has seen
// its day and the ordinary frame before, and nothing of the other events.
func (r *Reel) Judge(o quality.Options, said func(Outcome)) {
	var learned quality.State
	show := func(s quality.State, shot *Shot) (quality.Verdict, quality.State) {
		x := shot.Sample
		x.Scores = &shot.Scores
		return quality.Judge(o, s, x)
	}
	for i := range r.Learn {
		_, learned = show(learned, &r.Learn[i])
	}
	for i := range r.Before {
		_, before := show(learned, &r.Before[i])
		for _, q := range r.Events[i] {
			state, out := before, Outcome{Event: q.Event}
			for k := range q.Shots {
				if q.Shots[k].Failed {
					out.Said = append(out.Said, Said{quality.Corrupt, quality.Corrupt})
					continue
				}
				var v quality.Verdict
				v, state = show(state, &q.Shots[k])
				out.Said = append(out.Said, Said{v.Kind, v.Lasting})
			}
			said(out)
		}
	}
}

// Kinds returns all that can be said but Ok, as they are numbered.
func Kinds() (all []quality.Kind) {
	for _, f := range Faults() {
		if !slices.Contains(all, f.Kind) {
			all = append(all, f.Kind)
		}
	}
	slices.Sort(all)
	return all
}
