package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
)

// PictureVerdict is what is wrong with a picture: the word, and beside it what
// the API has in its verdicts, in the same fields. It is exported for the sake of
// encoding/json.
type PictureVerdict struct {
	Verdict  fleet.Fault            `json:"verdict"`
	Lasting  fleet.Fault            `json:"lasting,omitempty"`
	Learning bool                   `json:"learning"`
	Score    float32                `json:"score,omitempty"`
	Evidence *admin.VerdictEvidence `json:"evidence,omitempty"`
	Shift    *admin.Shift           `json:"shift,omitempty"`
}

func verdictOf(v fleet.Verdict) PictureVerdict {
	// A picture that is too small to be judged has nothing wrong that is known.
	p := PictureVerdict{Verdict: cmp.Or(v.Fault, fleet.FaultNone), Lasting: v.Lasting, Learning: v.Learning || v.Fault == fleet.NotJudged, Score: v.Score}
	if v.Bad() {
		p.Evidence = &admin.VerdictEvidence{Metric: v.Metric, Value: v.Value, Usual: v.Usual, Limit: v.Limit}
	}
	if v.Fault == fleet.FaultMoved {
		p.Shift = &admin.Shift{X: v.ShiftX, Y: v.ShiftY}
	}
	return p
}

// word is the verdict in a table: of frames of one camera also whether that is
// known yet, and how far it moved.
func (p PictureVerdict) word(camera bool) string {
	switch {
	case p.Shift != nil:
		return fmt.Sprintf("%s %+.0f%%,%+.0f%%", p.Verdict, 100*p.Shift.X, 100*p.Shift.Y)
	case camera && p.Verdict == fleet.FaultNone && p.Learning:
		return "learning"
	}
	return string(p.Verdict)
}

// stillJudge judges the pictures of files by the agents' rules: each as the first
// of an unknown camera, or all as frames of one.
type stillJudge struct {
	camera bool
	every  time.Duration

	state quality.State // of the files before: whose turn it is has it
}

// at returns who judges the picture of one file. Frames of a camera are judged in
// their order, whichever was read first.
func (j *stillJudge) at(ctx context.Context, p *pending) capture.Judge {
	if !j.camera {
		return func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
			v, _ := quality.Judge(quality.Options{}, quality.State{}, x)
			return v.Record()
		}
	}
	return func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
		select {
		case <-p.before:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // then nobody keeps the order any more, nor sees the verdict
			return fleet.Verdict{}
		}
		// Files do not tell when their pictures were taken: any day will do. One
		// that could not be read took its time as well.
		x.At = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(p.place) * j.every)
		var v quality.Verdict
		v, j.state = quality.Judge(quality.Options{}, j.state, x)
		return v.Record()
	}
}
