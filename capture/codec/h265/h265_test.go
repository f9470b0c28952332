package h265_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h265"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// kind is a way to make key pictures.
type kind struct{ source, preset, pixels, params string }

// kinds are what x265 makes within what is followed: all sizes of coding tree
// blocks, depths, quantisers, and every tool of key pictures that it has.
var kinds = []kind{
	{"testsrc2=size=320x180", "medium", "yuv420p", "keyint=3:crf=28"},
	{"testsrc2=size=322x182,noise=alls=20:allf=t", "ultrafast", "yuv420p", "keyint=3:crf=20:wpp=0"},
	{"testsrc=size=416x240,noise=alls=40:allf=t", "slow", "yuv420p", "keyint=1:crf=5:ctu=16:wpp=0"},
	{"mandelbrot=size=320x240", "medium", "yuv420p", "keyint=1:crf=15:ctu=32:tu-intra-depth=4:tskip=1"},
	{"mandelbrot=size=352x288,noise=alls=5:allf=t", "slow", "yuv420p10le", "keyint=1:crf=22:wpp=0:rdoq-level=2"},
	{"smptehdbars=size=640x360,noise=alls=60:allf=t", "ultrafast", "yuvj420p", "keyint=1:crf=40:no-sao=1:no-deblock=1:hash=1"},
	{"testsrc2=size=640x480,noise=alls=5:allf=t", "ultrafast", "yuv420p", "keyint=1:crf=30:slices=4:ctu=16"},
	{"testsrc=size=640x368,noise=alls=10:allf=t", "medium", "yuv420p", "keyint=1:crf=18:slices=3:ctu=32:no-strong-intra-smoothing=1"},
	{"testsrc2=size=160x120", "medium", "yuv420p", "keyint=1:lossless=1"},
	{"testsrc2=size=320x240,noise=alls=10:allf=t", "medium", "yuv420p", "keyint=1:cu-lossless=1:rd=6"},
	{"testsrc2=size=64x64", "medium", "yuv420p", "keyint=1:crf=10"},
	{"testsrc2=size=48x1080,noise=alls=10:allf=t", "medium", "yuv420p", "keyint=1:crf=25"},
	{"testsrc2=size=416x240,noise=alls=15:allf=t", "medium", "yuv420p", "keyint=4:open-gop=1:bframes=2:crf=25:scaling-list=default:no-signhide=1"},
	{"testsrc2=size=416x240,noise=alls=15:allf=t", "medium", "yuv420p", "keyint=1:qp=38:aq-mode=0:constrained-intra=1:cbqpoffs=3:min-cu-size=16"},
	{"life=size=320x240:ratio=0.3:mold=10", "medium", "yuv420p", "keyint=1:qp=51:ctu=64:limit-tu=4:no-sao=1"},
	{"testsrc2=size=416x240,noise=alls=15:allf=t", "medium", "yuv420p", "keyint=2:temporal-layers=2:bframes=3:aud=1:hrd=1:vbv-maxrate=3000:vbv-bufsize=3000:range=full:colorprim=bt709"},
	{"testsrc2=size=352x288,noise=alls=25:allf=t", "slower", "yuv420p10le", "keyint=2:open-gop=1:ref=5:rd=6:interlace=tff:multi-pass-opt-distortion=0:opt-cu-delta-qp=1"},
	{"gradients=size=640x360", "medium", "yuv420p", "keyint=1:qp=1:aq-mode=3:qg-size=8"},
}

// key is a key picture in its NAL units.
type key struct{ sets, slices [][]byte }

func (k key) stream() []byte { return join(append(append([][]byte(nil), k.sets...), k.slices...)) }

func (k key) with(slices ...[]byte) []byte { return key{k.sets, slices}.stream() }

func join(units [][]byte) []byte {
	var b []byte
	for _, u := range units {
		b = append(append(b, 0, 0, 0, 1), u...)
	}
	return b
}

// keys encodes a kind and takes its stream apart.
func keys(t testing.TB, k kind, frames int) []key {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "lavfi", "-i", k.source, "-frames:v", fmt.Sprint(frames), "-preset", k.preset,
		"-pix_fmt", k.pixels, "-c:v", "libx265", "-x265-params", "log-level=none:"+k.params, "-f", "hevc", "-")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stream, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %v: %v: %s (the tests need ffmpeg with libx265)", k, err, &complaints)
	}
	var all []key
	var sets [][]byte
	for _, u := range bytes.Split(stream, []byte{0, 0, 1})[1:] {
		u = bytes.TrimRight(u, "\x00")
		switch n := u[0] >> 1 & 63; {
		case n >= 32 && n <= 34:
			if n == 32 {
				sets = nil
			}
			sets = append(sets, u)
		case n >= 16 && n <= 21:
			if u[2]&0x80 != 0 {
				all = append(all, key{sets: sets})
			}
			last := &all[len(all)-1]
			last.slices = append(last.slices, u)
		}
	}
	if len(all) == 0 {
		t.Fatalf("%v has no key picture", k)
	}
	return all
}

