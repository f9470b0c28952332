package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// fingerprinted is one file's object: what was read, or why it was not.
type fingerprinted struct {
	File string `json:"file"`
	*PictureReading
	Error string      `json:"error,omitempty"`
	Cause fleet.Cause `json:"cause,omitempty"`

	notes []string // for stderr, beside the object
}

// PictureReading is what was read of a picture. It is exported for the sake of
// encoding/json, which sets embedded pointers of exported types alone.
type PictureReading struct {
	Width      int           `json:"width"`
	Height     int           `json:"height"`
	Codec      fleet.Codec   `json:"codec"`
	Decoder    string        `json:"decoder"`
	Deblocked  bool          `json:"deblocked"`    // the loop filter of a video frame was applied
	PDQ        fleet.PDQ     `json:"pdq,omitzero"` // absent, as pHash is, of a damaged picture, one that is too small, and one all black
	PDQQuality int           `json:"pdq_quality"`
	PHash      fleet.PHash   `json:"phash,omitzero"`
	Dihedral   *DihedralPDQ  `json:"pdq_dihedral,omitempty"` // with --dihedral
	SHA256     string        `json:"sha256"`                 // of the frame: of a stream, its first key frame
	Mask       fleet.MaskSum `json:"mask,omitzero"`          // of --mask: hashes under different masks do not compare
	Quality    fleet.Quality `json:"quality"`
	Focus      jpeg.Focus    `json:"focus,omitempty"` // of a JPEG of which nothing is hidden: sharp, soft or blurred
	PictureVerdict
	MS map[string]float64 `json:"ms"` // by stage
}

// read reads the picture of a file's data. Of a damaged one there is a reading
// beside the error. What a person should know besides goes to note.
func (v *fingerprintVerb) read(ctx context.Context, data []byte, judge capture.Judge, note func(format string, args ...any)) (*PictureReading, error) {
	f, err := frameOf(data)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(v.reader.Codecs(), fleet.H265) && (f.Codec == codec.MP4 || f.Codec == fleet.H265) {
		return nil, codec.Unsupported("%s is read by ffmpeg, which is not on the PATH: install it (for example `apt-get install ffmpeg`)", pictureNames[f.Codec])
	}
	ms := map[string]float64{}
	began := time.Now()
	last := began
	// Focus is of all of the picture, before the mask.
	var detail jpeg.Detail
	asked := &detail
	if !v.mask.Empty() {
		asked = nil
	}
	var turned *pdq.Dihedral
	if v.dihedral {
		turned = new(pdq.Dihedral)
	}
	in, err := v.reader.Inspect(ctx, f, capture.Probe{
		Mask: v.mask, Deblock: v.deblock, Detail: asked, Dihedral: turned, Judge: judge,
		Done: func(s capture.Stage) {
			now := time.Now()
			ms[string(s)] = milliseconds(now.Sub(last))
			last = now
		},
		Luma: func(p codec.Plane) error {
			if v.dumpLuma == "" {
				return nil
			}
			defer func() { last = time.Now() }() // no part of the next stage
			return writePGM(v.dumpLuma, p)
		},
	})
	if err != nil {
		return nil, err
	}
	total := 0.0
	for s, t := range ms {
		total += t
		ms[s] = microsecond(t)
	}
	ms["total"] = microsecond(total)
	if v.deblock && !in.Deblocked {
		if f.Codec == fleet.H264 || f.Codec == fleet.H265 {
			note("--deblock was not honoured: the %s decoder has no loop filter", in.Decoder)
		} else {
			note("--deblock changes nothing: a %s has no loop filter", f.Codec)
		}
	}
	if !v.deblock && in.Deblocked && v.dumpLuma != "" {
		note("the plane is deblocked: %s always applies the loop filter", in.Decoder)
	}
	res := &PictureReading{
		Width: int(in.Width), Height: int(in.Height), Codec: f.Codec, Decoder: in.Decoder, Deblocked: in.Deblocked,
		PDQ: in.Fingerprint.PDQ, PDQQuality: int(in.Fingerprint.PDQQuality), PHash: in.Fingerprint.PHash, Mask: in.Fingerprint.Mask,
		SHA256: hex.EncodeToString(in.SHA256[:]), Quality: in.Quality, Focus: detail.Focus(), PictureVerdict: verdictOf(in.Verdict), MS: ms,
	}
	if turned != nil && in.Fingerprint.PDQ != (fleet.PDQ{}) {
		res.Dihedral = (*DihedralPDQ)(turned)
	}
	if in.Missing > 0 {
		return res, codec.Corrupt("%.1f %% of the picture is missing: it has no fingerprint", 100*in.Missing)
	}
	return res, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// microsecond rounds milliseconds: what is less is noise, and a number that YAML
// takes for a text.
func microsecond(ms float64) float64 { return math.Round(1000*ms) / 1000 }

// writePGM writes a plane without its padding.
func writePGM(file string, p codec.Plane) error {
	b := fmt.Appendf(nil, "P5\n%d %d\n255\n", p.Width, p.Height)
	for y := range p.Height {
		b = append(b, p.Row(y)...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return fmt.Errorf("--dump-luma: %w: name a file that can be written", err)
	}
	return nil
}
