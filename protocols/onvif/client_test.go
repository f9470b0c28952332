package onvif

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"runtime"
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
	return fleet.Target{Device: "dev", Endpoints: []fleet.Endpoint{{Protocol: fleet.ONVIF, URL: d.URL + "/onvif/device_service"}}, Credentials: cs}
}

func newClient(t *testing.T) *Client {
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return New(g, Options{})
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

var admin = fleet.Credentials{User: "admin", Password: `p&<ö"`, Version: 1}

func TestDescribe(t *testing.T) {
	for _, auth := range []string{"", "digest", "wsse", "wsse401"} {
		for _, ahead := range []time.Duration{0, -200 * 24 * time.Hour, 20 * time.Second} {
			t.Run(fmt.Sprintf("%s %v", auth, ahead), func(t *testing.T) {
				// It calls itself by an address that nobody else knows.
				d := newCamera(t, &camera{auth: auth, ahead: ahead, password: admin.Password.Reveal()})
				_, port, _ := strings.Cut(d.Listener.Addr().String(), ":")
				d.host = "192.168.77.9:" + port
				c := newClient(t)
				got, err := c.Describe(within(t, 10*time.Second), d.target(admin))
				if err != nil {
					t.Fatal(err)
				}
				if off := (got.ClockSkew - ahead).Abs(); off > 2*time.Second {
					t.Errorf("skew %v, want %v", got.ClockSkew, ahead)
				}
				if noted := strings.Contains(got.Reason, "clock"); got.State != fleet.DeviceOK || noted != (ahead != 0) {
					t.Errorf("state %s: %s", got.State, got.Reason)
				}
				if got.Key != "dev" || got.Name != "Gate 1" || got.Vendor != "Acme" || got.Model != "M1" || got.Firmware != "1.2" || got.Serial != "S9" {
					t.Errorf("device %+v", got)
				}
				if want := []fleet.Claim{{Kind: fleet.ClaimSerial, Value: "S9"}, {Kind: fleet.ClaimMAC, Value: "02:aa:bb:cc:dd:ee"}}; !slices.Equal(got.Claims, want) {
					t.Errorf("claims %v", got.Claims)
				}
				if want := []netip.Addr{netip.MustParseAddr("127.0.0.1")}; !slices.Equal(got.Addresses, want) {
					t.Errorf("addresses %v", got.Addresses)
				}
				if len(got.Sources) != 2 || len(got.Sources[0].Profiles) != 2 || got.Sources[1].Token != "vs1" {
					t.Fatalf("sources %+v", got.Sources)
				}
				p := got.Sources[0].Profiles[0]
				want := []fleet.Endpoint{
					{Protocol: fleet.Snapshot, URL: d.URL + "/snap?p=main"},
					{Protocol: fleet.RTSP, URL: "rtsp://127.0.0.1:5540/main"},
				}
				if p.Token != "main" || p.Codec != fleet.H265 || p.Width != 3840 || p.Height != 2160 || !slices.Equal(p.Endpoints, want) {
					t.Errorf("profile %+v", p)
				}
				if _, _, refused := d.count(); refused != 0 {
					t.Errorf("%d logins were refused", refused)
				}
				// The second time the winner is known: no call is refused first.
				before, _, _ := d.count()
				if _, err := c.Describe(within(t, 10*time.Second), d.target(admin)); err != nil {
					t.Fatal(err)
				}
				after, _, _ := d.count()
				if n, want := len(after)-len(before), 12; auth != "digest" && n != want {
					t.Errorf("%d calls, want %d: %v", n, want, after[len(before):])
				}
			})
		}
	}
}

// What go2rtc and small servers have is enough.
func TestDescribeWithLittle(t *testing.T) {
	d := newCamera(t, &camera{lacks: []string{"GetServices", "Media2", "GetScopes", "GetNetworkInterfaces", "GetDeviceInformation", "GetSystemDateAndTime", "GetSnapshotUri"}})
	got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Sources) != 1 || len(got.Sources[0].Profiles) != 1 || len(got.Sources[0].Profiles[0].Endpoints) != 1 {
		t.Fatalf("sources %+v", got.Sources)
	}
}

