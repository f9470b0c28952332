// Package httpcam takes one frame from a camera that speaks plain HTTP: a
// snapshot, or the first complete picture of an M-JPEG stream.
//
//	GET ──► status ──► first bytes ──┬─ FF D8 ───► scan to its end ──► Frame
//	        (cause)                  ├─ PNG ─────► chunks to IEND ───► Frame
//	                                 ├─ multipart ► scan for a JPEG ─► Frame
//	                                 └─ else ────► protocol, saying what came
//
// Headers are hints only: what counts is the bytes. A picture ends where its
// own markers end, so a wrong boundary, a missing or wrong length and trailing
// bytes do no harm, and the connection closes after the first complete frame.
package httpcam

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/shutterfleet/shutterfleet/fleet"
	"github.com/shutterfleet/shutterfleet/protocols/guard"
)

// Options configure a Grabber.
type Options struct {
	MaxBytes      int64            // of one picture; default 8 MiB
	BasicOverHTTP bool             // send Basic logins in clear
	Now           func() time.Time // default time.Now
	Log           *slog.Logger     // default: discards
}

// Grabber takes frames over HTTP. It is safe for use by several goroutines and
// keeps nothing between grabs but what its guard remembers.
type Grabber struct {
	guard *guard.Guard
	opts  Options
}

// New returns a Grabber over g.
func New(g *guard.Guard, o Options) *Grabber {
	o.MaxBytes = cmp.Or(o.MaxBytes, 8<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Grabber{guard: g, opts: o}
}

// Grab takes one frame from the target's first endpoint, a snapshot or M-JPEG
// address; which of the two it is, the answer decides. Frame.At is when the
// picture's last byte came. Every error is a *fleet.CameraError.
func (g *Grabber) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	if len(t.Endpoints) == 0 {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseInternal, "grab over HTTP: the target has no endpoint")
	}
	e := t.Endpoints[0]
	f, err := g.grab(ctx, t, e)
	if err != nil {
		return fleet.Frame{}, guard.CameraError(err, "")
	}
	f.At = g.opts.Now()
	f.Origin = fleet.Origin(e)
	return f, nil
}

func (g *Grabber) grab(ctx context.Context, t fleet.Target, e fleet.Endpoint) (fleet.Frame, error) {
	res, err := g.guard.Do(ctx,
		guard.Login{Device: t.Device, Credentials: t.Credentials, BasicOverHTTP: g.opts.BasicOverHTTP, Readable: t.Camera != 0},
		guard.Request{
			URL:    e.URL,
			Header: http.Header{"Accept": {"image/jpeg, image/png;q=0.8, multipart/x-mixed-replace;q=0.7, */*;q=0.1"}},
			// What a scan may look at without a complete picture, and a buffer.
			MaxBytes: 3*g.opts.MaxBytes + bufferBytes,
			Stream:   true,
		})
	if err != nil {
		return fleet.Frame{}, err
	}
	if res.Stream == nil {
		return fleet.Frame{}, refusal(res)
	}
	defer res.Stream.Close()
	if res.Status == http.StatusNoContent {
		return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "GET %s: no content: the camera has no picture ready", e.URL)
	}
	f, err := readFrame(res.Stream, res.Header.Get("Content-Type"), int(g.opts.MaxBytes))
	if err != nil {
		return fleet.Frame{}, guard.CameraError(err, "GET "+e.URL)
	}
	return f, nil
}

// refusal gives an answer that is no picture its cause.
func refusal(res *guard.Response) error {
	cause, hint := fleet.CauseProtocol, ""
	switch res.Status {
	case http.StatusForbidden:
		cause, hint = fleet.CauseUnauthorized, ": the login may not see pictures, or none is known"
	case http.StatusProxyAuthRequired:
		cause = fleet.CauseUnauthorized
	case http.StatusNotFound, http.StatusGone:
		cause, hint = fleet.CauseNotFound, ": the address of its picture is another"
	case http.StatusLocked:
		cause = fleet.CauseLocked
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		cause = fleet.CauseTimeout
	case 453, http.StatusTooManyRequests, http.StatusServiceUnavailable, 509:
		cause, hint = fleet.CauseRefused, ": the camera is busy"
	}
	return fleet.Errorf(cause, "GET %s: %d %s%s", res.URL, res.Status, strings.ToLower(http.StatusText(res.Status)), hint)
}

// bufferBytes is the read buffer, and what is sniffed at most.
const bufferBytes = 4 << 10

