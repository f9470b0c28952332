package agent_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/agent"
	"github.com/shutterfleet/shutterfleet/agent/runner"
	"github.com/shutterfleet/shutterfleet/agent/store"
	"github.com/shutterfleet/shutterfleet/agent/uplink"
	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestLooksUnderAMask: when a camera's mask changes, how it looks is learned
// anew, once; a restart knows under which mask it was learned.
func TestLooksUnderAMask(t *testing.T) {
	notes := &slips{}
	var mask *fleet.Mask
	var missing error
	looks := func() *agent.Looks {
		return agent.NewLooks(&still{}, notes, agent.LooksOptions{Masks: func(fleet.CameraID) (*fleet.Mask, error) { return mask, missing }})
	}
	l, now, n := looks(), time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC), uint64(0)
	next := func() fleet.Verdict {
		t.Helper()
		n++
		now = now.Add(time.Minute)
		v, keep := judged(t, l, 1, shotOf(1, n, now))
		keep()
		return v
	}
	learn := func(what string) {
		t.Helper()
		for i := range 20 {
			if v := next(); v.Fault != fleet.FaultNone || v.Learning != (i < 16) {
				t.Fatalf("%s: frame %d: %+v", what, i, v)
			}
		}
	}
	half := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}}
	learn("without a mask")
	mask = half
	learn("under its first mask")
	l.Save()
	l = looks()
	if v := next(); v.Learning {
		t.Error("a restart forgets what was learned under the mask")
	}
	l.Save()
	mask, l = nil, looks()
	learn("without a mask, after a restart")
	mask = half
	learn("under a mask again")
	l.Save()
	mask = &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.25, Height: 1}}}
	l = looks()
	learn("under another mask, after a restart")

	missing = fleet.Errorf(fleet.CauseMask, "it has not come")
	r, keep, err := l.Judge(t.Context(), 1, shotOf(1, 1, now))
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseMask || keep != nil || r.SHA256 != ([32]byte{}) {
		t.Errorf("a camera whose mask is missing is read: %+v, %v", r, err)
	}
}

// slow is a LookReader in whose readings something happens.
type slow struct {
	still
	meanwhile func()
	under     []fleet.MaskSum
}

func (s *slow) ReadJudged(ctx context.Context, f fleet.Frame, m *fleet.Mask, judge capture.Judge) (fleet.Reading, error) {
	s.under = append(s.under, m.Sum())
	if s.meanwhile != nil {
		s.meanwhile()
	}
	r, err := s.still.ReadJudged(ctx, f, m, judge)
	r.Fingerprint.Mask = m.Sum()
	return r, err
}

// TestMaskChangesWhileAFrameIsRead: nothing is told of a frame that was read
// under the mask of before. It is read under that of now, and teaches how the
// camera looks under it.
func TestMaskChangesWhileAFrameIsRead(t *testing.T) {
	share := func(v float64) *fleet.Mask {
		return &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: v, Height: 1}}}
	}
	masks := []*fleet.Mask{nil, share(0.5), share(0.25), share(0.75)}
	at := time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)
	missing := fleet.Errorf(fleet.CauseMask, "it has not come")
	for name, c := range map[string]struct {
		changes, reads int
		lost           bool
	}{
		"it stays":               {0, 1, false},
		"it changes":             {1, 2, false},
		"it changes again":       {2, 3, false},
		"it does not end":        {3, 3, true},
		"nobody knows it at all": {-1, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			mask, unknown := 0, error(nil)
			r := &slow{}
			l := agent.NewLooks(r, &slips{}, agent.LooksOptions{Masks: func(fleet.CameraID) (*fleet.Mask, error) { return masks[mask], unknown }})
			r.meanwhile = func() {
				if mask < c.changes {
					mask++
				}
				if c.changes < 0 {
					unknown = missing
				}
			}
			res, keep, err := l.Judge(t.Context(), 1, shotOf(1, 1, at))
			if len(r.under) != c.reads {
				t.Errorf("it was read under %q", r.under)
			}
			if c.lost {
				if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseMask || keep != nil || res.SHA256 != ([32]byte{}) {
					t.Errorf("%+v, %v", res, err)
				}
				return
			}
			if err != nil || keep == nil || res.Verdict.Fault != fleet.FaultNone || res.Fingerprint.Mask != masks[c.changes].Sum() {
				t.Errorf("%+v under %s, %v", res.Verdict, res.Fingerprint.Mask, err)
			}
		})
	}
}

// TestLooksAskTheAgentsStore: Looks that nobody tells of masks know those of the
// agent that they are given to, and look at no camera of others.
func TestLooksAskTheAgentsStore(t *testing.T) {
	s := openNotes(t, t.TempDir()+"/agent.db")
	defer s.Close() //nolint:errcheck // nothing is kept
	half := fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.5, Height: 1}}}
	must(t, s.SetCameras(t.Context(), store.Cameras{Full: true, Put: []fleet.Target{
		{Camera: 1}, {Camera: 2, Mask: fleet.CameraMask{Revision: 1, Mask: half}}, {Camera: 3, Mask: fleet.CameraMask{Revision: 1}},
	}}, 1, 1))
	u, err := uplink.New(agent.Memory{Store: s}, uplink.Options{Server: "centre:7443", SiteKey: fleet.SiteKey{Site: "lab"}.Text()})
	must(t, err)
	r := &slow{}
	l := agent.NewLooks(r, s, agent.LooksOptions{})
	grabber := &cams{}
	_, err = agent.New(s, grabber, grabber, runner.Options{}, u, lan{make(chan struct{}, 1), grabber}, agent.Options{Looks: l})
	must(t, err)
	for camera, want := range map[fleet.CameraID]fleet.Cause{1: "", 2: "", 3: fleet.CauseMask, 4: fleet.CauseInternal} {
		r.under = nil
		_, _, err := l.Judge(t.Context(), camera, shotOf(1, 1, time.Date(2027, 3, 1, 9, 0, 0, 0, time.UTC)))
		ce, _ := errors.AsType[*fleet.CameraError](err)
		if (err == nil) != (want == "") || ce != nil && ce.Cause != want || (len(r.under) == 1) != (want == "") || camera == 2 && r.under[0] != half.Sum() {
			t.Errorf("camera %d: %v, read under %q", camera, err, r.under)
		}
	}
}

// TestMaskHidesFromLooks: what lies behind the mask raises no fault, and what
// lies beside it does.
func TestMaskHidesFromLooks(t *testing.T) {
	reader, err := capture.New(capture.Options{})
	must(t, err)
	mask := &fleet.Mask{Rectangles: []fleet.Rectangle{{Width: 0.75, Height: 1}}} // 384 columns of 512
	for name, m := range map[string]*fleet.Mask{"without": nil, "under": mask} {
		s := openNotes(t, t.TempDir()+"/agent.db")
		cam := newLens(t, "gate")
		l := agent.NewLooks(reader, s, agent.LooksOptions{Judge: quality.Options{}, Masks: func(fleet.CameraID) (*fleet.Mask, error) { return m, nil }})
		for range 18 {
			see(t, l, cam.frame())
		}
		for columns, want := range map[int]bool{370: m == nil, 500: true} {
			cam.covered = columns
			if v := see(t, l, cam.frame()); (v.Fault == fleet.FaultCovered) != want {
				t.Errorf("%s a mask, a cloth over %d columns: %+v", name, columns, v)
			}
		}
		must(t, s.Close())
	}
}
