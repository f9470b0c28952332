package onvif

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// camera is a scripted ONVIF camera.
type camera struct {
	*httptest.Server
	auth     string        // "", "digest", "wsse" (fault in a 400), "wsse401" (fault in a bare 401)
	ahead    time.Duration // its clock
	strict   time.Duration // how far off a token may be; 0: 5 s
	password string
	lacks    []string // operations
	host     string   // what it calls itself in addresses
	junk     func(w http.ResponseWriter, op string) bool

	mu      sync.Mutex
	calls   []string
	logins  int
	refused int
}

func newCamera(t *testing.T, d *camera) *camera {
	t.Helper()
	d.Server = httptest.NewServer(d)
	d.Config.ErrorLog = nil
	t.Cleanup(d.Close)
	return d
}

type soapRequest struct {
	Header struct {
		Security *struct {
			UsernameToken struct{ Username, Password, Nonce, Created string }
		}
	}
	Body struct {
		Op struct {
			XMLName      xml.Name
			ProfileToken string
		} `xml:",any"`
	}
}

func (d *camera) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var req soapRequest
	if err == nil {
		err = xml.Unmarshal(body, &req)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	op := req.Body.Op.XMLName.Local
	d.mu.Lock()
	d.calls = append(d.calls, op)
	if req.Header.Security != nil || r.Header.Get("Authorization") != "" {
		d.logins++
	}
	d.mu.Unlock()
	if !strings.Contains(r.Header.Get("Content-Type"), req.Body.Op.XMLName.Space+"/"+op+`"`) {
		http.Error(w, "wrong action", http.StatusBadRequest)
		return
	}
	w.Header().Set("Date", time.Now().Add(d.ahead).UTC().Format(http.TimeFormat))
	if d.junk != nil && d.junk(w, op) {
		return
	}
	open := slices.Contains([]string{"GetSystemDateAndTime", "GetServices", "GetCapabilities"}, op)
	if !open && !d.enter(w, r, &req) {
		return
	}
	if slices.Contains(d.lacks, op) || req.Body.Op.XMLName.Space == media2NS && slices.Contains(d.lacks, "Media2") {
		fault(w, http.StatusInternalServerError, "Receiver", "ActionNotSupported", "no such thing")
		return
	}
	host := d.host
	if host == "" {
		host = r.Host
	}
	token := req.Body.Op.ProfileToken
	switch op {
	case "GetSystemDateAndTime":
		at := time.Now().Add(d.ahead).UTC()
		reply(w, "tds", op, fmt.Sprintf(`<tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime>`,
			at.Hour(), at.Minute(), at.Second(), at.Year(), at.Month(), at.Day()))
	case "GetServices":
		list := `<tds:Service><tds:Namespace>` + mediaNS + `</tds:Namespace><tds:XAddr>http://` + host + `/onvif/media</tds:XAddr></tds:Service>`
		if !slices.Contains(d.lacks, "Media2") {
			list += `<tds:Service><tds:Namespace>` + media2NS + `</tds:Namespace><tds:XAddr>http://` + host + `/onvif/media2</tds:XAddr></tds:Service>`
		}
		reply(w, "tds", op, list)
	case "GetCapabilities":
		reply(w, "tds", op, `<tds:Capabilities><tt:Media><tt:XAddr>http://`+host+`/onvif/media</tt:XAddr></tt:Media></tds:Capabilities>`)
	case "GetDeviceInformation":
		reply(w, "tds", op, `<tds:Manufacturer>Acme</tds:Manufacturer><tds:Model>M1</tds:Model><tds:FirmwareVersion>1.2</tds:FirmwareVersion><tds:SerialNumber>S9</tds:SerialNumber>`)
	case "GetScopes":
		reply(w, "tds", op, `<tds:Scopes><tt:ScopeItem>onvif://www.onvif.org/name/Gate%201</tt:ScopeItem></tds:Scopes>`)
	case "GetNetworkInterfaces":
		reply(w, "tds", op, `<tds:NetworkInterfaces token="e"><tt:Info><tt:HwAddress>02AABBCCDDEE</tt:HwAddress></tt:Info></tds:NetworkInterfaces>`)
	case "GetProfiles":
		if req.Body.Op.XMLName.Space == media2NS {
			profile := func(token, source, enc string, w, h int) string {
				return fmt.Sprintf(`<trt:Profiles token="%s"><trt:Name>%s</trt:Name><trt:Configurations><trt:VideoSource><tt:SourceToken>%s</tt:SourceToken></trt:VideoSource><trt:VideoEncoder><tt:Encoding>%s</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution></trt:VideoEncoder></trt:Configurations></trt:Profiles>`, token, token, source, enc, w, h)
			}
			reply(w, "trt", op, profile("main", "vs0", "H265", 3840, 2160)+profile("sub", "vs0", "H264", 640, 360)+profile("two", "vs1", "JPEG", 800, 600))
			return
		}
		reply(w, "trt", op, `<trt:Profiles token="main"><tt:Name>main</tt:Name><tt:VideoSourceConfiguration><tt:SourceToken>vs0</tt:SourceToken></tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration><tt:Encoding>H264</tt:Encoding><tt:Resolution><tt:Width>1920</tt:Width><tt:Height>1080</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration></trt:Profiles>`)
	case "GetStreamUri", "GetSnapshotUri":
		bare, _, _ := strings.Cut(host, ":")
		uri := "rtsp://u:p@" + bare + ":5540/" + token
		if op == "GetSnapshotUri" {
			uri = "http://" + host + "/snap?p=" + token
		}
		if req.Body.Op.XMLName.Space == media2NS {
			reply(w, "trt", op, `<trt:Uri>`+uri+`</trt:Uri>`)
		} else {
			reply(w, "trt", op, `<trt:MediaUri><tt:Uri>`+uri+`</tt:Uri></trt:MediaUri>`)
		}
	default:
		fault(w, http.StatusBadRequest, "Sender", "UnknownAction", op)
	}
}

