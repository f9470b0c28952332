package opencv

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"testing"

	"github.com/shutterfleet/shutterfleet/capture/codec/codectest"
	"github.com/shutterfleet/shutterfleet/fleet"
)

func cause(err error) fleet.Cause {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause
	}
	return ""
}

// kindsOfJPEG are the pictures that the decoder of our own is tested with.
func kindsOfJPEG(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "jpeg", "testdata", "*.jpg"))
	if err != nil || len(files) < 10 {
		t.Fatalf("%d pictures, %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, f := range files {
		if all[filepath.Base(f)], err = os.ReadFile(f); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// drawing is a color picture.
func drawing(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	r, g, b := codectest.Gen("clouds", w, h), codectest.Gen("blocks", w, h), codectest.Gen("sines", w, h)
	for i := range w * h {
		m.SetRGBA(i%w, i/w, color.RGBA{r[i], g[i], b[i], 255})
	}
	return m
}

func coded(t testing.TB, m image.Image, quality int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// component is one of a JPEG that flat writes: its sampling factors, and the
// level of each of its blocks in the one scan.
type component struct {
	id, h, v byte
	level    func(block int) int
}

// flat writes a baseline JPEG whose blocks have one level each, by T.81: what
// no coder at hand writes, four components and odd samplings, takes no more. With
// transform >= 0 it has Adobe's segment.
func flat(width, height int, transform int, comps ...component) []byte {
	b := []byte{0xFF, mSOI}
	segment := func(m byte, body ...byte) {
		b = append(b, 0xFF, m)
		b = append(binary.BigEndian.AppendUint16(b, uint16(len(body)+2)), body...)
	}
	if transform >= 0 {
		segment(0xEE, append([]byte("Adobe\x00\x64\x00\x00\x00\x00"), byte(transform))...)
	}
	quantisers := bytes.Repeat([]byte{8}, 64) // a step of DC is one level
	segment(0xDB, append([]byte{0}, quantisers...)...)
	frame := []byte{8, byte(height >> 8), byte(height), byte(width >> 8), byte(width), byte(len(comps))}
	scan := []byte{byte(len(comps))}
	hmax, vmax := byte(1), byte(1)
	for _, c := range comps {
		frame = append(frame, c.id, c.h<<4|c.v, 0)
		scan = append(scan, c.id, 0)
		hmax, vmax = max(hmax, c.h), max(vmax, c.v)
	}
	segment(mSOF0, frame...)
	// DC: twelve categories of 4 bits each. AC: the end of the block, 1 bit.
	segment(mDHT, append(append([]byte{0x00}, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)...)
	segment(mDHT, append(append([]byte{0x10}, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0)...)
	segment(mSOS, append(scan, 0, 63, 0)...)
	var acc, n uint
	put := func(v, bits uint) {
		acc, n = acc<<bits|v, n+bits
		for n >= 8 {
			out := byte(acc >> (n - 8))
			if b = append(b, out); out == 0xFF {
				b = append(b, 0)
			}
			n -= 8
		}
	}
	before, block := make([]int, len(comps)), make([]int, len(comps))
	mcus := (width + 8*int(hmax) - 1) / (8 * int(hmax)) * ((height + 8*int(vmax) - 1) / (8 * int(vmax)))
	for range mcus {
		for i, c := range comps {
			for range c.h * c.v {
				v := c.level(block[i]) - 128
				diff := v - before[i]
				before[i], block[i] = v, block[i]+1
				size, rest := uint(0), diff
				for m := max(diff, -diff); m > 0; m >>= 1 {
					size++
				}
				if diff < 0 {
					rest = diff + 1<<size - 1
				}
				put(size, 4)
				put(uint(rest), size)
				put(0, 1)
			}
		}
	}
	if n > 0 {
		put(1<<(8-n)-1, 8-n)
	}
	return append(b, 0xFF, mEOI)
}
