package capture_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math/bits"
	"math/rand/v2"
	"os/exec"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func reader(t testing.TB, o capture.Options) *capture.Reader {
	t.Helper()
	r, err := capture.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// withoutFFmpeg is a worker on a machine that has none.
func withoutFFmpeg(t testing.TB) *worker.Worker {
	t.Helper()
	w, err := worker.New(worker.Options{Program: "no-such-ffmpeg"})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// street draws a color picture.
func street(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	r, g, b := codectest.Gen("clouds", w, h), codectest.Gen("blocks", w, h), codectest.Gen("sines", w, h)
	for i := range w * h {
		m.SetRGBA(i%w, i/w, color.RGBA{r[i], g[i], b[i], 255})
	}
	return m
}

func jpegOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 85}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngOf(t testing.TB, m image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pgmOf(name string, w, h int) []byte {
	return append(fmt.Appendf(nil, "P5\n# drawn\n%d %d\n255\n", w, h), codectest.Gen(name, w, h)...)
}

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// TestReadAgreesAcrossCodecs reads one picture in each codec.
func TestReadAgreesAcrossCodecs(t *testing.T) {
	r := reader(t, capture.Options{Width: 1})
	m := street(512, 512)
	for _, f := range []fleet.Frame{
		{Codec: fleet.PNG, Data: pngOf(t, m)},
		{Codec: fleet.JPEG, Data: jpegOf(t, m)},
	} {
		got, err := r.Read(t.Context(), f)
		if err != nil {
			t.Fatalf("%s: %v", f.Codec, err)
		}
		// The reference's hash of the same colors, from unrounded luma.
		const want = "935a1897c72d3ea011ee1f7b1986c1d928316aa414b8452b10fed7715f79d5b3"
		if f.Codec == fleet.PNG && got.Fingerprint.PDQ.String() != want {
			t.Errorf("%s: pdq %s, want %s", f.Codec, got.Fingerprint.PDQ, want)
		}
		if d := apart(got.Fingerprint.PDQ, want); d > 10 { // the reference's bound for other decoders
			t.Errorf("%s: pdq is %d bits from the reference", f.Codec, d)
		}
		if got.Fingerprint.PDQQuality != 100 || got.Width != 512 || got.Height != 512 || got.Codec != f.Codec ||
			int(got.Bytes) != len(f.Data) || got.SHA256 != sha256.Sum256(f.Data) {
			t.Errorf("%s: %+v", f.Codec, got)
		}
		thumb, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
		if err != nil {
			t.Fatalf("%s: thumbnail: %v", f.Codec, err)
		}
		if b := thumb.Bounds(); b.Dx() != 320 || b.Dy() != 320 {
			t.Errorf("%s: thumbnail of %v, want 320x320", f.Codec, b)
		}
		if off := colorOff(m, thumb); off > 12 {
			t.Errorf("%s: the thumbnail's colors are %.1f off", f.Codec, off)
		}
	}
}

func apart(p fleet.PDQ, text string) (d int) {
	var q fleet.PDQ
	if err := q.UnmarshalText([]byte(text)); err != nil {
		panic(err)
	}
	for i := range p {
		for x := p[i] ^ q[i]; x != 0; x &= x - 1 {
			d++
		}
	}
	return d
}

// colorOff compares mean colors on an 8x8 grid.
func colorOff(a, b image.Image) float64 {
	sum := 0.0
	for i := range 64 {
		ra, rb := cell(a, i), cell(b, i)
		for k := range ra {
			sum += max(ra[k]-rb[k], rb[k]-ra[k])
		}
	}
	return sum / 64 / 3
}

func cell(m image.Image, i int) (mean [3]float64) {
	b := m.Bounds()
	w, h := b.Dx()/8, b.Dy()/8
	for y := i / 8 * h; y < (i/8+1)*h; y++ {
		for x := i % 8 * w; x < (i%8+1)*w; x++ {
			r, g, bl, _ := m.At(b.Min.X+x, b.Min.Y+y).RGBA()
			for k, v := range []uint32{r, g, bl} {
				mean[k] += float64(v>>8) / float64(w*h)
			}
		}
	}
	return mean
}

func TestReadGray(t *testing.T) {
	r := reader(t, capture.Options{Width: 1, Worker: withoutFFmpeg(t)})
	data := pgmOf("clouds", 640, 360)
	before := sha256.Sum256(data)
	got, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(640, 360))}); err != nil {
		t.Fatal(err)
	}
	if sha256.Sum256(data) != before {
		t.Error("a later frame was decoded into the data of an earlier one")
	}
	if got.Width != 640 || got.Height != 360 {
		t.Errorf("size %dx%d", got.Width, got.Height)
	}
	thumb, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
	if err != nil || thumb.Bounds() != image.Rect(0, 0, 320, 180) {
		t.Errorf("thumbnail %v: %v", thumb.Bounds(), err)
	}
	if _, gray := thumb.(*image.Gray); !gray {
		t.Errorf("the thumbnail of a gray frame is %T", thumb)
	}
}

