package upnp

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of what the LAN may send. SSDP messages fit one datagram of the
// usual size; the largest device descriptions seen are near 16 KiB.
const (
	maxMessageBytes     = 8 << 10
	maxDescriptionBytes = 64 << 10
	maxDepth            = 24
	maxElements         = 4096
	maxTextBytes        = 512
	maxAge              = 24 * time.Hour
)

// Message is one SSDP message about a device that is there or leaves.
type Message struct {
	Gone     bool
	USN      string
	UDN      string // the part of USN before "::", uuid:… in lower case
	Type     string // ST of an answer, NT of a notification
	Location string
	Server   string
	MaxAge   time.Duration
}

// ErrMessage is wrapped by every error of Parse and ParseDescription.
var ErrMessage = errors.New("not an SSDP message")

// Parse reads one datagram: an answer to a search or a NOTIFY. Searches of
// others give a zero Message and no error.
func Parse(datagram []byte) (Message, error) {
	if len(datagram) > maxMessageBytes {
		return Message{}, fmt.Errorf("%w: %d bytes, at most %d are read", ErrMessage, len(datagram), maxMessageBytes)
	}
	if bytes.HasPrefix(datagram, []byte("M-SEARCH ")) {
		return Message{}, nil // most of what is heard are searches: they cost nothing
	}
	in := bufio.NewReaderSize(bytes.NewReader(datagram), 1024) // honest messages have some 400 bytes
	var h http.Header
	var m Message
	switch {
	case bytes.HasPrefix(datagram, []byte("HTTP/")):
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return Message{}, fmt.Errorf("%w: status %d", ErrMessage, r.StatusCode)
		}
		h = r.Header
		m.Type = clean(h.Get("St"))
	case bytes.HasPrefix(datagram, []byte("NOTIFY ")):
		r, err := http.ReadRequest(in)
		if err != nil {
			return Message{}, fmt.Errorf("%w: %w", ErrMessage, err)
		}
		_ = r.Body.Close()
		h = r.Header
		m.Type = clean(h.Get("Nt"))
		switch nts := h.Get("Nts"); nts {
		case "ssdp:alive", "ssdp:update":
		case "ssdp:byebye":
			m.Gone = true
		default:
			return Message{}, fmt.Errorf("%w: notification %.40q", ErrMessage, nts)
		}
	default:
		return Message{}, fmt.Errorf("%w: it begins %.16q", ErrMessage, datagram)
	}
	m.USN = clean(h.Get("Usn"))
	m.UDN = udn(m.USN)
	m.Location = clean(h.Get("Location"))
	m.Server = clean(h.Get("Server"))
	m.MaxAge = age(h.Get("Cache-Control"))
	if m.UDN == "" {
		return Message{}, fmt.Errorf("%w: USN %.80q names no device", ErrMessage, m.USN)
	}
	return m, nil
}

// udn returns the device part of a USN in its one spelling.
func udn(usn string) string {
	name, _, _ := strings.Cut(usn, "::")
	low := strings.ToLower(strings.TrimSpace(name))
	bare, ok := strings.CutPrefix(low, "uuid:")
	if bare = strings.Trim(bare, "{}"); !ok || strings.Trim(bare, "0-") == "" || len(bare) > 128 || strings.ContainsAny(bare, " /\\") {
		return ""
	}
	return "uuid:" + bare
}

func age(cacheControl string) time.Duration {
	for part := range strings.SplitSeq(cacheControl, ",") {
		k, v, _ := strings.Cut(part, "=")
		if strings.EqualFold(strings.TrimSpace(k), "max-age") {
			if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 31); err == nil {
				return min(time.Duration(n)*time.Second, maxAge)
			}
		}
	}
	return 0
}

// clean returns s without control characters, or nothing when it is too long.
func clean(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxTextBytes {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, s)
}

// Description is what a device says of itself, its root device only.
type Description struct {
	DeviceType       string
	FriendlyName     string
	Manufacturer     string
	ModelName        string
	ModelDescription string
	SerialNumber     string
	UDN              string
	PresentationURL  string
	ServiceTypes     []string // of the root device and those inside it
	DeviceTypes      []string // likewise
}

// ParseDescription reads a device description.
func ParseDescription(doc []byte) (Description, error) {
	var d Description
	if len(doc) > maxDescriptionBytes {
		return d, fmt.Errorf("%w: a description of %d bytes, at most %d are read", ErrMessage, len(doc), maxDescriptionBytes)
	}
	dec := xml.NewDecoder(bytes.NewReader(doc))
	dec.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var (
		path     []string
		text     strings.Builder
		elements int
		devices  int // how many <device> we are in
	)
	for {
		tok, err := dec.RawToken()
		if errors.Is(err, io.EOF) && len(path) == 0 && elements > 0 {
			return d, nil
		}
		if err != nil {
			return Description{}, fmt.Errorf("%w: a description: %w", ErrMessage, err)
		}
		switch t := tok.(type) {
		case xml.Directive:
			return Description{}, fmt.Errorf("%w: a description with a document type", ErrMessage)
		case xml.StartElement:
			elements++
			if elements == 1 && t.Name.Local != "root" || elements > 1 && len(path) == 0 {
				return Description{}, fmt.Errorf("%w: a description whose root is <%.40s>", ErrMessage, t.Name.Local)
			}
			if len(path) >= maxDepth || elements > maxElements {
				return Description{}, fmt.Errorf("%w: a description deeper than %d or with more than %d elements", ErrMessage, maxDepth, maxElements)
			}
			path = append(path, t.Name.Local)
			if t.Name.Local == "device" {
				devices++
			}
			text.Reset()
		case xml.CharData:
			text.Write(t)
		case xml.EndElement:
			if len(path) == 0 || path[len(path)-1] != t.Name.Local {
				return Description{}, fmt.Errorf("%w: a description with </%.40s> that closes nothing", ErrMessage, t.Name.Local)
			}
			d.set(path, devices, clean(text.String()))
			text.Reset()
			if t.Name.Local == "device" {
				devices--
			}
			path = path[:len(path)-1]
		}
	}
}

