package capture_test

import (
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/capture/phash"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// TestReadJudged: a judge sees the scores and the grid of the frame that was
// read, beside its reading, and what it says is the reading's verdict.
func TestReadJudged(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true})
	data := pgmOf("clouds", 640, 360)
	at := time.Date(2027, 3, 1, 9, 0, 0, 0, time.FixedZone("there", 3600))
	said := fleet.Verdict{Fault: fleet.FaultMoved, ShiftX: 0.25}
	calls := 0
	res, err := r.ReadJudged(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: data, At: at}, nil, func(res *fleet.Reading, x quality.Sample) fleet.Verdict {
		calls++
		var pic codec.Picture
		if err := codec.DecodePGM(data, codec.Limits{}.WithDefaults(), &pic); err != nil {
			t.Fatal(err)
		}
		if want := quality.Score(pic.Y); *x.Scores != want {
			t.Errorf("scores %+v, want %+v", *x.Scores, want)
		}
		var h pdq.Hasher
		if hash := h.SumGrid(x.Grid); hash != res.Fingerprint.PDQ || hash == (fleet.PDQ{}) {
			t.Errorf("the grid hashes to %s, the reading says %s", hash, res.Fingerprint.PDQ)
		}
		if x.At != at || res.SHA256 == [32]byte{} {
			t.Errorf("the frame of %v, with the sum %x", x.At, res.SHA256)
		}
		return said
	})
	if err != nil || calls != 1 || res.Verdict != said {
		t.Errorf("%v after %d calls: %+v", err, calls, res.Verdict)
	}
	plain, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: data})
	if err != nil || plain.Verdict != (fleet.Verdict{}) || plain.Fingerprint != res.Fingerprint || plain.Quality != res.Quality {
		t.Errorf("%v: %+v", err, plain)
	}
}

// TestRange: what a stream says of its range comes to the judge. One that says
// nothing has studio range, and pictures of other kinds have all levels.
func TestRange(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true})
	wide := []string{"-pix_fmt", "yuvj420p", "-x264-params", "sar=7/5:overscan=show:videoformat=pal"}
	for _, x := range []struct {
		name   string
		frame  fleet.Frame
		studio bool
	}{
		{"nothing is said", fleet.Frame{Codec: fleet.H264, Data: encode(t, fleet.H264)}, true},
		{"all levels", fleet.Frame{Codec: fleet.H264, Data: encode(t, fleet.H264, wide...)}, false},
		{"studio range, said", fleet.Frame{Codec: fleet.H264, Data: encode(t, fleet.H264, "-x264-params", "videoformat=pal:fullrange=off")}, true},
		{"what FFmpeg decodes", fleet.Frame{Codec: fleet.H265, Data: encode(t, fleet.H265)}, true},
		{"a PGM after that", fleet.Frame{Codec: fleet.PGM, Data: pgmOf("clouds", 640, 360)}, false},
	} {
		_, err := r.ReadJudged(t.Context(), x.frame, nil, func(_ *fleet.Reading, s quality.Sample) fleet.Verdict {
			if s.Studio != x.studio {
				t.Errorf("%s: studio range is %v", x.name, s.Studio)
			}
			return fleet.Verdict{}
		})
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}

// TestTinyPicturesAreNotJudged: there is no grid of them.
func TestTinyPicturesAreNotJudged(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true})
	_, err := r.ReadJudged(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: []byte("P5 4 4 255\n0123456789abcdef")}, nil, func(*fleet.Reading, quality.Sample) fleet.Verdict {
		t.Error("judged")
		return fleet.Verdict{}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestRules: the number that captures carry stands for these versions. Whoever
// changes one of them gives the fleet a new number.
func TestRules(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true})
	res, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: pgmOf("clouds", 640, 360)})
	if err != nil || res.Fingerprint.Rules != fleet.RulesFirst || pdq.Version != "pdq-256/1" || phash.Version != "phash-64/2" {
		t.Errorf("%v: rules %d for %s and %s", err, res.Fingerprint.Rules, pdq.Version, phash.Version)
	}
}
