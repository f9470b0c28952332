package worker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/jpeg"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/worker"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, o worker.Options) *worker.Worker {
	t.Helper()
	w, err := worker.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// ffmpeg runs the real one.
func ffmpeg(t testing.TB, stdin []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error"}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v: %s (the tests need ffmpeg with libx264 and libx265)", args, err, &complaints)
	}
	return out
}

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// script is a stand-in for FFmpeg.
func script(t testing.TB, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestDecode holds the luma against the coded one, byte for byte.
func TestDecode(t *testing.T) {
	w := open(t, worker.Options{})
	if got := w.Codecs(); !slices.Contains(got, fleet.H264) || !slices.Contains(got, fleet.H265) {
		t.Fatalf("Codecs() = %v: the tests need ffmpeg", got)
	}
	for _, c := range []struct {
		name, size, pixels, encoder, muxer string
		codec                              fleet.Codec
		extra                              []string
	}{
		{"H.264", "640x360", "yuv420p", "libx264", "h264", fleet.H264, nil},
		{"H.264, cropped", "322x182", "yuv420p", "libx264", "h264", fleet.H264, nil},
		{"H.264, full range", "320x180", "yuvj420p", "libx264", "h264", fleet.H264, nil},
		{"H.264, second key frame behind", "320x180", "yuv420p", "libx264", "h264", fleet.H264, []string{"-frames:v", "3", "-g", "1"}},
		{"H.265", "640x360", "yuv420p", "libx265", "hevc", fleet.H265, nil},
		{"H.265, cropped", "322x182", "yuv420p", "libx265", "hevc", fleet.H265, nil},
		{"JPEG", "322x182", "yuvj422p", "mjpeg", "mjpeg", fleet.JPEG, nil},
		{"MP4, its index at its end", "320x180", "yuv420p", "libx264", "mp4", codec.MP4, []string{"-frames:v", "30"}},
		{"MP4, its index at its start", "320x180", "yuv420p", "libx264", "mp4", codec.MP4, []string{"-movflags", "+faststart"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"-f", "lavfi", "-i", "testsrc2=size=" + c.size, "-frames:v", "1"}, c.extra...)
			file := filepath.Join(t.TempDir(), "video")
			ffmpeg(t, nil, append(args, "-c:v", c.encoder, "-pix_fmt", c.pixels, "-f", c.muxer, file)...)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			// Without a pixel format asked for, nothing is converted.
			want := ffmpeg(t, nil, "-f", c.muxer, "-i", file, "-frames:v", "1", "-f", "rawvideo", "-")
			var plane codec.Plane
			for _, width := range []int{0, 160} {
				thumb, err := w.Decode(t.Context(), c.codec, data, width, &plane)
				if err != nil {
					t.Fatal(err)
				}
				if n := plane.Width * plane.Height; !plane.Valid() || len(want) < n || !bytes.Equal(plane.Pix[:n], want[:n]) {
					t.Errorf("the luma of %dx%d is not what was coded", plane.Width, plane.Height)
				}
				if width == 0 {
					if thumb != nil {
						t.Errorf("a thumbnail of %d bytes came unasked", len(thumb))
					}
					continue
				}
				m, err := jpeg.Decode(bytes.NewReader(thumb))
				if err != nil || m.Bounds().Dx() != 160 {
					t.Errorf("thumbnail of %d bytes: %v", len(thumb), err)
				}
			}
		})
	}
}

// TestTenBits decodes H.265 of ten bits a sample: their upper eight come out, in
// the range that they were coded in.
func TestTenBits(t *testing.T) {
	w := open(t, worker.Options{})
	data := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=320x180", "-frames:v", "1", "-pix_fmt", "yuv420p10le",
		"-c:v", "libx265", "-x265-params", "log-level=none", "-f", "hevc", "-")
	raw := ffmpeg(t, data, "-f", "hevc", "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-")
	var plane codec.Plane
	if _, err := w.Decode(t.Context(), fleet.H265, data, 0, &plane); err != nil {
		t.Fatal(err)
	}
	off, n := 0, 320*180
	for i := range n {
		want := (int(raw[2*i]) | int(raw[2*i+1])<<8) / 4
		d := int(plane.Pix[i]) - want
		if off = max(off, d, -d); off > 1 {
			t.Fatalf("sample %d is %d, coded as %d", i, plane.Pix[i], want)
		}
	}
}

