package camtest

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"sync"
	"time"

	"mime/multipart"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// webServer is a camera's HTTP side.
type webServer struct {
	c      *camera
	server http.Server
	addr   net.Addr
	media  net.Addr // of the media services, where that is another
	keys   *keys    // over HTTPS
	login  *digest
	soap   *soapService
	conns  sync.Map       // the connections that are open: net.Conn keys
	active sync.WaitGroup // the server and its connections
}

// newWebServer opens the camera's web server. The camera's lock is held.
func newWebServer(c *camera) (*webServer, error) {
	w := &webServer{c: c, login: newDigest(c.Vendor+" "+c.Model, c.SHA256, c.opts.Now)}
	port := uint16(httpPort)
	if c.HTTPS {
		port = httpsPort
		var err error
		if w.keys, err = newKeys(c); err != nil {
			return nil, err
		}
	}
	ports := []uint16{port}
	if c.MediaPort {
		ports = append(ports, mediaPort)
	}
	var open []net.Listener
	for _, p := range ports {
		l, err := listen(c.addr, p)
		if err != nil {
			for _, l := range open {
				l.Close()
			}
			return nil, err
		}
		if l = c.wrap(l); c.HTTPS {
			l = tls.NewListener(l, w.keys.config())
		}
		open = append(open, l)
	}
	w.addr = open[0].Addr()
	if len(open) > 1 {
		w.media = open[1].Addr()
	}
	w.soap = newSOAPService(c, w)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	if c.speaks(fleet.ONVIF) {
		mux.Handle("POST "+onvifPath, w.soap)
		mux.Handle("POST "+mediaPath, w.soap)
		if c.Media2 {
			mux.Handle("POST "+media2Path, w.soap)
		}
	}
	if c.speaks(fleet.Snapshot) {
		mux.Handle("GET "+snapshotPath, w.guarded(w.snapshot))
	}
	if c.speaks(fleet.MJPEG) {
		mux.Handle("GET "+mjpegPath, w.guarded(w.mjpeg))
	}
	for _, v := range c.Via {
		if v == fleet.ViaUPnP {
			mux.HandleFunc("GET "+descriptionPath, w.description)
		}
	}
	w.server = http.Server{
		Handler:           w.named(mux),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ConnState:         w.connState,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	for _, l := range open {
		w.active.Go(func() { _ = w.server.Serve(l) }) // ends by stop; that is its only error
	}
	return w, nil
}

// stop ends all connections and waits until they have ended.
func (w *webServer) stop() {
	w.cut()
	_ = w.server.Close()
	w.active.Wait()
}

func (w *webServer) scheme() string {
	if w.keys != nil {
		return "https"
	}
	return "http"
}

func (w *webServer) url(path string) string { return w.scheme() + "://" + w.addr.String() + path }

// rekey has the next request show the key that is in force now: every
// connection ends, as when a device restarts. Those that wait for a request
// are not the only ones: a client may have its answer before the server has
// noticed that the connection waits.
func (w *webServer) rekey() { w.cut() }

// cut ends every connection without a word: TLS would say goodbye, and wait
// for as long as the camera is silent.
func (w *webServer) cut() {
	w.conns.Range(func(k, _ any) bool {
		c := k.(net.Conn)
		if t, ok := c.(*tls.Conn); ok {
			c = t.NetConn()
		}
		_ = c.Close()
		return true
	})
}

// connState keeps account of the connections that are open.
func (w *webServer) connState(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		w.active.Add(1) // Serve says so itself, and is counted: never from zero
		w.conns.Store(c, nil)
	case http.StateClosed:
		w.conns.Delete(c)
		w.active.Done()
	}
}

// challenge is what the camera asks for over HTTP.
func (w *webServer) challenge(stale bool) string {
	if w.c.Login == LoginBasic {
		return fmt.Sprintf(`Basic realm="%s"`, w.login.realm)
	}
	return w.login.challenge(stale)
}

// check judges the login of an HTTP request.
func (w *webServer) check(r *http.Request) verdict {
	if w.c.Login != LoginBasic {
		return w.login.check(r, w.c.User, w.c.password())
	}
	user, password, ok := r.BasicAuth()
	switch {
	case !ok && r.Header.Get("Authorization") == "":
		return noLogin
	case user == w.c.User && subtle.ConstantTimeCompare([]byte(password), []byte(w.c.password().Reveal())) == 1:
		return rightLogin
	}
	return wrongLogin
}

