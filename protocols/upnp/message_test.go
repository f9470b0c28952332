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

// descriptions are documents and whether they are a camera's.
var descriptions = []struct {
	name, in    string
	camera, bad bool
}{
	{"security camera", doc(`<deviceType>urn:schemas-upnp-org:device:DigitalSecurityCamera:1</deviceType>`), true, false},
	{"maker", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><manufacturer>HIKVISION Digital</manufacturer>`), true, false},
	{"model says so", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><modelDescription>Network Cameras</modelDescription>`), true, false},
	{"router", doc(`<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><manufacturer>TRENDnet</manufacturer>`), false, false},
	{"media server", doc(`<deviceType>urn:schemas-upnp-org:device:MediaServer:1</deviceType><friendlyName>my camera pictures</friendlyName>`), false, false},
	{"printer", doc(`<deviceType>urn:schemas-upnp-org:device:Printer:1</deviceType>`), false, false},
	{"a basic printer", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><manufacturer>Inkmaker</manufacturer><modelName>Praxis 5</modelName>`), false, false},
	{"light", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><modelName>hue bridge</modelName>`), false, false},
	{"a renderer inside", doc(`<deviceType>urn:schemas-upnp-org:device:Basic:1</deviceType><manufacturer>Bosch Security</manufacturer><deviceList><device><deviceType>urn:schemas-upnp-org:device:MediaRenderer:1</deviceType></device></deviceList>`), false, false},
	{"empty", "", false, true},
	{"another root", "<a/>", false, true},
	{"cut off", doc("")[:100], false, true},
	{"deep", "<root>" + strings.Repeat("<a>", 99), false, true},
	{"many", "<root>" + strings.Repeat("<a/>", 5000) + "</root>", false, true},
	{"entities", `<!DOCTYPE a [<!ENTITY b "c">]>` + doc("&b;"), false, true},
	{"too large", doc(strings.Repeat(" ", 70<<10)), false, true},
}

func TestParseDescription(t *testing.T) {
	for _, c := range descriptions {
		d, err := ParseDescription([]byte(c.in))
		if c.bad != (err != nil) || d.Camera() != c.camera {
			t.Errorf("%s: ParseDescription = %+v, %v; camera %v, want %v, error %v", c.name, d, err, d.Camera(), c.camera, c.bad)
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