func TestReadWithoutThumbnail(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true, Worker: withoutFFmpeg(t)})
	got, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(200, 100))})
	if err != nil || got.Thumbnail != nil {
		t.Errorf("thumbnail of %d bytes, %v: want none", len(got.Thumbnail), err)
	}
}

func TestReadSmall(t *testing.T) {
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t)})
	for _, size := range [][2]int{{1, 1}, {4, 300}, {300, 3}, {5, 5}, {321, 1}} {
		got, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(size[0], size[1]))})
		if err != nil {
			t.Errorf("%v: %v", size, err)
		}
		if _, err := jpeg.Decode(bytes.NewReader(got.Thumbnail)); err != nil {
			t.Errorf("%v: thumbnail: %v", size, err)
		}
		if min(size[0], size[1]) < 5 && got.Fingerprint != (fleet.Fingerprint{}) {
			t.Errorf("%v: fingerprint %+v, want the empty one", size, got.Fingerprint)
		}
	}
}

// TestReadOddJPEG: of kinds of JPEG that the decoder here does not read, FFmpeg
// reads some: those without loss, which it writes, too.
func TestReadOddJPEG(t *testing.T) {
	r := reader(t, capture.Options{})
	f := fleet.Frame{Codec: fleet.JPEG, Data: byFFmpeg(t, pngOf(t, gray(street(320, 200))), "-c:v", "ljpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg")}
	for _, m := range []*fleet.Mask{nil, corner()} {
		in, err := r.Inspect(t.Context(), f, capture.Probe{Mask: m})
		if err != nil || in.Decoder != "ffmpeg" {
			t.Errorf("a lossless JPEG: read by %q, %v", in.Decoder, err)
		}
		if thumb, err := r.Thumbnail(t.Context(), f, m); err != nil || !bytes.Equal(thumb, in.Thumbnail) {
			t.Errorf("the thumbnail of a lossless JPEG has %d bytes, %v: want %d", len(thumb), err, len(in.Thumbnail))
		}
	}
}

// TestReadNarrow: a picture that is much higher than wide has a thumbnail that is
// no higher than twice the greatest width, whoever decodes it.
func TestReadNarrow(t *testing.T) {
	r := reader(t, capture.Options{})
	noise := image.NewGray(image.Rect(0, 0, 320, 16000))
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range noise.Pix {
		noise.Pix[i] = byte(rnd.IntN(256))
	}
	for _, c := range []struct {
		name string
		f    fleet.Frame
		w, h int
	}{
		{"upright 9:16", fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(540, 960))}, 320, 569},
		{"1:50", fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, noise)}, 13, 640},
		{"one column", fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, street(1, 3000))}, 1, 640},
		{"by FFmpeg", fleet.Frame{Codec: fleet.H265, Data: encode(t, fleet.H265, "-vf", "scale=64:1920", "-pix_fmt", "yuv420p")}, 21, 630},
	} {
		got, err := r.Read(t.Context(), c.f)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		m, err := jpeg.DecodeConfig(bytes.NewReader(got.Thumbnail))
		if err != nil || m.Width != c.w || m.Height != c.h {
			t.Errorf("%s: thumbnail of %dx%d in %d bytes, %v: want %dx%d", c.name, m.Width, m.Height, len(got.Thumbnail), err, c.w, c.h)
		}
	}
}

