package camtest

import (
	"context"
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
	login  *digest
	soap   *soapService
	active sync.WaitGroup // the server and the requests it serves
}

func newWebServer(c *camera, l net.Listener) *webServer {
	w := &webServer{c: c, addr: l.Addr(), login: newDigest(c.Vendor+" "+c.Model, c.SHA256, c.opts.Now)}
	w.soap = newSOAPService(c, w)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	if c.speaks(fleet.ONVIF) {
		mux.Handle("POST "+onvifPath, w.soap)
		mux.Handle("POST "+mediaPath, w.soap)
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
		Handler:           w.counting(mux),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       30 * time.Second,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
	w.active.Go(func() { _ = w.server.Serve(l) }) // ends by stop; that is its only error
	return w
}

// stop ends all connections and waits for the requests on them.
func (w *webServer) stop() {
	_ = w.server.Close()
	w.active.Wait()
}

func (w *webServer) url(path string) string { return "http://" + w.addr.String() + path }

func (w *webServer) counting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.active.Add(1) // while Serve runs and counts itself, so never from zero
		defer w.active.Done()
		rw.Header().Set("Server", "camtest/"+w.c.Firmware)
		h.ServeHTTP(rw, r)
	})
}

// guarded asks for the login, and for a free place if there are few.
func (w *webServer) guarded(h func(http.ResponseWriter, *http.Request)) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.c.Open {
			switch v := w.login.check(r, w.c.User, w.c.password()); v {
			case rightLogin, wrongLogin:
				if w.c.login(v == rightLogin) {
					break
				}
				fallthrough
			default:
				rw.Header().Set("WWW-Authenticate", w.login.challenge(v == staleLogin))
				http.Error(rw, "login needed", http.StatusUnauthorized)
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
	if _, err := rw.Write(b); err == nil {
		w.c.counted(func(s *Stats) { s.Pictures++ })
	}
}

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
		if _, err := p.Write(b); err != nil {
			return err
		}
		w.c.counted(func(s *Stats) { s.Pictures++ })
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
