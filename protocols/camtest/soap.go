package camtest

import (
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
)

const (
	maxSOAPBytes = 64 << 10
	// maxTokenSkew is how far Created may lie from the camera's clock. Real
	// cameras allow 5 to 60 seconds; strict ones show who never asked the time.
	maxTokenSkew = 15 * time.Second
	maxNonces    = 1024
)

// soapService answers ONVIF's device and media services.
type soapService struct {
	c   *camera
	web *webServer

	mu     sync.Mutex // guards nonces
	nonces map[string]time.Time
}

func newSOAPService(c *camera, w *webServer) *soapService {
	return &soapService{c: c, web: w, nonces: map[string]time.Time{}}
}

type soapRequest struct {
	XMLName xml.Name `xml:"Envelope"`
	Header  struct {
		Token *usernameToken `xml:"Security>UsernameToken"`
	} `xml:"Header"`
	Body struct {
		Call []struct {
			XMLName      xml.Name
			ProfileToken string `xml:"ProfileToken"`
			Protocol     string `xml:"StreamSetup>Transport>Protocol"`
			Include      bool   `xml:"IncludeCapability"`
		} `xml:",any"`
	} `xml:"Body"`
}

type usernameToken struct {
	Username string `xml:"Username"`
	Password struct {
		Type  string `xml:"Type,attr"`
		Value string `xml:",chardata"`
	} `xml:"Password"`
	Nonce   string `xml:"Nonce"`
	Created string `xml:"Created"`
}

// beforeLogin are the calls that ONVIF Core (access class PRE_AUTH) leaves
// open to all.
var beforeLogin = map[string]bool{
	"GetSystemDateAndTime": true, "GetCapabilities": true, "GetServices": true, "GetServiceCapabilities": true, "GetHostname": true, "GetWsdlUrl": true,
}

