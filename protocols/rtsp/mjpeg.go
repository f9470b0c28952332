package rtsp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// jpegs joins RTP/M-JPEG (RFC 2435) packets. The library's joiner knows
// neither restart intervals nor tables that are sent once, and takes no notice
// of lost packets: those are seen to before it.
type jpegs struct {
	dec *rtpmjpeg.Decoder

	begun   bool
	lastSeq uint16
	stamp   uint32
	open    bool   // packets of a frame, from its first on, have been joined
	restart uint16 // the frame's restart interval in MCUs; 0 for none
	tables  map[byte][]byte

	bytes  int
	pieces int
	frames int // that ended, whole or not
	lossy  int // of them with a gap
	bad    error
}

const (
	jpegHeader    = 8 // RFC 2435, 3.1
	restartHeader = 4 // 3.1.7
	tableHeader   = 4 // 3.1.8
)

func (j *jpegs) push(p *rtp.Packet) ([]byte, error) {
	j.bytes += len(p.Payload)
	j.pieces++
	if j.bytes > maxJPEGBytes || j.pieces > maxPicturePieces {
		return nil, fleet.Errorf(fleet.CauseTooLarge, "one M-JPEG frame is longer than its limit of %d MiB", maxJPEGBytes>>20)
	}
	gap := j.begun && p.SequenceNumber != j.lastSeq+1
	j.begun, j.lastSeq = true, p.SequenceNumber
	if j.open && (gap || p.Timestamp != j.stamp) {
		// The rest of another frame might fit behind this one's beginning.
		j.reset()
		j.lossy++
		j.frames++
	}
	if p.Marker {
		defer j.reset()
	}
	one, first, err := j.plain(p)
	switch {
	case err != nil:
		j.bad = err
		j.reset()
		return nil, nil
	case first:
		j.open, j.stamp = true, p.Timestamp
	case !j.open:
		return nil, nil // joined in the middle, or after a gap
	}
	data, err := j.dec.Decode(one)
	if p.Marker {
		j.frames++
	}
	switch {
	case err == nil:
		return withRestart(data, j.restart), nil
	case !errors.Is(err, rtpmjpeg.ErrMorePacketsNeeded):
		j.bad = err
		j.reset()
	}
	return nil, nil
}

// reset drops what was joined: nothing of it may be in the next frame.
func (j *jpegs) reset() {
	j.dec, j.open, j.restart = &rtpmjpeg.Decoder{}, false, 0
	j.bytes, j.pieces = 0, 0
}

// plain returns a packet as the joiner knows them, without a restart header
// and with its tables, and whether it is a frame's first.
func (j *jpegs) plain(p *rtp.Packet) (_ *rtp.Packet, first bool, err error) {
	b := p.Payload
	if len(b) < jpegHeader {
		return nil, false, errors.New("a packet without a JPEG header")
	}
	kind, q := b[4], b[5]
	first = b[1] == 0 && b[2] == 0 && b[3] == 0
	head, rest := bytes.Clone(b[:jpegHeader]), b[jpegHeader:]
	if kind >= 64 && kind < 128 {
		if len(rest) < restartHeader {
			return nil, false, errors.New("a packet without its restart header")
		}
		j.restart = binary.BigEndian.Uint16(rest)
		rest = rest[restartHeader:]
		kind -= 64
	}
	if kind > 1 { // 0 is 4:2:2 and 1 is 4:2:0; no other is defined
		return nil, false, fmt.Errorf("JPEG type %d is not one of RFC 2435", b[4])
	}
	if q == 0 || q >= 100 && q < 128 { // reserved; a guess would give a wrong picture
		return nil, false, fmt.Errorf("quantization %d is reserved", q)
	}
	head[4] = kind
	if first && q >= 128 {
		if rest, err = j.tabled(q, rest); err != nil {
			return nil, false, err
		}
	}
	one := *p
	one.Payload = append(head, rest...)
	return &one, first, nil
}

// tabled returns a first packet's data with its quantization tables, which for
// all Q but 255 may have come with an earlier frame alone.
func (j *jpegs) tabled(q byte, rest []byte) ([]byte, error) {
	if len(rest) < tableHeader {
		return nil, errors.New("a packet without its table header")
	}
	n := int(binary.BigEndian.Uint16(rest[2:]))
	if len(rest) < tableHeader+n {
		return nil, errors.New("a packet that ends in its tables")
	}
	if n > 0 {
		if q != 255 {
			if j.tables == nil {
				j.tables = make(map[byte][]byte)
			}
			j.tables[q] = bytes.Clone(rest[:tableHeader+n])
		}
		return rest, nil
	}
	known, ok := j.tables[q]
	if !ok {
		return nil, errors.New("no quantization tables have come yet")
	}
	return append(bytes.Clone(known), rest[tableHeader:]...), nil
}

// withRestart puts a DRI segment (ITU-T T.81, B.2.4.4) behind the SOI.
func withRestart(image []byte, interval uint16) []byte {
	if interval == 0 {
		return image
	}
	out := make([]byte, 0, len(image)+6)
	out = append(out, image[:2]...)
	out = binary.BigEndian.AppendUint16(append(out, 0xff, 0xdd, 0, 4), interval)
	return append(out, image[2:]...)
}

// held and flush: a JPEG's last packet is the one with the marker, and a scan
// that goes on behind it would have another offset than the joiner takes.
func (j *jpegs) held() bool    { return false }
func (j *jpegs) flush() []byte { return nil }

func (j *jpegs) verdict() *fleet.CameraError {
	switch {
	case j.bad != nil:
		return fleet.Errorf(fleet.CauseProtocol, "no M-JPEG frame could be put together: %w", j.bad)
	case j.lossy > 0:
		return fleet.Errorf(fleet.CauseTimeout, "%d M-JPEG frames came with parts missing: the network loses packets", j.lossy)
	case !j.begun:
		return fleet.Errorf(fleet.CauseTimeout, "the stream was opened and no picture came")
	}
	return fleet.Errorf(fleet.CauseTimeout, "no M-JPEG frame was complete before the deadline")
}
