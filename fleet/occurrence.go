package fleet

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"time"
)

// Instant is a moment in milliseconds since the Unix epoch. It is what the
// books, the wire and the stores use: comparable, eight bytes, no zone.
type Instant int64

// At returns t as an Instant, cut to the millisecond below.
func At(t time.Time) Instant { return Instant(t.UnixMilli()) }

// Time returns the instant as a time in UTC.
func (i Instant) Time() time.Time { return time.UnixMilli(int64(i)).UTC() }

// Add returns the instant d later, cut to the millisecond.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d.Milliseconds()) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i-j) * time.Millisecond }

// String returns RFC 3339 with milliseconds, in UTC.
func (i Instant) String() string { return i.Time().Format("2006-01-02T15:04:05.000Z07:00") }

// MarshalText writes RFC 3339 with milliseconds.
func (i Instant) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads RFC 3339.
func (i *Instant) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return fmt.Errorf("time %q: want RFC 3339, for example 2027-03-01T06:00:00Z", b)
	}
	*i = At(t)
	return nil
}

// Occurrence is the idempotency key of the whole house: this camera, for this
// schedule, at this nominal time. Each occurrence of an enabled task ends in
// exactly one Capture.
type Occurrence struct {
	Camera   CameraID
	Schedule ScheduleID
	Nominal  Instant
}

// String returns "cam-…/0123456789abcdef/2027-03-01T06:00:00.000Z".
func (o Occurrence) String() string {
	return fmt.Sprintf("%s/%s/%s", o.Camera, o.Schedule, o.Nominal)
}

// Compare orders occurrences by nominal time, then camera, then schedule.
func (o Occurrence) Compare(p Occurrence) int {
	switch {
	case o.Nominal != p.Nominal:
		return sign(o.Nominal < p.Nominal)
	case o.Camera != p.Camera:
		return sign(o.Camera < p.Camera)
	case o.Schedule != p.Schedule:
		return sign(o.Schedule < p.Schedule)
	}
	return 0
}

func sign(less bool) int {
	if less {
		return -1
	}
	return 1
}

// Phase returns where in an interval the task (camera, schedule) fires: a hash
// of both, below the interval, so it needs no storage, survives restarts, and
// spreads a fleet evenly. It is a whole number of milliseconds.
func Phase(c CameraID, s ScheduleID, interval time.Duration) time.Duration {
	ms := interval.Milliseconds()
	if ms <= 0 {
		return 0
	}
	return time.Duration(Hash(c, s, 0)%uint64(ms)) * time.Millisecond
}

// Hash mixes a camera, a schedule and a seed into 64 well spread bits. All
// owners of a task compute the same value; it must never change, or every
// interval task in every fleet would move.
func Hash(c CameraID, s ScheduleID, seed uint64) uint64 {
	var b [24]byte
	binary.BigEndian.PutUint64(b[0:], uint64(c))
	binary.BigEndian.PutUint64(b[8:], uint64(s))
	binary.BigEndian.PutUint64(b[16:], seed)
	h := fnv.New64a()
	h.Write(b[:])
	return mix(h.Sum64())
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014): FNV alone
// leaves the low bits of near keys alike.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Order is an occurrence leased to an agent: capture not before its start, and
// report before the deadline.
type Order struct {
	Occurrence
	NotBefore Instant // when it was moved later than the nominal time; else 0
	Deadline  Instant // after it the outcome is failed, even if a frame comes
	Retries   uint8   // tries after the first
	Priority  Priority
	Fence     uint64 // epoch of the shard's owner
}

// Start returns when the capture is due: the nominal time, or later.
func (o *Order) Start() Instant { return max(o.Nominal, o.NotBefore) }

// Priority is an order's class. Higher ones go first; a lower one gains a class
// for each part of its time that it has waited, so that it is not starved.
type Priority int8

// The classes.
const (
	PriorityLow    Priority = -1
	PriorityNormal Priority = 0
	PriorityHigh   Priority = 1
	PriorityUrgent Priority = 2
)

var priorityText = map[Priority]string{PriorityLow: "low", PriorityNormal: "normal", PriorityHigh: "high", PriorityUrgent: "urgent"}

// String returns the word used in schedules.
func (p Priority) String() string {
	if s, ok := priorityText[p]; ok {
		return s
	}
	return fmt.Sprintf("priority-%d", int8(p))
}

// ParsePriority reads the word; "" is normal.
func ParsePriority(text string) (Priority, error) {
	if text == "" {
		return PriorityNormal, nil
	}
	for p, s := range priorityText {
		if s == text {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q: want low, normal, high or urgent", text)
}
