package store

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// Texts numbers texts that repeat over a fleet (vendors, models, the shapes of
// URLs), so that a packed camera in memory holds numbers instead. The zero
// value is ready.
type Texts struct {
	numbers map[string]uint64
	texts   []string
}

// maxTexts bounds the table: what is new beyond it is packed as it is.
const maxTexts = 1 << 16

// number returns t's number from 1, or 0 when the table is full.
func (x *Texts) number(t string) uint64 {
	if n, ok := x.numbers[t]; ok {
		return n
	}
	if len(x.texts) == maxTexts {
		return 0
	}
	if x.numbers == nil {
		x.numbers = map[string]uint64{}
	}
	t = strings.Clone(t)
	x.texts = append(x.texts, t)
	x.numbers[t] = uint64(len(x.texts))
	return uint64(len(x.texts))
}

// bytes is number for a text that is not a string yet.
func (x *Texts) bytes(t []byte) uint64 {
	if n, ok := x.numbers[string(t)]; ok {
		return n
	}
	return x.number(string(t))
}

// A record: layout, id, version, created, enabled; nine texts; four texts that
// do not repeat; the addresses; the endpoints, two texts each.
const cameraLayout = 1

const (
	cameraTexts  = 9
	cameraPlains = 4
)

// Head is what a scheduler asks of a camera before anything else.
type Head struct {
	ID     fleet.CameraID
	Site   fleet.SiteID
	State  fleet.Enrollment
	Labels string // as packed; "" = none
	Video  bool   // it has addresses, and none that answers a JPEG
}

// Intern packs a record that stands by itself anew, with texts, without
// unpacking it.
func Intern(dst, record []byte, texts *Texts) (packed []byte, h Head, err error) {
	if len(record) < 9 || record[0] != cameraLayout {
		return dst, h, errCamera
	}
	in := cursor{b: record[1:]}
	text := func() string {
		whole := in.b
		t := in.raw()
		n := texts.bytes(t)
		dst = binary.AppendUvarint(dst, n)
		if n > 0 {
			return texts.texts[n-1]
		}
		dst = append(dst, whole[:len(whole)-len(in.b)]...)
		return string(t)
	}
	h.ID = fleet.CameraID(in.uint64())
	in.uvarint() // version, created, enabled
	in.varint()
	in.varint()
	dst = append(dst, record[:len(record)-len(in.b)]...)
	for i := range cameraTexts {
		switch t := text(); i {
		case 0:
			h.Site = fleet.SiteID(t)
		case 1:
			h.State = fleet.Enrollment(t)
		case cameraTexts - 1:
			h.Labels = t
		}
	}
	at := in.b
	for range cameraPlains {
		in.raw()
	}
	for range in.count() { // addresses
		in.raw()
	}
	endpoints := in.count()
	if in.bad {
		return dst, h, errCamera
	}
	dst = append(dst, at[:len(at)-len(in.b)]...)
	h.Video = endpoints > 0
	for range endpoints {
		if p := fleet.Protocol(text()); p == fleet.Snapshot || p == fleet.MJPEG {
			h.Video = false
		}
		text()
	}
	if in.bad || len(in.b) > 0 {
		return dst, h, errCamera
	}
	return dst, h, nil
}

// HeadOf is the head of a camera that is unpacked.
func HeadOf(c *fleet.Camera) Head {
	h := Head{ID: c.ID, Site: c.Site, State: c.State, Labels: joinLabels(c.Labels), Video: len(c.Endpoints) > 0}
	for _, e := range c.Endpoints {
		if e.Protocol == fleet.Snapshot || e.Protocol == fleet.MJPEG {
			h.Video = false
		}
	}
	return h
}

// Label returns the value of one of a head's labels.
func (h *Head) Label(key string) string {
	if h.Labels == "" {
		return ""
	}
	return splitLabels(h.Labels)[key]
}

// errCamera says that a packed camera is damaged.
var errCamera = errors.New("damaged camera record")

