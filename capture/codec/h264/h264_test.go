package h264_test

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec"
	"github.com/shutterfleet/shutterfleet/capture/codec/h264"
	"github.com/shutterfleet/shutterfleet/fleet"
)

// samples are the key frames in testdata.
func samples(t testing.TB) (names []string) {
	t.Helper()
	names, err := filepath.Glob("testdata/*.h264")
	if err != nil || len(names) == 0 {
		t.Fatalf("testdata: %v", err)
	}
	return names
}

// TestSamples decodes testdata to the planes whose checksums are beside it:
// parity where no FFmpeg is.
func TestSamples(t *testing.T) {
	table, err := csv.NewReader(strings.NewReader(string(read(t, "testdata/planes.csv")))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, row := range table[1:] {
		want[row[0]] = strings.Join(row[1:], ",")
	}
	var d h264.Decoder
	var pic codec.Picture
	for _, name := range samples(t) {
		if err := d.Decode(t.Context(), read(t, name), h264.Options{Chroma: true, Deblock: true}, &pic); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := fmt.Sprintf("%d,%d,%08x", pic.Y.Width, pic.Y.Height, crc32.ChecksumIEEE(planes(&pic)))
		if base := strings.TrimSuffix(filepath.Base(name), ".h264"); got != want[base] {
			t.Errorf("%s: %s, want %s", base, got, want[base])
		}
	}
}

// FuzzDecode holds what any data may do: end, with a picture or with a cause,
// and the same way a second time.
func FuzzDecode(f *testing.F) {
	for _, name := range samples(f) {
		f.Add(read(f, name), true, false)
		f.Add(read(f, name), false, true)
	}
	var d h264.Decoder
	var pic codec.Picture
	f.Fuzz(func(t *testing.T, data []byte, all, partial bool) {
		o := h264.Options{Limits: codec.Limits{Pixels: 1 << 16}, Chroma: all, Deblock: all, Partial: partial}
		err := d.Decode(context.Background(), data, o, &pic)
		sum := uint32(0)
		if err == nil {
			if !pic.Y.Valid() || pic.HasChroma() && !all {
				t.Fatalf("a broken picture: %dx%d, chroma %v", pic.Y.Width, pic.Y.Height, pic.HasChroma())
			}
			if pic.Missing < 0 || pic.Missing > 0.5 || pic.Missing > 0 && !partial {
				t.Fatalf("%v of the picture is missing", pic.Missing)
			}
			sum = crc32.ChecksumIEEE(planes(&pic))
		} else if _, ok := errors.AsType[*fleet.CameraError](err); !ok {
			t.Fatalf("an error without a cause: %v", err)
		}
		var fresh h264.Decoder
		var second codec.Picture
		again := fresh.Decode(context.Background(), data, o, &second)
		if (again == nil) != (err == nil) || err == nil && crc32.ChecksumIEEE(planes(&second)) != sum {
			t.Fatalf("decoded anew it differs: %v, then %v", err, again)
		}
	})
}

func ExampleDecoder_Decode() {
	data, err := os.ReadFile("testdata/high-cabac.h264")
	if err != nil {
		fmt.Println(err)
		return
	}
	var d h264.Decoder
	var pic codec.Picture
	if err := d.Decode(context.Background(), data, h264.Options{}, &pic); err != nil {
		if tool, ok := errors.AsType[h264.Tool](err); ok {
			fmt.Println("for another decoder:", tool)
		}
		fmt.Println(err)
		return
	}
	fmt.Println(pic.Y.Width, pic.Y.Height, pic.HasChroma())
	// Output: 64 48 false
}
