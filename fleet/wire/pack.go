// Package wire is what agents and the centre say to each other: the gRPC
// service in wire.proto with its generated code, and three hand-packed records,
// because a protobuf message per record costs more than storing it.
//
//	order    = camera schedule nominal deadline start fence retries priority
//	capture  = occurrence outcome times cause detail reading
//	task     = camera schedule from revision enabled place
//
// Integers are big-endian when fixed and LEB128 (encoding/binary's varints)
// otherwise. A record begins with its length as a varint and its layout's
// version as a byte, so that an older reader can say what it met.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Version is the protocol's version, sent in Hello and Welcome. docs/wire.md
// holds its history.
const Version = 2

// SigningContext precedes an instruction's bytes under its signature.
const SigningContext = "shutterfleet instruction v1\n"

// ServerName is the fixed name in the centre's certificate: agents pin the CA,
// not a host name.
const ServerName = "scheduler.shutterfleet"

const (
	orderLayout   = 2
	captureLayout = 3
	maskedLayout  = 4 // of a frame of which something was hidden
	taskLayout    = 1

	// maxRecordBytes bounds one record: a capture is about 170 bytes with a
	// frame, some 60 more with a fault, and at most 2 strings of
	// fleet.MaxDetail without a frame.
	maxRecordBytes = 1024
)

// ErrMalformed says that packed records could not be read.
var ErrMalformed = errors.New("malformed record")

// AppendOrder appends o's record to b.
func AppendOrder(b []byte, o fleet.Order) []byte {
	return appendRecord(b, func(b []byte) []byte {
		b = append(b, orderLayout)
		b = appendOccurrence(b, o.Occurrence)
		b = binary.AppendVarint(b, int64(o.Deadline-o.Nominal))
		b = binary.AppendVarint(b, int64(o.Start()-o.Nominal))
		b = binary.AppendUvarint(b, o.Fence)
		return append(b, o.Retries, byte(o.Priority))
	})
}

// ParseOrders reads all order records in b.
func ParseOrders(b []byte) ([]fleet.Order, error) {
	return records(b, func(r *reader) (o fleet.Order) {
		r.layout(orderLayout)
		o.Occurrence = r.occurrence()
		o.Deadline = o.Nominal + fleet.Instant(r.varint())
		if later := fleet.Instant(r.varint()); later > 0 {
			o.NotBefore = o.Nominal + later
		}
		o.Fence = r.uvarint()
		o.Retries = r.byte()
		if o.Priority = fleet.Priority(r.byte()); o.Priority < fleet.PriorityLow || o.Priority > fleet.PriorityUrgent {
			r.fail("priority %d", o.Priority)
		}
		return o
	})
}

// Task is one (camera, schedule) pair of a Standing message. Place is an index
// into its places.
type Task struct {
	Camera   fleet.CameraID
	Schedule fleet.ScheduleID
	Revision uint64
	From     fleet.Instant // no occurrence before it is the agent's
	Enabled  fleet.Instant // the camera's approval
	Place    uint32
}

// AppendTask appends t's record to b.
func AppendTask(b []byte, t Task) []byte {
	return appendRecord(b, func(b []byte) []byte {
		b = append(b, taskLayout)
		b = appendOccurrence(b, fleet.Occurrence{Camera: t.Camera, Schedule: t.Schedule, Nominal: t.From})
		b = binary.AppendUvarint(b, t.Revision)
		b = binary.AppendVarint(b, int64(t.Enabled))
		return binary.AppendUvarint(b, uint64(t.Place))
	})
}

// ParseTasks reads all task records in b.
func ParseTasks(b []byte) ([]Task, error) {
	return records(b, func(r *reader) (t Task) {
		r.layout(taskLayout)
		o := r.occurrence()
		t.Camera, t.Schedule, t.From = o.Camera, o.Schedule, o.Nominal
		t.Revision = r.uvarint()
		t.Enabled = fleet.Instant(r.varint())
		t.Place = uint32(r.upTo(math.MaxUint32))
		return t
	})
}

