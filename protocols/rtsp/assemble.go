package rtsp

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The limits of one frame on its way in. They hold before anything is joined,
// so that a camera that never ends a frame costs no more than them.
const (
	maxPictureBytes  = 16 << 20 // an access unit: a noisy 4K key frame is about 3 MiB
	maxJPEGBytes     = 8 << 20  // RFC 2435 ends at 2040 x 2040 pixels
	maxPictureUnits  = 1024     // NAL units of an access unit; 4K in rows of macroblocks has 135 slices
	maxPicturePieces = 1 << 16  // RTP packets of a frame
	maxParameterSets = 16       // of one kind
	maxParameterSize = 16 << 10 // bytes of one
)

// assembler makes one whole still of the packets of one RTP stream. It is used
// by one goroutine.
type assembler interface {
	// push takes the next packet in order and returns a frame when it completed
	// one. An error ends the stream.
	push(p *rtp.Packet) ([]byte, error)
	// verdict says why there is no frame yet.
	verdict() *fleet.CameraError
}

// newAssembler returns the assembler of a format, or nil if it has none.
func newAssembler(f format.Format) (fleet.Codec, assembler, error) {
	switch f := f.(type) {
	case *format.MJPEG:
		d, err := f.CreateDecoder()
		return fleet.JPEG, &jpegs{dec: d}, err
	case *format.H264:
		d, err := f.CreateDecoder()
		sps, pps := f.SafeParams()
		a := &pictures{syntax: h264, decode: d.Decode, more: isMore264, params: make(map[byte][][]byte)}
		a.learn(sps)
		a.learn(pps)
		return fleet.H264, a, err
	case *format.H265:
		d, err := f.CreateDecoder()
		vps, sps, pps := f.SafeParams()
		a := &pictures{syntax: h265, decode: d.Decode, more: isMore265, params: make(map[byte][][]byte)}
		a.learn(vps)
		a.learn(sps)
		a.learn(pps)
		return fleet.H265, a, err
	}
	return "", nil, nil
}

func isMore264(err error) bool { return errors.Is(err, rtph264.ErrMorePacketsNeeded) }
func isMore265(err error) bool { return errors.Is(err, rtph265.ErrMorePacketsNeeded) }

// jpegs joins RTP/M-JPEG (RFC 2435) packets.
type jpegs struct {
	dec    *rtpmjpeg.Decoder
	bytes  int
	pieces int
	frames int
	bad    error // of the last packet that did not fit
}

func (j *jpegs) push(p *rtp.Packet) ([]byte, error) {
	j.bytes += len(p.Payload)
	j.pieces++
	if j.bytes > maxJPEGBytes || j.pieces > maxPicturePieces {
		return nil, fleet.Errorf(fleet.CauseTooLarge, "one M-JPEG frame is longer than its limit of %d MiB", maxJPEGBytes>>20)
	}
	data, err := j.dec.Decode(p)
	switch {
	case err == nil:
		return data, nil
	case errors.Is(err, rtpmjpeg.ErrMorePacketsNeeded):
		return nil, nil
	case errors.Is(err, rtpmjpeg.ErrNonStartingPacketAndNoPrevious):
	default:
		j.bad = err
	}
	// The joiner has thrown away what it held.
	j.bytes, j.pieces = 0, 0
	if p.Marker {
		j.frames++
	}
	return nil, nil
}

func (j *jpegs) verdict() *fleet.CameraError {
	switch {
	case j.bad != nil:
		return fleet.Errorf(fleet.CauseProtocol, "no M-JPEG frame could be put together: %w", j.bad)
	case j.frames == 0 && j.pieces == 0:
		return fleet.Errorf(fleet.CauseTimeout, "the stream was opened and no picture came")
	}
	return fleet.Errorf(fleet.CauseTimeout, "no M-JPEG frame was complete before the deadline")
}

// syntax is what H.264 and H.265 differ in, as far as a whole key frame asks.
type syntax struct {
	name   string
	header int // bytes of a NAL unit's header
	kind   func(nal []byte) byte
	slice  func(kind byte) bool
	key    func(kind byte) bool
	sets   []byte // parameter sets, in the order in which they must stand
	drop   []byte // units that say nothing about one lone picture
	sei    byte
}

var (
	h264 = &syntax{
		name:   "H.264",
		header: 1,
		kind:   func(nal []byte) byte { return nal[0] & 0x1f },
		slice:  func(k byte) bool { return k >= 1 && k <= 5 },
		key:    func(k byte) bool { return k == 5 },
		sets:   []byte{7, 8},          // SPS, PPS
		drop:   []byte{9, 10, 11, 12}, // delimiter, ends of sequence and stream, filler
		sei:    6,
	}
	h265 = &syntax{
		name:   "H.265",
		header: 2,
		kind:   func(nal []byte) byte { return nal[0] >> 1 & 0x3f },
		slice:  func(k byte) bool { return k < 32 },
		key:    func(k byte) bool { return k >= 16 && k <= 21 }, // BLA, IDR, CRA
		sets:   []byte{32, 33, 34},                              // VPS, SPS, PPS
		drop:   []byte{35, 36, 37, 38},
		sei:    39,
	}
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

	units   [][]byte // of the access unit at hand
	stamp   uint32
	open    bool // packets of it have come
	damaged bool
	partial bool          // its last unit has not ended
	fresh   map[byte]bool // kinds of parameter sets that came with it
	bytes   int
	pieces  int

	seen     int  // access units, whatever their state
	keys     int  // of them key frames
	lossy    int  // of them key frames with a gap
	unset    int  // of them key frames without parameter sets
	recovery bool // a recovery point was announced
	bad      error
}

func (a *pictures) push(p *rtp.Packet) ([]byte, error) {
	if a.begun && p.SequenceNumber != a.lastSeq+1 {
		a.damaged = a.damaged || a.open
	}
	a.begun, a.lastSeq = true, p.SequenceNumber

	// Some cameras never set the marker: a new time begins a new picture too.
	var done []byte
	if a.open && p.Timestamp != a.stamp {
		done = a.finish()
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
	if p.Marker {
		return a.finish(), nil
	}
	return nil, nil
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
			a.fresh[k], a.params[k] = true, nil
		}
		a.learn(nal)
	default:
		if k == a.sei && nal[a.header] == 6 { // recovery_point, the first message of the unit
			a.recovery = true
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
	units, damaged := a.units, a.damaged || a.partial
	a.units, a.open, a.damaged, a.partial, a.fresh, a.bytes, a.pieces = nil, false, false, false, nil, 0, 0
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
	if !key {
		return nil
	}
	a.keys++
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
		return fleet.Errorf(fleet.CauseNoKeyframe, "the %s stream refreshes bit by bit (recovery point) and sends no key frames: set an I-frame interval in the camera", a.name)
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
