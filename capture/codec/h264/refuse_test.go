package h264

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os/exec"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// x264 encodes frames of a test picture.
func x264(t testing.TB, format, params string, frames string) []byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=128x96", "-frames:v", frames,
		"-c:v", "libx264", "-pix_fmt", format, "-x264-params", params, "-f", "h264", "-").Output()
	if err != nil {
		t.Fatalf("ffmpeg (the tests need it, with libx264): %v", err)
	}
	return out
}

// TestTools meets each tool that is refused, and says its name.
func TestTools(t *testing.T) {
	hand := func(l layout, kind uint32, field bool, header byte) []byte {
		s := &stream{}
		s.params(l)
		s.header(l, 0, kind, field)
		s.nal(header, true)
		return s.out
	}
	small := layout{w: 2, h: 2}
	for _, c := range []struct {
		tool Tool
		data []byte
	}{
		{MBAFF, x264(t, "yuv420p", "interlaced=1", "1")},
		{MBAFF, hand(layout{w: 2, h: 2, interlaced: true, mbaff: true}, 7, false, 0x65)},
		{FieldPictures, hand(layout{w: 2, h: 2, interlaced: true}, 7, true, 0x65)},
		{Chroma422, x264(t, "yuv422p", "", "1")},
		{Chroma444, x264(t, "yuv444p", "", "1")},
		{HighBitDepth, x264(t, "yuv420p10le", "", "1")},
		{Lossless, x264(t, "yuv420p", "qp=0", "1")},
		{SliceGroups, hand(layout{w: 2, h: 2, groups: 1}, 7, false, 0x65)},
		{SwitchingSlice, hand(small, 8, false, 0x65)},
		{SwitchingSlice, hand(small, 4, false, 0x61)},
		{DataPartitions, hand(small, 7, false, 0x62)},
	} {
		var d Decoder
		var pic codec.Picture
		err := d.Decode(t.Context(), c.data, Options{}, &pic)
		tool, _ := errors.AsType[Tool](err)
		if tool != c.tool || cause(err) != fleet.CauseUnsupportedCodec {
			t.Errorf("%v (%s), want a refusal of %s", err, cause(err), c.tool)
		}
		if len(pic.Y.Pix) > 0 {
			t.Errorf("%s: memory was taken before the refusal", c.tool)
		}
	}
}

// units cuts a stream into NAL units, each with its start code.
func units(data []byte) (all [][]byte) {
	for rest := data; ; {
		var nal []byte
		if nal, rest = nextNAL(rest); nal == nil {
			return all
		}
		all = append(all, append([]byte{0, 0, 1}, nal...))
	}
}

// TestFirstIntraPicture finds it behind others, and says when there is none.
func TestFirstIntraPicture(t *testing.T) {
	var d Decoder
	var want, pic codec.Picture
	all := units(x264(t, "yuv420p", "keyint=5:scenecut=0:bframes=1:slices=2:aud=1", "10"))
	start := func() { // parameter sets of the first key frame
		for len(all) > 0 && all[0][3]&31 != nalIDR {
			all = all[1:]
		}
	}
	params := func() (p [][]byte) {
		for _, u := range all {
			if k := u[3] & 31; k == nalSPS || k == nalPPS {
				p = append(p, u)
			}
			if len(p) == 2 {
				return p
			}
		}
		return nil
	}()
	start()
	all = all[2:] // the key frame's slices
	behind := append(append([][]byte{}, params...), all...)
	next := 0
	for i, u := range all {
		if u[3]&31 == nalIDR {
			next = i
			break
		}
	}
	if err := d.Decode(t.Context(), bytes.Join(append(append([][]byte{}, params...), all[next:]...), nil), Options{}, &want); err != nil {
		t.Fatal(err)
	}
	luma := bytes.Clone(want.Y.Pix)
	if err := d.Decode(t.Context(), bytes.Join(behind, nil), Options{}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, luma) {
		t.Errorf("behind %d units of other pictures: %v", next, err)
	}
	if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, luma) {
		t.Errorf("in a stream that begins without parameter sets: %v", err)
	}
	none := bytes.Join(append(append([][]byte{}, params...), all[:next-3]...), nil)
	if err := d.Decode(t.Context(), none, Options{}, &pic); !errors.Is(err, ErrNotIntra) || cause(err) != fleet.CauseUnsupportedCodec {
		t.Errorf("without a key frame: %v", err)
	}
}