// AppendCamera packs c. With texts, what repeats becomes a number in it;
// without, the record stands by itself.
func AppendCamera(b []byte, c *fleet.Camera, texts *Texts) []byte {
	text := func(t string) {
		if texts != nil {
			n := texts.number(t)
			if b = binary.AppendUvarint(b, n); n > 0 {
				return
			}
		}
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	plain := func(t string) {
		b = binary.AppendUvarint(b, uint64(len(t)))
		b = append(b, t...)
	}
	b = append(b, cameraLayout)
	b = binary.BigEndian.AppendUint64(b, uint64(c.ID))
	b = binary.AppendUvarint(b, c.Version)
	b = binary.AppendVarint(b, int64(c.Created))
	b = binary.AppendVarint(b, int64(c.Enabled))
	for _, t := range []string{string(c.Site), string(c.State), string(c.DeviceState), c.Source, c.Vendor, c.Model, c.Firmware, joinVia(c.Via), joinLabels(c.Labels)} {
		text(t)
	}
	for _, t := range []string{c.Name, c.Device, c.Serial, c.Reason} {
		plain(t)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Addresses)))
	host := ""
	for i, a := range c.Addresses {
		raw, _ := a.MarshalBinary() // fails never
		b = append(binary.AppendUvarint(b, uint64(len(raw))), raw...)
		if i == 0 {
			host = a.String()
		}
	}
	b = binary.AppendUvarint(b, uint64(len(c.Endpoints)))
	for _, e := range c.Endpoints {
		text(string(e.Protocol))
		url := e.URL
		if host != "" && !strings.Contains(url, hostMark) {
			url = strings.ReplaceAll(url, host, hostMark)
		}
		text(url)
	}
	return b
}

// hostMark stands for the camera's first address in its URLs: what is left of
// them repeats over the fleet. A URL holds no control character.
const hostMark = "\x00"

// ParseCamera reads what AppendCamera packed with the same texts.
func ParseCamera(b []byte, texts *Texts) (c fleet.Camera, err error) {
	if len(b) < 9 || b[0] != cameraLayout {
		return c, errCamera
	}
	in := cursor{b: b[1:]}
	text := func() string {
		if texts != nil {
			switch n := in.uvarint(); {
			case n > uint64(len(texts.texts)):
				in.fail()
				return ""
			case n > 0:
				return texts.texts[n-1]
			}
		}
		return string(in.raw())
	}
	c.ID = fleet.CameraID(in.uint64())
	c.Version = in.uvarint()
	c.Created, c.Enabled = fleet.Instant(in.varint()), fleet.Instant(in.varint())
	c.Site, c.State, c.DeviceState = fleet.SiteID(text()), fleet.Enrollment(text()), fleet.DeviceState(text())
	c.Source, c.Vendor, c.Model, c.Firmware = text(), text(), text(), text()
	c.Via, c.Labels = splitVia(text()), splitLabels(text())
	c.Name, c.Device, c.Serial, c.Reason = string(in.raw()), string(in.raw()), string(in.raw()), string(in.raw())
	host := ""
	for i := range in.count() {
		var a netip.Addr
		if a.UnmarshalBinary(in.raw()) != nil {
			in.fail()
			break
		}
		c.Addresses = append(c.Addresses, a)
		if i == 0 {
			host = a.String()
		}
	}
	for range in.count() {
		if in.bad {
			break
		}
		e := fleet.Endpoint{Protocol: fleet.Protocol(text()), URL: text()}
		if host != "" {
			e.URL = strings.ReplaceAll(e.URL, hostMark, host)
		}
		c.Endpoints = append(c.Endpoints, e)
	}
	if in.bad || len(in.b) > 0 {
		return c, errCamera
	}
	return c, nil
}

func joinVia(via []fleet.Via) string {
	parts := make([]string, len(via))
	for i, v := range via {
		parts[i] = string(v)
	}
	return strings.Join(parts, ",")
}

func splitVia(text string) (via []fleet.Via) {
	if text == "" {
		return nil
	}
	for v := range strings.SplitSeq(text, ",") {
		via = append(via, fleet.Via(v))
	}
	return via
}

// joinLabels writes key, value, key, value in order of the keys; neither holds
// a line break.
func joinLabels(labels map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		b.WriteString(k + "\n" + labels[k] + "\n")
	}
	return b.String()
}

func splitLabels(text string) map[string]string {
	if text == "" {
		return nil
	}
	labels := map[string]string{}
	for text != "" {
		var k, v string
		k, text, _ = strings.Cut(text, "\n")
		v, text, _ = strings.Cut(text, "\n")
		labels[k] = v
	}
	return labels
}