// AppendCapture appends c's record to b, without its thumbnail and agent: the
// one travels apart, the other is the stream's.
func AppendCapture(b []byte, c fleet.Capture) []byte {
	return appendRecord(b, func(b []byte) []byte {
		layout := byte(captureLayout)
		if c.Outcome == fleet.Captured && c.Reading.Fingerprint.Mask != 0 {
			layout = maskedLayout
		}
		b = append(b, layout, byte(c.Outcome), c.Attempts, c.Retakes)
		b = appendOccurrence(b, c.Occurrence)
		b = binary.AppendVarint(b, int64(c.At-c.Nominal))
		b = binary.AppendVarint(b, c.Bound.Microseconds())
		b = binary.AppendVarint(b, c.Delay.Microseconds())
		b = binary.AppendVarint(b, c.Took.Microseconds())
		b = appendText(b, string(c.Protocol))
		if c.Outcome != fleet.Captured {
			b = appendText(b, string(c.Cause))
			return appendText(b, c.Detail)
		}
		r := c.Reading
		b = appendText(b, string(r.Codec))
		b = binary.AppendUvarint(b, uint64(r.Width))
		b = binary.AppendUvarint(b, uint64(r.Height))
		b = binary.AppendUvarint(b, uint64(r.Bytes))
		b = append(b, r.SHA256[:]...)
		b = append(b, r.Fingerprint.PDQ[:]...)
		b = append(b, r.Fingerprint.PDQQuality)
		b = binary.BigEndian.AppendUint64(b, uint64(r.Fingerprint.PHash))
		for _, q := range scores(&r.Quality) {
			b = binary.BigEndian.AppendUint32(b, math.Float32bits(*q))
		}
		b = append(b, byte(r.Fingerprint.Rules))
		if layout == maskedLayout {
			b = binary.BigEndian.AppendUint64(b, uint64(r.Fingerprint.Mask))
		}
		return appendVerdict(b, &r.Verdict)
	})
}

// ParseCaptures reads all capture records in b.
func ParseCaptures(b []byte) ([]fleet.Capture, error) { return records(b, (*reader).capture) }

// ParseCapture reads the first capture record in b, and says how long it is.
func ParseCapture(b []byte) (c fleet.Capture, n int, err error) { return record(b, (*reader).capture) }

// PeekCapture reads no more of the first capture record in b than whose
// outcome it is, and says how long it is.
func PeekCapture(b []byte) (o fleet.Occurrence, outcome fleet.Outcome, n int, err error) {
	size, used := binary.Uvarint(b)
	if used <= 0 || size == 0 || size > maxRecordBytes || uint64(len(b)-used) < size {
		return o, 0, 0, fmt.Errorf("%w: length", ErrMalformed)
	}
	n = used + int(size)
	r := reader{b: b[used:n]}
	layout := r.captureLayout()
	outcome = fleet.Outcome(r.byte())
	r.bytes(min(int(layout), 2)) // attempts and, from layout 2 on, retakes
	o = r.occurrence()
	return o, outcome, n, r.err
}

func (r *reader) capture() (c fleet.Capture) {
	layout := r.captureLayout()
	c.Outcome = fleet.Outcome(r.byte())
	c.Attempts = r.byte()
	if layout >= 2 { // layout 1 had no retakes; stores of older builds hold it
		c.Retakes = r.byte()
	}
	c.Occurrence = r.occurrence()
	c.At = c.Nominal + fleet.Instant(r.varint())
	c.Bound = r.micros()
	c.Delay = r.micros()
	c.Took = r.micros()
	c.Protocol = fleet.Protocol(r.word())
	switch c.Outcome {
	case fleet.Captured:
	case fleet.Failed, fleet.Missed, fleet.Skipped:
		c.Cause = fleet.Cause(r.text())
		c.Detail = r.text()
		return c
	default:
		r.fail("outcome %d", c.Outcome)
		return c
	}
	d := &c.Reading
	d.Codec = fleet.Codec(r.word())
	d.Width = uint16(r.upTo(math.MaxUint16))
	d.Height = uint16(r.upTo(math.MaxUint16))
	d.Bytes = uint32(r.upTo(math.MaxUint32))
	copy(d.SHA256[:], r.bytes(len(d.SHA256)))
	copy(d.Fingerprint.PDQ[:], r.bytes(len(d.Fingerprint.PDQ)))
	d.Fingerprint.PDQQuality = r.byte()
	if b := r.bytes(8); b != nil {
		d.Fingerprint.PHash = fleet.PHash(binary.BigEndian.Uint64(b))
	}
	for _, q := range scores(&d.Quality) {
		if b := r.bytes(4); b != nil {
			*q = math.Float32frombits(binary.BigEndian.Uint32(b))
		}
	}
	if layout >= 3 {
		d.Fingerprint.Rules = fleet.Rules(r.byte())
		if layout == maskedLayout {
			if b := r.bytes(8); b != nil {
				if d.Fingerprint.Mask = fleet.MaskSum(binary.BigEndian.Uint64(b)); d.Fingerprint.Mask == 0 {
					r.fail("a masked frame without its mask")
				}
			}
		}
		d.Verdict = r.verdict()
	}
	return c
}

