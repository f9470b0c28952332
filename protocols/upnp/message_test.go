package upnp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)

// messages is the one table of parsing: tests, and seeds of the fuzz target.
var messages = []struct {
	name, in string
	want     Message
	bad      bool
}{
	{name: "answer", in: "HTTP/1.1 200 OK\r\nCache-Control: no-cache, max-age = 100\r\nLocation: http://10.0.0.7/d.xml\r\nST: upnp:rootdevice\r\nUSN: UUID:ABC::upnp:rootdevice\r\nServer: s\r\n\r\n",
		want: Message{USN: "UUID:ABC::upnp:rootdevice", UDN: "uuid:abc", Type: "upnp:rootdevice", Location: "http://10.0.0.7/d.xml", Server: "s", MaxAge: 100 * time.Second}},
	{name: "alive", in: "NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nNT: uuid:abc\r\nNTS: ssdp:alive\r\nUSN: uuid:abc\r\nLOCATION: http://10.0.0.7/\r\n\r\n",
		want: Message{USN: "uuid:abc", UDN: "uuid:abc", Type: "uuid:abc", Location: "http://10.0.0.7/"}},
	{name: "byebye", in: "NOTIFY * HTTP/1.1\r\nHOST: x\r\nNT: a\r\nNTS: ssdp:byebye\r\nUSN: uuid:abc::a\r\n\r\n", want: Message{Gone: true, USN: "uuid:abc::a", UDN: "uuid:abc", Type: "a"}},
	{name: "a search of another", in: "M-SEARCH * HTTP/1.1\r\nHOST: x\r\n\r\n"},
	{name: "no device", in: "HTTP/1.1 200 OK\r\nUSN: x\r\n\r\n", bad: true},
	{name: "nil device", in: "HTTP/1.1 200 OK\r\nUSN: uuid:00000000-0000-0000-0000-000000000000\r\n\r\n", bad: true},
	{name: "refused", in: "HTTP/1.1 404 no\r\nUSN: uuid:a\r\n\r\n", bad: true},
	{name: "unknown notification", in: "NOTIFY * HTTP/1.1\r\nHOST: x\r\nNTS: a\r\nUSN: uuid:a\r\n\r\n", bad: true},
	{name: "empty", in: "", bad: true},
	{name: "text", in: "hello", bad: true},
	{name: "cut off", in: "HTTP/1.1 200 OK\r\nUSN: uuid", bad: true},
	{name: "too large", in: "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 9000) + "\r\nUSN: uuid:a\r\n\r\n", bad: true},
}

func TestParse(t *testing.T) {
	for _, c := range messages {
		got, err := Parse([]byte(c.in))
		if c.bad != (err != nil) || c.bad && !errors.Is(err, ErrMessage) || !c.bad && got != c.want {
			t.Errorf("%s: Parse(%.80q) = %+v, %v; want %+v, error %v", c.name, c.in, got, err, c.want, c.bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range messages {
		f.Add([]byte(c.in))
	}
	from := netip.MustParseAddr("10.0.0.7")
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err != nil || m.UDN == "" {
			return
		}
		k := newDevices()
		if _, _, fetch := k.message(m, from, "eth0", epoch); fetch != "" && !strings.HasPrefix(fetch, "http://10.0.0.7") && !strings.HasPrefix(fetch, "https://10.0.0.7") {
			t.Fatalf("fetch %q leads away from its sender", fetch)
		}
	})
}

func doc(inner string) string {
	return `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion><device>` + inner + `</device></root>`
}

// about spells a root device of the usual fields.
func about(kind, friendly, maker, model, text string) string {
	return doc(`<deviceType>` + kind + `</deviceType><friendlyName>` + friendly + `</friendlyName><manufacturer>` + maker + `</manufacturer><modelDescription>` + text + `</modelDescription><modelName>` + model + `</modelName>`)
}

const basic = "urn:schemas-upnp-org:device:Basic:1"

// descriptions are documents and whether they are a camera's, in the shapes
// that the named public texts show: tests, and seeds of the fuzz target.
var descriptions = []struct {
	name, source, in string
	camera, bad      bool
}{
	{"security camera", "UPnP DigitalSecurityCamera:1 Device Template 1.01, section 3", doc(`<deviceType>urn:schemas-upnp-org:device:DigitalSecurityCamera:1</deviceType>`), true, false},
	{"a camera by its maker", "home-assistant/core generated/ssdp.py, axis", about(basic, "AXIS M1065-L - ACCC8E010203", "AXIS", "AXIS M1065-L", "AXIS M1065-L Network Camera"), true, false},
	{"a camera by its maker alone", "home-assistant/core generated/ssdp.py, axis", about(basic, "Yard", "HIKVISION Digital", "DS-2CD2043", ""), true, false},
	{"a camera by its model", "UPnP Device Architecture 2.0, section 2.3, modelDescription", about(basic, "", "", "", "Network Cameras"), true, false},
	{"a vendor's type", "shape of the Synology BC500's description in public test suites", about("urn:schemas-upnp-org:device:IPCamera:1", "BC500", "Synology", "BC500", "Synology Camera BC500"), true, false},
	{"a recorder", "UPnP Device Architecture 2.0, section 2.3", about(basic, "NVR", "Dahua", "NVR4108", "Network Video Recorder"), true, false},
	{"router", "miniupnp/miniupnp miniupnpd/upnpdescgen.c", about("urn:schemas-upnp-org:device:InternetGatewayDevice:1", "Router", "TRENDnet", "TEW-812", "camera ready router"), false, false},
	{"media server", "UPnP MediaServer:4 Device Template", about("urn:schemas-upnp-org:device:MediaServer:1", "my camera pictures", "", "", ""), false, false},
	{"renderer", "UPnP MediaRenderer:3 Device Template", about("urn:schemas-upnp-org:device:MediaRenderer:1", "Living room", "Samsung Electronics", "UE55", "Samsung TV DMR"), false, false},
	{"remote-controlled television", "home-assistant/core generated/ssdp.py, samsungtv", about("urn:samsung.com:device:RemoteControlReceiver:1", "[TV] camera room", "Samsung Electronics", "UE55", "Samsung TV RCR"), false, false},
	{"printer", "UPnP Printer:1 Device Template", doc(`<deviceType>urn:schemas-upnp-org:device:Printer:1</deviceType>`), false, false},
	{"a basic printer", "UPnP Basic:1 Device Template", about(basic, "", "Inkmaker", "Praxis 5", ""), false, false},
	{"lamps with a room's name", "home-assistant/core components/emulated_hue/upnp.py", about(basic, "Camera room lights", "Royal Philips Electronics", "Philips hue bridge 2015", "Philips hue Personal Wireless Lighting"), false, false},
	{"NAS", "shape of a Synology description quoted in the Greenbone vulnerability tests for UPnP", about(basic, "SR1217 (DS216se)", "Synology", "DS216se", "Synology NAS"), false, false},
	{"zone player", "home-assistant/core generated/ssdp.py, sonos", about("urn:schemas-upnp-org:device:ZonePlayer:1", "Kitchen", "Sonos, Inc.", "Sonos Play:1", ""), false, false},
	{"dial", "DIAL protocol specification 2.2.1, section 5", about("urn:dial-multiscreen-org:device:dial:1", "Cast", "Google Inc.", "Eureka Dongle", ""), false, false},
	{"Wi-Fi setup", "Wi-Fi Simple Configuration 2.0, section 8, WFADevice", about("urn:schemas-wifialliance-org:device:WFADevice:1", "AP", "TRENDnet", "WPS", ""), false, false},
	{"a switch of a camera maker", "UPnP Basic:1 Device Template", about(basic, "", "Hikvision", "DS-3E0105P", "Unmanaged PoE Switch"), false, false},
	{"a renderer inside", "UPnP Device Architecture 2.0, section 2.3, deviceList", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><manufacturer>Bosch Security</manufacturer><deviceList><device><deviceType>urn:schemas-upnp-org:device:MediaRenderer:1</deviceType></device></deviceList>`), false, false},
	{"empty", "", "", false, true},
	{"another root", "", "<a/>", false, true},
	{"cut off", "", doc("")[:100], false, true},
	{"deep", "", "<root>" + strings.Repeat("<a>", 99), false, true},
	{"many", "", "<root>" + strings.Repeat("<a/>", 5000) + "</root>", false, true},
	{"entities", "", `<!DOCTYPE a [<!ENTITY b "c">]>` + doc("&b;"), false, true},
	{"too large", "", doc(strings.Repeat(" ", 70<<10)), false, true},
}

func TestParseDescription(t *testing.T) {
	for _, c := range descriptions {
		d, err := ParseDescription([]byte(c.in))
		if c.bad != (err != nil) || d.Camera() != c.camera {
			t.Errorf("%s (%s): ParseDescription = %+v, %v; camera %v, want %v, error %v", c.name, c.source, d, err, d.Camera(), c.camera, c.bad)
		}
	}
	got, err := ParseDescription([]byte(doc(`<deviceType>t</deviceType><friendlyName> Yard &amp; Gate </friendlyName><manufacturer>m</manufacturer><modelName>n</modelName><serialNumber>s</serialNumber>
<UDN>uuid:A</UDN><presentationURL>/x</presentationURL><serviceList><service><serviceType>y</serviceType></service></serviceList><deviceList><device><deviceType>i</deviceType><friendlyName>inner</friendlyName></device></deviceList>`)))
	want := Description{DeviceType: "t", FriendlyName: "Yard & Gate", Manufacturer: "m", ModelName: "n", SerialNumber: "s", UDN: "uuid:a", PresentationURL: "/x", ServiceTypes: []string{"y"}, DeviceTypes: []string{"t", "i"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("ParseDescription = %+v, %v; want %+v", got, err, want)
	}
}

func FuzzParseDescription(f *testing.F) {
	for _, c := range descriptions {
		f.Add([]byte(c.in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		d, err := ParseDescription(in)
		if err == nil && len(d.FriendlyName)+len(d.ModelName) > 2*maxTextBytes {
			t.Fatalf("texts of %d bytes", len(d.FriendlyName)+len(d.ModelName))
		}
		d.Camera()
	})
}

func TestDevices(t *testing.T) {
	from := netip.MustParseAddr("10.0.0.7")
	m := Message{UDN: "uuid:a", Location: "http://10.0.0.7:80/d"}
	cam, err := ParseDescription([]byte(descriptions[0].in))
	if err != nil {
		t.Fatal(err)
	}
	k := newDevices()
	if _, ok, fetch := k.message(m, from, "eth0", epoch); ok || fetch != m.Location {
		t.Errorf("first message: told %v, fetch %q", ok, fetch)
	}
	if _, _, fetch := k.message(m, from, "eth0", epoch); fetch != "" {
		t.Error("fetched twice at a time")
	}
	k.described(described{at: place{"uuid:a", from}, err: errors.New("no")}, epoch)
	if _, _, fetch := k.message(m, from, "eth0", epoch.Add(retryFetch-1)); fetch != "" {
		t.Error("a failed fetch is repeated too soon")
	}
	if _, _, fetch := k.message(m, from, "eth0", epoch.Add(retryFetch)); fetch == "" {
		t.Error("a failed fetch is not repeated")
	}
	if _, ok := k.described(described{at: place{"uuid:a", from}, doc: cam}, epoch); !ok {
		t.Error("a camera is not told of")
	}
	if s, ok, fetch := k.message(m, from, "eth0", epoch.Add(time.Minute)); !ok || fetch != "" || s.Gone {
		t.Errorf("later message: %+v, %v, fetch %q", s, ok, fetch)
	}
	other := m
	other.Location = "http://10.0.0.7:80/other"
	if _, _, fetch := k.message(other, from, "eth0", epoch.Add(2*time.Minute)); fetch != other.Location {
		t.Errorf("a new location is fetched as %q", fetch)
	}
	k.described(described{at: place{"uuid:a", from}, doc: cam}, epoch.Add(2*time.Minute))
	if gone := k.expire(epoch.Add(2*time.Minute + forgetAfter - 1)); len(gone) != 0 {
		t.Errorf("forgotten too soon: %v", gone)
	}
	if gone := k.expire(epoch.Add(2*time.Minute + forgetAfter)); len(gone) != 1 || !gone[0].Gone || len(k.at)+len(k.sources) != 0 {
		t.Errorf("expire = %v, left %v %v", gone, k.at, k.sources)
	}
	for i := range 2 * maxPerSource {
		k.message(Message{UDN: fmt.Sprint("uuid:", i), Location: m.Location}, from, "eth0", epoch)
	}
	if len(k.at) != maxPerSource {
		t.Errorf("%d devices of one source, want %d", len(k.at), maxPerSource)
	}
}

func TestMACOfUDN(t *testing.T) {
	for in, want := range map[string]string{
		"uuid:upnp-basicdevice-1_0-accc8e010203":    "ac:cc:8e:01:02:03",
		"uuid:upnp_synologynas-0011325e4496":        "00:11:32:5e:44:96",
		"uuid:upnp-basicdevice-1_0-000000000000":    "",
		"uuid:upnp-basicdevice-1_0-accc8e01020":     "",
		"uuid:2f402f80-da50-11e1-9b23-0017880ae670": "",
		"uuid:upnp": "",
	} {
		if got, _ := macOf(in); got != want {
			t.Errorf("macOf(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestHints: a device that is no camera is told of as a hint once its
// description came, and not before.
func TestHints(t *testing.T) {
	from := netip.MustParseAddr("10.0.0.7")
	k := newDevices()
	m := Message{UDN: "uuid:a", Location: "http://10.0.0.7/d"}
	if _, ok, _ := k.message(m, from, "eth0", epoch); ok {
		t.Error("told of before it was described")
	}
	s, ok := k.described(described{at: place{"uuid:a", from}, doc: Description{DeviceType: "urn:schemas-upnp-org:device:Printer:1", SerialNumber: "P1"}}, epoch)
	if !ok || !s.Hint || len(s.Claims) != 2 {
		t.Errorf("a printer: %+v, %v; want a hint with its UDN and serial", s, ok)
	}
	m.Gone = true
	if s, ok, _ := k.message(m, from, "eth0", epoch); !ok || !s.Hint || !s.Gone {
		t.Errorf("it leaves: %+v, %v", s, ok)
	}
}

func TestCheckLocation(t *testing.T) {
	for _, c := range []struct{ from, in, want string }{
		{"10.0.0.7", "http://10.0.0.7:49152/d.xml?a=b#c", "http://10.0.0.7:49152/d.xml?a=b"},
		{"10.0.0.7", "https://10.0.0.7/", "https://10.0.0.7/"},
		{"10.0.0.7", "http://10.0.0.8/", ""},
		{"10.0.0.7", "http://router.local/", ""},
		{"10.0.0.7", "http://u:p@10.0.0.7/", ""},
		{"10.0.0.7", "gopher://10.0.0.7/", ""},
		{"10.0.0.7", "/d.xml", ""},
		{"fe80::7%eth0", "http://[fe80::7]:80/d", "http://[fe80::7%25eth0]:80/d"},
	} {
		if got, _ := checkLocation(c.in, netip.MustParseAddr(c.from)); got != c.want {
			t.Errorf("checkLocation(%q, %s) = %q, want %q", c.in, c.from, got, c.want)
		}
	}
}

func TestSearches(t *testing.T) {
	group := net.UDPAddrFromAddrPort(group4)
	for round, want := range []int{2, 3, 2, 2} {
		got := searches(group, round)
		if len(got) != want {
			t.Errorf("round %d: %d searches, want %d", round, len(got), want)
		}
		for _, b := range got {
			if m, err := Parse(b); err != nil || m != (Message{}) {
				t.Errorf("Parse(own search) = %+v, %v", m, err)
			}
		}
	}
}
