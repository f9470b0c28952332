package fleet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Mask is what a camera must not show: windows, desks, a neighbor's garden. Its
// places are shares of the picture's width and height, 0,0 at the top left, so
// that it fits whatever size and profile the camera sends. The zero Mask hides
// nothing. What a shape touches at all is hidden, with the blocks that it was
// coded in.
type Mask struct {
	Rectangles []Rectangle `json:"rectangles,omitempty"`
	Polygons   [][]Point   `json:"polygons,omitempty"` // closed; where one crosses itself, all inside is hidden
}

// Point is a place in a picture, both parts 0..1.
type Point struct {
	X float64 `json:"x"`
	Y float64 `json:"y"`
}

// Rectangle is an upright one, in shares of the picture.
type Rectangle struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// Limits of a mask: what drawing it may cost for each frame, and what it adds
// to a list of cameras, of which an agent takes 4 MB at a time.
const (
	maxMaskShapes = 64
	maxMaskPoints = 64 // of a polygon

	// MaxMaskBytes bounds a mask's JSON. A rectangle takes about 60 bytes and a
	// point 20, so it has room for a dozen careful polygons.
	MaxMaskBytes = 8 << 10
)

// Shapes returns how many there are. Like all methods it takes a nil Mask, which
// hides nothing.
func (m *Mask) Shapes() int {
	if m == nil {
		return 0
	}
	return len(m.Rectangles) + len(m.Polygons)
}

// Empty says whether nothing is hidden.
func (m *Mask) Empty() bool { return m.Shapes() == 0 }

// Join returns a mask that hides what m or other hides; each shape once. Both
// stay as they are. It may have more shapes than Check allows.
func (m *Mask) Join(other *Mask) *Mask {
	joined := &Mask{}
	for _, v := range []*Mask{m, other} {
		if v.Empty() {
			continue
		}
		for _, r := range v.Rectangles {
			if !slices.Contains(joined.Rectangles, r) {
				joined.Rectangles = append(joined.Rectangles, r)
			}
		}
		for _, p := range v.Polygons {
			if !slices.ContainsFunc(joined.Polygons, func(q []Point) bool { return slices.Equal(p, q) }) {
				joined.Polygons = append(joined.Polygons, p)
			}
		}
	}
	return joined
}

// Check says what is wrong with a mask that came from outside.
func (m *Mask) Check() error {
	switch n := m.Shapes(); {
	case n == 0:
		return nil
	case n > maxMaskShapes:
		return fmt.Errorf("the mask has %d shapes: at most %d are allowed", n, maxMaskShapes)
	}
	inside := func(v float64) bool { return v >= 0 && v <= 1 } // and no NaN
	for i, r := range m.Rectangles {
		// A hair beyond 1 is the rounding of sums such as 0.7 + 0.3.
		if !inside(r.X) || !inside(r.Y) || !(r.Width > 0) || !(r.Height > 0) || r.X+r.Width > 1+1e-9 || r.Y+r.Height > 1+1e-9 {
			return fmt.Errorf("rectangle %d of the mask: want x, y, width and height as shares of the picture, 0 to 1, and an area", i)
		}
	}
	for i, p := range m.Polygons {
		if len(p) < 3 || len(p) > maxMaskPoints {
			return fmt.Errorf("polygon %d of the mask has %d points: want 3 to %d", i, len(p), maxMaskPoints)
		}
		for k, q := range p {
			if !inside(q.X) || !inside(q.Y) {
				return fmt.Errorf("point %d of polygon %d of the mask is at %g, %g: want shares of the picture, 0 to 1", k, i, q.X, q.Y)
			}
		}
		if onLine(p) {
			return fmt.Errorf("all points of polygon %d of the mask are on one line: want an area", i)
		}
	}
	return nil
}

// onLine says whether a polygon has no inside: a slip of who wrote it, as a
// rectangle without a width is.
func onLine(p []Point) bool {
	a, far := p[0], slices.IndexFunc(p, func(q Point) bool { return q != p[0] })
	if far < 0 {
		return true
	}
	b := p[far]
	return !slices.ContainsFunc(p, func(c Point) bool {
		return float64((b.X-a.X)*(c.Y-a.Y)) != float64((b.Y-a.Y)*(c.X-a.X))
	})
}

