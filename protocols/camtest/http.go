package camtest

import (
	"context"
	"crypto/md5" //nolint:gosec // what cameras do (RFC 7616 has it still)
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// handler serves all that the camera has over HTTP.
func (c *virtual) handler(ctx context.Context) http.Handler {
	mux := http.NewServeMux()
	var nonceBytes [12]byte
	rand.Read(nonceBytes[:]) //nolint:errcheck // crypto/rand.Read never fails
	nonce := hex.EncodeToString(nonceBytes[:])
	open := func(f http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if !c.hold(r.Context()) {
				panic(http.ErrAbortHandler) // hang up without an answer
			}
			f(w, r)
		}
	}
	guarded := func(f http.HandlerFunc) http.HandlerFunc {
		return open(func(w http.ResponseWriter, r *http.Request) {
			if c.Login && !c.digest(r, nonce) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Digest realm="%s", qop="auth", nonce="%s", algorithm=MD5`, Vendor, nonce))
				http.Error(w, "login", http.StatusUnauthorized)
				return
			}
			f(w, r)
		})
	}
	if c.offers(OfferSnapshot) {
		mux.HandleFunc("GET /snapshot.jpg", guarded(func(w http.ResponseWriter, _ *http.Request) {
			data := c.picture()
			w.Header().Set("Content-Type", "image/jpeg")
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data) //nolint:errcheck // the client has gone
		}))
	}
	if c.offers(OfferMJPEG) {
		mux.HandleFunc("GET /video.mjpg", guarded(func(w http.ResponseWriter, r *http.Request) { c.mjpeg(ctx, w, r) }))
	}
	if c.offers(OfferONVIF) {
		mux.HandleFunc("POST /onvif/", open(c.soap))
	}
	mux.HandleFunc("GET /device.xml", open(c.description))
	return mux
}

// mjpeg sends five pictures a second until the client hangs up.
func (c *virtual) mjpeg(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	const boundary = "camtest-frame"
	w.Header().Set("Content-Type", "multipart/x-mixed-replace; boundary="+boundary)
	flush, ok := w.(http.Flusher)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for ok {
		data := c.picture()
		if _, err := fmt.Fprintf(w, "--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n", boundary, len(data), data); err != nil {
			return
		}
		flush.Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-ctx.Done():
			return
		}
	}
}

// digest checks an HTTP digest login. A request without one is only asked for
// it, and counts as no attempt.
func (c *virtual) digest(r *http.Request, nonce string) bool {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Digest ")
	if !ok {
		return false
	}
	p := map[string]string{}
	for part := range strings.SplitSeq(text, ", ") {
		k, v, _ := strings.Cut(part, "=")
		p[k] = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`))
	}
	sum := func(parts ...string) string {
		h := md5.Sum([]byte(strings.Join(parts, ":"))) //nolint:gosec // see above
		return hex.EncodeToString(h[:])
	}
	ha1 := sum(c.town.opts.User, Vendor, c.town.opts.Password.Reveal())
	want := sum(ha1, nonce, p["nc"], p["cnonce"], "auth", sum(r.Method, r.URL.RequestURI()))
	return c.judge(p["username"] == c.town.opts.User && p["nonce"] == nonce && p["response"] == want)
}

// description is the UPnP device description that SSDP answers point to.
func (c *virtual) description(w http.ResponseWriter, r *http.Request) {
	if !c.foundBy("upnp") {
		http.NotFound(w, r)
		return
	}
	i := c.info()
	page := ""
	for _, o := range []Offer{OfferSnapshot, OfferMJPEG} {
		if u, ok := i.URLs[o]; ok && page == "" {
			page = u
		}
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major><minor>0</minor></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:DigitalSecurityCamera:1</deviceType><friendlyName>%s</friendlyName>
<manufacturer>%s</manufacturer><modelName>%s</modelName><serialNumber>%s</serialNumber><UDN>uuid:%s</UDN>
<presentationURL>%s</presentationURL></device></root>`, c.Name, Vendor, c.Model, c.serial, c.uuid, page)
}
