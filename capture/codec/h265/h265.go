// Package h265 tells whether a key picture of H.265 came whole. It decodes no
// picture: it follows the syntax of each slice, by ITU-T H.265, as far as the
// entropy coding goes, which is what decoders do before they predict anything.
//
//	Annex B ──► parameter sets ──► slice headers ──► every coding tree unit ──► ends where it must?
//
// FFmpeg decodes H.265 for this program, and makes up what it lacks without a
// word. What was damaged shows here: arithmetic codes have no spare room, so that
// once a bit is wrong, all that follows decodes to something else. A slice of which
// every unit was followed, and that says with its last code that it ends where the
// next begins, came whole. One that was cut off runs out of data, one with a wrong
// bit says that it ends too early or too late, one that never came leaves a gap.
//
// A flipped bit may make another picture that is as right: where the range of the
// code is a power of two, that of a sign does. Of 196 key pictures by x265, of 16
// kinds, all were found whole, and of what was torn of them all 2,688 that were cut
// or had lost a slice, and 2,317 of 2,352 with one flipped bit (TestLongMissing).
//
// Followed are the Main, Main 10 and Main Still Picture profiles and their intra
// forms, in several slices and wavefronts, with all tools but tiles, dependent
// slices and PCM blocks, for which there was nothing to test with. What is not
// followed is refused by name.
package h265

import (
	"bytes"
	"context"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// The nal_unit_type values of Table 7-1 that have a meaning here.
const (
	nalFirstKey          = 16 // to 21: intra random access pictures
	nalIDR               = 19
	nalIDRWithoutLeading = 20
	nalLastKey           = 21
	nalSPS               = 33
	nalPPS               = 34
)

// A Checker holds the memory that following a picture takes, for the next one to
// use again. The zero Checker is ready. It serves one caller at a time.
type Checker struct {
	sps  [16]*sps
	pps  [64]*pps
	unit bitReader
	walk walk

	left, top int
}

// Cropped returns how many samples of luma are cropped off the left and the top of
// the picture that Missing followed: 0 where nothing is known.
func (c *Checker) Cropped() (left, top int) { return c.left, c.top }

// Missing returns the share of the first key picture in an Annex B stream that
// did not come: 0 of a whole one, at least one coding tree unit of another. It is
// the least that is missing: damage shows some units behind the place where it is.
// Errors are *fleet.CameraError: unsupported-codec says that the
// picture uses what is not followed, so that nothing is known; corrupt that
// its parameter sets are, no-keyframe that there is no slice of one, timeout that
// ctx ended.
func (c *Checker) Missing(ctx context.Context, data []byte, l codec.Limits) (float32, error) {
	c.left, c.top = 0, 0
	l = l.WithDefaults()
	if err := l.CheckBytes(len(data)); err != nil {
		return 0, err
	}
	c.sps, c.pps = [16]*sps{}, [64]*pps{}
	total, came, next, slices := 0, 0, 0, 0
	var refused error // for good: which set a slice would use is known only when all can be read
	var used *pps     // the same in all slices of a picture, 7.4.7.1
	for unit := range units(data) {
		if ctx.Err() != nil {
			return 0, timeout(ctx)
		}
		kind := int(unit[0] >> 1 & 63)
		key := kind >= nalFirstKey && kind <= nalLastKey
		if slices > 0 && (!key || unit[2]&0x80 != 0) {
			if kind < 32 || key {
				break // the next picture
			}
			continue
		}
		if !key && kind != nalSPS && kind != nalPPS {
			continue
		}
		r := &c.unit
		r.Open(unit[2:])
		switch kind {
		case nalSPS:
			id, s, err := parseSPS(r, l)
			if err != nil {
				refused = err
				continue
			}
			c.sps[id] = &s
			continue
		case nalPPS:
			id, p, err := parsePPS(r)
			if err != nil {
				refused = err
				continue
			}
			c.pps[id] = &p
			continue
		}
		if refused != nil {
			return 0, refused
		}
		slices++
		s, err := c.parseSlice(r, kind)
		if err != nil {
			if isUnsupported(err) {
				return 0, err
			}
			continue // lost
		}
		if used == nil {
			used, total = s.pps, s.ctbs
			c.left, c.top = s.left, s.top
		}
		if s.pps != used || s.address < next {
			continue // what was there before is damaged, or this is
		}
		c.walk.begin(s, r)
		n, err := c.walk.follow(ctx)
		if err != nil {
			return 0, err
		}
		came += n
		next = s.address + n
	}
	switch {
	case slices == 0 && refused != nil:
		return 0, refused
	case slices == 0:
		return 0, fleet.Errorf(fleet.CauseNoKeyframe, "there is no slice of a key picture of H.265")
	case total == 0:
		return 1, nil // no slice can be read
	}
	return float32(total-came) / float32(total), nil
}

func isUnsupported(err error) bool {
	e, ok := err.(*fleet.CameraError) //nolint:errorlint // our own, not wrapped
	return ok && e.Cause == fleet.CauseUnsupportedCodec
}

// units yields the NAL units of the base layer of an Annex B stream, of three
// bytes or more.
func units(data []byte) func(yield func([]byte) bool) {
	start := []byte{0, 0, 1}
	return func(yield func([]byte) bool) {
		i := bytes.Index(data, start)
		for i >= 0 {
			data = data[i+3:]
			unit := data
			if i = bytes.Index(data, start); i >= 0 {
				unit = data[:i]
			}
			if len(unit) < 3 || unit[0]&0x81 != 0 || unit[1]>>3 != 0 {
				continue
			}
			if !yield(unit) {
				return
			}
		}
	}
}

func timeout(ctx context.Context) error {
	return fleet.Errorf(fleet.CauseTimeout, "follow the H.265 picture: %w", context.Cause(ctx))
}
