package onvif

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/use-go/onvif/device"

	"github.com/shutterfleet/shutterfleet/fleet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// answers make an empty answer for each kind of testdata.
var answers = map[string]func() any{
	"date":         func() any { return new(dateAnswer) },
	"services":     func() any { return new(servicesAnswer) },
	"capabilities": func() any { return new(capabilitiesAnswer) },
	"information":  func() any { return new(device.GetDeviceInformationResponse) },
	"scopes":       func() any { return new(scopesAnswer) },
	"interfaces":   func() any { return new(interfacesAnswer) },
	"profiles":     func() any { return new(profilesAnswer) },
	"uri":          func() any { return new(uriAnswer) },
	"fault":        func() any { return new(uriAnswer) },
}

// written returns the answers in testdata. Those in rebuilt follow what is public
// of one device, and name where.
func written(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.xml")
	if err != nil || len(files) < 10 {
		t.Fatal(files, err)
	}
	rebuilt, err := filepath.Glob("testdata/rebuilt/*/*.xml")
	if err != nil || len(rebuilt) < 4 {
		t.Fatal(rebuilt, err)
	}
	for _, f := range rebuilt {
		if source, err := os.ReadFile(filepath.Join(filepath.Dir(f), "SOURCE.md")); err != nil || !strings.Contains(string(source), "https://") {
			t.Fatalf("%s names no source: %v", f, err)
		}
	}
	return append(files, rebuilt...)
}

// The answers in testdata are written after the specifications' examples, in
// the shapes of prefixes and namespaces that servers use.
func TestParse(t *testing.T) {
	files := written(t)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			body, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			kind, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(name), ".xml"), "-")
			got := answers[kind]()
			golden := got
			if err := parse(body, got); err != nil {
				f, ok := err.(*Fault) //nolint:errorlint // parse wraps no fault
				if !ok || kind != "fault" {
					t.Fatal(err)
				}
				golden = struct {
					*Fault
					Error                          string
					NotAuthorized, Locked, Missing bool
				}{f, f.Error(), f.NotAuthorized(), f.Locked(), f.Missing()}
			}
			text, err := json.MarshalIndent(golden, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, '\n')
			path := strings.TrimSuffix(name, ".xml") + ".golden"
			if *update {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(text, want) {
				t.Errorf("%s reads as\n%s\nwant\n%s", name, text, want)
			}
		})
	}
}

func TestParseHostile(t *testing.T) {
	deep := "<Envelope><Body><R>" + strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100) + "</R></Body></Envelope>"
	for _, c := range []struct {
		name, body string
		cause      fleet.Cause
	}{
		{"empty", "", fleet.CauseProtocol},
		{"text", "404 not found", fleet.CauseProtocol},
		{"html", "<html><head></head><body><p>login</body></html>", fleet.CauseProtocol},
		{"no body", "<Envelope></Envelope>", fleet.CauseProtocol},
		{"empty body", "<Envelope><Body/></Envelope>", fleet.CauseProtocol},
		{"cut off", "<Envelope><Body><R><Uri>rtsp://", fleet.CauseProtocol},
		{"deep", deep, fleet.CauseTooLarge},
		{"wide", "<Envelope><Body><R>" + strings.Repeat("<a/>", maxAnswerElements+1) + "</R></Body></Envelope>", fleet.CauseTooLarge},
		{"long", strings.Repeat(" ", maxAnswerBytes+1), fleet.CauseTooLarge},
		{"entities", `<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><Envelope><Body><R><Uri>&b;</Uri></R></Body></Envelope>`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var a uriAnswer
			err := parse([]byte(c.body), &a)
			if c.cause == "" {
				if err != nil || len(a.URI) > 10 {
					t.Errorf("%q, %v", a.URI, err)
				}
				return
			}
			if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != c.cause {
				t.Errorf("parse = %v, want cause %s", err, c.cause)
			}
		})
	}
}

