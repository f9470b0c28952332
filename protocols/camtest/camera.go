package camtest

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// The ports that cameras take if they are free: unprivileged, and the same
// for all, as with real ones.
const (
	httpPort  = 8080
	mediaPort = 8081
	httpsPort = 8443
	rtspPort  = 8554
)

const (
	onvifPath       = "/onvif/device_service"
	mediaPath       = "/onvif/media_service"
	snapshotPath    = "/snapshot.jpg"
	mjpegPath       = "/video.mjpeg"
	descriptionPath = "/description.xml"
	rtspPath        = "/live"
)

// frameEvery is how often a stream shows a new picture, and how long a picture
// answers for all who ask: cheap cameras are not faster.
const frameEvery = 250 * time.Millisecond

// jpegQuality gives a still of about 50 kB.
const jpegQuality = 75

// camera is one virtual camera at work.
type camera struct {
	Camera
	opts  Options
	log   *slog.Logger
	block *block
	index int

	id     uuid.UUID
	serial string
	mac    net.HardwareAddr

	moving sync.Mutex // held while the camera changes its address or ends

	picture sync.Mutex // guards what draws
	view    *view
	effects *effects
	last    []byte
	lastAt  time.Time
	lastFor string // the picture faults it was drawn with

	mu      sync.Mutex // guards what follows
	on      map[Fault]bool
	changed chan struct{} // closed and replaced whenever faults change
	count   Stats
	wrong   int // wrong logins since the last right one
	addr    netip.Addr
	web     *webServer
	keys    *keys // once it has spoken HTTPS
	rtsp    *rtspServer
	serving bool
	ended   bool
	told    func(c *camera, gone bool) // announces; nil without discovery
}

func newCamera(c Camera, o Options) (*camera, error) {
	c.Vendor = cmp.Or(c.Vendor, "Shutterfleet")
	c.Model = cmp.Or(c.Model, "camtest")
	c.Firmware = cmp.Or(c.Firmware, "1.0.0")
	c.Width, c.Height = cmp.Or(c.Width, 896), cmp.Or(c.Height, 504)
	c.Codec = cmp.Or(c.Codec, fleet.JPEG)
	c.User = cmp.Or(c.User, DefaultUser)
	c.Password = cmp.Or(c.Password, DefaultPassword)
	c.LockAfter = cmp.Or(c.LockAfter, 5)
	v, ok := newView(c.Scene, seedOf(c.Name), c.Width, c.Height)
	if !ok {
		return nil, fmt.Errorf("no scene is called %q", c.Scene)
	}
	cam := &camera{
		Camera: c, opts: o, log: o.Log.With("camera", c.Name), view: v, effects: newEffects(),
		on: map[Fault]bool{}, changed: make(chan struct{}),
	}
	for _, f := range c.Faults {
		cam.on[f] = true
	}
	return cam, nil
}

// seedOf is what a camera's scene is drawn by.
func seedOf(name string) uint64 {
	seed := sha256.Sum256([]byte(name))
	return binary.BigEndian.Uint64(seed[:])
}

// settle gives the camera its place and the identity that follows from it.
func (c *camera) settle(b *block, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.block, c.index = b, index
	c.addr = b.address(index, c.on[ChangedAddress])
	space := uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/shutterfleet/shutterfleet/protocols/camtest"))
	c.id = uuid.NewSHA1(space, []byte(b.first.String()+"/"+c.Name))
	c.serial = cmp.Or(c.Serial, fmt.Sprintf("%X", c.id[:5]))
	vendor := sha256.Sum256([]byte(c.Vendor))
	// A locally administered prefix per vendor: invented, like the vendors.
	c.mac = net.HardwareAddr{vendor[0]&^0x03 | 0x02, vendor[1], vendor[2], c.id[10], c.id[11], c.id[12]}
}

func (c *camera) speaks(p fleet.Protocol) bool { return slices.Contains(c.Protocols, p) }

// start opens the camera's servers where it is now. The caller stops it.
func (c *camera) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.startLocked()
}

func (c *camera) startLocked() error {
	web, err := newWebServer(c)
	if err != nil {
		return err
	}
	if c.speaks(fleet.RTSP) {
		l, err := listen(c.addr, rtspPort)
		if err != nil {
			web.stop()
			return err
		}
		if c.rtsp, err = newRTSPServer(c, l); err != nil {
			web.stop()
			return err
		}
	}
	c.web, c.serving = web, true
	return nil
}

// listen opens the port, or any other if that is taken at this address.
func listen(a netip.Addr, port uint16) (net.Listener, error) {
	for _, p := range []uint16{port, port + 10000} {
		if l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, p))); err == nil {
			return l, nil
		}
	}
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, 0)))
	if err != nil {
		return nil, fmt.Errorf("no port at %v: %w", a, err)
	}
	return l, nil
}

// stop closes the camera's servers and waits for their goroutines. Stopping
// again does nothing.
func (c *camera) stop() {
	c.mu.Lock()
	web, rtsp := c.web, c.rtsp
	c.web, c.rtsp, c.serving = nil, nil, false
	c.mu.Unlock()
	if web != nil {
		web.stop()
	}
	if rtsp != nil {
		rtsp.stop()
	}
}

// end stops the camera for good: a fault that is switched later moves nothing.
func (c *camera) end() {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.stop()
}

// is reports whether a fault is on.
func (c *camera) is(f Fault) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on[f]
}

// state returns whether a fault is on, and a channel that is closed at the
// next change of any.
func (c *camera) state(f Fault) (bool, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.on[f], c.changed
}

