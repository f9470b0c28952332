package httpcam_test

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // Digest is built on it
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
	"github.com/shutterfleet/shutterfleet/protocols/httpcam"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func still() []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, 64, 48)), nil); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func newGrabber(t *testing.T, o httpcam.Options) *httpcam.Grabber {
	t.Helper()
	g := guard.New(guard.Options{})
	t.Cleanup(g.Close)
	return httpcam.New(g, o)
}

func target(p fleet.Protocol, url string) fleet.Target {
	return fleet.Target{Device: "cam", Endpoints: []fleet.Endpoint{{Protocol: p, URL: url}}}
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func causeOf(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

func TestSnapshot(t *testing.T) {
	p := still()
	var dot bytes.Buffer
	if err := png.Encode(&dot, image.NewGray(image.Rect(0, 0, 9, 9))); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2027, 3, 1, 6, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name, kind string
		status     int
		body       []byte
		codec      fleet.Codec
		want       []byte
		cause      fleet.Cause
		says       string
	}{
		{name: "jpeg", kind: "image/jpeg", body: p, codec: fleet.JPEG, want: p},
		{name: "jpeg called text", kind: "text/plain", body: p, codec: fleet.JPEG, want: p},
		{name: "jpeg called nothing, trailing bytes", body: append(bytes.Clone(p), "\r\n\r\nmore"...), codec: fleet.JPEG, want: p},
		{name: "blank lines first", kind: "image/jpeg", body: append([]byte("\r\n\r\n"), p...), codec: fleet.JPEG, want: p},
		{name: "png", kind: "image/jpeg", body: append(dot.Bytes(), "tail"...), codec: fleet.PNG, want: dot.Bytes()},
		{name: "one part", kind: "multipart/x-mixed-replace; boundary=x", body: append([]byte("--other\r\n\r\n"), p...), codec: fleet.JPEG, want: p},
		{name: "part under a wrong name", kind: "image/jpeg", body: append([]byte("--other\r\n\r\n"), p...), codec: fleet.JPEG, want: p},
		{name: "truncated jpeg", kind: "image/jpeg", body: p[:len(p)-5], cause: fleet.CauseProtocol, says: "breaks off"},
		{name: "end of image and no picture", kind: "image/jpeg", body: []byte("\xff\xd8\xff\xd9"), cause: fleet.CauseProtocol, says: "breaks off"},
		{name: "error page with 200", kind: "text/html", body: []byte("<html><body>503 busy</body></html>"), cause: fleet.CauseProtocol, says: "a web page"},
		{name: "xml error with 200", kind: "image/jpeg", body: []byte("<?xml version=\"1.0\"?><ResponseStatus><statusCode>4</statusCode></ResponseStatus>"), cause: fleet.CauseProtocol, says: "an XML document"},
		{name: "jpeg called html", kind: "text/html", body: p, codec: fleet.JPEG, want: p},
		{name: "a web page behind the picture", kind: "image/jpeg", body: append(bytes.Clone(p), "<html></html>"...), codec: fleet.JPEG, want: p},
		{name: "truncated png", kind: "image/png", body: dot.Bytes()[:dot.Len()-3], cause: fleet.CauseProtocol, says: "breaks off"},
		{name: "empty", kind: "image/jpeg", cause: fleet.CauseProtocol, says: "empty"},
		{name: "login page", kind: "image/jpeg", body: []byte("<!DOCTYPE html><html><title>Log\x00in \x1b[31m</title>"), cause: fleet.CauseProtocol, says: `a web page ("Log in [31m")`},
		{name: "json", kind: "application/json", body: []byte(`{"error":"busy"}`), cause: fleet.CauseProtocol, says: `busy`},
		{name: "multipart without a picture", kind: "multipart/x-mixed-replace", body: []byte("--b\r\nContent-Type: text/plain\r\n\r\nsorry\r\n--b--"), cause: fleet.CauseProtocol, says: "no JPEG"},
		{name: "204", status: 204, cause: fleet.CauseProtocol, says: "no content"},
		{name: "401", status: 401, cause: fleet.CauseUnauthorized},
		{name: "403", status: 403, cause: fleet.CauseUnauthorized},
		{name: "404", status: 404, cause: fleet.CauseNotFound},
		{name: "423", status: 423, cause: fleet.CauseLocked},
		{name: "429", status: 429, cause: fleet.CauseRefused},
		{name: "453", status: 453, cause: fleet.CauseRefused},
		{name: "500", status: 500, cause: fleet.CauseProtocol},
		{name: "503", status: 503, cause: fleet.CauseRefused},
		{name: "504", status: 504, cause: fleet.CauseTimeout},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{tc.kind}
				if tc.status != 0 {
					w.WriteHeader(tc.status)
				}
				w.Write(tc.body)
			}))
			defer s.Close()
			g := newGrabber(t, httpcam.Options{Now: func() time.Time { return at }})
			f, err := g.Grab(within(t, 5*time.Second), target(fleet.Snapshot, s.URL))
			if causeOf(err) != tc.cause || tc.cause != "" && !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("error %q (%s), want %q and %q", err, causeOf(err), tc.cause, tc.says)
			}
			if tc.cause == "" && (!bytes.Equal(f.Data, tc.want) || f.Codec != tc.codec || !f.At.Equal(at) || f.Origin.URL != s.URL) {
				t.Errorf("frame of %d bytes, %q, at %v from %v; want %d bytes, %q", len(f.Data), f.Codec, f.At, f.Origin, len(tc.want), tc.codec)
			}
		})
	}
}