// named has every answer say who serves.
func (w *webServer) named(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Server", "camtest/"+w.c.Firmware)
		h.ServeHTTP(rw, r)
	})
}

// guarded asks for the login, and for a free place if there are few. The place
// is free when h returns: the end of an answer must not leave before that, or
// who asks again at once is told that the camera is busy.
func (w *webServer) guarded(h func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.c.Open {
			switch v := w.check(r); v {
			case rightLogin, wrongLogin:
				if w.c.login(v == rightLogin) {
					break
				}
				fallthrough
			default:
				rw.Header().Set("WWW-Authenticate", w.challenge(v == staleLogin))
				reason := "login needed"
				if v == wrongLogin {
					reason += w.c.triesLeft()
				}
				http.Error(rw, reason, http.StatusUnauthorized)
				return
			}
		}
		free, ok := w.c.claim()
		if !ok {
			rw.Header().Set("Retry-After", "5")
			http.Error(rw, "too many connections", http.StatusServiceUnavailable)
			return
		}
		defer free()
		h(rw, r)
	})
}

func (w *webServer) snapshot(rw http.ResponseWriter, _ *http.Request) {
	b, err := w.c.frame()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	h := rw.Header()
	h.Set("Content-Type", "image/jpeg")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	h.Set("Cache-Control", "no-store")
	if _, err := rw.Write(b[:len(b)-lastBytes]); err == nil {
		w.c.counted(func(s *Stats) { s.Pictures++ })
		_, _ = rw.Write(b[len(b)-lastBytes:]) // which is kept until this has returned
	}
}

// lastBytes of a picture are sent when it has been counted. They are fewer than
// net/http keeps for an answer that goes on (2048), and than any JPEG has.
const lastBytes = 64

// mjpeg sends parts until the client has enough or the camera ends.
func (w *webServer) mjpeg(rw http.ResponseWriter, r *http.Request) {
	m := multipart.NewWriter(rw)
	if err := m.SetBoundary("frame"); err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary=frame")
	rw.Header().Set("Cache-Control", "no-store")
	send := func() error {
		b, err := w.c.frame()
		if err != nil {
			return err
		}
		p, err := m.CreatePart(textproto.MIMEHeader{"Content-Type": {"image/jpeg"}, "Content-Length": {strconv.Itoa(len(b))}})
		if err != nil {
			return err
		}
		if _, err := p.Write(b[:len(b)-lastBytes]); err != nil {
			return err
		}
		w.c.counted(func(s *Stats) { s.Pictures++ })
		if _, err := p.Write(b[len(b)-lastBytes:]); err != nil {
			return err
		}
		return http.NewResponseController(rw).Flush()
	}
	if pace(r.Context(), send) != nil {
		w.c.log.Debug("stream ended", "protocol", "mjpeg")
	}
}

// pace calls send at once and every frameEvery until ctx is done or send fails.
func pace(ctx context.Context, send func() error) error {
	tick := time.NewTicker(frameEvery)
	defer tick.Stop()
	for {
		if err := send(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// page is what a person sees who opens the camera's address.
func (w *webServer) page(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(rw, "<!doctype html><title>%[1]s</title><h1>%[1]s</h1><p>A virtual camera, %[2]s %[3]s.</p>\n", w.c.Name, escape(w.c.Vendor), escape(w.c.Model))
}

func escape(s string) string {
	var b []byte
	buf := (*byteWriter)(&b)
	_ = xml.EscapeText(buf, []byte(s)) // writing to memory does not fail
	return string(b)
}

type byteWriter []byte

func (w *byteWriter) Write(p []byte) (int, error) { *w = append(*w, p...); return len(p), nil }

// description is the UPnP device description that SSDP points to.
func (w *webServer) description(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	_, _ = fmt.Fprintf(rw, `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>%s</deviceType><friendlyName>%s</friendlyName><manufacturer>%s</manufacturer>
<modelName>%s</modelName><modelDescription>Network camera</modelDescription><modelNumber>%s</modelNumber>
<serialNumber>%s</serialNumber><UDN>uuid:%s</UDN><presentationURL>%s</presentationURL></device></root>
`, upnpCamera, w.c.Name, escape(w.c.Vendor), escape(w.c.Model), escape(w.c.Firmware), escape(w.c.serial), w.c.id, w.url("/"))
}
