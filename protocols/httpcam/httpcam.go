// Package httpcam takes one frame over HTTP: a JPEG snapshot, or the first
// whole picture of an MJPEG stream.
//
//	snapshot  GET ──► one JPEG (or PNG), from its first to its last marker
//	mjpeg     GET ──► parts ──► the first complete JPEG, then hang up
//
// Cameras lie about lengths, boundaries and types: the bytes decide.
package httpcam

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
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
	MaxFrame int64        // bytes of one frame; default 16 MiB
	Log      *slog.Logger // default: none
}

// Grabber takes frames over HTTP. It is safe for concurrent use.
type Grabber struct {
	guard *guard.Guard
	max   int64
}

// New returns a grabber.
func New(g *guard.Guard, o Options) *Grabber {
	if o.MaxFrame == 0 {
		o.MaxFrame = 16 << 20
	}
	return &Grabber{guard: g, max: o.MaxFrame}
}

// Grab takes one frame from the target's first endpoint, a snapshot or an MJPEG
// stream.
func (g *Grabber) Grab(ctx context.Context, t fleet.Target) (fleet.Frame, error) {
	e := t.Endpoints[0]
	// A snapshot address may answer with a stream, and the other way round: both
	// are read as they come.
	res, err := g.guard.Do(ctx, guard.Login{Device: t.Device, Credentials: t.Credentials}, guard.Request{
		URL: e.URL, Header: http.Header{"Accept": {"image/jpeg, multipart/x-mixed-replace, */*;q=0.5"}}, MaxBytes: 64 << 10, Stream: true,
	})
	if err != nil {
		return fleet.Frame{}, err
	}
	if res.Stream == nil {
		return fleet.Frame{}, refusal(res)
	}
	defer res.Stream.Close() //nolint:errcheck // the frame is there or it is not
	stop := context.AfterFunc(ctx, func() { _ = res.Stream.Close() })
	defer stop()
	stream := strings.HasPrefix(strings.ToLower(res.Header.Get("Content-Type")), "multipart/")
	data, err := g.frame(res.Stream, stream)
	if err != nil {
		if ctx.Err() != nil {
			err = fleet.Errorf(fleet.CauseTimeout, "the picture did not end in time")
		}
		return fleet.Frame{}, guard.CameraError(err, "read the picture")
	}
	f := fleet.Frame{Data: data, Codec: fleet.JPEG, At: time.Now(), Origin: fleet.Origin(e)}
	if bytes.HasPrefix(data, pngMagic) {
		f.Codec = fleet.PNG
	}
	return f, nil
}

// refusal turns a status into a cause.
func refusal(res *guard.Response) error {
	switch res.Status {
	case http.StatusOK:
		return fleet.Errorf(fleet.CauseProtocol, "the camera sent no picture")
	case http.StatusForbidden:
		return fleet.Errorf(fleet.CauseUnauthorized, "the camera forbids it to this user (403): give the user the right to view, or use another")
	case http.StatusNotFound, http.StatusGone:
		return fleet.Errorf(fleet.CauseNotFound, "the camera has no picture under this address (%d)", res.Status)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests, 453:
		return fleet.Errorf(fleet.CauseRefused, "the camera is busy (%d)", res.Status)
	}
	return fleet.Errorf(fleet.CauseProtocol, "the camera answers %d", res.Status)
}

var pngMagic = []byte("\x89PNG\r\n\x1a\n")

// maxPreamble is how far a part's headers may reach before its picture begins.
const maxPreamble = 64 << 10

// frame reads the first whole picture of r. In a stream it is looked for; a
// snapshot must begin with it.
func (g *Grabber) frame(r io.Reader, stream bool) ([]byte, error) {
	br := bufio.NewReaderSize(r, 32<<10)
	if !stream {
		head, err := br.Peek(8)
		if len(head) < 2 {
			return nil, noPicture(err, "the camera sent no picture")
		}
		switch {
		case bytes.HasPrefix(head, pngMagic):
			return g.rest(br)
		case head[0] == 0xff && head[1] == 0xd8:
		case bytes.HasPrefix(bytes.TrimLeft(head, "\r\n"), []byte("--")):
			stream = true // parts without the header that says so
		default:
			return nil, fleet.Errorf(fleet.CauseProtocol, "the camera sent no JPEG but something that begins with %q", clip(head))
		}
	}
	if stream {
		if err := toSOI(br); err != nil {
			return nil, err
		}
	}
	return g.jpeg(br)
}

func clip(b []byte) string { return strings.ToValidUTF8(string(b), "?") }

