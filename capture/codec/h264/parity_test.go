package h264_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
)

// recipe is how x264 is to make a key frame.
type recipe struct {
	source string // a lavfi source, without its size
	w, h   int
	format string // FFmpeg's pixel format
	params string // x264's
}

func (r recipe) String() string {
	return fmt.Sprintf("%s %dx%d %s %s", r.source, r.w, r.h, r.format, r.params)
}

// lavfi is the source as FFmpeg takes it.
func (r recipe) lavfi() string {
	source, filter, _ := strings.Cut(r.source, ",")
	if filter != "" {
		filter = "," + filter
	}
	return fmt.Sprintf("%s=size=%dx%d%s", source, r.w, r.h, filter)
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// recipes draws n of them, with each setting that changes how an intra picture
// is coded.
func recipes(seed uint64, n int, sizes [][2]int) []recipe {
	rng := rand.New(rand.NewPCG(seed, 264))
	all := make([]recipe, n)
	for i := range all {
		size := pick(rng, sizes...)
		r := recipe{
			source: pick(rng, "testsrc2", "mandelbrot", "smptebars", "color,noise=alls=100:allf=t", "testsrc2,noise=alls=20:allf=t", "mandelbrot,gblur=6"),
			w:      size[0], h: size[1], format: pick(rng, "yuv420p", "yuv420p", "yuv420p", "yuv420p", "yuv420p", "yuv420p", "gray"),
		}
		p := []string{"keyint=1", "threads=1"}
		add := func(format string, args ...any) { p = append(p, fmt.Sprintf(format, args...)) }
		add("cabac=%d", i&1)
		add("8x8dct=%d", i>>1&1)
		add("partitions=%s", pick(rng, "none", "i4x4", "i8x8", "i4x4,i8x8", "all"))
		qp := 26
		if rng.IntN(4) == 0 {
			add("crf=%d:aq-mode=%d:aq-strength=1.8", 10+rng.IntN(35), 1+rng.IntN(3))
		} else {
			qp = 1 + (i*7+rng.IntN(7))%51
			add("qp=%d", qp)
		}
		switch rng.IntN(4) {
		case 0:
			add("no-deblock=1")
		case 1:
			add("deblock=%d,%d", rng.IntN(13)-6, rng.IntN(13)-6)
		}
		switch rng.IntN(6) {
		case 0:
			add("slices=%d", 2+rng.IntN(4))
		case 1:
			add("slice-max-mbs=%d", max(3, r.w*r.h/256/9)) // slices that begin within a row
		case 2:
			add("slices=2:threads=2:sliced-threads=1") // disable_deblocking_filter_idc 2
		}
		if r.format != "gray" {
			add("chroma-qp-offset=%d", rng.IntN(25)-12)
		}
		switch k := rng.IntN(5); {
		case k == 0 && qp > 20: // below, x264 fears that levels overflow
			add("cqm=jvt")
		case k == 1 && qp > 20:
			add("cqm4=%s", numbers(rng, 16))
		case k == 2 && qp > 20:
			add("cqm4i=%s:cqm8i=%s", numbers(rng, 16), numbers(rng, 64))
		}
		if rng.IntN(5) == 0 {
			add("constrained-intra=1")
		}
		if rng.IntN(5) == 0 {
			add("trellis=0:no-psy=1:no-dct-decimate=1:deadzone-intra=%d", rng.IntN(32))
		}
		if rng.IntN(4) == 0 {
			add("aud=1:pic-struct=1:nal-hrd=vbr:vbv-maxrate=90000:vbv-bufsize=90000")
		}
		if rng.IntN(6) == 0 && r.h%4 == 0 {
			add("fake-interlaced=1")
		}
		if rng.IntN(8) == 0 {
			add("intra-refresh=1")
		}
		r.params = strings.Join(p, ":")
		all[i] = r
	}
	return all
}

func numbers(rng *rand.Rand, n int) string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprint(12 + rng.IntN(30))
	}
	return strings.Join(s, ",")
}

// ffmpeg runs it, and fails the test when it fails.
func ffmpeg(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-nostdin", "-v", "error", "-y"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("ffmpeg (the tests need it, with libx264): %v: %s", err, out)
	}
}

// encoded is a key frame with what FFmpeg makes of it: planes one after the
// other, with and without the loop filter.
type encoded struct {
	recipe
	data, filtered, unfiltered []byte
}

