package capture_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	stdjpeg "image/jpeg"
	"image/png"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/shutterfleet/shutterfleet/capture"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/capture/internal/synthetic"
	"github.com/shutterfleet/shutterfleet/capture/pdq"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func Example() {
	plane := synthetic.Gray("clouds", 640, 360)
	frame := fleet.Frame{Codec: fleet.PGM, Data: append([]byte("P5 640 360 255\n"), plane.Pix...)}
	res, err := capture.New(capture.Options{}).Read(context.Background(), frame)
	fmt.Println(res.Width, res.Height, res.Fingerprint.PDQ.String()[:16], err)
	// Output: 640 360 1dcb02fa0dcb607c <nil>
}

func gray(t *testing.T, name string, w, h int) *image.Gray {
	p := synthetic.Gray(name, w, h)
	return &image.Gray{Pix: p.Pix, Stride: w, Rect: image.Rect(0, 0, w, h)}
}

func read(t *testing.T, f fleet.Frame) fleet.Reading {
	t.Helper()
	res, err := capture.New(capture.Options{}).Read(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestFormats reads one picture in each lossless format: all fingerprints are
// those of its luma.
func TestFormats(t *testing.T) {
	img := gray(t, "blocks", 704, 576)
	want, quality := pdq.Sum(synthetic.Gray("blocks", 704, 576))
	var asPNG bytes.Buffer
	if err := png.Encode(&asPNG, img); err != nil {
		t.Fatal(err)
	}
	for codec, data := range map[fleet.Codec][]byte{
		fleet.PNG: asPNG.Bytes(), fleet.PGM: append([]byte("P5\n# a comment\n704 576\n255\n"), img.Pix...),
	} {
		res := read(t, fleet.Frame{Codec: codec, Data: data})
		if res.Fingerprint.PDQ != want || res.Fingerprint.PDQQuality != quality || res.Width != 704 || res.Height != 576 {
			t.Errorf("%s: %+v", codec, res)
		}
		th, err := stdjpeg.Decode(bytes.NewReader(res.Thumbnail))
		if err != nil || th.Bounds().Dx() != 320 || th.Bounds().Dy() != 261 {
			t.Errorf("%s: thumbnail %v, %v", codec, th.Bounds(), err)
		}
	}
}

// TestThumbnailColour looks whether a red picture stays red.
func TestThumbnailColour(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 1280, 720))
	for i := range img.Pix {
		img.Pix[i] = []uint8{200, 40, 30, 255}[i%4]
	}
	var j, p bytes.Buffer
	if err := errors.Join(stdjpeg.Encode(&j, img, nil), png.Encode(&p, img)); err != nil {
		t.Fatal(err)
	}
	for codec, data := range map[fleet.Codec][]byte{fleet.JPEG: j.Bytes(), fleet.PNG: p.Bytes(), fleet.H264: encodeH264(t, "color=c=#c8281e:size=1280x720")} {
		th, err := stdjpeg.Decode(bytes.NewReader(read(t, fleet.Frame{Codec: codec, Data: data}).Thumbnail))
		if err != nil {
			t.Fatal(err)
		}
		r, g, b, _ := color.RGBAModel.Convert(th.At(160, 90)).RGBA()
		if math.Abs(float64(r>>8)-200) > 12 || math.Abs(float64(g>>8)-40) > 12 || math.Abs(float64(b>>8)-30) > 12 {
			t.Errorf("%s: the thumbnail's middle is %d %d %d", codec, r>>8, g>>8, b>>8)
		}
	}
}

// encodeH264 makes one key frame of what a lavfi source draws.
func encodeH264(t *testing.T, source string) []byte {
	t.Helper()
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", source, "-frames:v", "1", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-f", "h264", "pipe:1").Output()
	if err != nil {
		t.Fatalf("ffmpeg is needed with libx264: %v", err)
	}
	return out
}

// TestH264Luma holds the worker's luma against FFmpeg's own Y plane: the coded
// one, cropped, its range not stretched.
func TestH264Luma(t *testing.T) {
	data := encodeH264(t, "testsrc2=size=322x182")
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", "h264", "-i", "pipe:0", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1")
	cmd.Stdin = bytes.NewReader(data)
	yuv, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	img, err := worker.New(worker.Options{}).Decode(t.Context(), fleet.H264, data)
	if err != nil {
		t.Fatal(err)
	}
	if img.Y.Width != 322 || img.Y.Height != 182 || !bytes.Equal(img.Y.Pix, yuv[:322*182]) {
		t.Errorf("luma of %v differs from the coded plane", &img.Y)
	}
}

func TestRefusals(t *testing.T) {
	r := capture.New(capture.Options{})
	none := capture.New(capture.Options{Worker: worker.Options{Path: "/nonexistent/ffmpeg"}})
	for _, c := range []struct {
		name   string
		reader *capture.Reader
		frame  fleet.Frame
		want   fleet.Cause
		text   string
	}{
		{"no ffmpeg", none, fleet.Frame{Codec: fleet.H264, Data: []byte{0, 0, 0, 1}}, fleet.CauseUnsupportedCodec, "install ffmpeg"},
		{"junk video", r, fleet.Frame{Codec: fleet.H264, Data: bytes.Repeat([]byte("junk"), 500)}, fleet.CauseCorrupt, ""},
		{"junk jpeg", r, fleet.Frame{Codec: fleet.JPEG, Data: []byte("GIF89a")}, fleet.CauseCorrupt, ""},
		{"unknown", r, fleet.Frame{Codec: "av1", Data: []byte{1}}, fleet.CauseUnsupportedCodec, "av1"},
	} {
		_, err := c.reader.Read(t.Context(), c.frame)
		ce, ok := errors.AsType[*fleet.CameraError](err)
		if !ok || ce.Cause != c.want || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v, want %s with %q", c.name, err, c.want, c.text)
		}
	}
}

func TestWorkerDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := worker.New(worker.Options{}).Decode(ctx, fleet.H264, encodeH264(t, "testsrc2=size=1920x1080"))
	if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != fleet.CauseDeadline {
		t.Errorf("%v, want deadline", err)
	}
}

func TestCodecs(t *testing.T) {
	if cs := capture.New(capture.Options{Worker: worker.Options{Path: "/nonexistent/ffmpeg"}}).Codecs(); len(cs) != 3 {
		t.Errorf("without ffmpeg: %v", cs)
	}
	if cs := capture.New(capture.Options{}).Codecs(); len(cs) != 5 {
		t.Errorf("with ffmpeg: %v", cs)
	}
}

func BenchmarkRead1080pJPEG(b *testing.B) {
	p := synthetic.Gray("clouds", 1920, 1080)
	var j bytes.Buffer
	if err := stdjpeg.Encode(&j, &image.Gray{Pix: p.Pix, Stride: 1920, Rect: image.Rect(0, 0, 1920, 1080)}, nil); err != nil {
		b.Fatal(err)
	}
	r := capture.New(capture.Options{})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Read(b.Context(), fleet.Frame{Codec: fleet.JPEG, Data: j.Bytes()}); err != nil {
			b.Fatal(err)
		}
	}
}