func TestReadRefusals(t *testing.T) {
	r := reader(t, capture.Options{Worker: withoutFFmpeg(t), Limits: codec.Limits{Pixels: 1 << 20}})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		f    fleet.Frame
		want fleet.Cause
	}{
		{"empty", t.Context(), fleet.Frame{Codec: fleet.JPEG}, fleet.CauseCorrupt},
		{"a page", t.Context(), fleet.Frame{Codec: fleet.JPEG, Data: []byte("<html>")}, fleet.CauseCorrupt},
		{"large PGM", t.Context(), fleet.Frame{Codec: fleet.PGM, Data: []byte("P5 99999 99999 255\n")}, fleet.CauseTooLarge},
		{"large PNG", t.Context(), fleet.Frame{Codec: fleet.PNG, Data: pngOf(t, image.NewGray(image.Rect(0, 0, 2000, 2000)))}, fleet.CauseTooLarge},
		{"H.265 without FFmpeg", t.Context(), fleet.Frame{Codec: fleet.H265, Data: []byte{0, 0, 0, 1, 0x40}}, fleet.CauseUnsupportedCodec},
		{"interlaced H.264 without FFmpeg", t.Context(), fleet.Frame{Codec: fleet.H264, Data: encode(t, fleet.H264, "-x264-params", "interlaced=1")}, fleet.CauseUnsupportedCodec},
		{"broken H.264", t.Context(), fleet.Frame{Codec: fleet.H264, Data: []byte{0, 0, 0, 1, 0x67}}, fleet.CauseCorrupt},
		{"unknown codec", t.Context(), fleet.Frame{Codec: "av1", Data: []byte{1}}, fleet.CauseUnsupportedCodec},
		{"too late", gone, fleet.Frame{Codec: fleet.JPEG, Data: jpegOf(t, street(64, 64))}, fleet.CauseTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := r.Read(c.ctx, c.f); cause(err) != c.want {
				t.Errorf("Read: %v (%s), want %s", err, cause(err), c.want)
			}
		})
	}
	if got := r.Codecs(); slices.Contains(got, fleet.H265) || !slices.Contains(got, fleet.JPEG) || !slices.Contains(got, fleet.H264) {
		t.Errorf("Codecs() = %v without FFmpeg", got)
	}
}

// encode makes a key frame of 640x360 with FFmpeg.
func encode(t testing.TB, c fleet.Codec, options ...string) []byte {
	t.Helper()
	encoder, muxer := "libx264", "h264"
	if c == fleet.H265 {
		encoder, muxer = "libx265", "hevc"
	}
	args := append([]string{"-v", "error", "-f", "lavfi", "-i", "testsrc2=size=640x360", "-frames:v", "1", "-c:v", encoder, "-pix_fmt", "yuv420p"}, options...)
	data, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, "-f", muxer, "-")...).Output()
	if err != nil {
		t.Fatalf("encode %s (the tests need ffmpeg): %v", c, err)
	}
	return data
}