func (d *Description) set(path []string, devices int, text string) {
	if text == "" || len(path) < 2 {
		return
	}
	name := path[len(path)-1]
	switch {
	case name == "deviceType" && len(d.DeviceTypes) < 32:
		d.DeviceTypes = append(d.DeviceTypes, text)
	case name == "serviceType" && len(d.ServiceTypes) < 64:
		d.ServiceTypes = append(d.ServiceTypes, text)
	}
	if devices != 1 || path[len(path)-2] != "device" {
		return
	}
	switch name {
	case "deviceType":
		d.DeviceType = text
	case "friendlyName":
		d.FriendlyName = text
	case "manufacturer":
		d.Manufacturer = text
	case "modelName":
		d.ModelName = text
	case "modelDescription":
		d.ModelDescription = text
	case "serialNumber":
		d.SerialNumber = text
	case "UDN":
		d.UDN = udn(text)
	case "presentationURL":
		d.PresentationURL = text
	}
}

// cameraMakers are words that the manufacturer or model of a network camera
// holds. UPnP's own camera type is rare: most cameras call themselves Basic.
var cameraMakers = []string{
	"axis", "hikvision", "hikdigital", "dahua", "amcrest", "lorex", "reolink", "hanwha", "wisenet", "samsung techwin", "bosch security", "vivotek",
	"mobotix", "foscam", "uniview", "avigilon", "pelco", "geovision", "acti corp", "arecont", "instar", "trendnet", "grandstream", "milesight",
	"tiandy", "annke", "swann", "panasonic i-pro", "i-pro", "imou", "ezviz", "sunell", "tvt", "provision-isr", "ubiquiti unifi video",
}

// cameraWords are words that a camera's own texts hold.
var cameraWords = []string{"camera", "ipcam", "ip cam", "webcam", "nvr", "dvr", "network video", "videoserver", "video server", "onvif"}

// cameraKinds are device types of cameras: UPnP's own, and vendors'.
var cameraKinds = []string{":digitalsecuritycamera", ":networkvideo", ":ipcamera", ":networkcamera"}

// otherKinds are words in device and service types of things that are no
// camera, whoever made them.
var otherKinds = []string{
	":printer", ":scanner", ":mediaserver", ":mediarenderer", ":internetgatewaydevice", ":wandevice", ":wanconnectiondevice", ":wlanaccesspoint",
	":landevice", ":hvac_system", ":lighting", ":binarylight", ":dimmablelight", ":dial", ":zoneplayer", ":remoteuiserver", ":remoteuiclient", ":remotecontrolreceiver",
	":wfadevice", "microsoft.com",
}

// otherWords are words of a model that is no camera, also when its maker makes
// cameras: switches, speakers and recorders of pictures that are files.
var otherWords = []string{
	"printer", "laserjet", "officejet", "scanner", "router", "gateway", "bridge", "access point", "switch", "nas", "network attached", "storage",
	"television", "smart tv", "speaker", "receiver", "media server", "media player", "lighting", "door controller", "intercom server",
}

// Camera reports whether the device is a camera or a recorder: it says so by
// its type, or nothing in it speaks for another kind of thing and its model,
// its maker or, last, the name that a person gave it speaks for a camera.
func (d Description) Camera() bool {
	types := strings.ToLower(strings.Join(append(append([]string{d.DeviceType}, d.DeviceTypes...), d.ServiceTypes...), " "))
	for _, k := range cameraKinds {
		if strings.Contains(types, k) {
			return true
		}
	}
	for _, k := range otherKinds {
		if strings.Contains(types, k) {
			return false
		}
	}
	model := strings.ToLower(d.ModelName + " " + d.ModelDescription)
	switch {
	case anyWord(model, cameraWords):
		return true
	case anyWord(model, otherWords):
		return false
	}
	return anyWord(strings.ToLower(d.Manufacturer+" "+d.ModelName), cameraMakers) || anyWord(strings.ToLower(d.FriendlyName), cameraWords)
}

func anyWord(s string, words []string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return hasWord(s, w) })
}

// hasWord reports whether w stands in s and begins a word there: "maxis" is
// not "axis", while "axis-q1615" and "cameras" are meant.
func hasWord(s, w string) bool {
	for at := 0; ; {
		i := strings.Index(s[at:], w)
		if i < 0 {
			return false
		}
		i += at
		if i == 0 || !(s[i-1] >= 'a' && s[i-1] <= 'z') {
			return true
		}
		at = i + 1
	}
}