func noPicture(err error, text string) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return fleet.Errorf(fleet.CauseProtocol, "%s", text)
}

// toSOI skips to the start of a JPEG, leaving it unread.
func toSOI(br *bufio.Reader) error {
	for n := 0; ; n++ {
		b, err := br.Peek(3)
		if len(b) < 3 {
			return noPicture(err, "the stream ended before a picture began")
		}
		if b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff {
			return nil
		}
		if n > maxPreamble {
			return fleet.Errorf(fleet.CauseProtocol, "no JPEG began within %d bytes of the stream", maxPreamble)
		}
		if _, err := br.Discard(1); err != nil {
			return err
		}
	}
}

// rest reads to the end.
func (g *Grabber) rest(br *bufio.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(br, g.max+1))
	if err == nil && int64(len(b)) > g.max {
		err = fleet.Errorf(fleet.CauseTooLarge, "the picture has more than %d bytes", g.max)
	}
	return b, err
}

// jpeg reads one JPEG from its SOI to its EOI, walking its segments so that an
// EOI inside a thumbnail in the metadata does not end it.
func (g *Grabber) jpeg(br *bufio.Reader) ([]byte, error) {
	w := walker{br: br, max: int(g.max)}
	if err := w.copy(2); err != nil {
		return nil, w.cut(err)
	}
	for {
		m, err := w.marker()
		if err != nil {
			return nil, w.cut(err)
		}
		switch {
		case m == 0xd9:
			return w.out, nil
		case m == 0x01 || m >= 0xd0 && m <= 0xd8:
			continue
		}
		head, err := br.Peek(2)
		if err != nil {
			return nil, w.cut(err)
		}
		n := int(binary.BigEndian.Uint16(head))
		if n < 2 {
			return nil, fleet.Errorf(fleet.CauseCorrupt, "the JPEG has a segment of length %d", n)
		}
		if err := w.copy(n); err != nil {
			return nil, w.cut(err)
		}
		if m == 0xda {
			if err := w.scan(); err != nil {
				return nil, w.cut(err)
			}
		}
	}
}

// walker copies a JPEG as it walks it.
type walker struct {
	br  *bufio.Reader
	out []byte
	max int
}

func (w *walker) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fleet.Errorf(fleet.CauseCorrupt, "the JPEG is cut off after %d bytes", len(w.out))
	}
	return err
}

func (w *walker) room(n int) error {
	if len(w.out)+n > w.max {
		return fleet.Errorf(fleet.CauseTooLarge, "the picture has more than %d bytes", w.max)
	}
	return nil
}

func (w *walker) copy(n int) error {
	if err := w.room(n); err != nil {
		return err
	}
	for n > 0 {
		b, err := w.br.Peek(min(n, w.br.Size()))
		if len(b) == 0 {
			return err
		}
		w.out = append(w.out, b...)
		n -= len(b)
		if _, err := w.br.Discard(len(b)); err != nil {
			return err
		}
	}
	return nil
}

// marker copies up to and with the next marker.
func (w *walker) marker() (byte, error) {
	for {
		if err := w.room(2); err != nil {
			return 0, err
		}
		b, err := w.br.ReadByte()
		if err != nil {
			return 0, err
		}
		w.out = append(w.out, b)
		if b != 0xff {
			continue
		}
		for b == 0xff {
			if b, err = w.br.ReadByte(); err != nil {
				return 0, err
			}
			w.out = append(w.out, b)
			if err := w.room(1); err != nil {
				return 0, err
			}
		}
		if b != 0 {
			return b, nil
		}
	}
}

// scan copies entropy-coded data, up to the marker that ends it.
func (w *walker) scan() error {
	for {
		if err := w.room(1); err != nil {
			return err
		}
		b, err := w.br.Peek(2)
		if len(b) < 2 {
			return cmpEOF(err)
		}
		// All that is buffered up to the next 0xff goes at once.
		all, _ := w.br.Peek(min(w.br.Buffered(), w.max-len(w.out))) //nolint:errcheck // it is buffered
		i := bytes.IndexByte(all, 0xff)
		switch {
		case i < 0:
			i = len(all)
		case i == 0:
			if b[1] != 0 && (b[1] < 0xd0 || b[1] > 0xd7) && b[1] != 0xff {
				return nil
			}
			i = 2
			if b[1] == 0xff {
				i = 1
			}
		}
		if i == 0 {
			return w.room(w.max)
		}
		w.out = append(w.out, all[:min(i, len(all))]...)
		if _, err := w.br.Discard(min(i, len(all))); err != nil {
			return err
		}
	}
}

func cmpEOF(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}
