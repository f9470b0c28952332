package camtest

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // WS-UsernameToken 1.0 knows no other
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// tokenSkew is how far a token's time may be from the camera's clock.
const tokenSkew = 5 * time.Second

// soapRequest is what we need of a request.
type soapRequest struct {
	Token *struct {
		User     string `xml:"Username"`
		Password string `xml:"Password"`
		Nonce    string `xml:"Nonce"`
		Created  string `xml:"Created"`
	} `xml:"Header>Security>UsernameToken"`
	Body struct {
		Inner []byte `xml:",innerxml"`
	} `xml:"Body"`
}

// operation returns the name of the body's element, and the profile it asks for.
func (r *soapRequest) operation() (name, profile string) {
	d := xml.NewDecoder(bytes.NewReader(r.Body.Inner))
	d.Strict = false
	inProfile := false
	for {
		t, err := d.Token()
		if err != nil {
			return name, profile
		}
		switch e := t.(type) {
		case xml.StartElement:
			if name == "" {
				name = e.Name.Local
			}
			inProfile = e.Name.Local == "ProfileToken"
		case xml.CharData:
			if inProfile {
				profile = strings.TrimSpace(string(e))
			}
		case xml.EndElement:
			inProfile = false
		}
	}
}

// soap answers the ONVIF device and media services.
func (c *virtual) soap(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var req soapRequest
	if err == nil {
		err = xml.Unmarshal(data, &req)
	}
	if err != nil {
		fault(w, http.StatusBadRequest, "ter:WellFormed", "The request is no XML")
		return
	}
	name, profile := req.operation()
	now := c.town.opts.Now().Add(c.Skew)
	if name == "GetSystemDateAndTime" {
		u := now.UTC()
		answer(w, fmt.Sprintf(`<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>`+
			`<tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime>`+
			`</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`, u.Hour(), u.Minute(), u.Second(), u.Year(), int(u.Month()), u.Day()))
		return
	}
	if c.Login {
		if req.Token == nil {
			fault(w, http.StatusBadRequest, "ter:NotAuthorized", "Sender not authorized")
			return
		}
		at, err := time.Parse("2006-01-02T15:04:05.999Z", req.Token.Created)
		fresh := err == nil && at.Sub(now).Abs() <= tokenSkew
		nonce, err := base64.StdEncoding.DecodeString(req.Token.Nonce)
		h := sha1.New() //nolint:gosec // see above
		h.Write(nonce)
		h.Write([]byte(req.Token.Created))
		h.Write([]byte(c.town.opts.Password.Reveal()))
		good := err == nil && fresh && req.Token.User == c.town.opts.User && req.Token.Password == base64.StdEncoding.EncodeToString(h.Sum(nil))
		if !c.judge(good) {
			fault(w, http.StatusBadRequest, "ter:NotAuthorized", "Sender not authorized")
			return
		}
	}
	if text := c.operate(name, profile); text != "" {
		answer(w, text)
		return
	}
	fault(w, http.StatusInternalServerError, "ter:ActionNotSupported", "Optional action not implemented")
}