// TestRecoveryPoint decodes an I picture that is no IDR picture: one that an
// open group of pictures begins with.
func TestRecoveryPoint(t *testing.T) {
	all := units(x264(t, "yuv420p", "keyint=4:min-keyint=1:scenecut=0:open-gop=1:bframes=2:b-adapt=0:qp=24", "12"))
	var data []byte
	found := false
	for _, u := range all {
		var r bitReader
		r.Open(u[4:])
		kind := u[3] & 31
		if kind == nalSlice {
			r.UE()
			found = r.UE()%5 == sliceI
		}
		if found || kind == nalSPS || kind == nalPPS {
			data = append(data, u...)
		}
		if found {
			break
		}
	}
	if !found {
		t.Fatal("x264 made no such picture")
	}
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-flags", "+output_corrupt", "-f", "h264", "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-")
	cmd.Stdin = bytes.NewReader(data)
	want, err := cmd.Output()
	if err != nil || len(want) != 128*96*3/2 {
		t.Fatalf("ffmpeg: %d bytes, %v", len(want), err)
	}
	var d Decoder
	var pic codec.Picture
	if err := d.Decode(t.Context(), data, Options{Deblock: true}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, want[:128*96]) {
		t.Errorf("an I picture that is no IDR picture: %v", err)
	}
}

// TestDamage changes bits of sound streams: what comes of it is a picture or an
// error with a cause, and the next sound stream decodes as before.
func TestDamage(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	var d Decoder
	var pic codec.Picture
	for _, params := range []string{"qp=24", "qp=30:8x8dct=0:slices=3", "cabac=0:qp=20", "cabac=0:8x8dct=0:qp=8", "qp=24:cqm=jvt"} {
		sound := x264(t, "yuv420p", params, "1")
		if err := d.Decode(t.Context(), sound, Options{Chroma: true, Deblock: true}, &pic); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(pic.Y.Pix)
		failed := 0
		for range 300 {
			broken := bytes.Clone(sound)
			for range 1 + rng.IntN(3) {
				broken[rng.IntN(len(broken))] ^= 1 << rng.IntN(8)
			}
			err := d.Decode(t.Context(), broken, Options{Limits: codec.Limits{Pixels: 1 << 20}, Chroma: true, Deblock: true}, &pic)
			if err != nil && cause(err) == "" {
				t.Fatalf("%s: an error without a cause: %v", params, err)
			}
			if err != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Errorf("%s: no damage was noticed", params)
		}
		if err := d.Decode(t.Context(), sound, Options{Chroma: true, Deblock: true}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, want) {
			t.Errorf("%s: decoded after damaged ones it differs: %v", params, err)
		}
	}
}

// ending is a context that ends when it was asked n times.
type ending struct {
	context.Context
	n int
}

