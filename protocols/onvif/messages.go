package onvif

import (
	"encoding/xml"
	"strconv"
	"strings"

	"github.com/use-go/onvif/device"
	"github.com/use-go/onvif/media"
	schema "github.com/use-go/onvif/xsd/onvif"
)

// The namespaces of the services, as GetServices names them.
const (
	deviceNS = "http://www.onvif.org/ver10/device/wsdl"
	mediaNS  = "http://www.onvif.org/ver10/media/wsdl"
	media2NS = "http://www.onvif.org/ver20/media/wsdl"
	schemaNS = "http://www.onvif.org/ver10/schema"
)

// call is one operation: what is sent, and its action for the Content-Type.
// The requests are use-go's, which write the elements in their right names and
// order; Media2 is younger than that library and has its own below.
type call struct {
	name    string
	action  string
	request any
	open    bool // no login is needed for it (ONVIF Core, access class PRE_AUTH)
	once    bool // a second time is not the same
}

var (
	getSystemDateAndTime = call{name: "GetSystemDateAndTime", action: deviceNS + "/GetSystemDateAndTime", request: device.GetSystemDateAndTime{}, open: true}
	getServices          = call{name: "GetServices", action: deviceNS + "/GetServices", request: device.GetServices{IncludeCapability: false}, open: true}
	getCapabilities      = call{name: "GetCapabilities", action: deviceNS + "/GetCapabilities", request: device.GetCapabilities{Category: "All"}, open: true}
	getDeviceInformation = call{name: "GetDeviceInformation", action: deviceNS + "/GetDeviceInformation", request: device.GetDeviceInformation{}}
	getScopes            = call{name: "GetScopes", action: deviceNS + "/GetScopes", request: device.GetScopes{}}
	getNetworkInterfaces = call{name: "GetNetworkInterfaces", action: deviceNS + "/GetNetworkInterfaces", request: device.GetNetworkInterfaces{}}

	getProfiles  = call{name: "GetProfiles", action: mediaNS + "/GetProfiles", request: media.GetProfiles{}}
	getProfiles2 = call{name: "GetProfiles", action: media2NS + "/GetProfiles", request: profiles2Request{Type: []string{"VideoSource", "VideoEncoder"}}}
)

var systemReboot = call{name: "SystemReboot", action: deviceNS + "/SystemReboot", request: device.SystemReboot{}, once: true}

func setSynchronizationPoint(token string) call {
	return call{name: "SetSynchronizationPoint", action: mediaNS + "/SetSynchronizationPoint", request: media.SetSynchronizationPoint{ProfileToken: schema.ReferenceToken(token)}}
}

func setSynchronizationPoint2(token string) call {
	return call{name: "SetSynchronizationPoint", action: media2NS + "/SetSynchronizationPoint", request: synchronize2Request{ProfileToken: token}}
}

func getStreamURI(token string) call {
	return call{name: "GetStreamUri", action: mediaNS + "/GetStreamUri", request: media.GetStreamUri{
		StreamSetup:  schema.StreamSetup{Stream: "RTP-Unicast", Transport: schema.Transport{Protocol: "RTSP"}},
		ProfileToken: schema.ReferenceToken(token),
	}}
}

func getSnapshotURI(token string) call {
	return call{name: "GetSnapshotUri", action: mediaNS + "/GetSnapshotUri", request: media.GetSnapshotUri{ProfileToken: schema.ReferenceToken(token)}}
}

func getStreamURI2(token string) call {
	return call{name: "GetStreamUri", action: media2NS + "/GetStreamUri", request: streamURI2Request{Protocol: "RTSP", ProfileToken: token}}
}

func getSnapshotURI2(token string) call {
	return call{name: "GetSnapshotUri", action: media2NS + "/GetSnapshotUri", request: snapshotURI2Request{ProfileToken: token}}
}

type profiles2Request struct {
	XMLName xml.Name `xml:"tr2:GetProfiles"`
	Type    []string `xml:"tr2:Type"`
}

type streamURI2Request struct {
	XMLName      xml.Name `xml:"tr2:GetStreamUri"`
	Protocol     string   `xml:"tr2:Protocol"`
	ProfileToken string   `xml:"tr2:ProfileToken"`
}

type synchronize2Request struct {
	XMLName      xml.Name `xml:"tr2:SetSynchronizationPoint"`
	ProfileToken string   `xml:"tr2:ProfileToken"`
}

type snapshotURI2Request struct {
	XMLName      xml.Name `xml:"tr2:GetSnapshotUri"`
	ProfileToken string   `xml:"tr2:ProfileToken"`
}

// The answers. Of use-go's only GetDeviceInformationResponse is read with: in
// the others nested fields are tagged with prefixes ("onvif:Encoding"), which
// encoding/xml writes and never matches; what may come many times (Service,
// Scopes, NetworkInterfaces) is single, so that the last one wins; and one
// malformed number or truth value somewhere fails the whole answer. These have
// the fields that are used, by local names, and take numbers as they come.

type dateAnswer struct {
	SystemDateAndTime struct {
		UTCDateTime   *dateTime
		LocalDateTime *dateTime
		TimeZone      struct{ TZ string }
	}
}

type dateTime struct {
	Date struct{ Year, Month, Day int }
	Time struct{ Hour, Minute, Second int }
}

type servicesAnswer struct {
	Service []struct{ Namespace, XAddr string }
}

type capabilitiesAnswer struct {
	Capabilities struct {
		Media struct{ XAddr string }
	}
}

type scopesAnswer struct {
	Scopes []struct{ ScopeItem string }
}

type interfacesAnswer struct {
	NetworkInterfaces []struct {
		Info struct{ HwAddress string }
	}
}

type profilesAnswer struct {
	Profiles []struct {
		Token string `xml:"token,attr"`
		Name  string
		// Media 1 has the configurations here, Media 2 in a sequence of their own.
		VideoSourceConfiguration  sourceConfig
		VideoEncoderConfiguration encoderConfig
		Configurations            struct {
			VideoSource  sourceConfig
			VideoEncoder encoderConfig
		}
	}
}

type sourceConfig struct {
	Name        string
	SourceToken string
}

type encoderConfig struct {
	Encoding   string
	Resolution struct{ Width, Height number }
}

type rebootAnswer struct {
	Message string
}

// emptyAnswer is one that says by coming that the operation was done.
type emptyAnswer struct{}

// uriAnswer is both services' answer to GetStreamUri and GetSnapshotUri.
type uriAnswer struct {
	MediaURI struct {
		URI string `xml:"Uri"`
	} `xml:"MediaUri"` // of Media 1
	URI string `xml:"Uri"` // of Media 2
}

// number is a positive integer, or 0 for whatever else is written.
type number int

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *number) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 31)
	if err != nil {
		v = 0
	}
	*n = number(v)
	return nil
}