// The connection is given up after the first complete frame of a stream.
func TestMJPEG(t *testing.T) {
	p := still()
	for _, tc := range []struct{ name, head, between string }{
		{"as it should be", fmt.Sprintf("--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", len(p)), "\r\n"},
		{"no lengths", "--b\r\nContent-Type: image/jpeg\r\n\r\n", "\r\n"},
		{"wrong boundary", "----zzz\r\n\r\n", ""},
		{"a length that lies", "--b\r\nContent-Length: 5\r\n\r\n", ""},
		{"nothing between", "", ""},
		{"a length that is too long", "--b\r\nContent-Length: 99999999\r\n\r\n", "\r\n"},
		{"a length that is no number", "--b\r\nContent-Length: -1e9\r\n\r\n", "\r\n"},
		{"headers that never end", "--b\r\nContent-Type: image/jpeg\r\n", "\r\n"},
		{"a boundary of another stream", "\r\n--" + strings.Repeat("x", 200) + "\n\n", "--"},
		{"text before the first part", "HTTP/1.0 200 OK\r\nServer: cam\r\n\r\n--b\r\n\r\n", "\r\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			left := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(left)
				w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
				for r.Context().Err() == nil {
					io.WriteString(w, tc.head)
					w.Write(p)
					if _, err := io.WriteString(w, tc.between); err != nil {
						return
					}
					w.(http.Flusher).Flush()
				}
			}))
			defer s.Close()
			g := newGrabber(t, httpcam.Options{})
			f, err := g.Grab(within(t, 5*time.Second), target(fleet.MJPEG, s.URL))
			if err != nil || !bytes.Equal(f.Data, p) || f.Codec != fleet.JPEG {
				t.Fatalf("frame of %d bytes, %v; want %d", len(f.Data), err, len(p))
			}
			<-left
		})
	}
}

// Snapshots behind a digest of each kind; the first 401 of a camera that let the
// login in before is taken for what it mostly is, a want of connections.
func TestSnapshotDigest(t *testing.T) {
	p := still()
	login := fleet.Credentials{User: "viewer", Password: `p:@"\ß`, Version: 1}
	for _, challenge := range []string{
		`Digest realm="cam", nonce="n1"`,
		`Digest realm="cam", nonce="n1", qop="auth"`,
		`Digest realm="cam", nonce="n1", qop="auth,auth-int", algorithm=SHA-256`,
	} {
		var full atomic.Bool
		var logins atomic.Int32
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := r.Header.Get("Authorization")
			if a != "" {
				logins.Add(1)
			}
			if full.Load() || !rightDigest(a, r, login, strings.Contains(challenge, "SHA-256")) {
				w.Header().Set("WWW-Authenticate", challenge)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Write(p)
		}))
		g := newGrabber(t, httpcam.Options{})
		at := target(fleet.Snapshot, s.URL+"/snap.jpg?channel=1&q=a%20b")
		at.Credentials = []fleet.Credentials{login}
		for range 2 {
			if f, err := g.Grab(within(t, 5*time.Second), at); err != nil || !bytes.Equal(f.Data, p) {
				t.Fatalf("%s: %v", challenge, err)
			}
		}
		full.Store(true)
		logins.Store(0)
		if _, err := g.Grab(within(t, 5*time.Second), at); causeOf(err) != fleet.CauseRefused || !strings.Contains(err.Error(), "connections") {
			t.Errorf("%s: a lone 401 after success: %v (%s), want refused", challenge, err, causeOf(err))
		}
		if n := logins.Load(); n != 1 {
			t.Errorf("%s: the login was sent %d times, want once", challenge, n)
		}
		full.Store(false)
		if _, err := g.Grab(within(t, 5*time.Second), at); err != nil {
			t.Errorf("%s: when a connection is free again: %v", challenge, err)
		}
		s.Close()
	}
}

// rightDigest reports whether an Authorization header is the right one (RFC 7616).
func rightDigest(header string, r *http.Request, c fleet.Credentials, sha bool) bool {
	sum := func(s string) string {
		if sha {
			return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
		}
		return fmt.Sprintf("%x", md5.Sum([]byte(s))) //nolint:gosec // Digest is built on it
	}
	got := guard.ParseChallenges([]string{header})
	if len(got) != 1 {
		return false
	}
	v := got[0].Params
	middle := v["nonce"]
	if v["qop"] != "" {
		middle += ":" + v["nc"] + ":" + v["cnonce"] + ":" + v["qop"]
	}
	want := sum(sum(c.User+":cam:"+c.Password.Reveal()) + ":" + middle + ":" + sum(r.Method+":"+r.RequestURI))
	return v["nonce"] == "n1" && v["uri"] == r.RequestURI && v["response"] == want
}

