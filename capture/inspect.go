package capture

import (
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/jpeg"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// Stage is a part of reading a frame that is worth a figure of its own.
type Stage string

// The stages, in the order in which they end.
const (
	StageDecode      Stage = "decode"
	StageSHA256      Stage = "sha256"
	StageFingerprint Stage = "fingerprint"
	StageQuality     Stage = "quality"
	StageThumbnail   Stage = "thumbnail"
)

// Probe says how to read one frame, and looks into it. Its functions run in the
// goroutine of Inspect; nil ones are not called. The zero Probe is how Read does it.
type Probe struct {
	// Mask hides parts of the picture from all that is computed. It must have
	// passed Check. Under a mask, pictures that FFmpeg decodes have thumbnails
	// without color: those that it makes itself show everything.
	Mask *fleet.Mask
	// Deblock asks for the loop filter of H.264 frames, whose luma is then the
	// standard's sample by sample. A Reader's own choice is what is cheapest to
	// fingerprint. Inspection.Deblocked says what was done.
	Deblock bool
	// Done is called when a stage has ended; a clock is the caller's affair.
	Done func(Stage)

	// Judge says the verdict, as ReadJudged has it; nil for none.
	Judge Judge
	// Detail, if not nil, is set to how a JPEG's contrast divides among its
	// frequencies: a measure of its focus that needs no other picture.
	Detail *jpeg.Detail
	// Dihedral, if not nil, is set to the PDQ hashes of the picture turned and
	// mirrored, where it has a fingerprint.
	Dihedral *pdq.Dihedral
	// Luma sees the decoded plane, before a mask, which is valid until it returns. Its error
	// ends the reading.
	Luma func(codec.Plane) error
}

// Inspection is a reading and how it came about.
type Inspection struct {
	fleet.Reading
	Decoder   string  // "jpeg", "h264", "png", "pgm": this package's own; "opencv" in builds with the tag gocv; "ffmpeg"
	Missing   float32 // share of the picture that did not come; 0 of a whole one
	Deblocked bool    // the loop filter of a video frame was applied
}

// Inspect is Read for those who mask parts of the picture or want to see how:
// the same reading, by the same code.
func (r *Reader) Inspect(ctx context.Context, f fleet.Frame, p Probe) (Inspection, error) {
	in := Inspection{}
	var err error
	in.Reading, err = r.read(ctx, f, &p, &in)
	return in, err
}

func (p *Probe) done(s Stage) {
	if p.Done != nil {
		p.Done(s)
	}
}

// decoded ends the first stage and shows its plane.
func (p *Probe) decoded(plane codec.Plane) error {
	p.done(StageDecode)
	if p.Luma == nil {
		return nil
	}
	return p.Luma(plane)
}
