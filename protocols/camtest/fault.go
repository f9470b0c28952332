package camtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fault is something that goes wrong with a camera.
type Fault string

// The faults. The first six are in front of the lens or behind it; the others
// are on the wire.
const (
	Blurred        Fault = "blurred"
	Covered        Fault = "covered"
	Overexposed    Fault = "over-exposed"
	Black          Fault = "black"
	Frozen         Fault = "frozen"
	Moved          Fault = "moved"
	Slow           Fault = "slow"            // each answer takes two seconds
	Silent         Fault = "silent"          // connections are taken and never answered
	OneConnection  Fault = "one-connection"  // a second connection is refused
	WrongPassword  Fault = "wrong-password"  // no login is right
	Lockout        Fault = "lockout"         // three wrong logins lock the camera
	ChangedAddress Fault = "changed-address" // it answers at another address
)

// Faults lists all faults.
func Faults() []Fault {
	return []Fault{Blurred, Covered, Overexposed, Black, Frozen, Moved, Slow, Silent, OneConnection, WrongPassword, Lockout, ChangedAddress}
}

type faultSet map[Fault]bool

func (f faultSet) list() []string {
	var out []string
	for k := range f {
		out = append(out, string(k))
	}
	slices.Sort(out)
	return out
}

// spoil changes a picture as the faults do.
func (f faultSet) spoil(c canvas) canvas {
	if f[Moved] {
		out := newCanvas(Width, Height)
		for y := range Height {
			for x := range Width {
				sx, sy := min(max(x+150, 0), Width-1), min(max(y-60, 0), Height-1)
				copy(out.Pix[out.PixOffset(x, y):][:4], c.Pix[c.PixOffset(sx, sy):][:4])
			}
		}
		c = out
	}
	if f[Blurred] {
		for range 3 {
			c = blur(c, 6)
		}
	}
	if f[Overexposed] {
		for i, v := range c.Pix {
			c.Pix[i] = uint8(min(int(v)*2+90, 255))
		}
	}
	if f[Covered] {
		c.fade(0, Height, rgb(0x2a211c), rgb(0x1a1512))
		c.grain(0, 0, Width, Height, 2, 1)
	}
	if f[Black] {
		c.rect(0, 0, Width, Height, rgb(0))
	}
	return c
}

// blur averages along rows, then along columns.
func blur(c canvas, r int) canvas {
	for _, step := range [][2]int{{4, Width}, {c.Stride, Height}} {
		out := newCanvas(Width, Height)
		lines := Width + Height - step[1]
		other := c.Stride + 4 - step[0]
		for l := range lines {
			for k := range 3 {
				sum, n := 0, 0
				at := func(i int) int { return l*other + i*step[0] + k }
				for i := range min(r, step[1]) {
					sum += int(c.Pix[at(i)])
					n++
				}
				for i := range step[1] {
					if i+r < step[1] {
						sum += int(c.Pix[at(i+r)])
						n++
					}
					if i-r-1 >= 0 {
						sum -= int(c.Pix[at(i-r-1)])
						n--
					}
					out.Pix[at(i)] = uint8(sum / n)
				}
			}
		}
		for i := 3; i < len(out.Pix); i += 4 {
			out.Pix[i] = 255
		}
		c = out
	}
	return c
}

// ParseFaults reads "camera=fault,camera=fault"; "*=fault" means all cameras.
func ParseFaults(text string) (map[string][]Fault, error) {
	out := map[string][]Fault{}
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		camera, fault, ok := strings.Cut(part, "=")
		if !ok || !slices.Contains(Faults(), Fault(fault)) {
			return nil, fmt.Errorf("fault %q: write camera=fault with one of %v", part, Faults())
		}
		out[camera] = append(out[camera], Fault(fault))
	}
	return out, nil
}

// SetFault switches a fault of a camera on or off.
func (t *Town) SetFault(camera string, f Fault, on bool) error {
	if !slices.Contains(Faults(), f) {
		return fmt.Errorf("no fault %q: there are %v", f, Faults())
	}
	found := false
	for _, c := range t.cameras {
		if camera == "*" || c.Name == camera {
			found = true
			if err := c.setFault(f, on); err != nil {
				return err
			}
		}
	}
	if !found {
		return fmt.Errorf("no camera %q in this town", camera)
	}
	return nil
}

// ActiveFaults lists the faults that are on, by camera.
func (t *Town) ActiveFaults() map[string][]string {
	out := map[string][]string{}
	for _, c := range t.cameras {
		if f := c.faults(); len(f) > 0 {
			out[c.Name] = f.list()
		}
	}
	return out
}

func (c *virtual) faults() faultSet {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.on)
}

func (c *virtual) has(f Fault) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on[f]
}

func (c *virtual) setFault(f Fault, on bool) error {
	c.mu.Lock()
	was := c.on[f]
	if on {
		c.on[f] = true
	} else {
		delete(c.on, f)
	}
	if f == Lockout {
		c.refused = 0
	}
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	if f == ChangedAddress && was != on {
		return c.move()
	}
	return nil
}