func (e *ending) Err() error {
	if e.n--; e.n < 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestContextEndsWithinPicture looks whether each row of macroblocks asks.
func TestContextEndsWithinPicture(t *testing.T) {
	sound := x264(t, "yuv420p", "qp=30", "1") // 6 rows
	var d Decoder
	var pic codec.Picture
	for n := range len(units(sound)) + 6 {
		if err := d.Decode(&ending{t.Context(), n}, sound, Options{}, &pic); cause(err) != fleet.CauseTimeout {
			t.Errorf("a context that ends at row %d: %v", n, err)
		}
	}
}

// TestSliceOrder decodes slices in any order, once each and no fewer.
func TestSliceOrder(t *testing.T) {
	var d Decoder
	var pic codec.Picture
	for _, params := range []string{"slices=4:qp=20", "slices=4:cabac=0:8x8dct=0:qp=20"} {
		all := units(x264(t, "yuv420p", params, "1"))
		first := len(all) - 4
		if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{Deblock: true}, &pic); err != nil {
			t.Fatal(err)
		}
		want := bytes.Clone(pic.Y.Pix)
		for i := range 3 {
			all[first+i], all[first+i+1] = all[first+i+1], all[first+i]
			if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{Deblock: true}, &pic); err != nil || !bytes.Equal(pic.Y.Pix, want) {
				t.Errorf("order %d: %v", i, err)
			}
		}
		if err := d.Decode(t.Context(), bytes.Join(all[:first+3], nil), Options{}, &pic); cause(err) != fleet.CauseCorrupt {
			t.Errorf("a slice short: %v", err)
		}
		all[first+1] = all[first]
		if err := d.Decode(t.Context(), bytes.Join(all, nil), Options{}, &pic); cause(err) != fleet.CauseCorrupt {
			t.Errorf("a slice twice: %v", err)
		}
	}
}

// TestRefusals meets data that is no picture, or too much of one.
func TestRefusals(t *testing.T) {
	sound := x264(t, "yuv420p", "qp=30", "1")
	huge := &stream{}
	huge.params(layout{w: 1 << 12, h: 1 << 12})
	huge.header(layout{}, 0, 7, false)
	huge.nal(0x65, true)
	claims := &stream{}
	claims.params(layout{w: 256, h: 128, cabac: true})
	claims.header(layout{}, 0, 7, false)
	claims.nal(0x65, true)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var d Decoder
	for _, c := range []struct {
		name string
		ctx  context.Context
		data []byte
		want fleet.Cause
	}{
		{"empty", t.Context(), nil, fleet.CauseCorrupt},
		{"text", t.Context(), []byte("hello"), fleet.CauseCorrupt},
		{"a start code", t.Context(), []byte{0, 0, 1}, fleet.CauseCorrupt},
		{"a slice alone", t.Context(), []byte{0, 0, 1, 0x65, 0x88, 0x84}, fleet.CauseCorrupt},
		{"256 megapixels", t.Context(), huge.out, fleet.CauseTooLarge},
		{"8 megapixels in 30 bytes", t.Context(), claims.out, fleet.CauseCorrupt},
		{"long", t.Context(), make([]byte, 17<<20), fleet.CauseTooLarge},
		{"late", gone, sound, fleet.CauseTimeout},
		{"sound", t.Context(), sound, ""},
	} {
		var pic codec.Picture
		if err := d.Decode(c.ctx, c.data, Options{}, &pic); cause(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%s: %v (%s), want %q", c.name, err, cause(err), c.want)
		}
		if c.want != "" && len(pic.Y.Pix) > 0 {
			t.Errorf("%s: memory was taken for it", c.name)
		}
	}
	for n := range len(sound) - 1 {
		var pic codec.Picture
		err := d.Decode(t.Context(), sound[:n], Options{}, &pic)
		if err == nil && n < len(sound)-3 { // the last bytes may hold nothing but the end
			t.Fatalf("cut to %d of %d bytes, it decodes", n, len(sound))
		}
		if err != nil && cause(err) != fleet.CauseCorrupt {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(sound), err)
		}
	}
}

// TestMemoryIsUsedAgain holds what a frame allocates when one like it came before.
func TestMemoryIsUsedAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	var d Decoder
	var pic codec.Picture
	l := layout{w: 16, h: 16, cabac: true}
	pcm := make([]bool, l.w*l.h)
	for i := range pcm {
		pcm[i] = rng.IntN(8) == 0
	}
	data := pcmStream(l, pcm, rng)
	got := testing.AllocsPerRun(10, func() {
		if err := d.Decode(t.Context(), data, Options{Chroma: true, Deblock: true}, &pic); err != nil {
			t.Fatal(err)
		}
	})
	if got > 12 {
		t.Errorf("%v allocations for a frame", got)
	}
}
