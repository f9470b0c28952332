package labelled

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/quality"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// picture is luma in levels, not clipped yet, row by row.
type picture []float32

// take is how one frame comes about, in the order of the light's way from the
// scene to the stream.
type take struct {
	at    time.Time
	night bool
	part  int                 // which frame of its event, from 0
	day   float64             // daylight, 0..1
	other bool                // the camera looks at another scene altogether
	move  aim                 // on top of how the camera stands; its zoom is a factor, 0 for none
	air   func(picture)       // between scene and lens
	lens  func(picture)       // before the lens
	blur  float64             // standard deviation, as a share of the width
	mean  float64             // which mean is exposed to; 0 for as it is
	gain  float64             // of the exposure, in levels; 0 for 1
	keep  float64             // share of the contrast that is left, once flat
	flat  float64             // level of a blank screen; 0 for none
	noise float64             // the sensor's; 0 for the ordinary one
	rows  func([]uint8)       // what becomes of the rows on the way
	tear  func([]byte) []byte // what becomes of the coded bytes; it may change them
	since time.Time           // what is before the camera stands since then; zero where it goes on
	again repeat
	clock bool // the clock goes on while the picture stands still
}

// repeat is how a camera hands out the frame before once more.
type repeat int

const (
	fresh     repeat = iota
	sameBytes        // the same bytes
	coded            // the same picture, coded anew
)

// Shot is what the agent's Judge gets to see of one frame.
type Shot struct {
	Scores quality.Scores
	Sample quality.Sample // points to Scores, and to a grid of its own
	Void   bool           // nothing reached the sensor: 98 % of the samples are at its floor
	Failed bool           // it cannot be read: the capture fails as corrupt, and nothing is judged
}

// studio takes the frames of one place. It keeps its memory from frame to frame.
type studio struct {
	place, other *place
	reader       *capture.Reader
	canvases     []canvas // the latest of them first
	pic, spare   picture
	gauss        []float32
	img          *image.Gray
	clean        []uint8 // the frame before, without its clock
	codec        fleet.Codec
	coders       [2]coder // the camera's, and that of what is coded anew; made when they are needed
	coded        []byte   // the frame before
	keptAt       time.Time
	kept         []uint8
	keptCoded    []byte
	rng          *rand.Rand
}

// canvas is what is drawn of a place at a time, and kept for the next event of
// that time.
type canvas struct {
	canvasKey
	pix    []float32
	framed picture // what an unmoved camera sees of it; empty until asked for
}

type canvasKey struct {
	at    time.Time
	day   float64
	other bool
}

// keptCanvases are as many as one light's events go around in.
const keptCanvases = 6

func (s *studio) canvas(p *place, key canvasKey) *canvas {
	i := slices.IndexFunc(s.canvases, func(c canvas) bool { return c.canvasKey == key })
	switch {
	case i >= 0:
		c := s.canvases[i]
		s.canvases = slices.Insert(slices.Delete(s.canvases, i, i+1), 0, c)
		return &s.canvases[0]
	case len(s.canvases) < keptCanvases:
		s.canvases = append(s.canvases, canvas{pix: make([]float32, canvasWidth*canvasHeight)})
	}
	last := len(s.canvases) - 1
	c := canvas{key, s.canvases[last].pix, s.canvases[last].framed[:0]}
	p.canvas(c.pix, key.at, key.day)
	s.canvases = slices.Insert(s.canvases[:last], 0, c)
	return &s.canvases[0]
}

func newStudio(p, other *place, c fleet.Codec) (*studio, error) {
	r, err := capture.New(capture.Options{Width: 1, NoThumbnail: true})
	if err != nil {
		return nil, err
	}
	s := &studio{place: p, other: other, reader: r, codec: c, rng: rand.New(rand.NewPCG(p.seed, 2))}
	s.pic, s.spare = make(picture, frameWidth*frameHeight), make(picture, frameWidth*frameHeight)
	s.clean = make([]uint8, frameWidth*frameHeight)
	s.gauss = make([]float32, 1<<16+frameWidth)
	for i := range s.gauss {
		s.gauss[i] = float32(s.rng.NormFloat64())
	}
	s.img = image.NewGray(image.Rect(0, 0, frameWidth, frameHeight))
	return s, nil
}

// shoot takes one frame, codes it, and reads it as the agent does.
func (s *studio) shoot(ctx context.Context, t take) (Shot, error) {
	other := 0
	switch t.again {
	case fresh:
		s.expose(t)
		copy(s.clean, s.img.Pix)
		s.stamp(t.at)
	case coded:
		copy(s.img.Pix, s.clean)
		if t.clock {
			s.stamp(t.at)
		} else {
			s.stamp(s.keptAt)
			other = 1
		}
	}
	void := 0
	for _, v := range s.img.Pix {
		if v <= 16 {
			void++
		}
	}
	if t.again != sameBytes {
		if err := s.code(ctx, other); err != nil {
			return Shot{}, err
		}
	}
	data := s.coded
	if t.tear != nil {
		data = t.tear(bytes.Clone(data))
	}
	shot := Shot{Void: void*100 >= 98*len(s.img.Pix)}
	_, err := s.reader.ReadJudged(ctx, fleet.Frame{Codec: s.codec, Data: data, At: t.at}, nil, func(_ *fleet.Reading, x quality.Sample) fleet.Verdict {
		shot.Scores = *x.Scores
		grid := *x.Grid
		shot.Sample = quality.Sample{Grid: &grid, At: x.At, Missing: x.Missing, Studio: x.Studio}
		return fleet.Verdict{}
	})
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok && t.tear != nil && ce.Cause == fleet.CauseCorrupt {
		shot.Failed, err = true, nil
	}
	if err != nil {
		return Shot{}, fmt.Errorf("read the frame of %s: %w", t.at.Format(time.DateTime), err)
	}
	return shot, nil
}