func TestDescribeLoginRefused(t *testing.T) {
	wrong := fleet.Credentials{User: "admin", Password: "hunter2", Version: 3}
	for _, auth := range []string{"digest", "wsse", "wsse401"} {
		t.Run(auth, func(t *testing.T) {
			d := newCamera(t, &camera{auth: auth, password: "right"})
			c := newClient(t)
			for i, want := range []fleet.DeviceState{fleet.DeviceNeedsCredentials, fleet.DeviceNeedsCredentials, fleet.DeviceLocked, fleet.DeviceLocked} {
				got, err := c.Describe(within(t, 10*time.Second), d.target(wrong))
				if err == nil || got.State != want || got.Reason == "" {
					t.Errorf("try %d: state %s, %v; want %s", i, got.State, err, want)
				}
				if err != nil && strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%v shows the password", err)
				}
			}
			if _, logins, refused := d.count(); logins != 2 || refused != 2 {
				t.Errorf("%d logins, %d refused; want 2", logins, refused)
			}
			// New credentials have tries of their own, as far as the device has any.
			got, err := c.Describe(within(t, 10*time.Second), d.target(fleet.Credentials{User: "admin", Password: "right", Version: 4}))
			if err != nil || got.State != fleet.DeviceOK {
				t.Errorf("state %s, %v", got.State, err)
			}
		})
	}
}

func TestDescribeNoLogin(t *testing.T) {
	for _, auth := range []string{"digest", "wsse", "wsse401"} {
		d := newCamera(t, &camera{auth: auth, password: "x", ahead: time.Hour})
		got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
		if err == nil || got.State != fleet.DeviceNeedsCredentials || !strings.Contains(got.Reason, "none is known") {
			t.Errorf("%s: state %s: %s, %v", auth, got.State, got.Reason, err)
		}
		if _, logins, _ := d.count(); logins != 0 || (got.ClockSkew-time.Hour).Abs() > 2*time.Second {
			t.Errorf("%s: %d logins, skew %v", auth, logins, got.ClockSkew)
		}
	}
}

func TestDescribeFailures(t *testing.T) {
	for _, c := range []struct {
		name  string
		junk  func(w http.ResponseWriter, op string) bool
		cause fleet.Cause
	}{
		{"no ONVIF here", func(w http.ResponseWriter, _ string) bool { w.WriteHeader(404); return true }, fleet.CauseNotFound},
		{"a web page", func(w http.ResponseWriter, _ string) bool {
			io.WriteString(w, "<html><body>hi</body></html>")
			return true
		}, fleet.CauseProtocol},
		{"locked", func(w http.ResponseWriter, op string) bool {
			if op == "GetProfiles" {
				fault(w, 400, "Sender", "NotAuthorized", "user is locked")
			}
			return op == "GetProfiles"
		}, fleet.CauseLocked},
		{"busy", func(w http.ResponseWriter, _ string) bool { w.WriteHeader(503); return true }, fleet.CauseRefused},
		{"redirect elsewhere", func(w http.ResponseWriter, _ string) bool {
			w.Header().Set("Location", "http://127.9.9.9/")
			w.WriteHeader(302)
			return true
		}, fleet.CauseGuarded},
		{"no profiles", func(w http.ResponseWriter, op string) bool {
			if op == "GetProfiles" {
				reply(w, "trt", op, "")
			}
			return op == "GetProfiles"
		}, fleet.CauseProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newCamera(t, &camera{junk: c.junk})
			got, err := newClient(t).Describe(within(t, 10*time.Second), d.target(admin))
			if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != c.cause || got.Reason == "" {
				t.Errorf("Describe = %s, %v; want %s", got.State, err, c.cause)
			}
		})
	}
	t.Run("silent", func(t *testing.T) {
		hold := make(chan struct{})
		d := newCamera(t, &camera{junk: func(http.ResponseWriter, string) bool { <-hold; return true }})
		_, err := newClient(t).Describe(within(t, 100*time.Millisecond), d.target())
		close(hold)
		if !isCause(err, fleet.CauseTimeout) {
			t.Error(err)
		}
	})
}

// A user who may see pictures and not the network is no wrong password.
func TestDescribeLesserRight(t *testing.T) {
	for _, auth := range []string{"digest", "wsse"} {
		d := newCamera(t, &camera{auth: auth, password: admin.Password.Reveal()})
		d.junk = func(w http.ResponseWriter, op string) bool {
			if op == "GetNetworkInterfaces" {
				fault(w, http.StatusBadRequest, "Sender", "NotAuthorized", "not for this user")
			}
			return op == "GetNetworkInterfaces"
		}
		c := newClient(t)
		for range 4 {
			got, err := c.Describe(within(t, 10*time.Second), d.target(admin))
			if err != nil || got.State != fleet.DeviceOK || len(got.Sources) != 2 {
				t.Fatalf("%s: state %s, %v", auth, got.State, err)
			}
		}
	}
}