// ParseMask reads a mask's JSON and checks it. A field that a mask does not
// have is refused, for a misspelled one would leave something in sight; so is one
// that is missing in a shape or is there twice, and a mask that hides nothing.
func ParseMask(text []byte) (*Mask, error) {
	if len(text) > MaxMaskBytes {
		return nil, fmt.Errorf("the mask's JSON has %d bytes, and %d are allowed: use fewer points", len(text), MaxMaskBytes)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	m := &Mask{}
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("the mask cannot be read: %s: want %s", strings.TrimPrefix(err.Error(), "json: "), maskForm)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("the mask has something behind its end: want one %s", maskForm)
	}
	if m.Empty() {
		return nil, fmt.Errorf("the mask hides nothing: want %s", maskForm)
	}
	if err := complete(text); err != nil {
		return nil, err
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	return m, nil
}

// complete says what encoding/json passes over in silence, and what would hide
// something else than was meant: of a key that is there twice, in whatever case
// its letters are, it takes the last one, and of a place that is not there, 0.
// The text is known to begin with a mask.
func complete(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	var seen []map[string]bool // keys, for each object and list that is open
	for {
		t, err := d.Token()
		if err != nil {
			return fmt.Errorf("the mask cannot be read: %w", err)
		}
		depth := len(seen)
		switch v := t.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				seen = append(seen, map[string]bool{})
				continue
			}
			// In the mask are lists of rectangles, and of lists of points.
			if want := map[int]int{3: 4, 4: 2}[depth]; v == '}' && len(seen[depth-1]) < want {
				return fmt.Errorf("the mask has a shape of which a part is missing: want %s", maskForm)
			}
			if seen = seen[:depth-1]; depth == 1 {
				return nil
			}
		case string: // a mask has no texts but keys
			key := strings.ToUpper(v) // ToLower knows the long s and not that it is one
			if seen[depth-1][key] {
				return fmt.Errorf("the mask has %q twice in one place, of which one would be lost: each belongs there once", v)
			}
			seen[depth-1][key] = true
		case nil:
			if depth > 1 {
				return fmt.Errorf("the mask has a null where a number or a shape belongs: want %s", maskForm)
			}
		}
	}
}

const maskForm = `{"rectangles": [{"x", "y", "width", "height"}, …], "polygons": [[{"x", "y"}, …], …]}, all as shares of the picture, 0 to 1`

// MaskSum names what a mask hides: the same shapes in the same order have the
// same sum, at any camera. 0 is no mask. Hashes of pictures compare under the
// same sum only, and a thumbnail is shown under the sum that its camera has now.
type MaskSum uint64

// Sum returns the first eight bytes of the SHA-256 over the mask's numbers.
func (m *Mask) Sum() MaskSum {
	if m.Empty() {
		return 0
	}
	h := sha256.New()
	var b []byte
	number := func(v float64) { b = binary.BigEndian.AppendUint64(b, math.Float64bits(v+0)) } // -0 is 0
	b = binary.AppendUvarint(b, uint64(len(m.Rectangles)))
	for _, r := range m.Rectangles {
		number(r.X)
		number(r.Y)
		number(r.Width)
		number(r.Height)
	}
	for _, p := range m.Polygons {
		b = binary.AppendUvarint(b, uint64(len(p)))
		for _, q := range p {
			number(q.X)
			number(q.Y)
		}
	}
	h.Write(b)
	sum := MaskSum(binary.BigEndian.Uint64(h.Sum(nil)))
	return max(sum, 1)
}

// String returns sixteen hexadecimal digits, or nothing for no mask.
func (s MaskSum) String() string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(s))
}

// MarshalText writes sixteen hexadecimal digits, or nothing for no mask.
func (s MaskSum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *MaskSum) UnmarshalText(b []byte) error {
	*s = 0
	if len(b) == 0 {
		return nil
	}
	if _, err := fmt.Sscanf(string(b), "%016x", (*uint64)(s)); err != nil || len(b) != 16 {
		return fmt.Errorf("mask sum %q: want 16 hex digits", b)
	}
	return nil
}

// CameraMask is a camera's mask as its agent has it. The zero CameraMask is a
// camera without one; a Revision without shapes is a mask that could not be
// read, and nothing of such a camera may be looked at.
type CameraMask struct {
	Revision uint64 // rises with each change of the camera's mask
	Mask
}

// Unread says whether there is a mask and nobody knows what it hides.
func (c *CameraMask) Unread() bool { return c.Revision != 0 && c.Empty() }