// A stream without Huffman tables, as M-JPEG allows, decodes.
func TestMJPEGWithoutTables(t *testing.T) {
	var p []byte
	for rest := still(); ; {
		at := bytes.Index(rest, []byte{0xff, 0xc4})
		if at < 0 {
			p = append(p, rest...)
			break
		}
		p = append(p, rest[:at]...)
		rest = rest[at+2+int(rest[at+2])<<8+int(rest[at+3]):]
	}
	if _, err := jpeg.Decode(bytes.NewReader(p)); err == nil {
		t.Fatal("the test's own picture decodes without tables")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "multipart/x-mixed-replace;boundary=b")
		fmt.Fprintf(w, "--b\r\nContent-Type: image/jpeg\r\n\r\n%s\r\n--b\r\n", p)
	}))
	defer s.Close()
	f, err := newGrabber(t, httpcam.Options{}).Grab(within(t, 5*time.Second), target(fleet.MJPEG, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jpeg.Decode(bytes.NewReader(f.Data)); err != nil {
		t.Error(err)
	}
}

func TestHostileCameras(t *testing.T) {
	p := still()
	endless := func(head string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=b")
			io.WriteString(w, head)
			block := make([]byte, 32<<10)
			for r.Context().Err() == nil {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		}
	}
	silent := func(head []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Write(head)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}
	for _, tc := range []struct {
		name    string
		handler http.HandlerFunc
		want    fleet.Cause
	}{
		{"endless part", endless("--b\r\n\r\n" + string(p[:len(p)-2])), fleet.CauseTooLarge},
		{"endless part header", endless("--b\r\nX: "), fleet.CauseTooLarge},
		{"endless png", endless("\x89PNG\r\n\x1a\n"), fleet.CauseTooLarge},
		{"endless text", endless("hello there "), fleet.CauseTooLarge},
		{"silent", silent(nil), fleet.CauseTimeout},
		{"silent after three bytes", silent([]byte("abc")), fleet.CauseTimeout},
		{"silent in the picture", silent(p[:40]), fleet.CauseTimeout},
		{"redirect elsewhere", http.RedirectHandler("http://127.9.9.9:1/", http.StatusFound).ServeHTTP, fleet.CauseGuarded},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(tc.handler)
			defer s.Close()
			d := time.Minute
			if tc.want == fleet.CauseTimeout {
				d = 300 * time.Millisecond
			}
			var before, behind runtime.MemStats
			var err error
			// On a busy machine the connection alone may take longer than that.
			for ; d <= time.Minute; d *= 2 {
				g := newGrabber(t, httpcam.Options{})
				runtime.ReadMemStats(&before)
				_, err = g.Grab(within(t, d), target(fleet.MJPEG, s.URL))
				runtime.ReadMemStats(&behind)
				if causeOf(err) != fleet.CauseUnreachable {
					break
				}
			}
			if causeOf(err) != tc.want {
				t.Fatalf("error %v (%s), want %s", err, causeOf(err), tc.want)
			}
			if n := behind.TotalAlloc - before.TotalAlloc; n > 32<<20 {
				t.Errorf("%d bytes were allocated, want less than 32 MiB", n)
			}
		})
	}
}

// Snapshots of one camera share a connection while it is warm.
func TestKeptConnection(t *testing.T) {
	p := still()
	var opened atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(p)))
		w.Write(p)
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	g := newGrabber(t, httpcam.Options{})
	for range 5 {
		if _, err := g.Grab(within(t, 5*time.Second), target(fleet.Snapshot, s.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("%d connections for five snapshots, want 1", n)
	}
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	l.Close()
	_, err = newGrabber(t, httpcam.Options{}).Grab(within(t, time.Second), target(fleet.Snapshot, url))
	if causeOf(err) != fleet.CauseRefused {
		t.Errorf("error %v (%s), want refused", err, causeOf(err))
	}
	if _, err := newGrabber(t, httpcam.Options{}).Grab(t.Context(), fleet.Target{}); causeOf(err) != fleet.CauseInternal {
		t.Errorf("a target without endpoints: %v", err)
	}
}

func ExampleGrabber_Grab() {
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/jpeg")
		w.Write(still())
	}))
	defer camera.Close()
	over := guard.New(guard.Options{})
	defer over.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f, err := httpcam.New(over, httpcam.Options{}).Grab(ctx, fleet.Target{
		Endpoints: []fleet.Endpoint{{Protocol: fleet.Snapshot, URL: camera.URL + "/snapshot.jpg"}},
	})
	fmt.Println(f.Codec, f.Origin.Protocol, err)
	// Output: jpeg snapshot <nil>
}