func (c *camera) setFault(f Fault, on bool) error {
	c.moving.Lock()
	defer c.moving.Unlock()
	c.mu.Lock()
	if c.on[f] == on {
		c.mu.Unlock()
		return nil
	}
	c.on[f] = on
	close(c.changed)
	c.changed = make(chan struct{})
	if f == Lockout || f == CountsTries {
		c.wrong, c.count.Locked = 0, false
	}
	told, web := c.told, c.web
	move := f == ChangedAddress && c.serving && !c.ended && !c.block.single
	c.mu.Unlock()
	if f == ChangedKey && web != nil {
		web.rekey()
	}
	c.log.Info("fault switched", "fault", string(f), "on", on)
	if !move {
		return nil
	}
	// Like a camera whose lease ran out: it is gone without a word, and says
	// hello from its new address.
	c.stop()
	c.mu.Lock()
	c.addr = c.block.address(c.index, on)
	err := c.startLocked()
	c.mu.Unlock()
	if err == nil && told != nil {
		told(c, false)
	}
	return err
}

// now is the camera's own clock.
func (c *camera) now() time.Time { return c.opts.Now().Add(c.Skew) }

// pictureFaults are applied to the drawing, in this order.
var pictureFaults = []Fault{Moved, Blurred, OverExposed, Covered, Black}

// frame returns the picture of now as a JPEG. Callers must not change it.
func (c *camera) frame() ([]byte, error) {
	c.picture.Lock()
	defer c.picture.Unlock()
	faults, frozen := c.spoiled() // of now: who waited must not thaw a camera that froze meanwhile
	key := fmt.Sprint(faults)
	now := c.opts.Now()
	if c.last != nil && (frozen || key == c.lastFor && now.Sub(c.lastAt).Abs() < frameEvery) {
		return c.last, nil
	}
	cv := c.paint(c.view, faults, now)
	cv.overlay(c.Name, c.now().UTC().Format("2006-01-02 15:04:05"))
	var out bytes.Buffer
	out.Grow(96 << 10)
	if err := jpeg.Encode(&out, cv.img, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	c.last, c.lastAt, c.lastFor = out.Bytes(), now, key
	return c.last, nil
}

// spoiled returns the faults of its pictures that are on, and whether it is frozen.
func (c *camera) spoiled() (faults []Fault, frozen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range pictureFaults {
		if c.on[f] {
			faults = append(faults, f)
		}
	}
	return faults, c.on[Frozen]
}

// paint draws what the camera sees of the view. The caller holds c.picture.
func (c *camera) paint(v *view, faults []Fault, now time.Time) *canvas {
	cv := v.draw(now)
	for _, f := range faults {
		c.effects.apply(cv, f, uint64(now.UnixNano()))
	}
	sensor(cv.img, uint64(now.UnixNano()))
	return cv
}

// look is paint for one picture of now.
func (c *camera) look(v *view, faults []Fault) *image.RGBA {
	c.picture.Lock()
	defer c.picture.Unlock()
	return c.paint(v, faults, c.opts.Now()).img
}

func (c *camera) counted(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.count)
}

func (c *camera) stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.count
}

// claim takes a place for a picture connection, or reports that the camera
// has none left. The caller frees it.
func (c *camera) claim() (free func(), ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.on[OneConnection] && c.count.Streams > 0 {
		return nil, false
	}
	c.count.Streams++
	return sync.OnceFunc(func() { c.counted(func(s *Stats) { s.Streams-- }) }), true
}

// password is what the camera takes at the moment.
func (c *camera) password() fleet.Secret {
	if c.is(WrongPassword) {
		return "changed-" + c.Password // nobody was told
	}
	return c.Password
}

// login notes the end of a try and reports whether the camera lets in: a
// locked one lets nobody in, whatever they say.
func (c *camera) login(right bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count.Locked || !right {
		c.count.Refused++
		if c.wrong++; (c.on[Lockout] || c.on[CountsTries]) && c.wrong >= c.LockAfter && !c.count.Locked {
			c.count.Locked = true
			c.log.Info("virtual camera locked after wrong logins", "tries", c.wrong)
		}
		return false
	}
	c.wrong = 0
	c.count.Accepted++
	return true
}

// triesLeft says how many more wrong logins the camera bears, if it says that.
func (c *camera) triesLeft() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.on[CountsTries] {
		return ""
	}
	return fmt.Sprintf(". Invalid username or password! You still have %d attempt(s).", max(0, c.LockAfter-c.wrong))
}

func (c *camera) epr() string { return "urn:uuid:" + c.id.String() }

// info describes the camera as it is now.
func (c *camera) info() Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := Info{Camera: c.Camera}
	i.Faults = nil
	for _, f := range Faults() {
		if c.on[f] {
			i.Faults = append(i.Faults, f)
		}
	}
	if c.block == nil {
		return i
	}
	i.Serial, i.MAC, i.EPR, i.Addr = c.serial, c.mac.String(), c.epr(), c.addr
	at := func(p fleet.Protocol, path string) string {
		if c.web == nil || !c.speaks(p) {
			return ""
		}
		return c.web.url(path)
	}
	i.ONVIF, i.Snapshot, i.MJPEG = at(fleet.ONVIF, onvifPath), at(fleet.Snapshot, snapshotPath), at(fleet.MJPEG, mjpegPath)
	if c.rtsp != nil {
		i.RTSP = "rtsp://" + net.JoinHostPort(c.addr.String(), strconv.Itoa(int(c.rtsp.port))) + rtspPath
	}
	return i
}
