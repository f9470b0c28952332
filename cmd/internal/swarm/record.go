package swarm

import (
	"encoding/binary"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Outcome returns what becomes of the order at now: a picture of random bits,
// which are the same for the same occurrence, or missed(deadline).
func Outcome(o *fleet.Order, now time.Time) fleet.Capture {
	c := fleet.Capture{
		Occurrence: o.Occurrence, At: fleet.At(now), Bound: time.Millisecond, Delay: max(now.Sub(o.Nominal.Time()), 0),
	}
	if late(o, now) {
		c.Outcome, c.Cause, c.Detail = fleet.Missed, fleet.CauseDeadline, "the order came after its deadline"
		return c
	}
	c.Outcome, c.Attempts, c.Protocol, c.Took = fleet.Captured, 1, fleet.Snapshot, 40*time.Millisecond
	seed := fleet.Hash(o.Camera, o.Schedule, uint64(o.Nominal))
	r := &c.Reading
	r.Codec, r.Width, r.Height, r.Bytes = fleet.JPEG, 1920, 1080, 180_000+uint32(seed%65_536)
	fill(r.SHA256[:], seed)
	fill(r.Fingerprint.PDQ[:], seed^0x5851f42d4c957f2d)
	r.Fingerprint.PDQQuality, r.Fingerprint.PHash = 80+uint8(seed%20), fleet.PHash(seed)
	r.Quality = fleet.Quality{Mean: 96 + float32(seed%64), Contrast: 52, Sharpness: 310, Dark: 0.03, Bright: 0.02, Entropy: 7.1}
	return c
}

// fill writes pseudo-random bits that do not compress (SplitMix64).
func fill(b []byte, seed uint64) {
	for i := 0; i < len(b); i += 8 {
		seed += 0x9e3779b97f4a7c15
		x := seed
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.BigEndian.PutUint64(b[i:], x^x>>31)
	}
}
