package httpcam

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// picture is a JPEG with enough detail to hold stuffed bytes.
func picture(tb testing.TB, w, h int) []byte {
	tb.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	r := rand.New(rand.NewPCG(1, 2))
	for i := range m.Pix {
		m.Pix[i] = uint8(r.Uint32())
	}
	m.Set(0, 0, color.White)
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func pngPicture(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 20, 10))); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// withThumbnail puts an APP1 segment with a whole JPEG behind the SOI.
func withThumbnail(p, thumb []byte) []byte {
	seg := append([]byte("Exif\x00\x00"), thumb...)
	out := append([]byte{}, p[:2]...)
	out = append(out, 0xff, 0xe1, byte((len(seg)+2)>>8), byte(len(seg)+2))
	return append(append(out, seg...), p[2:]...)
}

// withoutTables drops all DHT segments.
func withoutTables(p []byte) []byte {
	out := append([]byte{}, p[:2]...)
	for i := 2; ; {
		n := 2 + int(p[i+2])<<8 + int(p[i+3])
		if p[i+1] != markDHT {
			out = append(out, p[i:i+n]...)
		}
		if i += n; p[i-n+1] == markSOS {
			return append(out, p[i:]...)
		}
	}
}

type scanCase struct {
	name string
	in   []byte
	want []byte // nil for none
}

func scanTable(tb testing.TB) []scanCase {
	p, small := picture(tb, 16, 8), picture(tb, 8, 8)
	cat := func(parts ...any) []byte {
		var b []byte
		for _, part := range parts {
			switch v := part.(type) {
			case string:
				b = append(b, v...)
			case []byte:
				b = append(b, v...)
			}
		}
		return b
	}
	thumb := withThumbnail(p, small)
	return []scanCase{
		{"bare", p, p},
		{"trailing bytes", cat(p, "\r\n\x00\x00junk"), p},
		{"part", cat("--b\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\r\n", p, "\r\n--b\r\n"), p},
		{"first of two", cat("--b\r\n\r\n", p, "\r\n--b\r\n\r\n", small), p},
		{"thumbnail inside", thumb, thumb},
		{"broken off, then whole", cat("--b\r\n\r\n", p[:len(p)/2], "\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n", p), p},
		{"broken off in a segment", cat(p[:30], bytes.Repeat([]byte("\r\n--b\r\n"), 40), p), p},
		{"fill bytes before a marker", cat(p[:2], "\xff\xff\xff", p[2:]), cat(p[:2], "\xff\xff\xff", p[2:])},
		{"doubled FF before the start", cat("\xff\xff", p), p},
		{"a start in the text", cat("\xff\xd8text", p), p},
		{"truncated", p[:len(p)-2], nil},
		{"only the start", p[:2], nil},
		{"an end without a picture", []byte("\xff\xd8\xff\xd9"), nil},
		{"a placeholder, then a picture", cat("--b\r\n\r\n\xff\xd8\xff\xd9\r\n--b\r\n\r\n", p), p},
		{"a comment that holds an end", cat(p[:2], "\xff\xfe\x00\x06\xff\xd9ab", p[2:]), cat(p[:2], "\xff\xfe\x00\x06\xff\xd9ab", p[2:])},
		{"line feeds alone", cat("--b\nContent-Type: image/jpeg\n\n", p, "\n--b\n"), p},
		{"a picture cut off by its boundary", cat("--b\r\n\r\n", p[:len(p)-40], "\r\n--b\r\n\r\n", small, "\r\n--b--"), small},
		{"empty", nil, nil},
		{"text", []byte("<html>\xff\xd7\xff</html>"), nil},
		{"a segment of length 1", cat("\xff\xd8\xff\xe0\x00\x01", "abc"), nil},
	}
}

func scan(in []byte, limit, step int) ([]byte, bool, error) {
	s := scanner{limit: limit}
	for len(in) > 0 {
		n := min(step, len(in))
		done, err := s.feed(in[:n])
		if done || err != nil {
			return s.image, done, err
		}
		in = in[n:]
	}
	return nil, false, nil
}

func TestScan(t *testing.T) {
	for _, tc := range scanTable(t) {
		t.Run(tc.name, func(t *testing.T) {
			for _, step := range []int{1, 2, 7, 4096, 1 << 20} {
				got, ok, err := scan(tc.in, 1<<20, step)
				if err != nil || ok != (tc.want != nil) || ok && !bytes.Equal(got, tc.want) {
					t.Fatalf("by %d bytes: found %v, %d bytes, %v; want %d bytes", step, ok, len(got), err, len(tc.want))
				}
			}
		})
	}
}