// enter checks the login.
func (d *camera) enter(w http.ResponseWriter, r *http.Request, req *soapRequest) bool {
	switch d.auth {
	case "":
		return true
	case "digest":
		if a := r.Header.Get("Authorization"); a != "" {
			c := guard.ParseChallenges([]string{a})[0]
			dg, err := guard.NewDigest(guard.Challenge{Scheme: "digest", Params: map[string]string{"realm": "cam", "nonce": "n1"}})
			if err != nil {
				panic(err)
			}
			want := guard.ParseChallenges([]string{dg.Authorize(r.Method, r.URL.RequestURI(), nil, fleet.Credentials{User: "admin", Password: fleet.Secret(d.password)})})[0]
			if c.Params["response"] == want.Params["response"] {
				return true
			}
			d.refuse()
		}
		w.Header().Set("WWW-Authenticate", `Digest realm="cam", nonce="n1"`)
		http.Error(w, "login", http.StatusUnauthorized)
		return false
	}
	strict := d.strict
	if strict == 0 {
		strict = 5 * time.Second
	}
	if s := req.Header.Security; s != nil {
		u := s.UsernameToken
		nonce, _ := base64.StdEncoding.DecodeString(u.Nonce)
		created, err := time.Parse(time.RFC3339, u.Created)
		off := time.Now().Add(d.ahead).Sub(created).Abs()
		if err == nil && off <= strict && u.Username == "admin" && u.Password == passwordDigest(nonce, u.Created, fleet.Secret(d.password)) {
			return true
		}
		d.refuse()
	}
	status := http.StatusBadRequest
	if d.auth == "wsse401" {
		status = http.StatusUnauthorized
	}
	fault(w, status, "Sender", "NotAuthorized", "Sender not authorized")
	return false
}

func (d *camera) refuse() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused++
}

func (d *camera) count() (calls []string, logins, refused int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.calls), d.logins, d.refused
}

func reply(w http.ResponseWriter, prefix, op, inner string) {
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="%s" xmlns:tds="%s" xmlns:trt="x"><s:Body><%s:%sResponse>%s</%s:%sResponse></s:Body></s:Envelope>`,
		schemaNS, deviceNS, prefix, op, inner, prefix, op)
}

func fault(w http.ResponseWriter, status int, code, sub, text string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:%s</s:Value><s:Subcode><s:Value>ter:%s</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en">%s</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>`, code, sub, text)
}

func (d *camera) target(cs ...fleet.Credentials) fleet.Target {
	return fleet.Target{Camera: 1, Device: "dev", Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: d.URL + "/onvif/device_service"}}, Credentials: cs}
}