// TestReadStream reads key frames as cameras stream them: H.264 without FFmpeg,
// and with it H.265 and what is rare in H.264.
func TestReadStream(t *testing.T) {
	with, without := reader(t, capture.Options{}), reader(t, capture.Options{Worker: withoutFFmpeg(t)})
	for _, k := range []struct {
		c       fleet.Codec
		r       *capture.Reader
		options []string
	}{
		{fleet.H264, without, nil},
		{fleet.H264, with, nil},
		{fleet.H264, with, []string{"-x264-params", "interlaced=1"}},
		{fleet.H264, with, []string{"-pix_fmt", "yuv422p"}},
		{fleet.H265, with, nil},
	} {
		c, r, data := k.c, k.r, encode(t, k.c, k.options...)
		got, err := r.Read(t.Context(), fleet.Frame{Codec: c, Data: data})
		if err != nil {
			t.Fatalf("%s: %v", c, err)
		}
		thumb, err := jpeg.Decode(bytes.NewReader(got.Thumbnail))
		if err != nil || thumb.Bounds() != image.Rect(0, 0, 320, 180) {
			t.Errorf("%s: thumbnail: %v", c, err)
		}
		if _, inColor := thumb.(*image.YCbCr); !inColor || got.Width != 640 || got.Height != 360 || got.Fingerprint.PDQQuality < 50 || got.Quality.Contrast < 20 {
			t.Errorf("%s: %T, %dx%d, quality %d, %+v", c, thumb, got.Width, got.Height, got.Fingerprint.PDQQuality, got.Quality)
		}
	}
}

// TestFingerprintsAgreeWithFFmpeg holds what is left out of H.264 pictures here,
// the loop filter, against FFmpeg's pictures: it must not change fingerprints by
// more than their matching radius forgives.
func TestFingerprintsAgreeWithFFmpeg(t *testing.T) {
	r := reader(t, capture.Options{NoThumbnail: true, Worker: withoutFFmpeg(t)})
	for _, params := range []string{"qp=22", "qp=32", "qp=40:deblock=3,3"} {
		data := encode(t, fleet.H264, "-x264-params", params)
		cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "h264", "-i", "-", "-frames:v", "1", "-vf", "extractplanes=y", "-c:v", "pgm", "-f", "image2pipe", "-")
		cmd.Stdin = bytes.NewReader(data)
		pgm, err := cmd.Output()
		if err != nil {
			t.Fatalf("decode (the tests need ffmpeg): %v", err)
		}
		got, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.H264, Data: data})
		if err != nil {
			t.Fatal(err)
		}
		want, err := r.Read(t.Context(), fleet.Frame{Codec: fleet.PGM, Data: pgm})
		if err != nil {
			t.Fatal(err)
		}
		d := apart(got.Fingerprint.PDQ, want.Fingerprint.PDQ.String())
		p := bits.OnesCount64(uint64(got.Fingerprint.PHash) ^ uint64(want.Fingerprint.PHash))
		if d > 6 || p > 2 {
			t.Errorf("%s: PDQ is %d bits from that of FFmpeg's picture, pHash %d", params, d, p)
		}
		t.Logf("%s: %d bytes, PDQ %d bits apart, pHash %d", params, len(data), d, p)
	}
}

func ExampleReader_Read() {
	r, err := capture.New(capture.Options{NoThumbnail: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	res, err := r.Read(context.Background(), fleet.Frame{Codec: fleet.PGM, Data: pgmOf("clouds", 640, 360)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.Width, res.Height, res.Fingerprint.PDQQuality)
	fmt.Println(res.Fingerprint.PDQ)
	// Output:
	// 640 360 100
	// 1dcb02fa0dcb607ca224badcad8fbb1195931192ba03df8f709e823cc22ffc63
}

func BenchmarkRead(b *testing.B) {
	data := jpegOf(b, street(1920, 1080))
	for name, o := range map[string]capture.Options{"1080p": {}, "1080p-no-thumbnail": {NoThumbnail: true}} {
		b.Run(name, func(b *testing.B) {
			r := reader(b, o)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := r.Read(b.Context(), fleet.Frame{Codec: fleet.JPEG, Data: data}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