func (c *virtual) operate(name, profile string) string {
	i := c.info()
	c.mu.Lock()
	host := c.http
	c.mu.Unlock()
	tag := func(ns, inner string) string {
		return fmt.Sprintf("<%s:%sResponse>%s</%s:%sResponse>", ns, name, inner, ns, name)
	}
	switch name {
	case "GetCapabilities":
		return tag("tds", fmt.Sprintf(`<tds:Capabilities><tt:Device><tt:XAddr>http://%s/onvif/device_service</tt:XAddr></tt:Device><tt:Media><tt:XAddr>http://%s/onvif/media_service</tt:XAddr></tt:Media></tds:Capabilities>`, host, host))
	case "GetServices":
		return tag("tds", fmt.Sprintf(`<tds:Service><tds:Namespace>http://www.onvif.org/ver10/device/wsdl</tds:Namespace><tds:XAddr>http://%s/onvif/device_service</tds:XAddr></tds:Service><tds:Service><tds:Namespace>http://www.onvif.org/ver10/media/wsdl</tds:Namespace><tds:XAddr>http://%s/onvif/media_service</tds:XAddr></tds:Service>`, host, host))
	case "GetDeviceInformation":
		return tag("tds", fmt.Sprintf(`<tds:Manufacturer>%s</tds:Manufacturer><tds:Model>%s</tds:Model><tds:FirmwareVersion>2.4.%d</tds:FirmwareVersion><tds:SerialNumber>%s</tds:SerialNumber><tds:HardwareId>1</tds:HardwareId>`, Vendor, c.Model, c.index, c.serial))
	case "GetNetworkInterfaces":
		return tag("tds", fmt.Sprintf(`<tds:NetworkInterfaces token="eth0"><tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>%s</tt:HwAddress></tt:Info></tds:NetworkInterfaces>`, c.mac))
	case "GetScopes":
		var b strings.Builder
		for _, s := range c.scopes() {
			fmt.Fprintf(&b, `<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>%s</tt:ScopeItem></tds:Scopes>`, s)
		}
		return tag("tds", b.String())
	case "GetProfiles":
		var b strings.Builder
		for token, encoding := range c.profiles() {
			fmt.Fprintf(&b, `<trt:Profiles token="%s" fixed="true"><tt:Name>%s</tt:Name><tt:VideoSourceConfiguration token="vsc"><tt:Name>lens</tt:Name><tt:SourceToken>lens</tt:SourceToken></tt:VideoSourceConfiguration>`+
				`<tt:VideoEncoderConfiguration token="vec-%s"><tt:Name>%s</tt:Name><tt:Encoding>%s</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles>`,
				token, token, token, token, encoding, Width, Height)
		}
		return tag("trt", b.String())
	case "GetStreamUri":
		for _, o := range []Offer{OfferRTSPJPEG, OfferRTSPH264} {
			if u, ok := i.URLs[o]; ok && (profile == string(o) || profile == "main") {
				return tag("trt", `<trt:MediaUri><tt:Uri>`+u+`</tt:Uri></trt:MediaUri>`)
			}
		}
	case "GetSnapshotUri":
		if u, ok := i.URLs[OfferSnapshot]; ok {
			return tag("trt", `<trt:MediaUri><tt:Uri>`+u+`</tt:Uri></trt:MediaUri>`)
		}
	}
	return ""
}

// profiles lists the media profiles with their encodings.
func (c *virtual) profiles() map[string]string {
	m := map[string]string{}
	if c.offers(OfferRTSPH264) {
		m[string(OfferRTSPH264)] = "H264"
	}
	if c.offers(OfferRTSPJPEG) {
		m[string(OfferRTSPJPEG)] = "JPEG"
	}
	if len(m) == 0 {
		m["main"] = "JPEG"
	}
	return m
}

func (c *virtual) scopes() []string {
	return []string{"onvif://www.onvif.org/type/video_encoder", "onvif://www.onvif.org/name/" + c.Name, "onvif://www.onvif.org/hardware/" + c.Model, "onvif://www.onvif.org/Profile/Streaming"}
}

const soapHead = `<?xml version="1.0" encoding="UTF-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:tds="http://www.onvif.org/ver10/device/wsdl" xmlns:trt="http://www.onvif.org/ver10/media/wsdl" xmlns:tt="http://www.onvif.org/ver10/schema" xmlns:ter="http://www.onvif.org/ver10/error"><SOAP-ENV:Body>`

func answer(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	fmt.Fprint(w, soapHead, body, `</SOAP-ENV:Body></SOAP-ENV:Envelope>`)
}

func fault(w http.ResponseWriter, code int, sub, text string) {
	w.Header().Set("Content-Type", "application/soap+xml; charset=utf-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, `%s<SOAP-ENV:Fault><SOAP-ENV:Code><SOAP-ENV:Value>SOAP-ENV:Sender</SOAP-ENV:Value><SOAP-ENV:Subcode><SOAP-ENV:Value>%s</SOAP-ENV:Value></SOAP-ENV:Subcode></SOAP-ENV:Code><SOAP-ENV:Reason><SOAP-ENV:Text xml:lang="en">%s</SOAP-ENV:Text></SOAP-ENV:Reason></SOAP-ENV:Fault></SOAP-ENV:Body></SOAP-ENV:Envelope>`, soapHead, sub, text)
}