// encode makes key frames of all recipes, many to a process: most of the time
// goes into starting one.
func encode(t testing.TB, all []recipe) []encoded {
	t.Helper()
	dir := t.TempDir()
	name := func(i int, kind string) string { return filepath.Join(dir, fmt.Sprintf("%d.%s", i, kind)) }
	var inputs, outputs, files, plain, raw, rawPlain []string
	for i, r := range all {
		n := fmt.Sprint(i)
		inputs = append(inputs, "-f", "lavfi", "-i", r.lavfi())
		outputs = append(outputs, "-map", n+":v", "-frames:v", "1", "-c:v", "libx264", "-pix_fmt", r.format, "-x264-params", r.params, "-f", "h264", name(i, "h264"))
		files = append(files, "-i", name(i, "h264"))
		plain = append(plain, "-skip_loop_filter", "all", "-i", name(i, "h264"))
		raw = append(raw, "-map", n+":v", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", r.format, name(i, "raw"))
		rawPlain = append(rawPlain, "-map", n+":v", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", r.format, name(i, "plain"))
	}
	ffmpeg(t, append(inputs, outputs...)...)
	ffmpeg(t, append(files, raw...)...)
	ffmpeg(t, append(plain, rawPlain...)...)
	out := make([]encoded, len(all))
	for i, r := range all {
		out[i] = encoded{recipe: r, data: read(t, name(i, "h264")), filtered: read(t, name(i, "raw")), unfiltered: read(t, name(i, "plain"))}
		for _, kind := range []string{"h264", "raw", "plain"} {
			if err := os.Remove(name(i, kind)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// planes joins what was decoded as FFmpeg writes it.
func planes(pic *codec.Picture) (all []byte) {
	for _, p := range []codec.Plane{pic.Y, pic.Cb, pic.Cr} {
		for y := range p.Height {
			all = append(all, p.Row(y)...)
		}
	}
	return all
}

// compare decodes e in all ways and holds the samples against FFmpeg's.
func compare(ctx context.Context, d *h264.Decoder, pic *codec.Picture, e encoded) error {
	luma := e.w * e.h
	for _, c := range []struct {
		o    h264.Options
		want []byte
	}{
		{h264.Options{Chroma: true, Deblock: true}, e.filtered},
		{h264.Options{Chroma: true}, e.unfiltered},
		{h264.Options{}, e.unfiltered[:min(luma, len(e.unfiltered))]},
	} {
		if err := d.Decode(ctx, e.data, c.o, pic); err != nil {
			return fmt.Errorf("%+v: %w", c.o, err)
		}
		if pic.Y.Width != e.w || pic.Y.Height != e.h || pic.HasChroma() != (c.o.Chroma && e.format != "gray") {
			return fmt.Errorf("%+v: %dx%d, chroma %v", c.o, pic.Y.Width, pic.Y.Height, pic.HasChroma())
		}
		got := planes(pic)
		if bytes.Equal(got, c.want) {
			continue
		}
		if len(got) != len(c.want) {
			return fmt.Errorf("%+v: %d samples, want %d", c.o, len(got), len(c.want))
		}
		for i := range got {
			if got[i] != c.want[i] {
				return fmt.Errorf("%+v: sample %d of %d (luma has %d, row %d, column %d) is %d, want %d", c.o, i, len(got), luma, i/e.w, i%e.w, got[i], c.want[i])
			}
		}
	}
	return nil
}

// parity compares all recipes, some to a process.
func parity(t *testing.T, all []recipe, batch int) {
	var d h264.Decoder
	var pic codec.Picture
	for len(all) > 0 {
		n := min(batch, len(all))
		for _, e := range encode(t, all[:n]) {
			if err := compare(t.Context(), &d, &pic, e); err != nil {
				t.Errorf("%s: %v", e.recipe, err)
			}
		}
		all = all[n:]
	}
}

// sliced are pictures whose slices are filtered each by itself, which takes more
// rows than most of the drawn ones have (disable_deblocking_filter_idc 2).
var sliced = []recipe{
	{"testsrc2", 320, 240, "yuv420p", "qp=32:slices=3:threads=3:sliced-threads=1:deblock=2,-1"},
	{"testsrc2", 320, 240, "yuv420p", "qp=36:cabac=0:slices=3:threads=3:sliced-threads=1"},
	{"mandelbrot", 322, 246, "yuv420p", "qp=40:cabac=0:8x8dct=0:slices=3:threads=3:sliced-threads=1:deblock=-1,3"},
}

// steps are pictures of steps of all heights with some noise on them, one for
// each quantiser at which the loop filter has limits of its own (Tables 8-16 and
// 8-17): one of the numbers there that is off by one shows, but for the largest.
func steps() (all []recipe) {
	for qp := 16 - 12; qp <= 51-12; qp++ { // the offsets add 12
		all = append(all, recipe{
			fmt.Sprintf("color,lutyuv=y=128:u=128:v=128,scale=iw/4:ih/4,noise=alls=100:all_seed=%d,scale=iw*4:ih*4:flags=neighbor,noise=alls=%d:all_seed=%d", qp, 2+qp/3, qp),
			192, 128, "yuv420p", fmt.Sprintf("qp=%d:8x8dct=%d:deblock=6,6:trellis=0:no-psy=1:aq-mode=0:ipratio=1", qp, qp&1),
		})
	}
	return all
}

// TestParity holds pictures against FFmpeg's, sample by sample.
func TestParity(t *testing.T) {
	sizes := [][2]int{{16, 16}, {32, 16}, {16, 48}, {18, 34}, {50, 38}, {64, 64}, {96, 52}, {130, 98}, {176, 144}, {318, 182}, {320, 240}}
	parity(t, slices.Concat(recipes(1, 96, sizes), sliced, steps()), 24)
}
