package rtsp

import (
	"bytes"
	"fmt"

	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// pictures joins RTP/H.264 (RFC 6184) or RTP/H.265 (RFC 7798) packets to access
// units and waits for one that stands alone: a key frame with its first slice,
// no packet lost on the way, and its parameter sets from the SDP or in band.
//
// The library's decoders are asked for the NAL units of one packet at a time,
// with the marker set on each, because they refuse access units of more than 25
// units, which cameras with many slices send.
type pictures struct {
	*syntax
	decode func(*rtp.Packet) ([][]byte, error)
	more   func(error) bool
	params map[byte][][]byte // by kind, the last ones seen

	begun   bool
	lastSeq uint16
	markers trust // whether the marker ends a picture
	wait    bool  // a picture has ended, if its marker is true

	units   [][]byte // of the access unit at hand
	slices  int      // of them
	stamp   uint32
	open    bool // packets of it have come
	damaged bool
	headCut bool          // packets were lost before it, which may have been its first
	partial bool          // its last unit has not ended
	fresh   map[byte]bool // kinds of parameter sets that came with it
	bytes   int
	pieces  int

	inBand   map[byte]bool // kinds of parameter sets that ever came with a picture
	seen     int           // access units, whatever their state
	keys     int           // of them key frames
	lossy    int           // of them key frames with a gap
	unset    int           // of them key frames without parameter sets
	recovery bool          // a recovery point was announced
	bad      error
}

// trust is what is known of a stream's marker bits. RFC 6184 has one at the
// end of each access unit; some cameras set it on each slice, and some on none.
type trust uint8

const (
	unknown  trust = iota
	truthful       // the next picture began behind that of the last of several slices
	useless        // a picture went on behind one
)

func (a *pictures) push(p *rtp.Packet) ([]byte, error) {
	if a.begun && p.SequenceNumber != a.lastSeq+1 {
		a.damaged = a.damaged || a.open
		a.headCut = true
	}
	a.begun, a.lastSeq = true, p.SequenceNumber

	var done []byte
	switch same := p.Timestamp == a.stamp; {
	case a.open && !same, a.wait && !a.goesOn(p.Payload):
		// A new time begins a new picture, with a marker before it or without.
		// Some cameras' time stands still: there the marker alone tells.
		if a.wait && a.slices > 1 {
			a.markers = truthful // one slice says nothing: key frames may have more
		}
		cut := a.headCut
		done = a.finish()
		a.headCut = cut
	case a.wait:
		a.markers, a.wait = useless, false
	case !a.open && same && a.markers == truthful && a.goesOn(p.Payload):
		a.markers = useless
		a.damaged = true // its beginning went with the picture before
	}
	if done != nil {
		return done, nil
	}
	a.open, a.stamp = true, p.Timestamp
	a.bytes += len(p.Payload)
	a.pieces++
	if a.bytes > maxPictureBytes || a.pieces > maxPicturePieces {
		return nil, a.tooLarge()
	}
	one := *p
	one.Marker = true
	units, err := a.decode(&one)
	switch {
	case err == nil:
		a.partial = false
		for _, nal := range units {
			a.add(nal)
		}
		if len(a.units) > maxPictureUnits {
			return nil, a.tooLarge()
		}
	case a.more(err):
		a.partial = true
	default:
		a.damaged, a.partial = true, false
		if a.seen > 0 { // the first packets may belong to a picture already under way
			a.bad = err
		}
	}
	if !p.Marker || a.slices == 0 && !a.damaged {
		return nil, nil // parameter sets that came ahead of their picture, perhaps
	}
	switch a.markers {
	case truthful:
		return a.finish(), nil
	case unknown:
		a.wait = true
	}
	return nil, nil
}

// held says that the marker came, and was not seen to be true before: another
// packet of the same picture may follow, and without it the picture would be
// cut off without a trace.
func (a *pictures) held() bool { return a.wait }

// flush ends the held picture.
func (a *pictures) flush() []byte {
	if !a.wait {
		return nil
	}
	return a.finish()
}

func (a *pictures) tooLarge() error {
	return fleet.Errorf(fleet.CauseTooLarge, "one %s picture is longer than its limit of %d MiB in %d units", a.name, maxPictureBytes>>20, maxPictureUnits)
}

func (a *pictures) add(nal []byte) {
	if len(nal) <= a.header {
		return
	}
	k := a.kind(nal)
	switch {
	case bytes.IndexByte(a.drop, k) >= 0:
	case bytes.IndexByte(a.sets, k) >= 0:
		if !a.fresh[k] {
			if a.fresh == nil {
				a.fresh = make(map[byte]bool, len(a.sets))
			}
			if a.inBand == nil {
				a.inBand = make(map[byte]bool, len(a.sets))
			}
			a.fresh[k], a.inBand[k], a.params[k] = true, true, nil
		}
		a.learn(nal)
	default:
		if a.slice(k) {
			a.slices++
		}
		if a.syntax == h264 && k == a.sei {
			if _, ok := recoveryFrames(nal); ok {
				a.recovery = true
			}
		}
		a.units = append(a.units, nal)
	}
}

// learn keeps a parameter set.
func (a *pictures) learn(nal []byte) {
	if len(nal) <= a.header || len(nal) > maxParameterSize {
		return
	}
	k := a.kind(nal)
	if bytes.IndexByte(a.sets, k) >= 0 && len(a.params[k]) < maxParameterSets {
		a.params[k] = append(a.params[k], bytes.Clone(nal)) // or it keeps a whole packet alive
	}
}

// finish ends the access unit at hand and returns it if it is what is wanted.
func (a *pictures) finish() []byte {
	units, fresh := a.units, a.fresh
	damaged, headCut := a.damaged || a.partial, a.headCut
	a.units, a.slices, a.open, a.damaged, a.partial, a.fresh, a.bytes, a.pieces = nil, 0, false, false, false, nil, 0, 0
	a.wait, a.headCut = false, false
	a.seen++

	first := -1 // the first slice
	key := false
	for i, nal := range units {
		k := a.kind(nal)
		if a.slice(k) && first < 0 {
			first = i
		}
		key = key || a.key(k)
	}
	if !key && (a.syntax != h264 || !recoversAtOnce(units)) {
		return nil
	}
	a.keys++
	for k := range a.inBand {
		// What was lost before the picture may have been its parameter sets, and
		// those at hand are of another.
		damaged = damaged || headCut && !fresh[k]
	}
	// first_mb_in_slice is 0 (H.264, 7.3.3), written as a single 1 bit;
	// first_slice_segment_in_pic_flag (H.265, 7.3.6.1) is that bit itself.
	if damaged || units[first][a.header]&0x80 == 0 {
		a.lossy++
		return nil
	}
	var out bytes.Buffer
	for _, k := range a.sets {
		if len(a.params[k]) == 0 {
			a.unset++
			return nil
		}
	}
	size := 0
	for _, k := range a.sets {
		for _, nal := range a.params[k] {
			size += 4 + len(nal)
		}
	}
	for _, nal := range units {
		size += 4 + len(nal)
	}
	out.Grow(size)
	for _, k := range a.sets {
		for _, nal := range a.params[k] {
			writeUnit(&out, nal)
		}
	}
	for _, nal := range units {
		writeUnit(&out, nal)
	}
	return out.Bytes()
}

func writeUnit(b *bytes.Buffer, nal []byte) {
	b.Write([]byte{0, 0, 0, 1})
	b.Write(nal)
}

func (a *pictures) verdict() *fleet.CameraError {
	switch {
	case a.lossy > 0:
		return fleet.Errorf(fleet.CauseNoKeyframe, "%d %s key frames came with parts missing: the network loses packets", a.lossy, a.name)
	case a.unset > 0:
		return fleet.Errorf(fleet.CauseNoKeyframe, "%d %s key frames came and their parameter sets did not", a.unset, a.name)
	case a.recovery:
		return fleet.Errorf(fleet.CauseNoKeyframe, "the %s stream refreshes bit by bit (recovery points, no IDR picture): it has no key frame: set an I-frame interval in the camera", a.name)
	case a.bad != nil && a.seen == 0:
		return fleet.Errorf(fleet.CauseProtocol, "no %s picture could be put together: %w", a.name, a.bad)
	case a.seen > 0:
		return fleet.Errorf(fleet.CauseNoKeyframe, "no key frame among %d %s pictures: shorten the I-frame interval in the camera, or lengthen the deadline", a.seen, a.name)
	case a.begun:
		return fleet.Errorf(fleet.CauseNoKeyframe, "no %s picture was complete before the deadline", a.name)
	}
	return fleet.Errorf(fleet.CauseTimeout, "the stream was opened and no picture came")
}

// String helps a failing test.
func (a *pictures) String() string {
	return fmt.Sprintf("%s: %d pictures, %d key frames, %d lossy, %d unset", a.name, a.seen, a.keys, a.lossy, a.unset)
}
