package main

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/spf13/cobra"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// DihedralPDQ is pdq.Dihedral with the names that ThreatExchange gives the
// transforms. It is exported for the sake of encoding/json.
type DihedralPDQ struct {
	Original   fleet.PDQ `json:"original"`
	Rotate90   fleet.PDQ `json:"rotate90"`
	Rotate180  fleet.PDQ `json:"rotate180"`
	Rotate270  fleet.PDQ `json:"rotate270"`
	FlipX      fleet.PDQ `json:"flipx"`
	FlipY      fleet.PDQ `json:"flipy"`
	FlipPlus1  fleet.PDQ `json:"flipplus1"`
	FlipMinus1 fleet.PDQ `json:"flipminus1"`
}

// turnedPDQ is one of the eight.
type turnedPDQ struct {
	transform string
	words     string // what was done to the picture
	hash      fleet.PDQ
}

// all returns the eight, the upright one first.
func (d *DihedralPDQ) all() []turnedPDQ {
	return []turnedPDQ{
		{"original", "upright", d.Original},
		{"rotate90", "turned by 90 degrees counter-clockwise", d.Rotate90},
		{"rotate180", "turned by 180 degrees", d.Rotate180},
		{"rotate270", "turned by 90 degrees clockwise", d.Rotate270},
		{"flipx", "with top and bottom exchanged", d.FlipX},
		{"flipy", "mirrored, with left and right exchanged", d.FlipY},
		{"flipplus1", "mirrored along the diagonal from the upper left corner", d.FlipPlus1},
		{"flipminus1", "mirrored along the diagonal from the upper right corner", d.FlipMinus1},
	}
}

// turnedRows are the rows of --dihedral: one for each hash.
func turnedRows(x fingerprinted) [][]any {
	if x.Dihedral == nil {
		return [][]any{{x.File, "-", "-", x.PDQQuality}}
	}
	var rows [][]any
	for _, t := range x.Dihedral.all() {
		rows = append(rows, []any{x.File, t.transform, t.hash, x.PDQQuality})
	}
	return rows
}

// pictureDistance is what --compare prints.
type pictureDistance struct {
	A       fingerprinted `json:"a"`
	B       fingerprinted `json:"b"`
	PDQ     int           `json:"pdq_distance"`      // of 256 bits, both upright
	PHash   int           `json:"phash_distance"`    // of 64 bits, both upright
	Nearest *nearestTurn  `json:"nearest,omitempty"` // with --dihedral
	Match   bool          `json:"match"`
	Meaning string        `json:"meaning"`
}

// nearestTurn is which of the eight hashes of A is the nearest to that of B.
type nearestTurn struct {
	Transform string `json:"transform"`    // what was done to A to make B
	PDQ       int    `json:"pdq_distance"` // of 256 bits
}

const (
	// The distance up to which two hashes mean the same picture, and the quality
	// below which a hash means nothing: PDQ's own recommendations.
	pdqMatch  = 31
	pdqUseful = 50
	// Of 256 random bits 128 differ, give or take 8: six times that is 1 in 10^9.
	pdqAlike = 80
)

// distanceOf compares two pictures that were read whole.
func distanceOf(a, b fingerprinted) pictureDistance {
	d := pictureDistance{A: a, B: b, PDQ: pdqDistance(a.PDQ, b.PDQ), PHash: bits.OnesCount64(uint64(a.PHash ^ b.PHash))}
	least, how := d.PDQ, ""
	if a.Dihedral != nil {
		d.Nearest = &nearestTurn{Transform: "original", PDQ: d.PDQ}
		for _, t := range a.Dihedral.all() {
			if n := pdqDistance(t.hash, b.PDQ); n < least {
				least, how = n, " "+t.words
				*d.Nearest = nearestTurn{Transform: t.transform, PDQ: n}
			}
		}
	}
	switch {
	case a.SHA256 == b.SHA256:
		d.Match, d.Meaning = true, "the same frame, byte for byte"
	case min(a.Width, a.Height, b.Width, b.Height) < 5: // a black one has a hash, of which no bit is set
		d.Meaning = "unknown: a picture of less than 5x5 pixels has no hash"
	case min(a.PDQQuality, b.PDQQuality) < pdqUseful:
		d.Meaning = fmt.Sprintf("unknown: a picture of PDQ quality below %d shows too little to be told from others", pdqUseful)
	case least <= pdqMatch:
		d.Match, d.Meaning = true, fmt.Sprintf("the same picture%s: copies differ in up to %d of PDQ's 256 bits", how, pdqMatch)
	case least <= pdqAlike:
		d.Meaning = fmt.Sprintf("alike%s, not a copy: more than %d bits of PDQ differ, yet fewer than chance makes of unrelated pictures", how, pdqMatch)
	default:
		d.Meaning = "different pictures: unrelated ones differ in about 128 of PDQ's 256 bits and 32 of pHash's 64"
	}
	return d
}

func pdqDistance(a, b fleet.PDQ) int {
	n := 0
	for i := range a {
		n += bits.OnesCount8(a[i] ^ b[i])
	}
	return n
}

func (v *fingerprintVerb) printDistance(cmd *cobra.Command, a, b fingerprinted) error {
	dist := distanceOf(a, b)
	return v.d.print(cmd, dist, func(w *bytes.Buffer) {
		fmt.Fprintf(w, "PDQ\t%d of 256 bits differ (quality %d and %d)\n", dist.PDQ, a.PDQQuality, b.PDQQuality)
		fmt.Fprintf(w, "pHash\t%d of 64 bits differ\n", dist.PHash)
		if n := dist.Nearest; n != nil {
			fmt.Fprintf(w, "nearest\t%s: %d of 256 bits differ\n", n.Transform, n.PDQ)
		}
		fmt.Fprintf(w, "meaning\t%s\n", dist.Meaning)
	})
}