func (s *soapService) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxSOAPBytes))
	var req soapRequest
	if err == nil {
		err = xml.Unmarshal(body, &req)
	}
	if err != nil || len(req.Body.Call) != 1 {
		s.fault(rw, http.StatusBadRequest, "SOAP-ENV:Sender", "ter:WellFormed", "the message is no SOAP 1.2 call")
		return
	}
	call := req.Body.Call[0]
	if !s.c.Open && !beforeLogin[call.XMLName.Local] && !s.enter(rw, r, req.Header.Token) {
		return
	}
	const device, media = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
	var answer string
	switch call.XMLName.Space + "#" + call.XMLName.Local {
	case device + "#GetSystemDateAndTime":
		answer = s.dateAndTime()
	case device + "#GetDeviceInformation":
		answer = fmt.Sprintf(`<tds:GetDeviceInformationResponse><tds:Manufacturer>%s</tds:Manufacturer><tds:Model>%s</tds:Model><tds:FirmwareVersion>%s</tds:FirmwareVersion><tds:SerialNumber>%s</tds:SerialNumber><tds:HardwareId>camtest</tds:HardwareId></tds:GetDeviceInformationResponse>`,
			escape(s.c.Vendor), escape(s.c.Model), escape(s.c.Firmware), escape(s.c.serial))
	case device + "#GetCapabilities":
		answer = fmt.Sprintf(`<tds:GetCapabilitiesResponse><tds:Capabilities><tt:Device><tt:XAddr>%s</tt:XAddr></tt:Device><tt:Media><tt:XAddr>%s</tt:XAddr><tt:StreamingCapabilities><tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP></tt:StreamingCapabilities></tt:Media></tds:Capabilities></tds:GetCapabilitiesResponse>`,
			s.named(onvifPath), s.named(mediaPath))
	case device + "#GetServices":
		answer = `<tds:GetServicesResponse>`
		services := []struct{ ns, at string }{{device, onvifPath}, {media, mediaPath}}
		if s.c.Media2 {
			services = append(services, struct{ ns, at string }{media2NS, media2Path})
		}
		for _, v := range services {
			answer += fmt.Sprintf(`<tds:Service><tds:Namespace>%s</tds:Namespace><tds:XAddr>%s</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>`, v.ns, s.named(v.at))
		}
		answer += `</tds:GetServicesResponse>`
	case device + "#GetServiceCapabilities":
		answer = `<tds:GetServiceCapabilitiesResponse><tds:Capabilities><tds:Network/><tds:Security HttpDigest="true" UsernameToken="true"/><tds:System DiscoveryBye="true"/></tds:Capabilities></tds:GetServiceCapabilitiesResponse>`
	case device + "#GetScopes":
		answer = `<tds:GetScopesResponse>`
		for _, scope := range s.c.scopes() {
			answer += `<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>` + escape(scope) + `</tt:ScopeItem></tds:Scopes>`
		}
		answer += `</tds:GetScopesResponse>`
	case device + "#GetHostname":
		answer = `<tds:GetHostnameResponse><tds:HostnameInformation><tt:FromDHCP>false</tt:FromDHCP><tt:Name>` + s.c.Name + `</tt:Name></tds:HostnameInformation></tds:GetHostnameResponse>`
	case device + "#GetNetworkInterfaces":
		host, _, _ := net.SplitHostPort(s.web.addr.String()) // an address of a listener has both parts
		answer = fmt.Sprintf(`<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>%s</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info><tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual><tt:Address>%s</tt:Address><tt:PrefixLength>24</tt:PrefixLength></tt:Manual><tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4></tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>`, s.c.mac, host)
	case media + "#GetServiceCapabilities":
		answer = `<trt:GetServiceCapabilitiesResponse><trt:Capabilities SnapshotUri="true"><trt:ProfileCapabilities MaximumNumberOfProfiles="1"/><trt:StreamingCapabilities RTP_RTSP_TCP="true"/></trt:Capabilities></trt:GetServiceCapabilitiesResponse>`
	case media + "#GetVideoSources":
		answer = fmt.Sprintf(`<trt:GetVideoSourcesResponse><trt:VideoSources token="%s"><tt:Framerate>4</tt:Framerate><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>`, sourceToken, s.c.Width, s.c.Height)
	case media + "#GetProfiles":
		answer = `<trt:GetProfilesResponse>` + s.profile("Profiles") + `</trt:GetProfilesResponse>`
	case media + "#GetProfile":
		if call.ProfileToken != profileToken {
			s.noProfile(rw)
			return
		}
		answer = `<trt:GetProfileResponse>` + s.profile("Profile") + `</trt:GetProfileResponse>`
	case media + "#GetStreamUri", media + "#GetSnapshotUri":
		if call.ProfileToken != profileToken {
			s.noProfile(rw)
			return
		}
		i := s.c.info()
		uri := i.Snapshot
		if call.XMLName.Local == "GetStreamUri" {
			uri = i.RTSP
		}
		if uri = s.renamed(uri); uri == "" {
			s.fault(rw, http.StatusInternalServerError, "SOAP-ENV:Receiver", "ter:ActionNotSupported", "this camera does not offer that")
			return
		}
		answer = fmt.Sprintf(`<trt:%[1]sResponse><trt:MediaUri><tt:Uri>%[2]s</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect><tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:%[1]sResponse>`, call.XMLName.Local, uri)
	case device + "#SystemReboot":
		s.c.counted(func(n *Stats) { n.Reboots++ })
		answer = `<tds:SystemRebootResponse><tds:Message>Rebooting in 30 seconds</tds:Message></tds:SystemRebootResponse>`
	case media + "#SetSynchronizationPoint":
		if call.ProfileToken != profileToken {
			s.noProfile(rw)
			return
		}
		s.c.counted(func(n *Stats) { n.Synchronized++ })
		answer = `<trt:SetSynchronizationPointResponse/>`
	default:
		if s.media2(rw, call.XMLName, call.ProfileToken) {
			return
		}
		s.fault(rw, http.StatusInternalServerError, "SOAP-ENV:Receiver", "ter:ActionNotSupported", "this camera does not know "+call.XMLName.Local)
		return
	}
	s.write(rw, http.StatusOK, answer)
}

const (
	profileToken = "profile_1"
	sourceToken  = "source_1"
)

