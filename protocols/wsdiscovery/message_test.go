package wsdiscovery

import (
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const soap = `<?xml version="1.0" encoding="utf-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:tds="http://www.onvif.org/ver10/device/wsdl">
<SOAP-ENV:Header><wsa:MessageID>urn:uuid:1</wsa:MessageID><wsa:RelatesTo>urn:uuid:2</wsa:RelatesTo></SOAP-ENV:Header>
<SOAP-ENV:Body>`
const end = `</SOAP-ENV:Body></SOAP-ENV:Envelope>`

func body(s string) string { return soap + s + end }

// messages is the one table of parsing: tests, and seeds of the fuzz target.
var messages = []struct {
	name string
	in   string
	want Message // ignored if bad
	bad  bool
}{
	{name: "two matches", in: body(`<d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address> urn:uuid:A </wsa:Address></wsa:EndpointReference><d:Types>tds:Device x:Y</d:Types>
<d:Scopes>onvif://www.onvif.org/type/video
  onvif://www.onvif.org/name/A</d:Scopes><d:XAddrs>http://10.0.0.1/onvif/device_service http://[fe80::1]/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch>
<d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:B</wsa:Address></wsa:EndpointReference></d:ProbeMatch></d:ProbeMatches>`),
		want: Message{Kind: KindMatches, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2", Matches: []Match{{
			EPR: "urn:uuid:A", Types: []Type{{"http://www.onvif.org/ver10/device/wsdl", "Device"}, {"", "Y"}},
			Scopes: []string{"onvif://www.onvif.org/type/video", "onvif://www.onvif.org/name/A"},
			XAddrs: []string{"http://10.0.0.1/onvif/device_service", "http://[fe80::1]/onvif/device_service"},
		}, {EPR: "urn:uuid:B"}}}},
	{name: "hello", in: body(`<d:Hello><wsa:EndpointReference><wsa:Address>u</wsa:Address></wsa:EndpointReference></d:Hello>`),
		want: Message{Kind: KindHello, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2", Matches: []Match{{EPR: "u"}}}},
	{name: "bye with trailing zeros", in: body(`<d:Bye><wsa:EndpointReference><wsa:Address>u</wsa:Address></wsa:EndpointReference></d:Bye>`) + "\x00\x00",
		want: Message{Kind: KindBye, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2", Matches: []Match{{EPR: "u"}}}},
	{name: "a probe of another", in: body(`<d:Probe><d:Types>tds:Device</d:Types></d:Probe>`), want: Message{Kind: KindProbe, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2"}},
	{name: "an inner declaration wins", in: body(`<d:Hello><d:Types xmlns:tds="urn:other">tds:Device</d:Types></d:Hello>`),
		want: Message{Kind: KindHello, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2", Matches: []Match{{Types: []Type{{"urn:other", "Device"}}}}}},
	{name: "a word too long", in: body(`<d:Hello><d:XAddrs>http://` + strings.Repeat("a", 2000) + ` http://b/</d:XAddrs></d:Hello>`),
		want: Message{Kind: KindHello, ID: "urn:uuid:1", RelatesTo: "urn:uuid:2", Matches: []Match{{XAddrs: []string{"http://b/"}}}}},
	{name: "empty", in: "", bad: true},
	{name: "text", in: "hello", bad: true},
	{name: "another root", in: "<a/>", bad: true},
	{name: "two roots", in: body("") + "<Envelope/>", bad: true},
	{name: "cut off", in: soap + "<d:Hello>", bad: true},
	{name: "crossed", in: "<Envelope><Body></Envelope></Body>", bad: true},
	{name: "entities", in: `<!DOCTYPE x [<!ENTITY a "aaaa">]>` + body("<d:Hello>&a;</d:Hello>"), bad: true},
	{name: "deep", in: "<Envelope>" + strings.Repeat("<a>", 100), bad: true},
	{name: "many elements", in: "<Envelope>" + strings.Repeat("<a/>", 5000) + "</Envelope>", bad: true},
	{name: "many matches", in: body("<d:ProbeMatches>" + strings.Repeat("<d:ProbeMatch/>", 100) + "</d:ProbeMatches>"), bad: true},
	{name: "many attributes", in: "<Envelope " + strings.Repeat("a='' ", 100) + "/>", bad: true},
	{name: "too large", in: body(strings.Repeat(" ", 70<<10)), bad: true},
}

func TestParse(t *testing.T) {
	for _, c := range messages {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse([]byte(c.in))
			if c.bad {
				if !errors.Is(err, ErrMessage) {
					t.Errorf("Parse(%.80q) = %+v, %v; want ErrMessage", c.in, got, err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("Parse(%q) = %+v, %v; want %+v", c.in, got, err, c.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range messages {
		f.Add([]byte(c.in))
	}
	for _, c := range things {
		f.Add([]byte(c.in))
	}
	for _, k := range probeKinds {
		f.Add(k.message("5f1de000-0000-4000-8000-000000000000"))
	}
	from := netip.MustParseAddr("10.0.0.7")
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := Parse(in)
		if err != nil {
			return
		}
		if len(m.Matches) > maxMatches {
			t.Fatalf("%d matches", len(m.Matches))
		}
		for _, s := range sightings(m, from, "eth0", time.Time{}) {
			for _, e := range s.Endpoints {
				if !strings.HasPrefix(e.URL, "http://10.0.0.7") && !strings.HasPrefix(e.URL, "https://10.0.0.7") {
					t.Fatalf("endpoint %q leads away from its sender", e.URL)
				}
			}
		}
	})
}

func TestOwnProbesParse(t *testing.T) {
	for _, k := range probeKinds {
		m, err := Parse(k.message("5f1de000-0000-4000-8000-000000000000"))
		if err != nil || m.Kind != KindProbe || m.ID != "urn:uuid:5f1de000-0000-4000-8000-000000000000" {
			t.Errorf("Parse(probe %q) = %+v, %v", k.types, m, err)
		}
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		from string
		in   []string
		want []string
	}{
		{"10.0.0.7", []string{"http://10.0.0.7/onvif/device_service"}, []string{"http://10.0.0.7/onvif/device_service"}},
		{"10.0.0.7", []string{"http://10.0.0.9:8000/a", "https://10.0.0.7/b"}, []string{"https://10.0.0.7/b"}},
		{"10.0.0.7", []string{"http://10.0.0.9:8000/a", "http://10.0.0.8/b"}, []string{"http://10.0.0.7:8000/a"}},
		{"10.0.0.7", []string{"http://camera.local/a"}, []string{"http://10.0.0.7/a"}},
		{"10.0.0.7", []string{"10.0.0.7/onvif", "ftp://10.0.0.7/", "http:///x", "http://10.0.0.7:0/", "http://10.0.0.7:99999/", "%", ""}, []string{"http://10.0.0.7/onvif/device_service"}},
		{"10.0.0.7", []string{"http://u:p@10.0.0.7/a#b"}, []string{"http://10.0.0.7/a"}},
		{"10.0.0.7", nil, []string{"http://10.0.0.7/onvif/device_service"}},
		{"fe80::7%eth0", []string{"http://[fe80::7]/a", "http://10.0.0.7/a"}, []string{"http://[fe80::7%25eth0]/a"}},
	} {
		if got := addresses(c.in, netip.MustParseAddr(c.from)); !slices.Equal(got, c.want) {
			t.Errorf("addresses(%q, %s) = %q, want %q", c.in, c.from, got, c.want)
		}
	}
}

func TestCanonicalEPR(t *testing.T) {
	const want = "urn:uuid:4d454930-0000-1000-8000-acfd93abcdef"
	for _, in := range []string{want, "urn:uuid:4D454930-0000-1000-8000-ACFD93ABCDEF", "uuid:4d454930-0000-1000-8000-acfd93abcdef", "urn:uuid:{4D454930-0000-1000-8000-ACFD93ABCDEF}", "4d454930-0000-1000-8000-acfd93abcdef"} {
		if got := canonicalEPR(in); got != want {
			t.Errorf("canonicalEPR(%q) = %q, want %q", in, got, want)
		}
	}
	if got := canonicalEPR("urn:uuid:00000000-0000-0000-0000-000000000000"); got != "" {
		t.Errorf("the nil UUID counts as a name: %q", got)
	}
	if got := canonicalEPR("http://example/1"); got != "http://example/1" {
		t.Errorf("canonicalEPR of a URI = %q", got)
	}
}

func TestSightingScopes(t *testing.T) {
	m := Message{Kind: KindMatches, Matches: []Match{{Scopes: []string{
		"onvif://www.onvif.org/name/Back_Door%201", "ONVIF://www.onvif.org/hardware/DS-2CD", "onvif://www.onvif.org/MAC/44:19:B6:00:00:01",
		"onvif://www.onvif.org/location/city/x", "onvif://www.onvif.org/manufacturer/Maker", "onvif://www.onvif.org/bad/%zz",
	}}}}
	got := sightings(m, netip.MustParseAddr("10.0.0.7"), "eth0", time.Time{})
	if len(got) != 1 || got[0].Name != "Back Door 1" || got[0].Model != "DS-2CD" || got[0].Vendor != "Maker" ||
		!slices.Equal(got[0].Claims, []fleet.Claim{{Kind: fleet.ClaimMAC, Value: "44:19:b6:00:00:01"}}) {
		t.Errorf("sightings = %+v", got)
	}
}
