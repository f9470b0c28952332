//go:build unix

package h264_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
)

// frames are 1080p key frames: typical ones of about 55 kB, one full of detail
// (145 kB), a noisy one (190 kB).
var frames = []struct{ name, source, params string }{
	{"typical", "testsrc2", "qp=28"},
	{"detailed", "mandelbrot=start_scale=0.3", "qp=26"},
	{"typical-cavlc", "testsrc2", "qp=30:cabac=0"},
	{"noisy", "testsrc2,noise=alls=40:allf=t", "crf=33"},
}

// frame encodes one of them.
func frame(b *testing.B, source, params string) []byte {
	b.Helper()
	name := filepath.Join(b.TempDir(), "frame.h264")
	ffmpeg(b, "-f", "lavfi", "-i", sized(source), "-frames:v", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", params, "-f", "h264", name)
	return read(b, name)
}

func sized(source string) string {
	head, tail, _ := bytes.Cut([]byte(source), []byte(","))
	sep := "="
	if bytes.ContainsRune(head, '=') {
		sep = ":"
	}
	s := string(head) + sep + "size=1920x1080"
	if len(tail) > 0 {
		s += "," + string(tail)
	}
	return s
}

func BenchmarkDecode(b *testing.B) {
	for _, f := range frames {
		data := frame(b, f.source, f.params)
		for _, k := range []struct {
			name string
			o    h264.Options
		}{{"luma", h264.Options{}}, {"color", h264.Options{Chroma: true}}, {"color-deblocked", h264.Options{Chroma: true, Deblock: true}}} {
			b.Run(f.name+"/"+k.name, func(b *testing.B) {
				var d h264.Decoder
				var pic codec.Picture
				b.SetBytes(int64(len(data)))
				b.ReportAllocs()
				before := userTime(b)
				for b.Loop() {
					if err := d.Decode(b.Context(), data, k.o, &pic); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(1000*(userTime(b)-before)/float64(b.N), "user-ms/frame")
			})
		}
	}
}

// userTime is what this process has used so far, in seconds: on a busy machine
// the clock says little.
func userTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()) / 1e9
}

// childTime is what the processes that ended so far have used, in seconds.
func childTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u); err != nil {
		b.Fatal(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

var benchTime = regexp.MustCompile(`bench: utime=([0-9.]+)s`)

// BenchmarkLibavcodec is what BenchmarkDecode is to be read beside: libavcodec
// with its defaults on one thread, and without its loop filter, by the time that
// ffmpeg -benchmark reports for many copies of the frame less that for one; and
// an ffmpeg process for each frame.
func BenchmarkLibavcodec(b *testing.B) {
	const copies = 60
	for _, f := range frames {
		data := frame(b, f.source, f.params)
		once, often := filepath.Join(b.TempDir(), "once.h264"), filepath.Join(b.TempDir(), "often.h264")
		for name, n := range map[string]int{once: 1, often: copies + 1} {
			if err := os.WriteFile(name, bytes.Repeat(data, n), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		run := func(b *testing.B, file, filter string) float64 {
			out, err := exec.CommandContext(b.Context(), "ffmpeg", "-nostdin", "-threads", "1", "-skip_loop_filter", filter, "-benchmark", "-i", file, "-f", "null", "-").CombinedOutput()
			m := benchTime.FindSubmatch(out)
			if err != nil || m == nil {
				b.Fatalf("ffmpeg: %v: %s", err, out)
			}
			s, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				b.Fatal(err)
			}
			return s
		}
		for _, filter := range []string{"default", "all"} {
			b.Run(f.name+"/skip-loop-filter-"+filter, func(b *testing.B) {
				sum, n := 0.0, 0
				for b.Loop() {
					sum += run(b, often, filter) - run(b, once, filter)
					n += copies
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(1000*sum/float64(n), "user-ms/frame")
			})
		}
		b.Run(f.name+"/process", func(b *testing.B) {
			before := childTime(b)
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), "ffmpeg", "-v", "error", "-threads", "1", "-f", "h264", "-i", "-", "-frames:v", "1", "-vf", "extractplanes=y", "-f", "rawvideo", "-")
				cmd.Stdin = bytes.NewReader(data)
				if out, err := cmd.Output(); err != nil || len(out) != 1920*1080 {
					b.Fatalf("%d bytes: %v", len(out), err)
				}
			}
			b.ReportMetric(1000*(childTime(b)-before)/float64(b.N), "cpu-ms/frame")
		})
	}
}