func missing(t testing.TB, data []byte) float32 {
	t.Helper()
	var c h265.Checker
	m, err := c.Missing(t.Context(), data, codec.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMissing holds whole pictures to be whole, and tears each of them: all cuts
// and losses must be told, and nearly all flipped bits.
func TestMissing(t *testing.T) { tearAll(t, 3, 3) }

func tearAll(t *testing.T, pictures, tears int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	whole, torn, flips, untold := 0, 0, 0, 0
	var c h265.Checker
	for _, kind := range kinds {
		for i, k := range keys(t, kind, pictures) {
			data := k.stream()
			if m := missing(t, data); m != 0 {
				t.Fatalf("%v: %v of whole key picture %d is missing", kind, m, i)
			}
			whole++
			tear := func(what string, data []byte, least float32) {
				t.Helper()
				torn++
				m, err := c.Missing(t.Context(), data, codec.Limits{})
				if err != nil || m <= least || m > 1 {
					t.Errorf("%v, key picture %d, %s: %v is missing, want more than %v: %v", kind, i, what, m, least, err)
				}
			}
			for range tears {
				s := rng.IntN(len(k.slices))
				u := k.slices[s]
				before, behind := k.slices[:s], k.slices[s+1:]
				if n := 8 + rng.IntN(len(u)-8); n < len(u) {
					tear(fmt.Sprintf("slice %d cut to %d of %d bytes", s, n, len(u)), k.with(append(append([][]byte(nil), before...), u[:n])...), 0)
				}
				if len(u) > 40 {
					at := 20 + rng.IntN(len(u)-21) // behind the header, before the flush
					flipped := bytes.Clone(u)
					flipped[at] ^= 1 << rng.IntN(8)
					if !bytes.Contains(flipped, []byte{0, 0, 0}) && !bytes.Contains(flipped, []byte{0, 0, 1}) && !bytes.Contains(flipped, []byte{0, 0, 2}) {
						slices := append(append(append([][]byte(nil), before...), flipped), behind...)
						flips++
						if missing(t, k.with(slices...)) == 0 {
							untold++
						}
					}
				}
				if len(k.slices) > 1 {
					tear(fmt.Sprintf("slice %d of %d lost", s, len(k.slices)), k.with(append(append([][]byte(nil), before...), behind...)...), 0.1)
				}
			}
		}
	}
	t.Logf("%d whole pictures, %d cut or short of a slice, %d with a flipped bit, of which %d were not told", whole, torn, flips, untold)
	if whole < 2*len(kinds) || torn < 4*len(kinds) || flips < 3*len(kinds) {
		t.Errorf("%d whole pictures, %d torn ones and %d with a flipped bit prove little", whole, torn, flips)
	}
	// A sign may be flipped where the code's range is a power of two.
	if 20*untold > flips {
		t.Errorf("%d of %d flipped bits were not told", untold, flips)
	}
}

// TestMissingShare cuts one slice in places: the share follows.
func TestMissingShare(t *testing.T) {
	k := keys(t, kind{"testsrc2=size=640x360,noise=alls=40:allf=t", "ultrafast", "yuv420p", "keyint=1:crf=15:wpp=0:ctu=16"}, 1)[0]
	u := k.slices[0]
	for _, share := range []float32{0.25, 0.5, 0.75, 0.95} {
		m := missing(t, k.with(u[:int(share*float32(len(u)))]))
		if d := m - (1 - share); d > 0.2 || d < -0.2 {
			t.Errorf("of a noisy picture cut to %v, %v is missing", share, m)
		}
	}
}

// TestMissingFilled: what encoders may put behind a slice is no damage.
func TestMissingFilled(t *testing.T) {
	for _, k := range []key{keys(t, kinds[0], 1)[0], keys(t, kinds[6], 1)[0]} {
		for name, fill := range map[string][]byte{"zeros": {0, 0, 0, 0}, "cabac_zero_words": {0, 0, 3, 0, 0, 3}, "other bytes": {0xFF, 0xFF, 0xA5}} {
			var slices [][]byte
			for _, s := range k.slices {
				slices = append(slices, append(bytes.Clone(s), fill...))
			}
			if m := missing(t, k.with(slices...)); m != 0 {
				t.Errorf("%d slices with %s behind them: %v is missing", len(slices), name, m)
			}
		}
	}
}

// TestMissingEnd has a bit behind the one that ends a slice, within its byte, where
// the standard has zeros.
func TestMissingEnd(t *testing.T) {
	tried := 0
	for _, k := range keys(t, kinds[7], 3) {
		for i, s := range k.slices {
			if s[len(s)-1]&1 == 0 {
				tried++
				slices := append([][]byte(nil), k.slices...)
				slices[i] = append(bytes.Clone(s[:len(s)-1]), s[len(s)-1]|1)
				if m := missing(t, k.with(slices...)); m <= 0 || m > 0.1 {
					t.Errorf("slice %d: %v is missing, want its last unit", i, m)
				}
			}
		}
	}
	if tried == 0 {
		t.Error("all slices end with the last bit of a byte")
	}
}

// TestCropped has the window that a bitstream filter puts into the sets.
func TestCropped(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-v", "error", "-f", "hevc", "-i", "-", "-c", "copy", "-bsf:v", "hevc_metadata=crop_left=10:crop_top=6:crop_right=2:crop_bottom=4", "-f", "hevc", "-")
	k := keys(t, kinds[0], 1)[0]
	cmd.Stdin = bytes.NewReader(k.stream())
	cropped, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var c h265.Checker
	for _, want := range [][2]int{{10, 6}, {0, 0}} {
		data := cropped
		if want[0] == 0 {
			data = k.stream() // forgets it again
		}
		m, err := c.Missing(t.Context(), data, codec.Limits{})
		if left, top := c.Cropped(); m != 0 || err != nil || [2]int{left, top} != want {
			t.Errorf("%d, %d cropped, %v missing: %v; want %v", left, top, m, err, want)
		}
	}
}

func TestMissingNotKnown(t *testing.T) {
	k := keys(t, kinds[0], 1)[0]
	for name, c := range map[string]struct {
		data []byte
		want fleet.Cause
	}{
		"empty":        {nil, fleet.CauseCorrupt},
		"text":         {[]byte(strings.Repeat("no picture ", 20)), fleet.CauseNoKeyframe},
		"sets alone":   {join(k.sets), fleet.CauseNoKeyframe},
		"4:4:4":        {keys(t, kind{"testsrc2=size=128x128", "medium", "yuv444p", "keyint=1"}, 1)[0].stream(), fleet.CauseUnsupportedCodec},
		"a broken set": {join([][]byte{k.sets[0], k.sets[1][:8], k.sets[2], k.slices[0]}), fleet.CauseCorrupt},
	} {
		var checker h265.Checker
		_, err := checker.Missing(t.Context(), c.data, codec.Limits{})
		if ce, ok := errors.AsType[*fleet.CameraError](err); !ok || ce.Cause != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var checker h265.Checker
	if _, err := checker.Missing(ctx, k.stream(), codec.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if m := missing(t, k.with(k.slices[0][:2], []byte{40, 1, 0xFF, 0xFF})); m != 1 {
		t.Errorf("slices that cannot be read: %v is missing", m)
	}
}

// TestMissingAgain reads the next picture as if there had been none before.
func TestMissingAgain(t *testing.T) {
	k := keys(t, kinds[0], 1)[0]
	var c h265.Checker
	first := testing.AllocsPerRun(5, func() {
		if m, err := c.Missing(t.Context(), k.stream(), codec.Limits{}); m != 0 || err != nil {
			t.Fatal(m, err)
		}
	})
	if first > 40 { // the stream itself, its sets, and nothing by size
		t.Errorf("%v allocations a picture", first)
	}
	if m, err := c.Missing(t.Context(), k.with(k.slices[0][:len(k.slices[0])/2]), codec.Limits{}); m <= 0 || err != nil {
		t.Error(m, err)
	}
	if m, err := c.Missing(t.Context(), k.stream(), codec.Limits{}); m != 0 || err != nil {
		t.Errorf("whole after a torn one: %v, %v", m, err)
	}
}

func FuzzMissing(f *testing.F) {
	k := keys(f, kinds[0], 1)[0]
	f.Add(k.stream())
	f.Add(keys(f, kinds[10], 1)[0].stream())
	f.Add(keys(f, kinds[12], 8)[1].stream())
	var c h265.Checker
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := c.Missing(t.Context(), data, codec.Limits{Pixels: 1 << 20}); err == nil && !(m >= 0 && m <= 1) {
			t.Errorf("%v is missing", m)
		}
	})
}

func BenchmarkMissing(b *testing.B) {
	k := keys(b, kind{"testsrc2=size=1920x1080,noise=alls=10:allf=t", "medium", "yuv420p", "keyint=1:crf=30"}, 1)[0]
	data := k.stream()
	var c h265.Checker
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if m, err := c.Missing(b.Context(), data, codec.Limits{}); m != 0 || err != nil {
			b.Fatal(m, err)
		}
	}
}
