package camtest_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"image/jpeg"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/camtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// run starts a town and ends it with the test.
func run(t *testing.T, o camtest.Options) *camtest.Town {
	t.Helper()
	town, err := camtest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- town.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-town.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
	}
	return town
}

func client(t *testing.T) *http.Client {
	tr := &http.Transport{DisableKeepAlives: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// quiet runs one camera that nobody finds.
func quiet(t *testing.T, c camtest.Camera) (*camtest.Town, camtest.Info) {
	t.Helper()
	town := run(t, camtest.Options{Cameras: []camtest.Camera{c}, NoDiscovery: true})
	return town, town.Cameras()[0]
}

func get(t *testing.T, url, authorization string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
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
	return res, b
}

// login answers the challenge of a 401 for a GET of path, written anew here so
// that client and server do not share a mistake.
func login(res *http.Response, method, path, user, password string) string {
	ch := res.Header.Get("WWW-Authenticate")
	field := func(k string) string {
		m := regexp.MustCompile(k + `="([^"]*)"`).FindStringSubmatch(ch)
		if m == nil {
			return ""
		}
		return m[1]
	}
	sum := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
	a1 := sum(user + ":" + field("realm") + ":" + password)
	response := sum(a1 + ":" + field("nonce") + ":00000001:c0ffee:auth:" + sum(method+":"+path))
	return fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", qop=auth, nc=00000001, cnonce="c0ffee", response="%s"`,
		user, field("realm"), field("nonce"), path, response)
}

func decode(t *testing.T, b []byte) (luma float64) {
	t.Helper()
	img, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("decode %d bytes: %v", len(b), err)
	}
	n, sum := 0, 0.0
	for y := img.Bounds().Min.Y + 40; y < img.Bounds().Max.Y-40; y += 3 {
		for x := 0; x < img.Bounds().Dx(); x += 3 {
			r, g, b, _ := img.At(x, y).RGBA()
			sum += (0.299*float64(r) + 0.587*float64(g) + 0.114*float64(b)) / 257
			n++
		}
	}
	return sum / float64(n)
}

func TestStreetServesPictures(t *testing.T) {
	town := run(t, camtest.Options{NoDiscovery: true})
	cams := town.Cameras()
	if len(cams) < 12 {
		t.Fatalf("%d cameras, want at least 12", len(cams))
	}
	for _, c := range cams {
		if c.Snapshot == "" {
			continue
		}
		if !c.Addr.IsLoopback() || !strings.Contains(c.Snapshot, c.Addr.String()) {
			t.Errorf("%s: %s at %v", c.Name, c.Snapshot, c.Addr)
		}
		res, b := get(t, c.Snapshot, "")
		if !c.Open {
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s without a login: %s", c.Name, res.Status)
			}
			if c.SHA256 {
				continue
			}
			res, b = get(t, c.Snapshot, login(res, http.MethodGet, "/snapshot.jpg", c.User, c.Password.Reveal()))
		}
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "image/jpeg" {
			t.Errorf("%s: %s, %s", c.Name, res.Status, res.Header.Get("Content-Type"))
			continue
		}
		if l := decode(t, b); l < 10 || l > 245 {
			t.Errorf("%s: mean luma %.1f", c.Name, l)
		}
	}
}

func TestManyTownsRunSideBySide(t *testing.T) {
	seen := map[string]bool{}
	for range 4 {
		for _, c := range run(t, camtest.Options{}).Cameras() {
			if seen[c.EPR] || seen[c.Addr.String()] {
				t.Fatalf("%s has the identity or address of another town's camera: %s, %v", c.Name, c.EPR, c.Addr)
			}
			seen[c.EPR], seen[c.Addr.String()] = true, true
		}
	}
}

func TestNewRefuses(t *testing.T) {
	ok := camtest.Street()[0]
	for name, edit := range map[string]func(*camtest.Camera){
		"name":     func(c *camtest.Camera) { c.Name = "Gate 1" },
		"scene":    func(c *camtest.Camera) { c.Scene = "moon" },
		"size":     func(c *camtest.Camera) { c.Width = 641 },
		"silence":  func(c *camtest.Camera) { c.Protocols = nil },
		"protocol": func(c *camtest.Camera) { c.Protocols = []fleet.Protocol{"gopher"} },
		"codec":    func(c *camtest.Camera) { c.Codec = fleet.H265 },
		"clip":     func(c *camtest.Camera) { c.Codec, c.Scene = fleet.H264, camtest.Shelf },
		"fault":    func(c *camtest.Camera) { c.Faults = []camtest.Fault{"sulking"} },
		"way":      func(c *camtest.Camera) { c.Protocols = []fleet.Protocol{fleet.Snapshot} },
	} {
		t.Run(name, func(t *testing.T) {
			c := ok
			edit(&c)
			if _, err := camtest.New(camtest.Options{Cameras: []camtest.Camera{c}}); err == nil {
				t.Errorf("New took %+v", c)
			}
		})
	}
	if _, err := camtest.New(camtest.Options{Cameras: []camtest.Camera{ok, ok}}); err == nil {
		t.Error("New took two cameras of one name")
	}
}