// code codes the picture, by the camera's coder or the other one.
func (s *studio) code(ctx context.Context, other int) error {
	if s.coders[other] == nil {
		c, err := newCoder(ctx, s.codec, other == 1)
		if err != nil {
			return err
		}
		s.coders[other] = c
	}
	data, err := s.coders[other].code(s.img)
	s.coded = append(s.coded[:0], data...)
	return err
}

// Close ends what the studio has started.
func (s *studio) Close() (err error) {
	for _, c := range s.coders {
		if c != nil {
			err = errors.Join(err, c.Close())
		}
	}
	return err
}

// expose makes the frame's samples.
func (s *studio) expose(t take) {
	p := s.place
	if t.other {
		p = s.other
	}
	now := t.at
	if !t.since.IsZero() {
		now = t.since
	}
	seen := s.canvas(p, canvasKey{now, t.day, t.other})
	a := s.place.aim
	a.x, a.y, a.roll = a.x+t.move.x, a.y+t.move.y, a.roll+t.move.roll
	if t.move.zoom > 0 {
		a.zoom *= t.move.zoom
	}
	if t.move != (aim{}) || len(seen.framed) == 0 {
		s.place.frame(s.pic, seen.pix, a, t.day)
		if t.move == (aim{}) {
			seen.framed = append(seen.framed, s.pic...)
		}
	} else {
		copy(s.pic, seen.framed)
	}
	if t.air != nil {
		t.air(s.pic)
	}
	if t.lens != nil {
		t.lens(s.pic)
	}
	if t.blur > 0 {
		soften(s.pic, s.spare, t.blur*frameWidth)
	}
	gain := float32(1)
	if t.gain > 0 {
		gain = float32(t.gain)
	}
	var mean float32
	if t.mean > 0 || t.flat > 0 {
		for _, v := range s.pic {
			mean += v / frameWidth / frameHeight
		}
	}
	if t.mean > 0 {
		gain = float32(t.mean) / max(mean, 1)
	}
	sigma := t.noise
	if sigma == 0 {
		sigma = s.place.sigma[1]*(1-t.day) + s.place.sigma[0]*t.day
	}
	for y := range frameHeight {
		g := s.gauss[s.rng.IntN(1<<16):][:frameWidth]
		row := s.pic[y*frameWidth:][:frameWidth]
		out := s.img.Pix[y*s.img.Stride:][:frameWidth]
		for x, v := range row {
			if t.flat > 0 {
				v = float32(t.flat) + (v-mean)*float32(t.keep)
			}
			v = v*gain + float32(sigma)*g[x]
			out[x] = uint8(max(0, min(255, v+0.5)))
		}
	}
	if t.rows != nil {
		t.rows(s.img.Pix)
	}
}

// keep notes the frame that was just taken, and restore puts it back: the one
// that a camera which stands still shows on.
func (s *studio) keep(at time.Time) {
	s.keptAt, s.kept, s.keptCoded = at, slices.Clone(s.clean), bytes.Clone(s.coded)
}

func (s *studio) restore() {
	copy(s.clean, s.kept)
	s.coded = append(s.coded[:0], s.keptCoded...)
}

// stamp writes the clock that cameras lay over their pictures: ten marks, of
// which the last ones change.
func (s *studio) stamp(at time.Time) {
	n := uint64(at.Unix())
	for digit := 9; digit >= 0; digit-- {
		bits := (n%10 + 3) * 0x9e3779b97f4a7c15
		n /= 10
		for y := range 12 {
			for x := range 8 {
				v := uint8(20)
				if bits>>(uint(y/2*4+x/2)%64)&1 == 1 {
					v = 235
				}
				s.img.Pix[(10+y)*s.img.Stride+12+digit*10+x] = v
			}
		}
	}
}

// soften blurs by three boxes one after the other, which is nearly a Gaussian of
// standard deviation sigma, in pixels (Wells 1986).
func soften(p, spare picture, sigma float64) {
	r := int(math.Round((math.Sqrt(4*sigma*sigma+1) - 1) / 2))
	for range 3 {
		for y := range frameHeight {
			box(spare[y*frameWidth:], p[y*frameWidth:], 1, frameWidth, r)
		}
		for x := range frameWidth {
			box(p[x:], spare[x:], frameWidth, frameHeight, r)
		}
	}
}

// box is the mean over r samples to each side; beyond the ends they go on as they are.
func box(to, from picture, step, n, r int) {
	at := func(i int) float32 { return from[max(0, min(n-1, i))*step] }
	var sum float32
	for i := -r; i <= r; i++ {
		sum += at(i)
	}
	for i := range n {
		to[i*step] = sum / float32(2*r+1)
		sum += at(i+r+1) - at(i-r)
	}
}
