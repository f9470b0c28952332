package labelled

import (
	"image"
	"math"
	"math/rand/v2"
	"time"

	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

// Frames are of this size. What is drawn reaches a third of a frame beyond each
// side of it: what a camera that is turned gets to see.
const (
	frameWidth, frameHeight   = 640, 360
	canvasWidth, canvasHeight = 1088, 612
)

// site is a scene with its lights by day and by night.
type site struct {
	scene   camtest.Scene
	outside bool
	night   camtest.Scene // drawn by night; empty where it is the day's with another light
}

func sites() []site {
	return []site{
		{camtest.StreetDay, true, camtest.StreetNight}, {camtest.Shelf, false, ""}, {camtest.Gate, true, ""},
		{camtest.Field, true, ""}, {camtest.Parking, true, ""}, {camtest.Dock, true, ""},
		{camtest.Aisle, false, ""}, {camtest.Harbour, true, ""}, {camtest.Skyline, true, ""},
	}
}

// aim is how a camera stands: what part of the canvas its frame shows.
type aim struct {
	x, y float64 // the frame's middle, from the canvas's, in pixels of an unzoomed frame
	zoom float64 // above 1 is nearer
	roll float64 // radians, clockwise
}

// place is one camera: what is before it, how it stands, and its light. A place
// is made from its seed alone, and what it shows from its seed and the time.
type place struct {
	site      site
	seed      uint64
	aim       aim
	mirror    bool
	curve     []float32  // of its processing, beside the drawn one, by quarters of a level: soft or hard pictures
	sigma     [2]float64 // of the sensor's noise in levels, by day and by night
	lamp      bool       // it has one of its own by night: the middle is bright
	beam      []float32  // what that makes of a frame's levels
	ambient   float64    // of night, as a factor of levels
	pools     []float32  // light of lamps by night, over the canvas
	shade     bool       // the shadow of a house goes over the picture in the course of the day
	dir       [2]float64 // which way
	phase     float64    // of the light's wavering
	day, dark *camtest.View
}

func newPlace(s site, seed uint64) (*place, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	between := func(a, b float64) float64 { return a + (b-a)*rng.Float64() }
	p := &place{site: s, seed: seed, mirror: rng.IntN(2) == 1, phase: between(0, 100)}
	p.aim = aim{x: between(-25, 25), y: between(-15, 15), zoom: between(0.95, 1.2), roll: between(-3, 3) * math.Pi / 180}
	gamma := between(0.8, 1.25)
	p.curve = make([]float32, 4*512)
	for i := range p.curve {
		p.curve[i] = float32(255 * math.Pow(float64(i)/4/255, gamma))
	}
	p.sigma = [2]float64{between(1.2, 3), between(2.5, 5.5)}
	p.lamp = rng.IntN(2) == 0
	p.ambient = between(0.13, 0.24)
	if p.lamp {
		p.ambient = between(0.25, 0.4)
		p.beam = make([]float32, frameWidth*frameHeight)
		for i := range p.beam {
			u, v := float64(i%frameWidth)/frameWidth-0.5, float64(i/frameWidth)/frameWidth-0.28
			p.beam[i] = float32(0.35 + 0.95*math.Exp(-(u*u+v*v)*7))
		}
	}
	p.pools = make([]float32, canvasWidth*canvasHeight)
	for range 2 + rng.IntN(3) {
		cx, cy, r, power := between(100, canvasWidth-100), between(150, canvasHeight-100), between(70, 160), between(0.2, 0.5)
		for i := range p.pools {
			dx, dy := float64(i%canvasWidth)-cx, float64(i/canvasWidth)-cy
			p.pools[i] += float32(power * math.Exp(-(dx*dx+dy*dy)/(2*r*r)))
		}
	}
	p.shade = s.outside && rng.IntN(2) == 0
	a := between(-0.6, 0.6)
	p.dir = [2]float64{math.Cos(a), math.Sin(a)}
	var err error
	if p.day, err = camtest.NewView(s.scene, seed, canvasWidth, canvasHeight); err != nil {
		return nil, err
	}
	if s.night != "" {
		p.dark, err = camtest.NewView(s.night, seed, canvasWidth, canvasHeight)
	}
	return p, err
}

// daylight is how much of it there is at a time of day, 0..1.
func daylight(at time.Time) float64 {
	h := float64(at.Hour()) + float64(at.Minute())/60
	return smooth((h-6.3)/1.2) * (1 - smooth((h-18.5)/1.2))
}

// smooth goes from 0 to 1 with f, easing in and out.
func smooth(f float64) float64 {
	f = min(max(f, 0), 1)
	return f * f * (3 - 2*f)
}

// canvas draws what there is to see at a time under so much daylight, in levels.
func (p *place) canvas(to []float32, at time.Time, day float64) {
	sec := float64(at.Unix())
	waver := 1 + 0.05*math.Sin(sec/700+p.phase) + 0.03*math.Sin(sec/130+3*p.phase)
	if day > 0 {
		p.sunlit(to, p.day.Draw(at), at, day*waver)
	} else {
		clear(to)
	}
	if day >= 1 {
		return
	}
	flicker := float32((1 - day) * (1 + 0.02*math.Sin(sec/70+p.phase)))
	if p.dark != nil {
		img := p.dark.Draw(at)
		for i := range to {
			to[i] += flicker * p.level(img, i)
		}
		return
	}
	img := p.day.Draw(at)
	for i := range to {
		to[i] += flicker * p.level(img, i) * (float32(p.ambient) + p.pools[i])
	}
}

func (p *place) level(img *image.RGBA, i int) float32 {
	c := img.Pix[4*i : 4*i+3]
	return float32(299*int(c[0])+587*int(c[1])+114*int(c[2])) / 1000
}

// sunlit lays the sun on what is drawn: brighter on the side it stands on, and
// not where the shadow is.
func (p *place) sunlit(to []float32, img *image.RGBA, at time.Time, gain float64) {
	hour := float64(at.Hour()) + float64(at.Minute())/60
	tilt := 0.0
	if p.site.outside {
		tilt = 0.12 * (hour - 13) / 6
	}
	edge := (hour - 13) / 6 * canvasWidth * 0.6
	for y := range canvasHeight {
		for x := range canvasWidth {
			u, v := float64(x-canvasWidth/2), float64(y-canvasHeight/2)
			g := gain * (1 + tilt*u/(canvasWidth/2))
			if p.shade {
				g *= 1 - 0.4*smooth((u*p.dir[0]+v*p.dir[1]-edge)/12+0.5)
			}
			i := y*canvasWidth + x
			to[i] = p.level(img, i) * float32(g)
		}
	}
}

// frame is what the lens throws on the sensor of a camera that stands as a says.
func (p *place) frame(to, canvas []float32, a aim, day float64) {
	sin, cos := math.Sincos(a.roll)
	sin, cos = sin/a.zoom, cos/a.zoom
	if p.mirror {
		a.x = -a.x
	}
	for y := range frameHeight {
		for x := range frameWidth {
			u, v := float64(x)-frameWidth/2+0.5, float64(y)-frameHeight/2+0.5
			if p.mirror {
				u = -u
			}
			l := at(canvas, u*cos-v*sin+a.x+canvasWidth/2, u*sin+v*cos+a.y+canvasHeight/2)
			to[y*frameWidth+x] = l
		}
	}
	for i, l := range to {
		to[i] = p.curve[int(max(0, min(float32(len(p.curve)-1), 4*l+0.5)))]
	}
	if p.lamp && day < 1 {
		for i := range to {
			to[i] *= float32(day) + float32(1-day)*p.beam[i]
		}
	}
}

// at is the canvas between its pixels; beyond its border, the border.
func at(canvas []float32, x, y float64) float32 {
	x, y = max(0, min(canvasWidth-1.001, x-0.5)), max(0, min(canvasHeight-1.001, y-0.5))
	ix, iy := int(x), int(y)
	fx, fy := float32(x-float64(ix)), float32(y-float64(iy))
	c := canvas[iy*canvasWidth+ix:]
	top := c[0] + (c[1]-c[0])*fx
	low := c[canvasWidth] + (c[canvasWidth+1]-c[canvasWidth])*fx
	return top + (low-top)*fy
}
