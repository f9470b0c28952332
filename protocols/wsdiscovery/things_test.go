package wsdiscovery

import (
	"net/netip"
	"testing"
	"time"
)

const declared = ` xmlns:wsdp="http://schemas.xmlsoap.org/ws/2006/02/devprof" xmlns:pub="http://schemas.microsoft.com/windows/pub/2005/07"` +
	` xmlns:wprt="http://schemas.microsoft.com/windows/2006/08/wdp/print" xmlns:wscn="http://schemas.microsoft.com/windows/2006/08/wdp/scan"` +
	` xmlns:dn="http://www.onvif.org/ver10/network/wsdl"`

func thing(types, scopes, xaddrs string) string {
	return body(`<d:ProbeMatches` + declared + `><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:5f1de000-0000-4000-8000-00000000b101</wsa:Address></wsa:EndpointReference><d:Types>` +
		types + `</d:Types><d:Scopes>` + scopes + `</d:Scopes><d:XAddrs>` + xaddrs + `</d:XAddrs></d:ProbeMatch></d:ProbeMatches>`)
}

// things are answers in the shapes that the named public texts show: tests of
// what is a camera, and seeds of the fuzz target.
var things = []struct {
	name, source, in string
	hint             bool
}{
	{"a printer", "nmap scripts/broadcast-wsdd-discover.nse, example output", thing("wsdp:Device wprt:PrintDeviceType", "", "http://10.0.0.7:50000"), true},
	{"a printer that scans", "Microsoft Learn, Print Device Definition and Scan Service Definition for Web Services on Devices", thing("wsdp:Device wprt:PrintDeviceType wscn:ScanDeviceType", "ldap:///ou=floor1", "http://10.0.0.7:5357/af1d/"), true},
	{"a Windows computer", "nmap scripts/broadcast-wsdd-discover.nse, example output", thing("wsdp:Device pub:Computer", "", "http://10.0.0.7:5357/5f1de000-ea5c-4b9a-a68d-5f1de0000000/"), true},
	{"a NAS", "christgau/wsdd src/wsdd.py, WSD_TYPE_DEVICE_COMPUTER", thing("wsdp:Device pub:Computer", "", ""), true},
	{"a Windows service", "Microsoft Learn, System.ServiceModel.Discovery samples", thing("ICalculatorService", "ldap:///ou=engineering,o=exampleorg,c=us", "net.tcp://10.0.0.7:9001/service"), true},
	{"a door controller", "ONVIF Profile C Specification, scope parameters", thing("tds:Device", "onvif://www.onvif.org/Profile/C onvif://www.onvif.org/Profile/A onvif://www.onvif.org/hardware/A1", "http://10.0.0.7/onvif/device_service"), true},
	{"a display", "ONVIF Core Specification, section 5.1, device types", thing("dn:NetworkVideoDisplay tds:Device", "onvif://www.onvif.org/type/video_decoder", "http://10.0.0.7/onvif/device_service"), true},
	{"a camera", "ONVIF Core Specification, section 7.3.2.2, example", thing("dn:NetworkVideoTransmitter", "onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/type/audio_encoder onvif://www.onvif.org/location/country/china", "http://10.0.0.7/onvif/device_service"), false},
	{"a video door station", "ONVIF Profile S and Profile C Specifications, scope parameters", thing("dn:NetworkVideoTransmitter tds:Device", "onvif://www.onvif.org/Profile/C onvif://www.onvif.org/Profile/Streaming", "http://10.0.0.7/onvif/device_service"), false},
	{"a recorder", "ONVIF Profile G Specification, scope parameters", thing("dn:NetworkVideoStorage tds:Device", "onvif://www.onvif.org/Profile/G", "http://10.0.0.7/onvif/device_service"), false},
	{"a camera without scopes", "ONVIF Core Specification, section 7.3.2: scopes may be empty in a match", thing("tds:Device", "", "http://10.0.0.7:8000/onvif/device_service"), false},
	{"a camera without types", "WS-Discovery (April 2005), section 5.3: Types is optional in a match", thing("", "onvif://www.onvif.org/name/Yard", ""), false},
}

// TestThings: what is no camera is told of as a hint, by its name alone.
func TestThings(t *testing.T) {
	from := netip.MustParseAddr("10.0.0.7")
	for _, c := range things {
		m, err := Parse([]byte(c.in))
		if err != nil {
			t.Errorf("%s (%s): %v", c.name, c.source, err)
			continue
		}
		got := sightings(m, from, "eth0", time.Time{})
		if len(got) != 1 || got[0].Hint != c.hint || len(got[0].Claims) != 1 || (len(got[0].Endpoints) == 0) != c.hint {
			t.Errorf("%s (%s): sightings = %+v, want one with Hint %v", c.name, c.source, got, c.hint)
		}
	}
}
