package camtest_test

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

const (
	deviceNS = "http://www.onvif.org/ver10/device/wsdl"
	mediaNS  = "http://www.onvif.org/ver10/media/wsdl"
)

// wsse is the UsernameToken header, as a client builds it.
func wsse(user, password, nonce string, created time.Time) string {
	at := created.UTC().Format("2006-01-02T15:04:05.000Z")
	h := sha1.Sum([]byte(nonce + at + password))
	return fmt.Sprintf(`<wsse:Security xmlns:wsse="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><wsse:UsernameToken><wsse:Username>%s</wsse:Username><wsse:Password Type="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest">%s</wsse:Password><wsse:Nonce>%s</wsse:Nonce><wsu:Created>%s</wsu:Created></wsse:UsernameToken></wsse:Security>`,
		user, base64.StdEncoding.EncodeToString(h[:]), base64.StdEncoding.EncodeToString([]byte(nonce)), at)
}

func call(t *testing.T, url, ns, name, inner, header, authorization string) (*http.Response, string) {
	t.Helper()
	body := fmt.Sprintf(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Header>%s</s:Header><s:Body><a:%s xmlns:a="%s">%s</a:%s></s:Body></s:Envelope>`, header, name, ns, inner, name)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/soap+xml; charset=utf-8")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func value(t *testing.T, doc, element string) string {
	t.Helper()
	m := regexp.MustCompile(`<(?:\w+:)?` + element + `(?: [^>]*)?>([^<]*)<`).FindStringSubmatch(doc)
	if m == nil {
		t.Fatalf("no %s in %s", element, doc)
	}
	return m[1]
}

func TestONVIF(t *testing.T) {
	c := camtest.Street()[0]
	c.Skew = 40 * time.Minute
	town, i := quiet(t, c)
	password := i.Password.Reveal()
	signed := func() string { return wsse(i.User, password, rand.Text(), time.Now().Add(c.Skew)) }

	minute := func() string { return fmt.Sprint(time.Now().Add(c.Skew).UTC().Minute()) }
	before := minute()
	_, doc := call(t, i.ONVIF, deviceNS, "GetSystemDateAndTime", "", "", "")
	if got, behind := value(t, doc, "Minute"), minute(); got != before && got != behind {
		t.Errorf("the camera's minute is %s, want %s to %s", got, before, behind)
	}
	_, doc = call(t, i.ONVIF, deviceNS, "GetCapabilities", "", "", "")
	media := i.ONVIF[:len(i.ONVIF)-len("/onvif/device_service")] + "/onvif/media_service"
	if !strings.Contains(doc, media) {
		t.Errorf("capabilities lack %s: %s", media, doc)
	}
	_, doc = call(t, i.ONVIF, deviceNS, "GetServices", "", "", "")
	if !strings.Contains(doc, media) || !strings.Contains(doc, i.ONVIF) {
		t.Errorf("services lack %s: %s", media, doc)
	}
	_, doc = call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", signed(), "")
	if value(t, doc, "Manufacturer") != i.Vendor || value(t, doc, "Model") != i.Model || value(t, doc, "SerialNumber") != i.Serial || value(t, doc, "FirmwareVersion") != i.Firmware {
		t.Errorf("%+v says of itself %s", i, doc)
	}
	_, doc = call(t, i.ONVIF, deviceNS, "GetNetworkInterfaces", "", signed(), "")
	if value(t, doc, "HwAddress") != i.MAC || value(t, doc, "Address") != i.Addr.String() {
		t.Errorf("interfaces of %s, %v: %s", i.MAC, i.Addr, doc)
	}
	_, doc = call(t, i.ONVIF, deviceNS, "GetScopes", "", signed(), "")
	if !strings.Contains(doc, "onvif://www.onvif.org/name/street-east") {
		t.Errorf("scopes: %s", doc)
	}
	_, doc = call(t, media, mediaNS, "GetProfiles", "", signed(), "")
	token := regexp.MustCompile(`token="(profile[^"]*)"`).FindStringSubmatch(doc)
	if token == nil || value(t, doc, "Encoding") != "H264" {
		t.Fatalf("profiles: %s", doc)
	}
	inner := "<a:ProfileToken>" + token[1] + "</a:ProfileToken>"
	_, doc = call(t, media, mediaNS, "GetStreamUri", inner, signed(), "")
	if value(t, doc, "Uri") != i.RTSP {
		t.Errorf("stream %s, want %s", value(t, doc, "Uri"), i.RTSP)
	}
	_, doc = call(t, media, mediaNS, "GetSnapshotUri", inner, signed(), "")
	if value(t, doc, "Uri") != i.Snapshot {
		t.Errorf("snapshot %s, want %s", value(t, doc, "Uri"), i.Snapshot)
	}
	if s := town.Stats(c.Name); s.Refused != 0 || s.Accepted == 0 {
		t.Errorf("stats after right logins: %+v", s)
	}

	res, doc := call(t, i.ONVIF, deviceNS, "Reboot", "", signed(), "")
	if res.StatusCode != 500 || !strings.Contains(doc, "ter:ActionNotSupported") {
		t.Errorf("an unknown call: %s %s", res.Status, doc)
	}
	res, doc = call(t, media, mediaNS, "GetStreamUri", "<a:ProfileToken>other</a:ProfileToken>", signed(), "")
	if res.StatusCode != 400 || !strings.Contains(doc, "ter:NoProfile") {
		t.Errorf("an unknown profile: %s %s", res.Status, doc)
	}
}

func TestONVIFLogins(t *testing.T) {
	c := camtest.Camera{Name: "gate", Scene: camtest.Gate, Protocols: []fleet.Protocol{fleet.ONVIF}, Skew: -time.Hour}
	_, i := quiet(t, c)
	password, right := i.Password.Reveal(), time.Now().Add(c.Skew)
	used := rand.Text()
	call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", wsse(i.User, password, used, right), "")
	for name, tc := range map[string]struct {
		header string
		status int
	}{
		"right":             {wsse(i.User, password, rand.Text(), right), 200},
		"none":              {"", 401},
		"wrong password":    {wsse(i.User, "guess", rand.Text(), right), 400},
		"wrong user":        {wsse("admin", password, rand.Text(), right), 400},
		"not its clock":     {wsse(i.User, password, rand.Text(), time.Now()), 400},
		"nonce used before": {wsse(i.User, password, used, right), 400},
		"in plain text":     {strings.Replace(wsse(i.User, password, rand.Text(), right), "#PasswordDigest", "#PasswordText", 1), 400},
	} {
		t.Run(name, func(t *testing.T) {
			res, doc := call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", tc.header, "")
			if res.StatusCode != tc.status || (tc.status != 200) != strings.Contains(doc, "ter:NotAuthorized") {
				t.Errorf("%s %s, want %d", res.Status, doc, tc.status)
			}
		})
	}
	t.Run("HTTP Digest", func(t *testing.T) {
		res, _ := call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", "", "")
		const path = "/onvif/device_service"
		if res, doc := call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", "", login(res, "POST", path, i.User, password)); res.StatusCode != 200 {
			t.Errorf("%s %s", res.Status, doc)
		}
		if res, _ := call(t, i.ONVIF, deviceNS, "GetDeviceInformation", "", "", login(res, "POST", path, i.User, "guess")); res.StatusCode != 401 {
			t.Errorf("a wrong password: %s", res.Status)
		}
	})
	t.Run("junk", func(t *testing.T) {
		res, err := client(t).Post(i.ONVIF, "application/soap+xml", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("%s", res.Status)
		}
	})
}