// The digest is the example of the ONVIF Application Programmer's Guide, 6.1.1.3.
func TestUsernameToken(t *testing.T) {
	nonce, err := base64.StdEncoding.DecodeString("LKqI6G/AikKCQrN0zqZFlg==")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2010, 9, 16, 7, 50, 45, 0, time.UTC)
	got := string(wsseWith(fleet.Credentials{User: "a<b", Password: "userpassword"}, at, nonce))
	if sum := passwordDigest(nonce, "2010-09-16T07:50:45Z", "userpassword"); sum != "tuOSpGlFlIXsozq4HFNeeGeFLEI=" {
		t.Errorf("digest %s", sum)
	}
	for _, want := range []string{
		"<wsse:Username>a&lt;b</wsse:Username>", ">LKqI6G/AikKCQrN0zqZFlg==</wsse:Nonce>",
		"<wsu:Created>2010-09-16T07:50:45.000Z</wsu:Created>", "#PasswordDigest\">",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("token %s lacks %s", got, want)
		}
	}
	if strings.Contains(got, "userpassword") {
		t.Errorf("token %s shows the password", got)
	}
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		op   call
		want string
	}{
		{getSystemDateAndTime, "<tds:GetSystemDateAndTime></tds:GetSystemDateAndTime>"},
		{getServices, "<tds:GetServices><tds:IncludeCapability>false</tds:IncludeCapability></tds:GetServices>"},
		{getCapabilities, "<tds:GetCapabilities><tds:Category>All</tds:Category></tds:GetCapabilities>"},
		{getProfiles, "<trt:GetProfiles></trt:GetProfiles>"},
		{getProfiles2, "<tr2:GetProfiles><tr2:Type>VideoSource</tr2:Type><tr2:Type>VideoEncoder</tr2:Type></tr2:GetProfiles>"},
		{getStreamURI("a&b"), "<trt:GetStreamUri><trt:StreamSetup><onvif:Stream>RTP-Unicast</onvif:Stream><onvif:Transport><onvif:Protocol>RTSP</onvif:Protocol></onvif:Transport></trt:StreamSetup><trt:ProfileToken>a&amp;b</trt:ProfileToken></trt:GetStreamUri>"},
		{getStreamURI2("p"), "<tr2:GetStreamUri><tr2:Protocol>RTSP</tr2:Protocol><tr2:ProfileToken>p</tr2:ProfileToken></tr2:GetStreamUri>"},
		{systemReboot, "<tds:SystemReboot></tds:SystemReboot>"},
		{setSynchronizationPoint("p"), "<trt:SetSynchronizationPoint><trt:ProfileToken>p</trt:ProfileToken></trt:SetSynchronizationPoint>"},
		{setSynchronizationPoint2("p"), "<tr2:SetSynchronizationPoint><tr2:ProfileToken>p</tr2:ProfileToken></tr2:SetSynchronizationPoint>"},
		{getSnapshotURI("p"), "<trt:GetSnapshotUri><trt:ProfileToken>p</trt:ProfileToken></trt:GetSnapshotUri>"},
		{getSnapshotURI2("p"), "<tr2:GetSnapshotUri><tr2:ProfileToken>p</tr2:ProfileToken></tr2:GetSnapshotUri>"},
	} {
		got, err := envelope(c.op.request, nil, false)
		if err != nil || !strings.Contains(string(got), "<s:Body>"+c.want+"</s:Body>") || !strings.HasSuffix(c.op.action, "/"+c.op.name) {
			t.Errorf("%s = %s, %v, want %s", c.op.name, got, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range written(f) {
		body, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for kind, answer := range answers {
			a := answer()
			err := parse(body, a)
			switch e := err.(type) { //nolint:errorlint // the very types are the point
			case nil:
			case *Fault:
				if e.Error() == "" {
					t.Error("a fault without words")
				}
			case *fleet.CameraError:
			default:
				t.Errorf("%s: %T: %v", kind, err, err)
			}
			if d, ok := a.(*dateAnswer); ok {
				if at, err := d.SystemDateAndTime.UTCDateTime.time(); err == nil && (at.Year() < 1969 || at.Year() > 2201) {
					t.Errorf("date %v", at)
				}
			}
		}
	})
}

func FuzzEndpoint(f *testing.F) {
	for _, s := range []string{
		"rtsp://u:p@192.168.1.64:554/a?b=c", "rtsp://[fe80::1%25eth0]/x", "http:///x", "/snap.jpg", "//evil/x", "http://10.0.0.1:99999/", "rtsp:opaque", "\x00",
	} {
		f.Add(s)
	}
	at, err := deviceURL(fleet.Target{Endpoints: []fleet.Endpoint{{URL: "http://10.1.2.3:8080/onvif/device_service"}}})
	if err != nil {
		f.Fatal(err)
	}
	s := &session{device: at}
	f.Fuzz(func(t *testing.T, addr string) {
		if u := s.repair(addr); u.Hostname() != "10.1.2.3" || u.User != nil {
			t.Errorf("repair(%q) = %s", addr, u)
		}
		for _, p := range []fleet.Protocol{fleet.RTSP, fleet.Snapshot} {
			e := endpoint(addr, at, p)
			if e == "" {
				continue
			}
			u, err := at.Parse(e)
			if err != nil || u.Hostname() != "10.1.2.3" || u.User != nil {
				t.Errorf("endpoint(%q) = %s: %v", addr, e, err)
			}
		}
	})
}