func TestScanStopsAtItsLimit(t *testing.T) {
	p := picture(t, 64, 48)
	for name, in := range map[string][]byte{
		"endless coded data": append(bytes.Clone(p[:len(p)-2]), make([]byte, 1<<20)...),
		"endless segments":   append([]byte{0xff, 0xd8}, bytes.Repeat([]byte("\xff\xe0\xff\xff"+string(make([]byte, 65533))), 20)...),
		"endless fill":       append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff}, 1<<20)...),
		"endless text":       make([]byte, 1<<20),
	} {
		_, ok, err := scan(in, 64<<10, 1000)
		if ce, is := err.(*fleet.CameraError); ok || !is || ce.Cause != fleet.CauseTooLarge { //nolint:errorlint // the very value
			t.Errorf("%s: %v, %v; want too-large", name, ok, err)
		}
	}
}

func TestMissingTables(t *testing.T) {
	p := withoutTables(picture(t, 64, 48))
	if _, err := jpeg.Decode(bytes.NewReader(p)); err == nil {
		t.Fatal("the test's own picture decodes without tables")
	}
	s := scanner{limit: 1 << 20}
	if done, err := s.feed(p); !done || err != nil {
		t.Fatalf("feed = %v, %v", done, err)
	}
	got, err := jpeg.Decode(bytes.NewReader(s.picture()))
	if err != nil {
		t.Fatalf("with the standard tables: %v", err)
	}
	want, err := jpeg.Decode(bytes.NewReader(picture(t, 64, 48)))
	if err != nil {
		t.Fatal(err)
	}
	for y := range 48 {
		for x := range 64 {
			if got.At(x, y) != want.At(x, y) {
				t.Fatalf("pixel %d,%d is %v, want %v", x, y, got.At(x, y), want.At(x, y))
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, tc := range scanTable(f) {
		f.Add(tc.in)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 4096
		whole, ok, err := scan(in, limit, len(in)+1)
		if ok && (!bytes.HasPrefix(whole, []byte{0xff, markSOI}) || !bytes.HasSuffix(whole, []byte{markEOI}) || len(whole) > limit) {
			t.Fatalf("%d bytes % x… are no picture", len(whole), whole[:min(8, len(whole))])
		}
		// How the network cuts the stream changes nothing.
		got, also, err2 := scan(in, limit, 3)
		if ok != also || !bytes.Equal(whole, got) && ok || ok && (err != nil || err2 != nil) {
			t.Fatalf("whole: %v %d %v; by threes: %v %d %v", ok, len(whole), err, also, len(got), err2)
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	for _, tc := range scanTable(f) {
		f.Add(tc.in, "image/jpeg")
	}
	f.Add(pngPicture(f), "image/png")
	f.Add([]byte("<!DOCTYPE html><title>Log in\x00</title>"), "text/html")
	f.Fuzz(func(t *testing.T, in []byte, kind string) {
		const limit = 4096
		fr, err := readFrame(bytes.NewReader(in), kind, limit)
		if err == nil && (len(fr.Data) == 0 || len(fr.Data) > limit+len(standardTables) || fr.Codec == "") {
			t.Fatalf("frame %q of %d bytes", fr.Codec, len(fr.Data))
		}
		if err != nil {
			if _, ok := err.(*fleet.CameraError); !ok { //nolint:errorlint // the very value
				t.Fatalf("error %v has no cause", err)
			}
		}
	})
}

// BenchmarkReadFrame reads a snapshot of about 100 kB; what it allocates is the
// picture and its buffers.
func BenchmarkReadFrame(b *testing.B) {
	p := picture(b, 320, 240)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := readFrame(bytes.NewReader(p), "image/jpeg", 8<<20); err != nil {
			b.Fatal(err)
		}
	}
}

// TestChunksAreWalkedOnce: a hostile picture has a million empty chunks and comes
// in small packets. What was walked is spoilt behind the walk, so that a second
// look at it would go astray.
func TestChunksAreWalkedOnce(t *testing.T) {
	whole := append([]byte(pngSignature), bytes.Repeat(append([]byte{0, 0, 0, 4}, "tEXtIEND0000"...), 1000)...)
	whole = append(whole, "\x00\x00\x00\x00IEND0000"...)
	at, ended := len(pngSignature), false
	for n := 7; n < len(whole)+7; n += 7 {
		if ended {
			t.Fatalf("it ended at %d of %d", at, len(whole))
		}
		b := bytes.Clone(whole[:min(n, len(whole))])
		for i := range b[:min(at, len(b))] {
			b[i] = 0xff
		}
		at, ended = pngEnd(b, at)
	}
	if !ended || at != len(whole) {
		t.Errorf("pngEnd = %d, %v, want %d", at, ended, len(whole))
	}
	f, err := readPNG(iotest.OneByteReader(bytes.NewReader(append(whole, "tail"...))), len(whole))
	if err != nil || !bytes.Equal(f.Data, whole) {
		t.Errorf("byte by byte: %d bytes, %v", len(f.Data), err)
	}
}
