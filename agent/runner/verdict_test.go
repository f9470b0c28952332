package runner

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/fleet/calendar"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// scores are those of photographs from the tests of PDQ's authors, and of the
// same ones blurred: each sample the mean of 7x7, twice. The lamp and the wall
// are made up, for what must not be said of such pictures.
var scores = []struct {
	name string
	q    fleet.Quality
	want calendar.Verdict
}{
	{"bridge", fleet.Quality{Mean: 117.7, Contrast: 59.2, Sharpness: 662.2}, fine},
	{"haze", fleet.Quality{Mean: 160.7, Contrast: 5.5, Sharpness: 6.1, Dark: 0.0001}, fine},
	{"pale", fleet.Quality{Mean: 192, Contrast: 11.7, Sharpness: 30.9}, fine},
	{"soft, and sharp enough", fleet.Quality{Mean: 164.1, Contrast: 50, Sharpness: 78.3, Dark: 0.0001}, fine},
	{"half dark", fleet.Quality{Mean: 125, Contrast: 114.2, Sharpness: 2321.5, Dark: 0.4}, fine},
	{"a lamp in the night", fleet.Quality{Mean: 11, Contrast: 31, Sharpness: 140, Dark: 0.94, Bright: 0.02}, fine},
	{"bridge, blurred", fleet.Quality{Mean: 117.7, Contrast: 55.4, Sharpness: 3.1}, calendar.VerdictBlurred},
	{"pale, blurred", fleet.Quality{Mean: 192, Contrast: 10.9, Sharpness: 1.2}, calendar.VerdictBlurred},
	{"soft, blurred", fleet.Quality{Mean: 164.1, Contrast: 49.3, Sharpness: 1.5}, calendar.VerdictBlurred},
	{"half dark, blurred", fleet.Quality{Mean: 125, Contrast: 80.3, Sharpness: 36.6, Dark: 0.3}, calendar.VerdictBlurred},
	{"wee, blurred", fleet.Quality{Mean: 132, Contrast: 33.5, Sharpness: 8.2}, calendar.VerdictBlurred},
	{"a wall", fleet.Quality{Mean: 90, Contrast: 2, Sharpness: 0.1}, fine},
	{"black", fleet.Quality{Mean: 0.003, Contrast: 0.07, Sharpness: 0.001, Dark: 1}, calendar.VerdictBlack},
	{"black with a clock drawn over it", fleet.Quality{Mean: 2.8, Contrast: 14.3, Sharpness: 636.1, Dark: 0.996, Bright: 0.0025}, calendar.VerdictBlack},
}

func TestVerdicts(t *testing.T) {
	for _, c := range scores {
		if got := (shot{reading: fleet.Reading{Quality: c.q}}).verdict(); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := (shot{err: fleet.Errorf(fleet.CauseCorrupt, "x")}).verdict(); got != calendar.VerdictCorrupt {
		t.Errorf("corrupt: %q", got)
	}
	if got := (shot{err: errors.New("x")}).verdict(); got != fine {
		t.Errorf("no codec: %q", got)
	}
}

// TestVerdictsOfFrames reads frames of virtual cameras, good and black ones.
func TestVerdictsOfFrames(t *testing.T) {
	town, err := camtest.New(camtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- town.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	<-town.Ready()
	r, err := capture.New(capture.Options{NoThumbnail: true})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for fault, want := range map[camtest.Fault]calendar.Verdict{"": fine, camtest.Black: calendar.VerdictBlack, camtest.Covered: fine, camtest.OverExposed: fine} {
		if fault != "" {
			if err := town.SetFault("*", fault, true); err != nil {
				t.Fatal(err)
			}
		}
		seen := 0
		for _, c := range town.Cameras() {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Snapshot, nil)
			if err != nil || c.Snapshot == "" {
				continue
			}
			login := town.Credentials()
			req.SetBasicAuth(login.User, login.Password.Reveal())
			res, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || res.StatusCode != http.StatusOK {
				continue // it wants a digest
			}
			reading, err := r.Read(ctx, fleet.Frame{Data: b, Codec: fleet.JPEG})
			if err != nil {
				t.Fatal(err)
			}
			seen++
			if got := (shot{reading: reading}).verdict(); got != want {
				t.Errorf("%s %q: %q, want %q: %+v", c.Name, fault, got, want, reading.Quality)
			}
		}
		if seen == 0 {
			t.Fatal("no camera gave a frame")
		}
		if fault != "" {
			if err := town.SetFault("*", fault, false); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestBetter: the list goes from the best to the worst, and of two equal frames
// the first is kept.
func TestBetter(t *testing.T) {
	of := func(q fleet.Quality) shot { return shot{reading: fleet.Reading{Quality: q}} }
	order := []shot{
		of(fleet.Quality{Contrast: 50, Sharpness: 900}),
		of(fleet.Quality{Contrast: 50, Sharpness: 300}),
		of(fleet.Quality{Contrast: 50, Sharpness: 15}),
		of(fleet.Quality{Contrast: 50, Sharpness: 3}),
		of(fleet.Quality{Contrast: 14, Sharpness: 600, Dark: 0.99}),
		of(fleet.Quality{Contrast: 1, Sharpness: 700, Dark: 1}),
		{err: fleet.Errorf(fleet.CauseCorrupt, "cut short")},
	}
	for i, a := range order {
		for j, b := range order {
			if got := a.better(b); got != (i < j) {
				t.Errorf("frame %d is better than %d: %v", i, j, got)
			}
		}
	}
}