// TestCropped holds streams that crop their pictures at all sides against the
// same part of the whole picture.
func TestCropped(t *testing.T) {
	w := open(t, worker.Options{})
	const width, height, left, right, top, bottom = 320, 192, 6, 10, 4, 2
	for _, c := range []struct {
		codec                fleet.Codec
		encoder, muxer, crop string
		extra                []string
	}{
		{fleet.H264, "libx264", "h264", "h264_metadata", []string{"-x264-params", "keyint=1"}},
		{fleet.H265, "libx265", "hevc", "hevc_metadata", []string{"-x265-params", "log-level=none"}},
		{codec.MP4, "libx265", "mp4", "hevc_metadata", []string{"-x265-params", "log-level=none"}},
	} {
		decode := func(filter string) (plane codec.Plane, thumb []byte) {
			file := filepath.Join(t.TempDir(), "video")
			args := append([]string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d", width, height), "-frames:v", "1", "-pix_fmt", "yuv420p", "-c:v", c.encoder}, c.extra...)
			ffmpeg(t, nil, append(args, "-bsf:v", filter, "-f", c.muxer, file)...)
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if thumb, err = w.Decode(t.Context(), c.codec, data, 160, &plane); err != nil {
				t.Fatal(err)
			}
			return plane, thumb
		}
		whole, _ := decode("null")
		part, thumb := decode(fmt.Sprintf("%s=crop_left=%d:crop_right=%d:crop_top=%d:crop_bottom=%d", c.crop, left, right, top, bottom))
		if whole.Width != width || part.Width != width-left-right || part.Height != height-top-bottom {
			t.Errorf("%s: %dx%d of %dx%d, want %dx%d", c.codec, part.Width, part.Height, whole.Width, whole.Height, width-left-right, height-top-bottom)
			continue
		}
		for y := range part.Height {
			if !bytes.Equal(part.Row(y), whole.Row(y + top)[left:width-right]) {
				t.Errorf("%s: row %d is another part of the picture", c.codec, y)
				break
			}
		}
		if m, err := jpeg.Decode(bytes.NewReader(thumb)); err != nil || m.Bounds().Dx() != 160 {
			t.Errorf("%s: thumbnail of %d bytes: %v", c.codec, len(thumb), err)
		}
	}
}

// TestIsNotTurned: what says that it is to be shown turned is taken as it is coded,
// as all other decoders take it: hashes and masks go by that.
func TestIsNotTurned(t *testing.T) {
	w := open(t, worker.Options{})
	const width, height = 320, 192
	upright := ffmpeg(t, nil, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d", width, height), "-frames:v", "1", "-c:v", "ljpeg", "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-")
	exif := append([]byte{0xFF, 0xD8, 0xFF, 0xE1, 0, 34}, "Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"...)
	video := filepath.Join(t.TempDir(), "video.mp4")
	ffmpeg(t, nil, "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d", width, height), "-frames:v", "1", "-c:v", "libx264", "-f", "mp4", video)
	data, err := os.ReadFile(video)
	if err != nil {
		t.Fatal(err)
	}
	// The track's matrix, ISO/IEC 14496-12, 8.3.2: as it is, and a quarter turn.
	one := []byte{0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0}
	quarter := []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0}
	if bytes.Count(data, one) != 2 { // of the film and of its track
		t.Fatal("the MP4 file has other matrices")
	}
	for _, c := range []struct {
		codec         fleet.Codec
		upright, says []byte
	}{
		{fleet.JPEG, upright, append(exif, upright[2:]...)},
		{codec.MP4, data, bytes.ReplaceAll(data, one, quarter)},
	} {
		var want, got codec.Plane
		if _, err := w.Decode(t.Context(), c.codec, c.upright, 0, &want); err != nil {
			t.Fatal(err)
		}
		thumb, err := w.Decode(t.Context(), c.codec, c.says, 160, &got)
		if err != nil || got.Width != width || got.Height != height || !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s: %dx%d, %v: want the samples of the one that says nothing", c.codec, got.Width, got.Height, err)
		}
		if m, err := jpeg.DecodeConfig(bytes.NewReader(thumb)); err != nil || m.Width != 160 || m.Height != 96 {
			t.Errorf("%s: thumbnail of %dx%d, %v", c.codec, m.Width, m.Height, err)
		}
	}
}