// profile describes the one profile. A camera that streams nothing by RTSP
// still has one: its snapshot hangs on it.
func (s *soapService) profile(element string) string {
	encoding, width, height := s.encoding()
	extra := ""
	if encoding == "H264" {
		extra = fmt.Sprintf(`<tt:H264><tt:GovLength>%d</tt:GovLength><tt:H264Profile>Main</tt:H264Profile></tt:H264>`, clipGOP)
	}
	return fmt.Sprintf(`<trt:%[1]s token="%[2]s" fixed="true"><tt:Name>main</tt:Name>`+
		`<tt:VideoSourceConfiguration token="vsc_1"><tt:Name>vsc_1</tt:Name><tt:UseCount>1</tt:UseCount><tt:SourceToken>%[3]s</tt:SourceToken><tt:Bounds x="0" y="0" width="%[4]d" height="%[5]d"/></tt:VideoSourceConfiguration>`+
		`<tt:VideoEncoderConfiguration token="vec_1"><tt:Name>vec_1</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>%[6]s</tt:Encoding><tt:Resolution><tt:Width>%[7]d</tt:Width><tt:Height>%[8]d</tt:Height></tt:Resolution><tt:Quality>4</tt:Quality><tt:RateControl><tt:FrameRateLimit>4</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval><tt:BitrateLimit>2048</tt:BitrateLimit></tt:RateControl>%[9]s<tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration></trt:%[1]s>`,
		element, profileToken, sourceToken, s.c.Width, s.c.Height, encoding, width, height, extra)
}

// encoding is that of the first profile.
func (s *soapService) encoding() (name string, width, height int) {
	if s.c.speaks(fleet.RTSP) && s.c.Codec == fleet.H264 {
		return "H264", clipWidth, clipHeight
	}
	return "JPEG", s.c.Width, s.c.Height
}

func (s *soapService) dateAndTime() string {
	t := s.c.now().UTC()
	date := fmt.Sprintf(`<tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date>`,
		t.Hour(), t.Minute(), t.Second(), t.Year(), int(t.Month()), t.Day())
	return `<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone><tt:UTCDateTime>` +
		date + `</tt:UTCDateTime><tt:LocalDateTime>` + date + `</tt:LocalDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`
}

func (s *soapService) noProfile(rw http.ResponseWriter) {
	s.fault(rw, http.StatusBadRequest, "SOAP-ENV:Sender", "ter:NoProfile", "there is no such profile")
}

func (s *soapService) fault(rw http.ResponseWriter, status int, code, sub, reason string) {
	s.write(rw, status, fmt.Sprintf(`<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>%s</SOAP-ENV:Value><SOAP-ENV:Subcode><SOAP-ENV:Value>%s</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code><SOAP-ENV:Reason><SOAP-ENV:Text xml:lang="en">%s</SOAP-ENV:Text></SOAP-ENV:Reason></SOAP-ENV:Fault>`,
		code, sub, escape(reason)))
}

func (s *soapService) write(rw http.ResponseWriter, status int, body string) {
	rw.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = fmt.Fprintf(rw, `<?xml version="1.0" encoding="UTF-8"?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tr2="http://www.onvif.org/ver20/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"><SOAP-ENV:Body>%s</SOAP-ENV:Body></SOAP-ENV:Envelope>`, body)
}

// scopes are what a camera says of itself before any login.
func (c *camera) scopes() []string {
	word := func(s string) string { return url.PathEscape(strings.ReplaceAll(s, " ", "_")) }
	return []string{
		"onvif://www.onvif.org/type/video_encoder",
		"onvif://www.onvif.org/Profile/Streaming",
		"onvif://www.onvif.org/name/" + word(c.Name),
		"onvif://www.onvif.org/hardware/" + word(c.Model),
		"onvif://www.onvif.org/manufacturer/" + word(c.Vendor),
		"onvif://www.onvif.org/location/" + word(string(c.Scene)),
		"onvif://www.onvif.org/mac/" + c.mac.String(),
		"onvif://www.onvif.org/serial/" + word(c.serial),
	}
}