// readFrame takes the first complete picture of a body.
func readFrame(body io.Reader, contentType string, limit int) (fleet.Frame, error) {
	r := bufio.NewReaderSize(body, bufferBytes)
	head, err := peek(r)
	switch {
	case err != nil && !ended(err):
		return fleet.Frame{}, err
	case len(head) == 0:
		return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "an empty answer instead of a picture")
	case bytes.HasPrefix(head, []byte{0xff, markSOI}):
		return scanJPEG(r, limit)
	case bytes.HasPrefix(head, []byte(pngSignature)):
		return readPNG(r, limit)
	case isMultipart(contentType), bytes.HasPrefix(head, []byte("--")):
		return scanJPEG(r, limit)
	}
	return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "%s instead of a picture", describe(head))
}

// peek drops leading blanks, which some cameras put before the picture, and
// returns enough bytes to know what follows.
func peek(r *bufio.Reader) ([]byte, error) {
	for range 64 {
		b, err := r.Peek(1)
		if err != nil {
			return nil, err
		}
		if b[0] != '\r' && b[0] != '\n' && b[0] != ' ' && b[0] != '\t' {
			break
		}
		if _, err := r.Discard(1); err != nil {
			return nil, err
		}
	}
	// One more byte at least is on its way; all that came with it is enough
	// for words about an answer that is no picture.
	head, err := r.Peek(len(pngSignature))
	if n := r.Buffered(); n > len(head) {
		return r.Peek(n)
	}
	return head, err
}

// ended tells an answer that is over, early or not, from one that failed.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

func isMultipart(contentType string) bool {
	return strings.HasPrefix(strings.ToLower(strings.TrimSpace(contentType)), "multipart/")
}

func scanJPEG(r *bufio.Reader, limit int) (fleet.Frame, error) {
	s := scanner{limit: limit}
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		done, ferr := s.feed(buf[:n])
		switch {
		case ferr != nil:
			return fleet.Frame{}, ferr
		case done:
			return fleet.Frame{Data: s.picture(), Codec: fleet.JPEG}, nil
		case ended(err):
			return fleet.Frame{}, s.broken()
		case err != nil:
			return fleet.Frame{}, err
		}
	}
}

// broken says why the bytes that came hold no picture.
func (s *scanner) broken() error {
	if s.starts == 0 {
		return fleet.Errorf(fleet.CauseProtocol, "no JPEG in the %d bytes that came", s.seen)
	}
	return fleet.Errorf(fleet.CauseProtocol, "the JPEG breaks off: %d bytes came and no end of image", s.seen)
}

func readPNG(r io.Reader, limit int) (fleet.Frame, error) {
	var b []byte
	end := len(pngSignature)
	for {
		b = grow(b, 1, limit+1)
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		// Chunk by chunk: not every camera closes the connection behind a picture
		// without a length.
		var whole bool
		end, whole = pngEnd(b, end)
		switch {
		case whole && end <= limit:
			return fleet.Frame{Data: b[:end], Codec: fleet.PNG}, nil
		case len(b) > limit:
			return fleet.Frame{}, fleet.Errorf(fleet.CauseTooLarge, "a picture longer than its limit of %d bytes", limit)
		case ended(err):
			return fleet.Frame{}, fleet.Errorf(fleet.CauseProtocol, "the PNG breaks off: %d bytes came and no IEND", len(b))
		case err != nil:
			return fleet.Frame{}, err
		}
	}
}

// describe names what came instead of a picture, in a few safe words.
func describe(head []byte) string {
	kind, _, _ := strings.Cut(http.DetectContentType(head), ";")
	lower := bytes.ToLower(head)
	if bytes.Contains(lower, []byte("<html")) || bytes.Contains(lower, []byte("<!doctype html")) {
		kind = "text/html"
	}
	names := map[string]string{
		"text/html": "a web page", "text/xml": "an XML document", "text/plain": "text",
		"image/gif": "a GIF", "image/webp": "a WebP picture", "image/bmp": "a BMP picture",
		"application/octet-stream": "bytes of no known kind",
	}
	what := cmp.Or(names[kind], kind)
	if _, rest, ok := bytes.Cut(lower, []byte("<title>")); ok {
		// Cut in the original by length: lowering keeps ASCII lengths only.
		if at := len(lower) - len(rest); len(lower) == len(head) {
			rest = head[at:]
		}
		if title, _, ok := bytes.Cut(rest, []byte("<")); ok && len(bytes.TrimSpace(title)) > 0 {
			return what + " (" + safe(title) + ")"
		}
	}
	if kind == "text/plain" {
		return what + " (" + safe(head) + ")"
	}
	return what
}

// safe makes a camera's words fit for a log line.
func safe(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b[:min(len(b), 60)]), ""))
	return `"` + strings.Join(strings.Fields(s), " ") + `"`
}