func TestDecodeRefusals(t *testing.T) {
	w := open(t, worker.Options{Limits: codec.Limits{Pixels: 640 * 360, Bytes: 1 << 20}})
	sound := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=640x368", "-frames:v", "1", "-c:v", "libx264", "-f", "h264", "-")
	for _, c := range []struct {
		name  string
		codec fleet.Codec
		data  []byte
		want  []fleet.Cause
	}{
		{"empty", fleet.H264, nil, []fleet.Cause{fleet.CauseCorrupt}},
		{"text", fleet.H264, []byte(strings.Repeat("not a picture ", 100)), []fleet.Cause{fleet.CauseCorrupt}},
		{"headers alone", fleet.H264, sound[:40], []fleet.Cause{fleet.CauseCorrupt}},
		{"beyond the bytes", fleet.H265, make([]byte, 1<<20+1), []fleet.Cause{fleet.CauseTooLarge}},
		{"beyond the pixels", fleet.H264, sound, []fleet.Cause{fleet.CauseTooLarge, fleet.CauseCorrupt}}, // the child refuses it first
		{"unknown codec", "av1", sound, []fleet.Cause{fleet.CauseUnsupportedCodec}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var plane codec.Plane
			if _, err := w.Decode(t.Context(), c.codec, c.data, 160, &plane); !slices.Contains(c.want, cause(err)) {
				t.Errorf("Decode: %v (%s), want %s", err, cause(err), c.want)
			}
		})
	}
}

func TestWithoutFFmpeg(t *testing.T) {
	w := open(t, worker.Options{Program: "no-such-ffmpeg"})
	if got := w.Codecs(); len(got) != 0 {
		t.Errorf("Codecs() = %v", got)
	}
	var plane codec.Plane
	_, err := w.Decode(t.Context(), fleet.H264, []byte{0, 0, 1}, 0, &plane)
	if cause(err) != fleet.CauseUnsupportedCodec || !strings.Contains(err.Error(), "install ffmpeg") {
		t.Errorf("Decode: %v (%s)", err, cause(err))
	}
}

// TestHungChild has a child that reads nothing and says nothing: its time ends
// it, and a canceled context ends one too.
func TestHungChild(t *testing.T) {
	path := script(t, "exec sleep 60")
	frame := make([]byte, 1<<20) // more than a pipe holds
	var plane codec.Plane

	w := open(t, worker.Options{Program: path, Timeout: 200 * time.Millisecond})
	began := time.Now()
	_, err := w.Decode(t.Context(), fleet.H264, frame, 320, &plane)
	if cause(err) != fleet.CauseTimeout || !strings.Contains(err.Error(), "took too long") {
		t.Errorf("Decode: %v (%s)", err, cause(err))
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}

	w = open(t, worker.Options{Program: path, Width: 1})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	// The second one waits for the first one's place until its time is over.
	errs := make(chan error, 2)
	for range 2 {
		go func() {
			var plane codec.Plane
			_, err := w.Decode(ctx, fleet.H264, frame, 0, &plane)
			errs <- err
		}()
	}
	for range 2 {
		if err := <-errs; cause(err) != fleet.CauseTimeout {
			t.Errorf("Decode: %v (%s)", err, cause(err))
		}
	}
}

// TestLyingChild has children that answer something else than a picture.
func TestLyingChild(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       fleet.Cause
	}{
		{"says nothing", "exit 0", fleet.CauseCorrupt},
		{"fails", "echo no luck >&2; exit 1", fleet.CauseCorrupt},
		{"junk", "echo junk", fleet.CauseCorrupt},
		{"a header without end", "head -c 1000000 /dev/zero", fleet.CauseCorrupt},
		{"too large", `printf 'YUV4MPEG2 W60000 H60000 Cmono\nFRAME\n'`, fleet.CauseTooLarge},
		{"no size", `printf 'YUV4MPEG2 Cmono\nFRAME\n'`, fleet.CauseCorrupt},
		{"no number", `printf 'YUV4MPEG2 Wx H2 Cmono\nFRAME\n'`, fleet.CauseCorrupt},
		{"color", `printf 'YUV4MPEG2 W2 H2 C420jpeg\nFRAME\nabcdef'`, fleet.CauseCorrupt},
		{"cut off", `printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabc'`, fleet.CauseCorrupt},
		{"a picture, and an error", `printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcd'; exit 3`, fleet.CauseCorrupt},
		{"a picture, and much more", `printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcd'; head -c 1000000 /dev/zero`, ""},
		{"a huge thumbnail", `printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcd'; head -c 5000000 /dev/zero >&3`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, worker.Options{Program: script(t, c.body)})
			var plane codec.Plane
			thumb, err := w.Decode(t.Context(), fleet.H264, []byte{0, 0, 1, 0x65}, 320, &plane)
			if cause(err) != c.want {
				t.Errorf("Decode: %v (%s), want %q", err, cause(err), c.want)
			}
			if err == nil && (string(plane.Pix) != "abcd" || len(thumb) != 0) {
				t.Errorf("plane %q, thumbnail of %d bytes", plane.Pix, len(thumb))
			}
		})
	}
}