// An answer of 100 MB ends at the limit, whether its length is told or not.
func TestDescribeHugeAnswer(t *testing.T) {
	for _, told := range []bool{false, true} {
		d := newCamera(t, &camera{junk: func(w http.ResponseWriter, _ string) bool {
			if told {
				w.Header().Set("Content-Length", "100000000")
			}
			chunk := []byte(strings.Repeat("<a>x</a>", 8<<10))
			io.WriteString(w, "<Envelope><Body><R>")
			for range 100_000_000 / len(chunk) {
				if _, err := w.Write(chunk); err != nil {
					break
				}
			}
			return true
		}})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
		runtime.ReadMemStats(&after)
		if !isCause(err, fleet.CauseTooLarge) {
			t.Errorf("told %v: %v", told, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("told %v: %d MiB allocated", told, n>>20)
		}
	}
}

func TestDescribeAddress(t *testing.T) {
	c := newClient(t)
	for _, u := range []string{"", "rtsp://127.0.0.1/", "http://", "http://u:secret@127.0.0.1/", "127.0.0.1/onvif", "http://a b/"} {
		d, err := c.Describe(t.Context(), fleet.Target{Endpoints: []fleet.Endpoint{{URL: u}}})
		if !isCause(err, fleet.CauseProtocol) || strings.Contains(d.Reason, "secret") {
			t.Errorf("Describe(%q) = %v", u, err)
		}
	}
	if _, err := c.Describe(t.Context(), fleet.Target{}); !isCause(err, fleet.CauseInternal) {
		t.Error(err)
	}
}

// Behind a NAT the camera names a port that only its own network knows: the
// services are found at the port that was asked.
func TestDescribeForeignPort(t *testing.T) {
	d := newCamera(t, &camera{host: "192.168.1.9:1"})
	got, err := newClient(t).Describe(within(t, 10*time.Second), d.target())
	if err != nil || len(got.Sources) != 2 {
		t.Fatalf("%v: %+v", err, got.Sources)
	}
	// Stream and snapshot ports stay: nobody here knows better.
	if u := got.Sources[0].Profiles[0].Endpoints[0].URL; u != "http://127.0.0.1:1/snap?p=main" {
		t.Errorf("snapshot %s", u)
	}
}

func TestRehost(t *testing.T) {
	for _, c := range []struct{ in, host, want string }{
		{"http://10.0.0.1/x", "10.0.0.2", "http://10.0.0.2/x"},
		{"http://10.0.0.1:81/x?y=z", "10.0.0.2", "http://10.0.0.2:81/x?y=z"},
		{"rtsp://a:b@10.0.0.1:554/x#f", "10.0.0.1", "rtsp://10.0.0.1:554/x"},
		{"http://[fe80::1]:81/x", "10.0.0.2", "http://10.0.0.2:81/x"},
		{"http://10.0.0.1/x", "fe80::1", "http://[fe80::1]/x"},
		{"http://10.0.0.1:81/x", "fe80::1", "http://[fe80::1]:81/x"},
	} {
		u, err := url.Parse(c.in)
		if err != nil {
			t.Fatal(err)
		}
		if got := rehost(u, c.host).String(); got != c.want {
			t.Errorf("rehost(%s, %s) = %s, want %s", c.in, c.host, got, c.want)
		}
	}
}

func TestMAC(t *testing.T) {
	for in, want := range map[string]string{
		"AC-CC-8E-01-02-03": "ac:cc:8e:01:02:03", "accc8e010203": "ac:cc:8e:01:02:03", " 02:aa:bb:cc:dd:ee ": "02:aa:bb:cc:dd:ee",
		"00:00:00:00:00:00": "", "ff:ff:ff:ff:ff:ff": "", "01:00:5e:00:00:01": "", "": "", "x": "", "ac:cc:8e:01:02:03:04:05": "",
	} {
		if got := mac(in); got != want {
			t.Errorf("mac(%q) = %q, want %q", in, got, want)
		}
	}
}