// scores lists a Quality's fields in the record's order.
func scores(q *fleet.Quality) [6]*float32 {
	return [6]*float32{&q.Mean, &q.Contrast, &q.Sharpness, &q.Dark, &q.Bright, &q.Entropy}
}

func appendOccurrence(b []byte, o fleet.Occurrence) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o.Camera))
	b = binary.BigEndian.AppendUint64(b, uint64(o.Schedule))
	return binary.AppendVarint(b, int64(o.Nominal))
}

func appendText(b []byte, s string) []byte {
	s = s[:min(len(s), fleet.MaxDetail)]
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendRecord appends what fill appends, preceded by its length. A record is
// nearly always under 16 kB, so two bytes are kept for the length: a padded
// varint, which every varint reader takes.
func appendRecord(b []byte, fill func([]byte) []byte) []byte {
	at := len(b)
	b = fill(append(b, 0, 0))
	n := len(b) - at - 2
	b[at], b[at+1] = byte(n)|0x80, byte(n>>7)
	return b
}

// records reads records until b ends.
func records[T any](b []byte, read func(*reader) T) ([]T, error) {
	var out []T
	for len(b) > 0 {
		v, n, err := record(b, read)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(out), err)
		}
		out = append(out, v)
		b = b[n:]
	}
	return out, nil
}

// record reads the first record in b, and says how long it is.
func record[T any](b []byte, read func(*reader) T) (v T, n int, err error) {
	size, used := binary.Uvarint(b)
	if used <= 0 || size == 0 || size > maxRecordBytes || uint64(len(b)-used) < size {
		return v, 0, fmt.Errorf("%w: length", ErrMalformed)
	}
	n = used + int(size)
	r := &reader{b: b[used:n]}
	v = read(r)
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes left over", len(r.b))
	}
	return v, n, r.err
}

// reader reads one record and keeps its first error.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	r.b = nil
}

func (r *reader) layout(want byte) {
	if got := r.byte(); got != want {
		r.fail("layout %d, this build reads %d", got, want)
	}
}

// captureLayout reads a capture's layout: this one or an older one.
func (r *reader) captureLayout() byte {
	got := r.byte()
	if got < 1 || got > maskedLayout {
		r.fail("layout %d, this build reads 1 to %d", got, maskedLayout)
		return maskedLayout
	}
	return got
}

func (r *reader) bytes(n int) []byte {
	if len(r.b) < n {
		r.fail("cut short")
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail("number")
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) upTo(limit uint64) uint64 {
	v := r.uvarint()
	if v > limit {
		r.fail("number %d over %d", v, limit)
	}
	return v
}

func (r *reader) micros() time.Duration {
	v := r.varint()
	if v > math.MaxInt64/1000 || v < math.MinInt64/1000 {
		r.fail("duration %d µs", v)
	}
	return time.Duration(v) * time.Microsecond
}

func (r *reader) text() string {
	return string(r.bytes(int(r.upTo(fleet.MaxDetail))))
}

// word is a text that is nearly always one of a few, which cost no memory.
func (r *reader) word() string {
	b := r.bytes(int(r.upTo(fleet.MaxDetail)))
	switch string(b) {
	case string(fleet.Snapshot):
		return string(fleet.Snapshot)
	case string(fleet.RTSP):
		return string(fleet.RTSP)
	case string(fleet.ONVIF):
		return string(fleet.ONVIF)
	case string(fleet.MJPEG):
		return string(fleet.MJPEG)
	case string(fleet.JPEG):
		return string(fleet.JPEG)
	case string(fleet.H264):
		return string(fleet.H264)
	case string(fleet.H265):
		return string(fleet.H265)
	}
	return string(b)
}

func (r *reader) occurrence() (o fleet.Occurrence) {
	if b := r.bytes(16); b != nil {
		o.Camera = fleet.CameraID(binary.BigEndian.Uint64(b))
		o.Schedule = fleet.ScheduleID(binary.BigEndian.Uint64(b[8:]))
	}
	o.Nominal = fleet.Instant(r.varint())
	return o
}