// TestFourComponents: FFmpeg would decode a CMYK JPEG to a luma that nobody sees.
func TestFourComponents(t *testing.T) {
	w := open(t, worker.Options{})
	color := ffmpeg(t, nil, "-f", "lavfi", "-i", "testsrc2=size=320x180", "-frames:v", "1", "-f", "mjpeg", "-")
	var plane codec.Plane
	if _, err := w.Decode(t.Context(), fleet.JPEG, color, 0, &plane); err != nil {
		t.Fatal(err)
	}
	// The same with a fourth component in its headers, of the first one's tables.
	sof, sos := bytes.Index(color, []byte{0xFF, 0xC0}), bytes.Index(color, []byte{0xFF, 0xDA})
	cmyk := slices.Concat(color[:sof+3], []byte{color[sof+3] + 3}, color[sof+4:sof+9], []byte{4}, color[sof+10:sof+19], []byte{4, 0x11, 0}, color[sof+19:sos+3],
		[]byte{color[sos+3] + 2, 4}, color[sos+5:sos+11], []byte{4, 0}, color[sos+11:])
	for name, data := range map[string][]byte{"CMYK": cmyk, "fill bytes": slices.Concat(cmyk[:2], []byte{0xFF, 0xFF}, cmyk[2:])} {
		if _, err := w.Decode(t.Context(), fleet.JPEG, data, 0, &plane); cause(err) != fleet.CauseUnsupportedCodec || !strings.Contains(err.Error(), "convert it to RGB") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range color { // whatever is cut off, nothing is read beyond it
		if _, err := open(t, worker.Options{Program: "no-such-ffmpeg"}).Decode(t.Context(), fleet.JPEG, cmyk[:n], 0, &plane); err == nil {
			t.Fatal("decoded by nothing")
		}
		if n > sos+20 {
			break
		}
	}
}

// TestComplaintsAreForPeople: what FFmpeg says comes without its addresses, which
// are others each time, and is told as one line of some length.
func TestComplaintsAreForPeople(t *testing.T) {
	for body, want := range map[string]string{
		`printf '[cache @ 0x55e9] Inner protocol failed to seekback end : -38\n[mov,mp4 @ 0x55e9] [x @ 0x1] moov atom not found\ncache:pipe:0: Invalid data\n' >&2; exit 1`: "moov atom not found Invalid data",
		`echo '[1, 2] is kept' >&2; exit 1`:                               "[1, 2] is kept",
		`head -c 5000 /dev/zero | tr '\0' x >&2; exit 1`:                  strings.Repeat("x", 160),
		`printf '[h264 @ 0xabc] ' >&2; exit 1`:                            "no picture came out",
		`echo '[h264 @ 0xabc] a' >&2; echo ' b  c ' >&2; kill -9 $$`:      "a b c",
		`printf 'YUV4MPEG2 W2 H2 Cmono\nFRAME\nabcd'; echo z >&2; exit 3`: "exit status 3: z",
	} {
		w := open(t, worker.Options{Program: script(t, body)})
		var plane codec.Plane
		_, err := w.Decode(t.Context(), fleet.H264, []byte{0, 0, 1, 0x65}, 0, &plane)
		if err == nil || !strings.HasSuffix(err.Error(), want) || strings.Contains(err.Error(), "0x") || len(err.Error()) > 220 {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

func TestMemoryIsLimited(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux limits a running process")
	}
	// The child waits for the frame, so the limit stands when it says what it is.
	w := open(t, worker.Options{Program: script(t, "cat >/dev/null; ulimit -v >&2; exit 1"), Memory: 512 << 20})
	var plane codec.Plane
	_, err := w.Decode(t.Context(), fleet.H264, []byte{0, 0, 1}, 0, &plane)
	if err == nil || !strings.Contains(err.Error(), "524288") { // ulimit counts in kilobytes
		t.Errorf("Decode: %v, want the limit of 524288 kB in it", err)
	}
}

func BenchmarkDecode(b *testing.B) {
	data := ffmpeg(b, nil, "-f", "lavfi", "-i", "testsrc2=size=1920x1080", "-frames:v", "1", "-c:v", "libx264", "-f", "h264", "-")
	w := open(b, worker.Options{})
	var plane codec.Plane
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := w.Decode(b.Context(), fleet.H264, data, 320, &plane); err != nil {
			b.Fatal(err)
		}
	}
}
